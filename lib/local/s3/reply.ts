import { closeSync, createReadStream, readSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import type { S3Error } from './errors.ts';
import type { RequestFaults } from './faults.ts';
import { errorDocument, type XmlContent, xmlDocument } from './xml.ts';

/** An answer. A file is closed by whoever sends or discards the reply. */
export interface Reply {
  status: number;
  headers: Record<string, string>;
  body?: Buffer | FileBody;
  /** Length to announce where no body is sent, for HEAD. */
  announcedBytes?: number;
}

export interface FileBody {
  fd: number;
  start: number;
  length: number;
}

/** Below this a file is read in one go. */
const SMALL_FILE_BYTES = 256 * 1024;

export function emptyReply(status: number, headers: Record<string, string> = {}): Reply {
  return { status, headers };
}

export function xmlReply(
  root: string,
  content: XmlContent | XmlContent[],
  headers: Record<string, string> = {},
): Reply {
  return {
    status: 200,
    headers: { 'content-type': 'application/xml', ...headers },
    body: Buffer.from(xmlDocument(root, content)),
  };
}

export function errorReply(
  error: Pick<S3Error, 'status' | 'code' | 'message' | 'fields' | 'headers'>,
  resource: string,
  requestId: string,
): Reply {
  if (error.status === 304) return { status: 304, headers: error.headers };
  const content = {
    Code: error.code,
    Message: error.message,
    ...error.fields,
    Resource: resource,
    RequestId: requestId,
  };
  const headers = { 'content-type': 'application/xml', ...error.headers };
  return { status: error.status, headers, body: Buffer.from(errorDocument(content)) };
}

/** Closes what a reply that is not sent holds open. */
export function discardReply(reply: Reply): void {
  if (reply.body && !Buffer.isBuffer(reply.body)) closeSync(reply.body.fd);
}

export interface SendDeps {
  response: ServerResponse;
  faults: RequestFaults | undefined;
  isHead: boolean;
}

/** Sends a reply, with the faults that touch bodies; the bytes of body that went out. */
export async function sendReply({ response, faults, isHead }: SendDeps, reply: Reply): Promise<number> {
  const { body } = reply;
  const length = body?.length ?? 0;
  for (const [name, value] of Object.entries(reply.headers)) response.setHeader(name, value);
  response.statusCode = reply.status;
  if (reply.status !== 204 && reply.status !== 304)
    response.setHeader('content-length', reply.announcedBytes ?? length);
  if (!isSuccess(reply)) faults = undefined;
  if (isHead || !body || length === 0) {
    discardReply(reply);
    const held = faults?.take('hang', ({ afterBytes }) => afterBytes === 0);
    if (held) await Promise.race([held.cleared, closed(response)]);
    response.end();
    return 0;
  }
  const corrupt = Buffer.isBuffer(body) ? undefined : faults?.take('corrupt')?.effect;
  const cut = faults?.take('truncate', ({ afterBytes }) => afterBytes < length)?.effect;
  const hang = faults?.take('hang', ({ afterBytes }) => afterBytes !== undefined && afterBytes < length);
  const gone = closed(response);
  let bytes = 0;
  for await (let piece of piecesOf(body)) {
    if (corrupt) piece = corrupted(piece, bytes, corrupt.atByte ?? 0, corrupt.bytes ?? 1);
    if (cut && bytes + piece.length >= cut.afterBytes) {
      const rest = piece.subarray(0, cut.afterBytes - bytes);
      await flushed(response, rest, gone);
      response.destroy();
      return bytes + rest.length;
    }
    const stop = hang?.effect.afterBytes;
    if (hang && stop !== undefined && bytes <= stop && bytes + piece.length > stop) {
      await write(response, piece.subarray(0, stop - bytes), gone);
      await Promise.race([hang.cleared, gone]);
      await write(response, piece.subarray(stop - bytes), gone);
    } else if (bytes + piece.length === length && bytes === 0) {
      response.end(piece);
      return length;
    } else {
      await write(response, piece, gone);
    }
    bytes += piece.length;
    if (response.destroyed) return bytes;
  }
  // The file got shorter under our hands: the announced length can no longer be kept.
  if (bytes < length) response.destroy();
  else response.end();
  return bytes;
}

function isSuccess(reply: Reply): boolean {
  return reply.status === 200 || reply.status === 206;
}

async function* piecesOf(body: Buffer | FileBody): AsyncGenerator<Buffer> {
  if (Buffer.isBuffer(body)) {
    yield body;
  } else if (body.length <= SMALL_FILE_BYTES) {
    try {
      const bytes = Buffer.allocUnsafe(body.length);
      yield bytes.subarray(0, readSync(body.fd, bytes, 0, body.length, body.start));
    } finally {
      closeSync(body.fd);
    }
  } else {
    const { fd, start, length } = body;
    yield* createReadStream('', {
      fd,
      start,
      end: start + length - 1,
      highWaterMark: 256 * 1024,
    }) as AsyncIterable<Buffer>;
  }
}

async function write(response: ServerResponse, piece: Buffer, gone: Promise<void>): Promise<void> {
  if (response.destroyed || piece.length === 0 || response.write(piece)) return;
  const drained = Promise.withResolvers<void>();
  response.once('drain', drained.resolve);
  await Promise.race([drained.promise, gone]);
  response.off('drain', drained.resolve);
}

function flushed(response: ServerResponse, piece: Buffer, gone: Promise<void>): Promise<void> {
  const done = Promise.withResolvers<void>();
  response.flushHeaders();
  response.write(piece.length > 0 ? piece : Buffer.alloc(0), () => done.resolve());
  return Promise.race([done.promise, gone]);
}

function closed(response: ServerResponse): Promise<void> {
  if (response.destroyed || response.closed) return Promise.resolve();
  return new Promise((resolve) => response.once('close', resolve));
}

function corrupted(piece: Buffer, offset: number, atByte: number, count: number): Buffer {
  const copy = Buffer.from(piece);
  for (let i = Math.max(atByte - offset, 0); i < Math.min(atByte + count - offset, copy.length); i++) {
    copy[i] = (copy[i] as number) ^ 0xff;
  }
  return copy;
}
