import { createHash, type Hash } from 'node:crypto';
import {
  CHECKSUM_ALGORITHMS,
  type ChecksumAlgorithm,
  checksumHeader,
  createChecksum,
  digestBytes,
  type RunningChecksum,
} from './checksums.ts';
import { createChunkedDecoder } from './chunked-decoder.ts';
import { S3Error } from './errors.ts';
import type { S3Request } from './s3-request.ts';
import type { Authentication } from './signature.ts';

export interface StoredChecksum {
  algorithm: ChecksumAlgorithm;
  /** Base64; with `-N` behind it when composed of N parts. */
  value: string;
  type: 'FULL_OBJECT' | 'COMPOSITE';
}

/** The body of a request: its bytes without framing, checked against everything the request says about them. */
export interface Payload {
  /** Absent when only the framing tells. */
  readonly sizeBytes: number | undefined;
  /** Yields the bytes; throws at the end unless every digest, length and signature holds. */
  read(): AsyncGenerator<Buffer>;
  /** Known once `read` has ended. */
  digests(): { md5: Buffer; checksum: StoredChecksum | undefined };
}

export interface PayloadOptions {
  /** Tells a waiting client to go on; called once, before the first byte is read. */
  onStart: () => void;
  /** Counts what arrives on the wire, framing included. */
  onBytes: (count: number) => void;
  /** Faults. */
  ignoreChecksums?: boolean;
  keepFraming?: boolean;
}

const MAX_OBJECT_BYTES = 5 * 1024 ** 3;
const CHECKSUM_PREFIX = 'x-amz-checksum-';
const OTHER_CHECKSUM_HEADERS = ['x-amz-checksum-mode', 'x-amz-checksum-type', 'x-amz-checksum-algorithm'];

export function openPayload(request: S3Request, auth: Authentication, options: PayloadOptions): Payload {
  const { headers } = request;
  const framing = framingOf(auth.payload);
  const sizeBytes = declaredSize(headers, framing.isChunked);
  if (sizeBytes !== undefined && sizeBytes > MAX_OBJECT_BYTES) throw new S3Error('EntityTooLarge');
  const contentMd5 = parseContentMd5(headers.get('content-md5'));
  const expected = options.ignoreChecksums ? undefined : expectedChecksum(headers, framing.hasTrailer);
  const md5 = createHash('md5');
  const running = expected ? createChecksum(expected.algorithm) : undefined;
  // One hash serves for both, where the checksum is a SHA-256 too.
  const isShared = framing.sha256 !== undefined && expected?.algorithm === 'SHA256';
  const sha256 = framing.sha256 === undefined || isShared ? undefined : createHash('sha256');
  const keepFraming = options.keepFraming === true && framing.isChunked;
  const decoder =
    framing.isChunked && !keepFraming
      ? createChunkedDecoder({ signing: framing.isSigned ? auth.signing : undefined, hasTrailer: framing.hasTrailer })
      : undefined;
  let done: { md5: Buffer; checksum: StoredChecksum | undefined } | undefined;

  async function* read(): AsyncGenerator<Buffer> {
    options.onStart();
    let received = 0;
    // The stream must outlive a refused body: the answer still has to go out on its socket.
    for await (const wire of request.raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      options.onBytes(wire.length);
      for (const piece of decoder ? decoder.push(wire) : [wire]) {
        received += piece.length;
        if (sizeBytes !== undefined && received > sizeBytes && !keepFraming) {
          throw new S3Error('IncompleteBody', 'The request body is longer than it was declared to be.');
        }
        if (received > MAX_OBJECT_BYTES) throw new S3Error('EntityTooLarge');
        updateAll(piece, md5, running, sha256);
        yield piece;
      }
    }
    decoder?.end();
    if (keepFraming) {
      done = { md5: md5.digest(), checksum: undefined };
      return;
    }
    if (sizeBytes !== undefined && received < sizeBytes) throw new S3Error('IncompleteBody');
    const actual = running?.digest();
    const content = isShared ? actual : sha256?.digest();
    if (content && content.toString('hex') !== framing.sha256) throw new S3Error('XAmzContentSHA256Mismatch');
    const md5Digest = md5.digest();
    if (contentMd5 && !options.ignoreChecksums && !contentMd5.equals(md5Digest)) throw new S3Error('BadDigest');
    done = { md5: md5Digest, checksum: expected && actual && finishChecksum(expected, actual, decoder?.trailers) };
  }

  return {
    sizeBytes,
    read,
    digests() {
      if (!done) throw new Error('Cannot give the digests of a payload: it has not been read to its end.');
      return done;
    },
  };
}

