import type { Clock } from '../../base/clock.ts';
import { S3Error } from './errors.ts';
import type { FaultOf, Feature, RequestFaults } from './faults.ts';
import { errorReply, type Reply } from './reply.ts';
import type { S3Request } from './s3-request.ts';

export interface EntryFaultsInput {
  request: S3Request;
  requestId: string;
  faults: RequestFaults;
  clock: Clock;
  /** Aborted when the client or the server goes away. */
  signal: AbortSignal;
}

/** Faults that strike before anything is looked at: go on, cut the connection, or answer this. */
export async function strikeOnEntry(input: EntryFaultsInput): Promise<'go-on' | 'cut' | Reply> {
  const { request, requestId, faults, clock, signal } = input;
  const delay = faults.take('delay');
  if (delay) await clock.sleep(delay.effect.ms, signal);
  if (faults.take('refuse')) return 'cut';
  const hang = faults.take('hang', (effect) => effect.afterBytes === undefined);
  if (hang) {
    const aborted = Promise.withResolvers<'cut'>();
    if (signal.aborted) return 'cut';
    signal.addEventListener('abort', () => aborted.resolve('cut'), { once: true });
    if ((await Promise.race([hang.cleared, aborted.promise])) === 'cut') return 'cut';
  }
  if (faults.take('throttle', (effect) => isTooFast(effect, clock.now()))) throw new S3Error('SlowDown');
  const error = faults.take('error')?.effect;
  if (error) {
    const { status, code, message = code } = error;
    return errorReply({ status, code, message, fields: {}, headers: {} }, request.path, requestId);
  }
  const isRejected = (feature: Feature) => usesFeature(request, feature);
  const rejects = faults.take(
    'reject-feature',
    ({ feature, answer }) => answer !== 'silently-ignore' && isRejected(feature),
  );
  if (rejects) throw new S3Error('NotImplemented');
  return 'go-on';
}

/** Requests that met a rule, in the second of the latest. */
const metBy = new WeakMap<FaultOf<'throttle'>, { readonly second: number; readonly requests: number }>();

function isTooFast(effect: FaultOf<'throttle'>, now: number): boolean {
  if (effect.perSecond === undefined) return true;
  const second = Math.floor(now / 1000);
  const met = metBy.get(effect);
  const requests = met?.second === second ? met.requests + 1 : 1;
  metBy.set(effect, { second, requests });
  return requests > effect.perSecond;
}

/** Makes an authenticated request look as if it had not asked for what a fault ignores; true when checksums are to be ignored. */
export function forgetIgnoredFeatures(request: S3Request, faults: RequestFaults): { ignoreChecksums: boolean } {
  const ignores = (feature: Feature) =>
    usesFeature(request, feature) &&
    faults.take('reject-feature', (effect) => effect.feature === feature && effect.answer === 'silently-ignore') !==
      undefined;
  const conditions = ['conditional-put', 'conditional-completion', 'conditional-copy', 'conditional-delete'] as const;
  if (conditions.some(ignores)) {
    request.headers.delete('if-match');
    request.headers.delete('if-none-match');
  }
  if (ignores('tagging')) request.headers.delete('x-amz-tagging');
  if (ignores('copy-condition')) request.headers.delete('x-amz-copy-source-if-match');
  const ignoreChecksums = ignores('checksum');
  if (ignoreChecksums) request.headers.delete('x-amz-checksum-algorithm');
  return { ignoreChecksums };
}

const WRITES = ['PutObject', 'CopyObject', 'CompleteMultipartUpload'];
const MULTIPART = [
  'CreateMultipartUpload',
  'UploadPart',
  'UploadPartCopy',
  'CompleteMultipartUpload',
  'ListParts',
  'ListMultipartUploads',
];
const VERSIONING = ['GetBucketVersioning', 'PutBucketVersioning', 'ListObjectVersions'];

function usesFeature({ operation, headers, query }: S3Request, feature: Feature): boolean {
  const isConditional = headers.has('if-match') || headers.has('if-none-match');
  switch (feature) {
    case 'conditional-put':
      return isConditional && WRITES.includes(operation);
    case 'conditional-completion':
      return isConditional && operation === 'CompleteMultipartUpload';
    case 'conditional-copy':
      return isConditional && operation === 'CopyObject';
    case 'conditional-delete':
      return isConditional && operation === 'DeleteObject';
    case 'checksum':
      return [...headers.keys()].some((name) => /^x-amz-(checksum-(?!mode)|trailer$|sdk-checksum)/.test(name));
    case 'DeleteObjects':
    case 'CopyObject':
      return operation === feature;
    case 'part-copy':
      return operation === 'UploadPartCopy';
    case 'multipart':
      return MULTIPART.includes(operation);
    case 'versioning':
      return VERSIONING.includes(operation) || query.has('versionId');
    case 'tagging':
      return operation.endsWith('Tagging') || headers.has('x-amz-tagging');
    case 'start-after':
      return query.has('start-after');
    case 'copy-condition':
      return headers.has('x-amz-copy-source-if-match');
  }
}
