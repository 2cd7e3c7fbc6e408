import { hash } from 'node:crypto';
import { signalAt } from '../../base/deadline.ts';
import { defined } from '../../base/defined.ts';
import type { BackendError, ObjectHeaders, PutRequest, PutResult } from '../backend.ts';
import { SourceSilence } from '../errors.ts';
import { internalPrefix } from '../owner.ts';
import type { Answer, Asked } from './ask.ts';
import { sha256OfHeaders } from './attested.ts';
import type { S3Connection } from './connection.ts';
import { type Attempted, backendError, toBackendError } from './errors.ts';
import { assertFits } from './fits.ts';
import { tagQuery } from './header-input.ts';
import { sentHeader, sentMetadata } from './header-text.ts';
import { unsignedBody } from './sign.ts';
import { etagForm } from './tolerate-answer.ts';
import { openSource, readSmall, sourceFailed, type UploadSource } from './upload-source.ts';

/** A body no longer than this is held in memory, so that it can be signed, and sent again. */
const bufferedBytes = 256 * 1024;

/** Writes one object; conditions are sent where the backend is known to heed them. */
export async function putObject(s3: S3Connection, request: PutRequest, signal?: AbortSignal): Promise<PutResult> {
  const { storageKey, ifAbsent, ifMatch } = request;
  assertFits(s3, 'write', request);
  const heedsConditions = s3.capabilities.conditionalPut === true;
  const conditions: Asked['headers'] = heedsConditions
    ? defined({ 'if-none-match': ifAbsent ? '*' : undefined, 'if-match': ifMatch })
    : {};
  const asked = {
    operation: 'PutObject',
    headers: { ...describingHeaders(s3, request), ...conditions },
    // What the first sending overwrote is not there for the second. Who asked for an absent key is told how often it was sent.
    isSentOnce: conditions['if-match'] !== undefined,
  } as const;
  const { headers } = await sendBody(s3, 'write', request, asked, signal);
  const sha256 = s3.capabilities.checksumSha256 === true ? sha256OfHeaders(headers) : undefined;
  return { etag: etagOf(s3, 'write', storageKey, headers.etag), ...defined({ sha256 }) };
}

/** What answers without an ETag is not S3, but something in between: nothing is known of the bytes. */
export function etagOf(s3: S3Connection, action: string, storageKey: string, etag: string | undefined): string {
  if (etag) return etagForm(etag);
  throw backendError('unavailable', s3.attempted(action, storageKey), 'it named no ETag');
}

/** What is said of an object when it is written. What nothing says the type of is bytes, as the SDK has it too. */
function describingHeaders(
  s3: S3Connection,
  { storageKey, headers = {}, metadata = {}, tags = {} }: Omit<PutRequest, 'body' | 'sizeBytes'>,
): Asked['headers'] {
  const given: Record<string, string> = {};
  try {
    for (const [name, header] of contentHeaders) {
      const text = headers[name];
      if (text !== undefined) given[header] = sentHeader(text);
    }
    for (const [name, text] of Object.entries(metadata)) given[`x-amz-meta-${name.toLowerCase()}`] = sentMetadata(text);
  } catch (error) {
    throw toBackendError(error, s3.attempted('write', storageKey));
  }
  if (Object.keys(tags).length > 0 && s3.capabilities.tags !== false) given['x-amz-tagging'] = tagQuery(tags);
  // Its own few keys are read with every health check.
  if (s3.storageClass !== undefined && !storageKey.startsWith(internalPrefix))
    given['x-amz-storage-class'] = s3.storageClass;
  return { 'content-type': 'application/octet-stream', ...given };
}

const contentHeaders = [
  ['contentType', 'content-type'],
  ['cacheControl', 'cache-control'],
  ['contentDisposition', 'content-disposition'],
  ['contentEncoding', 'content-encoding'],
  ['contentLanguage', 'content-language'],
] as const satisfies readonly (readonly [keyof ObjectHeaders, string])[];

type BodyRequest = Pick<PutRequest, 'storageKey' | 'sizeBytes' | 'body' | 'sha256'>;

/**
 * Sends a request that carries bytes. When their source fails, the request is broken off so that nothing is stored, and
 * the error is the source's.
 */
