import type { IncomingHttpHeaders } from 'node:http';

/** What an answer says before its body. */
export interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  /** Names in lower case; several of one name as Node's own client gives them. */
  readonly headers: IncomingHttpHeaders;
}

/** What is told of an answer as it is read. */
export interface AnswerEvents {
  head(head: AnswerHead): void;
  /** Some of the body: a view of the bytes that are read. `isAlone`: nothing else of them is the body's. */
  body(bytes: Uint8Array, isAlone: boolean): void;
  /** The whole answer is read. */
  end(connection: 'kept' | 'closed'): void;
}

/** Reads one answer from the bytes of a connection. Throws `GarbledAnswer` for what is not HTTP/1.1. */
export interface AnswerReader {
  read(bytes: Buffer): void;
  /** The backend has sent its last byte. Throws where the answer is not whole. */
  ended(): void;
}

/** Not an answer, or none that says where it ends. */
export class GarbledAnswer extends Error {
  override readonly name = 'GarbledAnswer';
  /** As of other things that a socket reports. */
  readonly code = 'EGARBLED';
}

/** Most that head or trailers may hold: S3 allows 8 KiB of headers. */
const mostHeadBytes = 64 * 1024;
/** A size in hexadecimals, and what may be said of it. */
const mostLineBytes = 1024;

/** Where in its body an answer is. */
type Framing =
  | { at: 'head' }
  | { at: 'length'; left: number }
  | { at: 'chunk-size' | 'chunk-end' | 'trailers' }
  | { at: 'chunk'; left: number }
  | { at: 'until-closed' }
  | { at: 'end' };

/**
 * HTTP/1.1 as RFC 9112 has it, and no more lenient than Node's own parser, which copies every byte of a body and takes
 * longer over a small answer than all the rest of its request.
 */
export function createAnswerReader(method: string, events: AnswerEvents): AnswerReader {
  let framing: Framing = { at: 'head' };
  let isKept = false;
  /** What came before of a head or a line that has not ended. */
  let pending: Buffer = Buffer.alloc(0);

  /** Up to a mark, which is taken off; undefined while it has not come. `next` is where it ends in these bytes. */
  const upTo = (
    mark: string,
    bytes: Buffer,
    from: number,
    most: number,
  ): { text: string; next: number } | undefined => {
    const rest = bytes.subarray(from);
    const all = pending.length === 0 ? rest : Buffer.concat([pending, rest]);
    const end = all.indexOf(mark, Math.max(0, pending.length - mark.length + 1), 'latin1');
    if (end > most || (end < 0 && all.length > most))
      throw new GarbledAnswer(`more than ${most} bytes of headers came`);
    if (end < 0) {
      pending = Buffer.from(all);
      return undefined;
    }
    const next = from + end + mark.length - pending.length;
    pending = Buffer.alloc(0);
    return { text: all.toString('latin1', 0, end), next };
  };

  /** `isLast`: nothing was read behind it. */
  const finish = (isLast: boolean) => {
    framing = { at: 'end' };
    events.end(isKept && isLast ? 'kept' : 'closed');
  };

  const readHead = (bytes: Buffer, from: number): number => {
    const found = upTo('\r\n\r\n', bytes, from, mostHeadBytes);
    if (found === undefined) return bytes.length;
    const { isLatest, head } = parseHead(found.text);
    if (head.status === 101) throw new GarbledAnswer('it wants another protocol');
    // More is to come: these say so.
    if (head.status < 200) return found.next;
    framing = framingOf(method, head);
    isKept = framing.at !== 'until-closed' && keepsConnection(head, isLatest);
    events.head(head);
    const isWhole = framing.at === 'length' && framing.left === 0;
    if (isWhole) finish(found.next === bytes.length);
    return found.next;
  };

  const readBytes = (bytes: Buffer, from: number, left: number): number => {
    const part = bytes.subarray(from, from + left);
    if (part.length > 0) events.body(part, framing.at === 'length');
    return from + part.length;
  };

  const readChunkSize = (bytes: Buffer, from: number): number => {
    const line = upTo('\r\n', bytes, from, mostLineBytes);
    if (line === undefined) return bytes.length;
    const [, digits] = /^([0-9a-f]{1,12})[ \t]*(?:;[^\r\n]*)?$/i.exec(line.text) ?? [];
    if (digits === undefined) throw new GarbledAnswer(`${JSON.stringify(line.text)} is no length of a chunk`);
    const left = Number.parseInt(digits, 16);
    framing = left === 0 ? { at: 'trailers' } : { at: 'chunk', left };
    return line.next;
  };

  const readChunkEnd = (bytes: Buffer, from: number): number => {
    const line = upTo('\r\n', bytes, from, mostLineBytes);
    if (line === undefined) return bytes.length;
    if (line.text !== '') throw new GarbledAnswer('a chunk is longer than it says');
    framing = { at: 'chunk-size' };
    return line.next;
  };

  const readTrailers = (bytes: Buffer, from: number): number => {
    const line = upTo('\r\n', bytes, from, mostHeadBytes);
    if (line === undefined) return bytes.length;
    if (line.text === '') finish(line.next === bytes.length);
    return line.next;
  };

  /** Reads on from a place; returns where it stopped. */
  const step = (bytes: Buffer, from: number): number => {
    switch (framing.at) {
      case 'head':
        return readHead(bytes, from);
      case 'length':
      case 'chunk': {
        const next = readBytes(bytes, from, framing.left);
        framing.left -= next - from;
        if (framing.left > 0) return next;
        if (framing.at === 'length') finish(next === bytes.length);
        else framing = { at: 'chunk-end' };
        return next;
      }
      case 'chunk-size':
        return readChunkSize(bytes, from);
      case 'chunk-end':
        return readChunkEnd(bytes, from);
      case 'trailers':
        return readTrailers(bytes, from);
      case 'until-closed':
        return readBytes(bytes, from, bytes.length);
      case 'end':
        return bytes.length;
    }
  };

  return {
    read(bytes) {
      let at = 0;
      while (at < bytes.length) at = step(bytes, at);
    },
    ended() {
      if (framing.at === 'until-closed') finish(true);
      else if (framing.at !== 'end')
        throw Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' });
    },
  };
}

