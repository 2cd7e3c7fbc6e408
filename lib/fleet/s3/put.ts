import type { Readable } from 'node:stream';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { defined } from '../../base/defined.ts';
import type { BackendError, ObjectHeaders, PutRequest, PutResult } from '../backend.ts';
import { attestedSha256 } from './attested.ts';
import type { CallOptions, S3Connection } from './connection.ts';
import { backendError, toBackendError } from './errors.ts';
import { openSource, readSmall, sourceFailed, type UploadSource } from './upload-source.ts';

/** A body no longer than this is held in memory, so that it can be signed, and sent again. */
const bufferedBytes = 256 * 1024;

/** Writes one object; conditions are sent where the backend is known to heed them. */
export async function putObject(s3: S3Connection, request: PutRequest, signal?: AbortSignal): Promise<PutResult> {
  const { storageKey, headers, metadata, tags, ifAbsent, ifMatch } = request;
  const heedsConditions = s3.capabilities.conditionalPut === true;
  const input = {
    Bucket: s3.bucket,
    Key: s3.fullKey(storageKey),
    ...headerInput(headers, metadata, tags),
    ...(heedsConditions && ifAbsent ? { IfNoneMatch: '*' } : {}),
    ...(heedsConditions && ifMatch !== undefined ? { IfMatch: ifMatch } : {}),
  };
  // A condition that held for a first sending may no longer hold for the second, because of the first.
  const client = heedsConditions && (ifAbsent || ifMatch !== undefined) ? s3.once : s3.retrying;
  const answer = await sendBody(s3, 'write', request, signal, (body, sending) =>
    client.send(new PutObjectCommand({ ...input, ...body }), sending),
  );
  const sha256 = s3.capabilities.checksumSha256 === true ? attestedSha256(answer) : undefined;
  return { etag: etagOf(s3, 'write', storageKey, answer), ...defined({ sha256 }) };
}

/** What answers without an ETag is not S3, but something in between: nothing is known of the bytes. */
export function etagOf(
  s3: S3Connection,
  action: string,
  storageKey: string,
  answer: { readonly ETag?: string | undefined },
): string {
  if (answer.ETag) return answer.ETag;
  throw backendError('unavailable', s3.attempted(action, storageKey), 'it named no ETag');
}

export function headerInput(
  headers: ObjectHeaders = {},
  metadata: Readonly<Record<string, string>> = {},
  tags: Readonly<Record<string, string>> = {},
) {
  return {
    ...(Object.keys(tags).length === 0 ? {} : { Tagging: new URLSearchParams(tags).toString() }),
    ...defined({
      ContentType: headers.contentType,
      CacheControl: headers.cacheControl,
      ContentDisposition: headers.contentDisposition,
      ContentEncoding: headers.contentEncoding,
      ContentLanguage: headers.contentLanguage,
    }),
    Metadata: metadata,
  };
}

type BodyRequest = Pick<PutRequest, 'storageKey' | 'sizeBytes' | 'body' | 'sha256'>;

interface BodyInput {
  readonly Body: Uint8Array | Readable;
  readonly ContentLength: number;
  readonly ChecksumSHA256?: string;
}

/**
 * Sends a request that carries bytes. When their source fails, the request is broken off so that nothing is stored, and
 * the error is the source's.
 */
export async function sendBody<T>(
  s3: S3Connection,
  action: string,
  request: BodyRequest,
  signal: AbortSignal | undefined,
  send: (body: BodyInput, sending: CallOptions) => Promise<T>,
): Promise<T> {
  const { storageKey, sizeBytes, sha256 } = request;
  const input = {
    ContentLength: sizeBytes,
    ...(sha256 === undefined ? {} : { ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64') }),
  };
  if (sizeBytes <= bufferedBytes) {
    const bytes = await readSmall(request, s3.attempted(action, storageKey));
    return s3.call(action, storageKey, signal, (sending) => send({ ...input, Body: bytes }, sending));
  }

  const cut = new AbortController();
  const { clock, timeouts } = s3;
  const source = openSource(request, { clock, timeouts, cut: () => cut.abort() });
  const abortSignal = signal ? AbortSignal.any([signal, cut.signal]) : cut.signal;
  try {
    // The source has its own watch: a time limit on the whole would be one on the size of objects.
    const answer = await s3.call(action, storageKey, signal, () =>
      send({ ...input, Body: source.stream }, { abortSignal, requestTimeout: 0 }),
    );
    if (source.isSpent()) return answer;
    throw backendError('unavailable', s3.attempted(action, storageKey), 'it answered before it had every byte');
  } catch (error) {
    throw blame(s3, action, storageKey, source, error, signal);
  } finally {
    cut.abort();
    await source.close();
  }
}

/** Whose fault it was that a streamed request failed. */
function blame(
  s3: S3Connection,
  action: string,
  storageKey: string,
  source: UploadSource,
  error: unknown,
  signal: AbortSignal | undefined,
): BackendError {
  const attempted = s3.attempted(action, storageKey);
  const failure = source.failure();
  if (failure && !signal?.aborted) return backendError('body', attempted, sourceFailed(failure.error), failure.error);
  const silence = source.silence();
  if (silence) return toBackendError(silence, attempted, signal);
  const seen = toBackendError(error, attempted, signal);
  // A backend that hangs up on us because it got no bytes is not to blame for their not coming.
  const idleMs = source.sourceIdleMs();
  const isStarved = idleMs !== undefined && (idleMs >= s3.timeouts.stallMs || isRequestTimeout(seen));
  if (isStarved && (seen.kind === 'timeout' || seen.kind === 'unavailable')) {
    return backendError('body', attempted, 'the source of its bytes was silent for too long', error);
  }
  return seen;
}

function isRequestTimeout({ cause }: BackendError): boolean {
  return cause instanceof Error && cause.name === 'RequestTimeout';
}
