import type { Body } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { BackendError, type GetOptions, type GetResult, type ObjectHeaders, type StoredObject } from '../backend.ts';
import { watchedBody } from './answer-body.ts';
import type { Answer } from './ask.ts';
import { sha256OfHeaders } from './attested.ts';
import type { S3Connection } from './connection.ts';
import { backendError, toBackendError } from './errors.ts';
import { receivedMetadata, receivedText } from './header-text.ts';
import { etagForm } from './tolerate-answer.ts';

/** A HEAD of part 1 announces its length; where parts are not known, that of the whole. */
export async function firstPartBytes(
  s3: S3Connection,
  storageKey: string,
  signal?: AbortSignal,
): Promise<number | null> {
  const asked = { operation: 'HeadObject', method: 'HEAD', query: 'partNumber=1', headers: {} } as const;
  const answer = await s3.ask('look up the first part of', storageKey, asked, { signal });
  return lengthOf(answer) ?? null;
}

/** Null where nothing is, and nothing says that it was deleted. */
export async function headObject(
  s3: S3Connection,
  storageKey: string,
  signal?: AbortSignal,
): Promise<StoredObject | null> {
  const headers = { 'x-amz-checksum-mode': s3.capabilities.checksumSha256 === true ? 'ENABLED' : undefined };
  try {
    const asked = { operation: 'HeadObject', method: 'HEAD', headers } as const;
    const answer = await s3.ask('look up', storageKey, asked, { signal });
    return stored(answer, sizeOf(answer, s3, 'look up', storageKey));
  } catch (error) {
    if (error instanceof BackendError && error.kind === 'not-found') return null;
    throw error;
  }
}

export async function getObject(
  s3: S3Connection,
  storageKey: string,
  { range, ifMatch, reusesBuffers = false, isFresh = false }: GetOptions,
  signal?: AbortSignal,
): Promise<GetResult> {
  const headers = { range: range && `bytes=${range[0]}-${range[1]}`, 'if-match': ifMatch };
  const asked = { operation: 'GetObject', method: 'GET', headers } as const;
  const answer = await s3.ask('read', storageKey, asked, { signal, isFresh });
  try {
    const lengthBytes = sizeOf(answer, s3, 'read', storageKey);
    // All of it, where nothing else was asked for: a part that passed for the whole would be a shorter object.
    const sizeBytes = wholeSize(answer, range ?? [0, Number.POSITIVE_INFINITY], lengthBytes);
    const attempted = s3.attempted('read', storageKey);
    if (sizeBytes === undefined) throw backendError('unsupported', attempted, 'it answered with another range');
    const { etag } = answer.headers;
    if (ifMatch !== undefined && etag !== undefined && etagForm(etag) !== etagForm(ifMatch)) {
      throw backendError('precondition', attempted, `its ETag is ${etag}, not ${ifMatch}`);
    }
    return {
      ...stored(answer, sizeBytes),
      body: objectBody(s3, storageKey, answer, { lengthBytes, reusesBuffers }, signal),
    };
  } catch (error) {
    if (!(answer.body instanceof Uint8Array)) answer.body.destroy();
    throw error;
  }
}

/** The size of the whole object, of which the range asked for was sent; undefined when another one was. */
function wholeSize(
  { status, headers }: Answer,
  [first, last]: readonly [number, number],
  lengthBytes: number,
): number | undefined {
  const contentRange = headers['content-range'];
  if (contentRange === undefined) {
    const isWhole = status !== 206 && first === 0 && last >= lengthBytes - 1;
    return isWhole ? lengthBytes : undefined;
  }
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange);
  if (!match) return undefined;
  const [from, to, sizeBytes] = match.slice(1).map(Number) as [number, number, number];
  const isAsked = from === first && to === Math.min(last, sizeBytes - 1) && lengthBytes === to - from + 1;
  return isAsked ? sizeBytes : undefined;
}

