import { Readable } from 'node:stream';
import {
  GetObjectCommand,
  type GetObjectCommandOutput,
  GetObjectTaggingCommand,
  HeadObjectCommand,
} from '@aws-sdk/client-s3';
import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import {
  type Backend,
  BackendError,
  type GetOptions,
  type GetResult,
  type ObjectHeaders,
  type StoredObject,
} from './backend.ts';
import { freeMemoryOf, watchedBody } from './s3/answer-body.ts';
import { attestedSha256 } from './s3/attested.ts';
import { connectS3, type S3Connection, type S3ConnectionOptions } from './s3/connection.ts';
import { backendError, toBackendError } from './s3/errors.ts';
import { receivedMetadata, receivedText } from './s3/header-text.ts';
import { putObject } from './s3/put.ts';
import { etagForm } from './s3/tolerate-answer.ts';

export type S3BackendOptions = S3ConnectionOptions;

/** The backend port on a real bucket. */
export interface S3Backend extends Backend {
  /** Closes idle sockets. They keep no process alive, so that leaving it out only delays their end. */
  close(): void;
}

/**
 * One bucket (and prefix) through the AWS SDK. What the SDK can send again it retries; a streamed body is sent once, and
 * so is a request whose second sending could be answered differently because of the first. Bodies of up to 256 KiB are
 * signed with their digest; longer ones too when their SHA-256 is known. Capabilities not known to be there are not used.
 */
export function createS3Backend(options: S3BackendOptions): S3Backend {
  return backendOn(connectS3(options));
}

/** The port on a connection that is open already. */
export function backendOn(s3: S3Connection): S3Backend {
  return {
    name: s3.name,
    checksSha256: s3.capabilities.checksumSha256 === true,
    ...defined({ maxParts: s3.capabilities.maxParts }),
    altersHeaders: s3.capabilities.keepsMetadata === false,
    close: () => s3.close(),
    put: (request, signal) => putObject(s3, request, signal),
    get: (storageKey, getOptions, signal) => getObject(s3, storageKey, getOptions ?? {}, signal),
    head: (storageKey, signal) => headObject(s3, storageKey, signal),
    firstPartBytes: (storageKey, signal) => firstPartBytes(s3, storageKey, signal),
    tags: (storageKey, signal) => tagsOf(s3, storageKey, signal),
    ...rarelyAsked(s3),
  };
}

/** What most processes never ask of a backend: a cold start does not load it. */
function rarelyAsked(s3: S3Connection): Omit<Backend, 'name' | 'put' | 'get' | 'head' | 'firstPartBytes' | 'tags'> {
  const parts = async () => (await import('./s3/multipart.ts')).multipart(s3);
  return {
    copyFrom: async (...args) => (await import('./s3/copy.ts')).copyFrom(s3, ...args),
    delete: async (...args) => (await import('./s3/deletion.ts')).deleteObjects(s3, ...args),
    list: async (...args) => (await import('./s3/listing.ts')).listPage(s3, ...args),
    createUpload: async (...args) => (await parts()).createUpload(...args),
    uploadPart: async (...args) => (await parts()).uploadPart(...args),
    listParts: async (...args) => (await parts()).listParts(...args),
    completeUpload: async (...args) => (await parts()).completeUpload(...args),
    abortUpload: async (...args) => (await parts()).abortUpload(...args),
    openUploads: async (...args) => (await parts()).openUploads(...args),
  };
}

/** A HEAD of part 1 announces its length; where parts are not known, that of the whole. */
async function firstPartBytes(s3: S3Connection, storageKey: string, signal?: AbortSignal): Promise<number | null> {
  const input = { Bucket: s3.bucket, Key: s3.fullKey(storageKey), PartNumber: 1 };
  const { ContentLength } = await s3.call('look up the first part of', storageKey, signal, (sending) =>
    s3.retrying.send(new HeadObjectCommand(input), sending),
  );
  return ContentLength ?? null;
}

async function tagsOf(s3: S3Connection, storageKey: string, signal?: AbortSignal): Promise<Record<string, string>> {
  if (s3.capabilities.tags === false) return {};
  const { TagSet } = await s3.call('read the tags of', storageKey, signal, (sending) =>
    s3.retrying.send(new GetObjectTaggingCommand({ Bucket: s3.bucket, Key: s3.fullKey(storageKey) }), sending),
  );
  return Object.fromEntries((TagSet ?? []).map(({ Key, Value }) => [Key ?? '', Value ?? '']));
}

async function headObject(s3: S3Connection, storageKey: string, signal?: AbortSignal): Promise<StoredObject | null> {
  const input = {
    Bucket: s3.bucket,
    Key: s3.fullKey(storageKey),
    ...defined({ ChecksumMode: s3.capabilities.checksumSha256 === true ? ('ENABLED' as const) : undefined }),
  };
  try {
    const answer = await s3.call('look up', storageKey, signal, (sending) =>
      s3.retrying.send(new HeadObjectCommand(input), sending),
    );
    return stored(answer, sizeOf(answer, s3, 'look up', storageKey));
  } catch (error) {
    if (error instanceof BackendError && error.kind === 'not-found') return null;
    throw error;
  }
}

