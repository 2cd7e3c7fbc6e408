import { createHash, type Hash } from 'node:crypto';
import { S3Error } from './errors.ts';
import { hmac, isSameText, type SigningContext } from './signature.ts';

export interface ChunkedDecoder {
  /** Decodes some framed bytes; the pieces of data found in them. */
  push(bytes: Buffer): Buffer[];
  /** Call when the body has ended; throws IncompleteBody when the framing has not. */
  end(): void;
  /** Trailers by lower-case name, complete after `end`. */
  readonly trailers: ReadonlyMap<string, string>;
}

export interface ChunkedDecoderInput {
  /** Present when every chunk carries a signature. */
  signing?: SigningContext | undefined;
  hasTrailer: boolean;
}

const EMPTY_SHA256 = createHash('sha256').digest('hex');
const MIN_CHUNK_BYTES = 8192;
const MAX_LINE_BYTES = 4096;
const MAX_TRAILER_LINES = 16;

/** Decodes aws-chunked content, checking chunk and trailer signatures where the payload is signed. */
export function createChunkedDecoder({ signing, hasTrailer }: ChunkedDecoderInput): ChunkedDecoder {
  const trailers = new Map<string, string>();
  let state: 'size' | 'data' | 'data-end' | 'trailer' | 'done' = 'size';
  let line = '';
  let remaining = 0;
  let lastChunkBytes: number | undefined;
  let chunkSignature = '';
  let previousSignature = signing?.seedSignature ?? '';
  let chunkHash: Hash | undefined;
  let trailerText = '';

  const checkSignature = (kind: 'PAYLOAD' | 'TRAILER', hashes: string, given: string) => {
    if (!signing) return;
    const head = `AWS4-HMAC-SHA256-${kind}\n${signing.amzDate}\n${signing.scope}\n${previousSignature}\n`;
    if (!isSameText(hmac(signing.signingKey, head + hashes).toString('hex'), given)) {
      throw new S3Error('SignatureDoesNotMatch');
    }
    previousSignature = given;
  };

  const endOfChunk = () => {
    if (signing)
      checkSignature('PAYLOAD', `${EMPTY_SHA256}\n${chunkHash?.digest('hex') ?? EMPTY_SHA256}`, chunkSignature);
  };

  const beginChunk = (header: string) => {
    const match = /^([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(header);
    if (!match) throw new S3Error('IncompleteBody', 'The chunked encoding of the body is malformed.');
    if (signing && match[2] === undefined) throw new S3Error('SignatureDoesNotMatch');
    remaining = Number.parseInt(match[1] as string, 16);
    chunkSignature = match[2] ?? '';
    if (remaining === 0) {
      chunkHash = undefined;
      endOfChunk();
      state = 'trailer';
      return;
    }
    if (lastChunkBytes !== undefined && lastChunkBytes < MIN_CHUNK_BYTES) throw new S3Error('InvalidChunkSizeError');
    lastChunkBytes = remaining;
    chunkHash = signing ? createHash('sha256') : undefined;
    state = 'data';
  };

  const trailerLine = (text: string) => {
    if (text === '') {
      // A signed trailer's own signature follows the trailers, with or without an empty line between.
      state = 'done';
      return;
    }
    const colon = text.indexOf(':');
    if (!hasTrailer || colon <= 0 || trailers.size >= MAX_TRAILER_LINES) throw new S3Error('MalformedTrailerError');
    const name = text.slice(0, colon).trim().toLowerCase();
    const value = text.slice(colon + 1).trim();
    if (name === 'x-amz-trailer-signature') {
      checkSignature('TRAILER', createHash('sha256').update(trailerText).digest('hex'), value);
    } else {
      trailerText += `${name}:${value}\n`;
    }
    trailers.set(name, value);
  };

  const endOfLine = (text: string) => {
    if (state === 'size') beginChunk(text);
    else if (state === 'trailer') trailerLine(text);
    else if (state === 'done') {
      if (text !== '') {
        state = 'trailer';
        trailerLine(text);
      }
    } else {
      if (text !== '') throw new S3Error('IncompleteBody', 'A chunk is longer than its declared size.');
      state = 'size';
    }
  };

  return {
    trailers,
    push(bytes) {
      const pieces: Buffer[] = [];
      let at = 0;
      while (at < bytes.length) {
        if (state === 'data') {
          const piece = bytes.subarray(at, at + remaining);
          chunkHash?.update(piece);
          pieces.push(piece);
          at += piece.length;
          remaining -= piece.length;
          if (remaining === 0) {
            endOfChunk();
            state = 'data-end';
          }
          continue;
        }
        const newline = bytes.indexOf(0x0a, at);
        const until = newline < 0 ? bytes.length : newline + 1;
        line += bytes.toString('latin1', at, until);
        at = until;
        if (line.length > MAX_LINE_BYTES)
          throw new S3Error('IncompleteBody', 'The chunked encoding of the body is malformed.');
        if (newline >= 0) {
          const whole = line.replace(/\r?\n$/, '');
          line = '';
          endOfLine(whole);
        }
      }
      return pieces;
    },
    end() {
      // Some clients leave out the empty line after the last trailer.
      if (state === 'trailer' && line !== '') trailerLine(line.replace(/\r$/, ''));
      if (state !== 'done' && state !== 'trailer') throw new S3Error('IncompleteBody');
      if (hasTrailer && signing && !trailers.has('x-amz-trailer-signature')) throw new S3Error('SignatureDoesNotMatch');
    },
  };
}
