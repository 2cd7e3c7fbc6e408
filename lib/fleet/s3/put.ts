import type { Readable } from 'node:stream';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { signalAt } from '../../base/deadline.ts';
import { defined } from '../../base/defined.ts';
import type { BackendError, ObjectHeaders, PutRequest, PutResult } from '../backend.ts';
import { SourceSilence } from '../errors.ts';
import { attestedSha256 } from './attested.ts';
import type { CallOptions, S3Connection } from './connection.ts';
import { type Attempted, backendError, toBackendError } from './errors.ts';
import { assertFits } from './fits.ts';
import { etagForm } from './tolerate-answer.ts';
import { openSource, readSmall, sourceFailed, type UploadSource } from './upload-source.ts';

/** A body no longer than this is held in memory, so that it can be signed, and sent again. */
const bufferedBytes = 256 * 1024;

/** Writes one object; conditions are sent where the backend is known to heed them. */
export async function putObject(s3: S3Connection, request: PutRequest, signal?: AbortSignal): Promise<PutResult> {
  const { storageKey, headers, metadata, tags, ifAbsent, ifMatch } = request;
  assertFits(s3, 'write', request);
  const heedsConditions = s3.capabilities.conditionalPut === true;
  const input = {
    Bucket: s3.bucket,
    Key: s3.fullKey(storageKey),
    ...headerInput(s3, headers, metadata, tags),
    ...(heedsConditions && defined({ IfNoneMatch: ifAbsent ? '*' : undefined, IfMatch: ifMatch })),
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
  if (answer.ETag) return etagForm(answer.ETag);
  throw backendError('unavailable', s3.attempted(action, storageKey), 'it named no ETag');
}

export function headerInput(
  { capabilities }: S3Connection,
  headers: ObjectHeaders = {},
  metadata: Readonly<Record<string, string>> = {},
  tags: Readonly<Record<string, string>> = {},
) {
  return {
    ...defined({
      Tagging: Object.keys(tags).length === 0 || capabilities.tags === false ? undefined : tagQuery(tags),
      ContentType: headers.contentType,
      CacheControl: headers.cacheControl,
      ContentDisposition: headers.contentDisposition,
      ContentEncoding: headers.contentEncoding,
      ContentLanguage: headers.contentLanguage,
    }),
    Metadata: metadata,
  };
}

/** Blanks as `%20`: some backends take a `+` for itself. */
function tagQuery(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map((pair) => pair.map(encodeURIComponent).join('='))
    .join('&');
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
    ...defined({ ChecksumSHA256: sha256 && Buffer.from(sha256, 'hex').toString('base64') }),
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
    const answer = await s3.call(
      action,
      storageKey,
      signal,
      () => send({ ...input, Body: source.stream }, { abortSignal, requestTimeout: 0 }),
      'sent-once',
    );
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