export async function sendBody(
  s3: S3Connection,
  action: string,
  request: BodyRequest,
  asked: Pick<Asked, 'operation' | 'query' | 'headers' | 'isSentOnce'>,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const { storageKey, sizeBytes, sha256 } = request;
  const checksum =
    sha256 !== undefined && s3.capabilities.checksumSha256 === true
      ? { 'x-amz-checksum-sha256': Buffer.from(sha256, 'hex').toString('base64') }
      : {};
  const sending = {
    ...asked,
    method: 'PUT' as const,
    headers: { ...asked.headers, ...checksum, 'content-length': String(sizeBytes) },
    sentBytes: sizeBytes,
  };
  if (sizeBytes <= bufferedBytes) {
    const bytes = await readSmall(request, s3.attempted(action, storageKey));
    const bodySha256 = sha256 ?? hash('sha256', bytes);
    return s3.ask(action, storageKey, { ...sending, body: bytes, bodySha256 }, { signal });
  }

  const cut = new AbortController();
  const { clock, timeouts } = s3;
  const source = openSource(request, { clock, timeouts, cut: () => cut.abort() });
  const brokenOff = signal ? AbortSignal.any([signal, cut.signal]) : cut.signal;
  try {
    // Known, it is signed, so that a backend which checks signatures checks the bytes with them. The source has its own watch:
    // a time limit on the whole would be one on the size of objects.
    const streamed = { ...sending, body: source.pieces, bodySha256: sha256 ?? unsignedBody, isSentOnce: true };
    const answer = await s3.ask(action, storageKey, streamed, { signal: brokenOff, callersSignal: signal });
    if (source.isSpent()) return answer;
  } catch (error) {
    throw await blame(s3, action, storageKey, source, error, signal);
  } finally {
    cut.abort();
    await source.close();
  }
  const attempted = s3.attempted(action, storageKey);
  throw (
    sourceError(source, attempted, signal) ??
    backendError('unavailable', attempted, 'it answered before it had every byte')
  );
}

/** A backend that breaks off this soon after its source was asked for bytes has not waited for them. */
const briefMs = 1_000;

/** Whose fault it was that a streamed request failed. */
async function blame(
  s3: S3Connection,
  action: string,
  storageKey: string,
  source: UploadSource,
  error: unknown,
  signal: AbortSignal | undefined,
): Promise<BackendError> {
  const attempted = s3.attempted(action, storageKey);
  const failed = sourceError(source, attempted, signal);
  if (failed) return failed;
  const silence = source.silence();
  if (silence) return toBackendError(silence, attempted, signal);
  const seen = toBackendError(error, attempted, signal);
  const owedMs = source.sourceIdleMs();
  if (!seen.isUnanswered || owedMs === undefined) return seen;
  // A backend that hangs up because it gets no bytes is not to blame for their not coming: whether they come, or their
  // source fails at last, is waited for: a little longer than its own watch would.
  const limit = signalAt(s3.clock, s3.clock.now() + s3.timeouts.stallMs + briefMs);
  await source.whenGiven(signal ? AbortSignal.any([signal, limit.signal]) : limit.signal).finally(limit.stop);
  const failedAtLast = sourceError(source, attempted, signal);
  if (failedAtLast) return failedAtLast;
  const silentMs = source.sourceIdleMs() ?? owedMs;
  if ((silentMs < briefMs && !isRequestTimeout(seen)) || signal?.aborted) return seen;
  const whatIsSo = `the source of its bytes was silent for ${silentMs} ms, and the backend did not wait for it`;
  return backendError('body', attempted, whatIsSo, new SourceSilence(whatIsSo, { cause: error }));
}

function sourceError(
  source: UploadSource,
  attempted: Attempted,
  signal: AbortSignal | undefined,
): BackendError | undefined {
  const failure = source.failure();
  if (failure === undefined || signal?.aborted) return undefined;
  return backendError('body', attempted, sourceFailed(failure.error), failure.error);
}

/** It says itself that it has waited. */
function isRequestTimeout({ cause }: BackendError): boolean {
  return cause instanceof Error && cause.name === 'RequestTimeout';
}