/** Reads a small document whole. */
export async function readDocument(payload: Payload, maxBytes: number): Promise<Buffer> {
  if ((payload.sizeBytes ?? 0) > maxBytes) throw new S3Error('MaxMessageLengthExceeded');
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of payload.read()) {
    size += piece.length;
    if (size > maxBytes) throw new S3Error('MaxMessageLengthExceeded');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

interface Framing {
  isChunked: boolean;
  isSigned: boolean;
  hasTrailer: boolean;
  sha256?: string;
}

function framingOf(payload: string): Framing {
  switch (payload) {
    case 'UNSIGNED-PAYLOAD':
      return { isChunked: false, isSigned: false, hasTrailer: false };
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return { isChunked: true, isSigned: false, hasTrailer: true };
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
      return { isChunked: true, isSigned: true, hasTrailer: false };
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return { isChunked: true, isSigned: true, hasTrailer: true };
  }
  if (/^[0-9a-f]{64}$/.test(payload)) return { isChunked: false, isSigned: false, hasTrailer: false, sha256: payload };
  if (payload.startsWith('STREAMING-')) throw new S3Error('NotImplemented');
  throw new S3Error(
    'InvalidArgument',
    'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING-... name, or a valid sha256 value.',
  );
}

function declaredSize(headers: ReadonlyMap<string, string>, isChunked: boolean): number | undefined {
  const name = isChunked ? 'x-amz-decoded-content-length' : 'content-length';
  const text = headers.get(name);
  if (text === undefined) {
    if (!isChunked && headers.has('transfer-encoding')) return undefined;
    throw new S3Error('MissingContentLength');
  }
  if (!/^\d{1,15}$/.test(text)) throw new S3Error('InvalidArgument', `The value of ${name} is not a length.`);
  return Number(text);
}

/** MissingContentLength unless the request says how long its object is. */
export function assertSized(payload: Payload): void {
  if (payload.sizeBytes === undefined) throw new S3Error('MissingContentLength');
}

function parseContentMd5(text: string | undefined): Buffer | undefined {
  return text === undefined ? undefined : parseDigest(text, 16);
}

function parseDigest(text: string, size: number): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== size || bytes.toString('base64') !== text) throw new S3Error('InvalidDigest');
  return bytes;
}

interface ExpectedChecksum {
  algorithm: ChecksumAlgorithm;
  /** Absent when it comes as a trailer. */
  digest?: Buffer;
}

function expectedChecksum(headers: ReadonlyMap<string, string>, hasTrailer: boolean): ExpectedChecksum | undefined {
  const given = [...headers.keys()].filter(
    (name) => name.startsWith(CHECKSUM_PREFIX) && !OTHER_CHECKSUM_HEADERS.includes(name),
  );
  if (given.length > 1)
    throw new S3Error(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  const [header] = given;
  const trailer = headers.get('x-amz-trailer')?.trim().toLowerCase();
  if (trailer !== undefined && !hasTrailer)
    throw new S3Error('InvalidRequest', 'x-amz-trailer needs a payload with trailers.');
  if (header !== undefined && trailer !== undefined) {
    throw new S3Error('InvalidRequest', 'Expecting a single x-amz-checksum- header');
  }
  const algorithm = algorithmOf(header ?? trailer);
  if (!algorithm) {
    if (!headers.has('x-amz-sdk-checksum-algorithm')) return undefined;
    throw new S3Error(
      'InvalidRequest',
      'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.',
    );
  }
  if (header === undefined) return { algorithm };
  const text = headers.get(header) as string;
  try {
    return { algorithm, digest: parseDigest(text, digestBytes(algorithm)) };
  } catch {
    throw new S3Error('InvalidRequest', `Value for ${header} header is invalid.`);
  }
}

function algorithmOf(header: string | undefined): ChecksumAlgorithm | undefined {
  if (header === undefined) return undefined;
  const algorithm = CHECKSUM_ALGORITHMS.find((one) => checksumHeader(one) === header);
  if (!algorithm) throw new S3Error('InvalidRequest', `The value of ${header} is not a supported checksum.`);
  return algorithm;
}

function finishChecksum(
  expected: ExpectedChecksum,
  digest: Buffer,
  trailers: ReadonlyMap<string, string> | undefined,
): StoredChecksum {
  const actual = digest.toString('base64');
  const given = expected.digest?.toString('base64') ?? trailers?.get(checksumHeader(expected.algorithm));
  if (given === undefined) throw new S3Error('MalformedTrailerError');
  if (given !== actual) {
    throw new S3Error('BadDigest', `The ${expected.algorithm} you specified did not match the calculated checksum.`);
  }
  return { algorithm: expected.algorithm, value: actual, type: 'FULL_OBJECT' };
}

function updateAll(bytes: Buffer, md5: Hash, running: RunningChecksum | undefined, sha256: Hash | undefined): void {
  md5.update(bytes);
  running?.update(bytes);
  sha256?.update(bytes);
}
