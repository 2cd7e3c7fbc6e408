import type { IncomingMessage } from 'node:http';
import { S3Error } from './errors.ts';
import { type Operation, operationOf } from './operations.ts';

/** A request as parsed from the wire, before anything about it is trusted. */
export interface S3Request {
  readonly raw: IncomingMessage;
  readonly method: string;
  readonly operation: Operation;
  /** Empty when the request names none. */
  readonly bucket: string;
  readonly key: string;
  readonly path: string;
  readonly query: ReadonlyMap<string, string>;
  /** Every pair of the query in order, for the signature. */
  readonly queryPairs: readonly (readonly [string, string])[];
  /** Values by lower-case name. A fault may remove some. */
  readonly headers: Map<string, string>;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
}

const MAX_KEY_BYTES = 1024;

export function parseRequest(raw: IncomingMessage, expectsContinue: boolean): S3Request {
  const url = (raw.url ?? '/').replace(/^https?:\/\/[^/?]*/i, '');
  const mark = url.indexOf('?');
  const rawPath = mark < 0 ? url : url.slice(0, mark);
  const path = decode(rawPath);
  if (!path.startsWith('/')) throw new S3Error('InvalidURI');
  const slash = path.indexOf('/', 1);
  const bucket = slash < 0 ? path.slice(1) : path.slice(1, slash);
  const key = slash < 0 ? '' : path.slice(slash + 1);
  if (key !== '' && bucket === '') throw new S3Error('InvalidBucketName');
  const queryPairs = parseQuery(mark < 0 ? '' : url.slice(mark + 1));
  const query = new Map(queryPairs);
  const headers = headerMap(raw.rawHeaders);
  const method = raw.method ?? 'GET';
  const operation = operationOf({ method, bucket, key, query, headers });
  return { raw, method, operation, bucket, key, path, query, queryPairs, headers, expectsContinue };
}

/** Checked after the signature, so that only a known client learns more than `AccessDenied`. */
export function assertKeyLength(request: S3Request): void {
  const size = Buffer.byteLength(request.key);
  if (size <= MAX_KEY_BYTES) return;
  throw new S3Error('KeyTooLongError', { fields: { Size: String(size), MaxSizeAllowed: String(MAX_KEY_BYTES) } });
}

function parseQuery(text: string): [string, string][] {
  if (text === '') return [];
  return text
    .split('&')
    .filter((piece) => piece !== '')
    .map((piece) => {
      const equals = piece.indexOf('=');
      const name = equals < 0 ? piece : piece.slice(0, equals);
      const value = equals < 0 ? '' : piece.slice(equals + 1);
      return [decode(name.replaceAll('+', ' ')), decode(value.replaceAll('+', ' '))];
    });
}

function headerMap(rawHeaders: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = rawHeaders[i + 1] as string;
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before},${value}`);
  }
  return headers;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Error('InvalidURI');
  }
}
