import { createHash, createHmac } from 'node:crypto';
import { KEYS, type signed } from './kit.ts';

/** Hand-made aws-chunked bodies, written from the documented format and not with the server's code. */

type Signed = Awaited<ReturnType<typeof signed>>;

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest();

export function split(body: Buffer, size: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) chunks.push(body.subarray(at, at + size));
  return chunks;
}

/** Frames without signatures, with a trailer. */
export function unsignedChunks(chunks: readonly Buffer[], trailer = ''): Buffer {
  const framed = chunks.flatMap((chunk) => [`${chunk.length.toString(16)}\r\n`, chunk, '\r\n']);
  return Buffer.concat([...framed, `0\r\n${trailer}\r\n`].map((piece) => Buffer.from(piece)));
}

/** Frames with a signature each, continuing from the request's own. */
export function signedChunks(
  request: Signed,
  chunks: readonly Buffer[],
  trailer?: { name: string; value: string },
): Buffer {
  const authorization = request.headers.authorization ?? '';
  const scope = /Credential=[^/]+\/([^,]+)/.exec(authorization)?.[1] ?? '';
  const [date = '', region = '', service = ''] = scope.split('/');
  const key = hmac(hmac(hmac(hmac(`AWS4${KEYS.secretAccessKey}`, date), region), service), 'aws4_request');
  let previous = /Signature=([0-9a-f]+)/.exec(authorization)?.[1] ?? '';
  const sign = (kind: string, rest: string) => {
    previous = hmac(
      key,
      `AWS4-HMAC-SHA256-${kind}\n${request.headers['x-amz-date']}\n${scope}\n${previous}\n${rest}`,
    ).toString('hex');
    return previous;
  };
  const framed = [...chunks, Buffer.alloc(0)].map((chunk) => {
    const signature = sign('PAYLOAD', `${sha256('')}\n${sha256(chunk)}`);
    const head = `${chunk.length.toString(16)};chunk-signature=${signature}\r\n`;
    return Buffer.concat([Buffer.from(head), chunk, Buffer.from(chunk.length > 0 ? '\r\n' : '')]);
  });
  if (!trailer) return Buffer.concat([...framed, Buffer.from('\r\n')]);
  const signature = sign('TRAILER', sha256(`${trailer.name}:${trailer.value}\n`));
  const tail = `${trailer.name}:${trailer.value}\r\nx-amz-trailer-signature:${signature}\r\n\r\n`;
  return Buffer.concat([...framed, Buffer.from(tail)]);
}