/** Counts the bytes of an answer: fewer than announced is an error, whether the connection broke or was closed. */
function objectBody(
  s3: S3Connection,
  storageKey: string,
  answer: Answer,
  { lengthBytes, reusesBuffers }: { readonly lengthBytes: number; readonly reusesBuffers: boolean },
  signal: AbortSignal | undefined,
): Body {
  const attempted = s3.attempted('read', storageKey);
  const { body } = answer;
  if (body instanceof Uint8Array) throw backendError('unavailable', attempted, 'it answered without a body');
  const chunks = watchedBody(body, s3.clock, s3.timeouts.stallMs)[Symbol.asyncIterator]();
  let received = 0;
  let previous: Uint8Array | undefined;
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    let step: IteratorResult<Uint8Array>;
    try {
      step = await chunks.next();
    } catch (error) {
      const seen = toBackendError(error, attempted, signal);
      throw seen.kind === 'unavailable' ? truncated(error) : seen;
    }
    // The last one stays: who asked may only have wanted to know whether it is the last.
    if (previous !== undefined && !step.done) body.reuse(previous);
    previous = reusesBuffers && !step.done ? step.value : undefined;
    received += step.done ? 0 : step.value.length;
    if (step.done && received < lengthBytes) throw truncated();
    return step;
  };
  const truncated = (cause?: unknown) =>
    backendError('truncated', attempted, `the connection ended after ${received} of ${lengthBytes} bytes`, cause);
  return { [Symbol.asyncIterator]: () => ({ next, return: () => chunks.return!() }) };
}

function lengthOf({ headers }: Answer): number | undefined {
  const text = headers['content-length'];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

function sizeOf(answer: Answer, s3: S3Connection, action: string, storageKey: string): number {
  const lengthBytes = lengthOf(answer);
  if (lengthBytes !== undefined) return lengthBytes;
  // One that unpacks what is stored packed announces none, and answers others as ever.
  throw backendError('unacceptable', s3.attempted(action, storageKey), 'it announced no length');
}

const metadataPrefix = 'x-amz-meta-';

function stored(answer: Answer, sizeBytes: number): StoredObject {
  const { headers } = answer;
  const metadata = Object.keys(headers)
    .filter((name) => name.startsWith(metadataPrefix))
    .map((name) => [name.slice(metadataPrefix.length), receivedMetadata(String(headers[name]))]);
  const tagCount = Number(headers['x-amz-tagging-count'] ?? Number.NaN);
  return {
    sizeBytes,
    etag: etagForm(headers.etag ?? ''),
    headers: headersOf(headers),
    metadata: Object.fromEntries(metadata),
    ...defined({
      lastModified: dateOf(headers['last-modified']),
      sha256: sha256OfHeaders(headers),
      tagCount: Number.isNaN(tagCount) ? undefined : tagCount,
    }),
  };
}

/** In whichever form: a backend that writes dates otherwise has answered all the same. */
function dateOf(text = ''): number | undefined {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

function headersOf(headers: Answer['headers']): ObjectHeaders {
  return defined({
    contentType: receivedHeader(headers['content-type']),
    cacheControl: receivedHeader(headers['cache-control']),
    contentDisposition: receivedHeader(headers['content-disposition']),
    contentEncoding: receivedHeader(withoutFraming(headers['content-encoding'])),
    contentLanguage: receivedHeader(headers['content-language']),
  });
}

function receivedHeader(characters: string | undefined): string | undefined {
  return characters === undefined ? undefined : receivedText(characters);
}

/** Some backends store the framing of one upload as if it were an encoding of the object. */
function withoutFraming(encodings: string | undefined): string | undefined {
  if (encodings === undefined || !/\baws-chunked\b/i.test(encodings)) return encodings;
  const own = encodings.split(',').map((encoding) => encoding.trim());
  return own.filter((encoding) => encoding !== '' && encoding.toLowerCase() !== 'aws-chunked').join(', ') || undefined;
}