async function getObject(
  s3: S3Connection,
  storageKey: string,
  { range, ifMatch, reusesBuffers = false, isFresh = false }: GetOptions,
  signal?: AbortSignal,
): Promise<GetResult> {
  const input = {
    Bucket: s3.bucket,
    Key: s3.fullKey(storageKey),
    ...defined({ Range: range && `bytes=${range[0]}-${range[1]}` }),
    ...defined({ IfMatch: ifMatch }),
  };
  const answer = await s3.call('read', storageKey, signal, (sending) =>
    (isFresh ? s3.fresh() : s3.retrying).send(new GetObjectCommand(input), sending),
  );
  try {
    const lengthBytes = sizeOf(answer, s3, 'read', storageKey);
    const sizeBytes = range === undefined ? lengthBytes : wholeSize(answer, range, lengthBytes);
    const attempted = s3.attempted('read', storageKey);
    if (sizeBytes === undefined) throw backendError('unsupported', attempted, 'it answered with another range');
    if (ifMatch !== undefined && answer.ETag !== undefined && etagForm(answer.ETag) !== etagForm(ifMatch)) {
      throw backendError('precondition', attempted, `its ETag is ${answer.ETag}, not ${ifMatch}`);
    }
    return {
      ...stored(answer, sizeBytes),
      body: objectBody(s3, storageKey, answer, { lengthBytes, reusesBuffers }, signal),
    };
  } catch (error) {
    if (answer.Body instanceof Readable) answer.Body.destroy();
    throw error;
  }
}

/** The size of the whole object, of which the range asked for was sent; undefined when another one was. */
function wholeSize(
  answer: GetObjectCommandOutput,
  [first, last]: readonly [number, number],
  lengthBytes: number,
): number | undefined {
  if (answer.ContentRange === undefined) return first === 0 && last >= lengthBytes - 1 ? lengthBytes : undefined;
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.ContentRange);
  if (!match) return undefined;
  const [from, to, sizeBytes] = match.slice(1).map(Number) as [number, number, number];
  const isAsked = from === first && to === Math.min(last, sizeBytes - 1) && lengthBytes === to - from + 1;
  return isAsked ? sizeBytes : undefined;
}

/** Counts the bytes of an answer: fewer than announced is an error, whether the connection broke or was closed. */
function objectBody(
  s3: S3Connection,
  storageKey: string,
  answer: GetObjectCommandOutput,
  { lengthBytes, reusesBuffers }: { readonly lengthBytes: number; readonly reusesBuffers: boolean },
  signal: AbortSignal | undefined,
): Body {
  const attempted = s3.attempted('read', storageKey);
  if (!(answer.Body instanceof Readable)) throw backendError('unavailable', attempted, 'it answered without a body');
  const stream = answer.Body;
  // Between two reads of the consumer nobody listens; the error is met at the next one.
  stream.on('error', () => {});
  const chunks = watchedBody(stream, s3.clock, s3.timeouts.stallMs)[Symbol.asyncIterator]();
  let received = 0;
  let lent: Uint8Array | undefined;
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    let step: IteratorResult<Uint8Array>;
    if (lent !== undefined) freeMemoryOf(lent);
    try {
      step = await chunks.next();
    } catch (error) {
      const seen = toBackendError(error, attempted, signal);
      throw seen.kind === 'unavailable' ? truncated(error) : seen;
    }
    lent = reusesBuffers && !step.done ? step.value : undefined;
    received += step.done ? 0 : step.value.length;
    if (step.done && received < lengthBytes) throw truncated();
    return step;
  };
  const truncated = (cause?: unknown) =>
    backendError('truncated', attempted, `the connection ended after ${received} of ${lengthBytes} bytes`, cause);
  return { [Symbol.asyncIterator]: () => ({ next, return: () => chunks.return!() }) };
}

interface Described {
  readonly ContentLength?: number | undefined;
  readonly ETag?: string | undefined;
  readonly LastModified?: Date | undefined;
  readonly ContentType?: string | undefined;
  readonly CacheControl?: string | undefined;
  readonly ContentDisposition?: string | undefined;
  readonly ContentEncoding?: string | undefined;
  readonly ContentLanguage?: string | undefined;
  readonly Metadata?: Record<string, string> | undefined;
  readonly ChecksumSHA256?: string | undefined;
  readonly ChecksumType?: string | undefined;
  readonly TagCount?: number | undefined;
}

function sizeOf(answer: Described, s3: S3Connection, action: string, storageKey: string): number {
  if (answer.ContentLength !== undefined) return answer.ContentLength;
  // One that unpacks what is stored packed announces none, and answers others as ever.
  throw backendError('unacceptable', s3.attempted(action, storageKey), 'it announced no length');
}

function stored(answer: Described, sizeBytes: number): StoredObject {
  const sha256 = attestedSha256(answer);
  return {
    sizeBytes,
    etag: etagForm(answer.ETag ?? ''),
    headers: headersOf(answer),
    metadata: mapValues(answer.Metadata ?? {}, receivedMetadata),
    ...defined({ lastModified: answer.LastModified?.getTime(), sha256, tagCount: answer.TagCount }),
  };
}

function headersOf(answer: Described): ObjectHeaders {
  const received = defined({
    contentType: answer.ContentType,
    cacheControl: answer.CacheControl,
    contentDisposition: answer.ContentDisposition,
    contentEncoding: withoutFraming(answer.ContentEncoding),
    contentLanguage: answer.ContentLanguage,
  });
  return mapValues(received, receivedText);
}

/** Some backends store the framing of one upload as if it were an encoding of the object. */
function withoutFraming(encodings: string | undefined): string | undefined {
  if (encodings === undefined || !/\baws-chunked\b/i.test(encodings)) return encodings;
  const own = encodings.split(',').map((encoding) => encoding.trim());
  return own.filter((encoding) => encoding !== '' && encoding.toLowerCase() !== 'aws-chunked').join(', ') || undefined;
}

function mapValues<T extends Readonly<Record<string, string>>>(values: T, change: (value: string) => string): T {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)])) as T;
}