function parseHead(text: string): { readonly isLatest: boolean; readonly head: AnswerHead } {
  const [first = '', ...lines] = text.split('\r\n');
  const [, minor, status, reason = ''] = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([^\r\n\0]*))?$/.exec(first) ?? [];
  if (status === undefined) throw new GarbledAnswer(`${JSON.stringify(first.slice(0, 100))} is no answer of HTTP/1.1`);
  const headers: Record<string, string | string[]> = Object.create(null);
  for (const line of lines) addHeader(headers, line);
  return { isLatest: minor === '1', head: { status: Number(status), reason, headers } };
}

/** Of which one alone makes sense: the first counts, as it does for Node. */
const single: ReadonlySet<string> = new Set([
  'age',
  'authorization',
  'content-length',
  'content-type',
  'etag',
  'expires',
  'from',
  'host',
  'if-modified-since',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'referer',
  'retry-after',
  'server',
  'user-agent',
]);

const token = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/i;
/** What no value holds: everything that would end it, or print nothing. */
const unprintable = /[^\t\x20-\x7e\x80-\xff]/;

function addHeader(headers: Record<string, string | string[]>, line: string): void {
  const colon = line.indexOf(':');
  const given = line.slice(0, colon);
  const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
  if (colon < 0 || !token.test(given) || unprintable.test(value))
    throw new GarbledAnswer(`${JSON.stringify(line.slice(0, 100))} is no header`);
  const name = given.toLowerCase();
  const before = headers[name];
  if (name === 'set-cookie') headers[name] = [...(Array.isArray(before) ? before : []), value];
  else if (before === undefined) headers[name] = value;
  else if (name === 'content-length' && before !== value) throw new GarbledAnswer('it has two lengths');
  else if (!single.has(name)) headers[name] = `${String(before)}, ${value}`;
}

/** How an answer says where it ends. Source: RFC 9112, section 6.3. */
function framingOf(method: string, { status, headers }: AnswerHead): Framing {
  const length = headers['content-length'];
  const coding = headers['transfer-encoding'];
  if (length !== undefined && !/^\d{1,15}$/.test(length)) throw new GarbledAnswer(`"${length}" is no length`);
  // A HEAD, and what has no content, may say how long that would be.
  if (method === 'HEAD' || status === 204 || status === 304) return { at: 'length', left: 0 };
  if (coding !== undefined) {
    if (length !== undefined) throw new GarbledAnswer('it has a length, and comes in chunks');
    if (coding.toLowerCase() !== 'chunked') throw new GarbledAnswer(`its encoding is "${coding}"`);
    return { at: 'chunk-size' };
  }
  return length === undefined ? { at: 'until-closed' } : { at: 'length', left: Number(length) };
}

function keepsConnection({ headers }: AnswerHead, isLatest: boolean): boolean {
  const options = (headers.connection ?? '').toLowerCase().split(',');
  const says = (option: string) => options.some((one) => one.trim() === option);
  return !says('close') && (isLatest || says('keep-alive'));
}
