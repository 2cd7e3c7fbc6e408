import { once } from 'node:events';
import { type IncomingHttpHeaders, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAnswerReader, GarbledAnswer } from '../../lib/fleet/s3/answer-reader.ts';

/** What was read of an answer. */
interface Read {
  readonly status: number;
  readonly reason: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly connection?: 'kept' | 'closed';
}

/** Reads an answer that comes in pieces and then ends; the error's name where it is none. */
function readPieces(pieces: readonly Buffer[], method = 'GET'): Read | string {
  let read: Read | undefined;
  let body = '';
  let connection: Read['connection'];
  const reader = createAnswerReader(method, {
    head: (head) => {
      read = { ...head, headers: { ...head.headers }, body };
    },
    body: (bytes) => {
      body += Buffer.from(bytes).toString('latin1');
    },
    end: (left) => {
      connection = left;
    },
  });
  try {
    for (const piece of pieces) reader.read(piece);
    reader.ended();
  } catch (error) {
    return error instanceof GarbledAnswer ? 'garbled' : 'cut';
  }
  return { ...read!, body, connection: connection! };
}

const read = (text: string, method?: string) => readPieces([Buffer.from(text, 'latin1')], method);

const good = {
  'a length': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n\r\nhello',
  'no content': 'HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n',
  'not modified': 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
  'an empty body': 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  'no reason': 'HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n',
  'no reason and no space': 'HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n',
  'an answer before it':
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  chunks: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00a;x=y\r\n, world\r\n\n\r\n0\r\n\r\n',
  'chunks and trailers': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n',
  'no chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'until it is closed': 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it',
  'an older version': 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'an older version, kept': 'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok',
  'a connection that is closed': 'HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok',
  'headers twice':
    'HTTP/1.1 200 OK\r\nETag: a\r\netag: b\r\nX-Amz-Meta-A: 1\r\nx-amz-meta-a: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n',
  'white space and bytes above ASCII':
    'HTTP/1.1 200 \xc3\xa4h\r\nX-A:\t a \xc3\xa4 b \t\r\nX-B:\r\nX-C:c\r\nContent-Length: 0\r\n\r\n',
  'a name of every object': 'HTTP/1.1 200 OK\r\nconstructor: a\r\nContent-Length: 0\r\n\r\n',
} as const;

const garbled = {
  'another protocol': 'SSH-2.0-OpenSSH_9.6\r\n\r\n',
  'another version': 'HTTP/3.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  'a status of two digits': 'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n',
  'another protocol wanted': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
  'a header without a colon': 'HTTP/1.1 200 OK\r\nContent-Length 0\r\n\r\n',
  'a name with a space': 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n',
  'a folded header': 'HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n',
  'a line feed in a value': 'HTTP/1.1 200 OK\r\nX-A: a\nContent-Length: 9\r\nContent-Length: 0\r\n\r\n',
  'a zero byte': 'HTTP/1.1 200 OK\r\nX-A: a\0\r\nContent-Length: 0\r\n\r\n',
  'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc',
  'a length that is none': 'HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nab',
  'a negative length': 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab',
  'a list of lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab',
  'a length and chunks':
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n',
  'a chunk without a length': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nab\r\n',
  'a chunk of a negative length': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n',
  'a chunk that is longer than it says': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n',
} as const;

const cut = {
  nothing: '',
  'half a head': 'HTTP/1.1 200 OK\r\nContent-Le',
  'half a body': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell',
  'half a chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel',
  'no last chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
  'no end of the trailers': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n',
  'an answer before it alone': 'HTTP/1.1 100 Continue\r\n\r\n',
} as const;

describe('answers of HTTP', () => {
  let port = 0;
  let answer = '';
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(answer, 'latin1'));
  });
  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => void server.close());

  /** What Node's own client makes of it. */
  const nodesReading = (text: string): Promise<Read | 'refused'> => {
    answer = text;
    return new Promise((resolve) => {
      const asked = request({ host: '127.0.0.1', port, agent: false }, async (response) => {
        try {
          let body = '';
          for await (const chunk of response) body += (chunk as Buffer).toString('latin1');
          const { statusCode: status = 0, statusMessage: reason = '', headers } = response;
          resolve({ status, reason, headers: { ...headers }, body });
        } catch {
          resolve('refused');
        }
      });
      asked.on('upgrade', () => resolve('refused')).on('error', () => resolve('refused'));
      asked.end();
    });
  };

  it.each(Object.entries(good))('%s is read as Node reads it', async (_what, text) => {
    const { connection: _connection, ...seen } = read(text) as Read;
    expect(seen).toEqual(await nodesReading(text));
  });

  it.each([...Object.entries(garbled), ...Object.entries(cut)])('%s is refused, as Node does', async (what, text) => {
    expect(read(text)).toBe(what in garbled ? 'garbled' : 'cut');
    expect(await nodesReading(text)).toBe('refused');
  });

  it('what comes in pieces is what comes at once', () => {
    const texts = [...Object.values(good), ...Object.values(garbled), ...Object.values(cut)];
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.array(fc.nat(200), { maxLength: 12 }), (text, cuts) => {
        const bytes = Buffer.from(text, 'latin1');
        const ends = [...new Set([...cuts, bytes.length])].filter((at) => at <= bytes.length).sort((a, b) => a - b);
        const pieces = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
        expect(readPieces(pieces)).toEqual(read(text));
      }),
    );
  });

  it('a HEAD is answered without a body, whatever its length', () => {
    const seen = read('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'HEAD');
    expect(seen).toMatchObject({ status: 200, body: '', connection: 'kept' });
  });

  it('a connection is kept only where it is said to be, and nothing stands behind the answer', () => {
    const ends = Object.entries(good).map(([what, text]) => [what, (read(text) as Read).connection]);
    expect(Object.fromEntries(ends)).toMatchObject({
      'a length': 'kept',
      'no content': 'kept',
      chunks: 'kept',
      'until it is closed': 'closed',
      'an older version': 'closed',
      'an older version, kept': 'kept',
      'a connection that is closed': 'closed',
    });
    expect(read(`${good['a length']}HTTP/1.1 200 OK`)).toMatchObject({ body: 'hello', connection: 'closed' });
    expect(read(`${good.chunks}x`)).toMatchObject({ connection: 'closed' });
  });

  it('no name of a header is taken for what every object has', () => {
    const seen = read('HTTP/1.1 200 OK\r\n__proto__: a\r\nContent-Length: 0\r\n\r\n') as Read;
    expect(Object.entries(seen.headers)).toContainEqual(['__proto__', 'a']);
  });

  it('a head without an end is not gathered for ever', () => {
    const piece = Buffer.from(`X-A: ${'a'.repeat(1000)}\r\n`);
    const head = Buffer.from('HTTP/1.1 200 OK\r\n');
    expect(readPieces([head, ...Array.from({ length: 100 }, () => piece)])).toBe('garbled');
    const line = Buffer.from(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(5000)}`);
    expect(readPieces([line])).toBe('garbled');
  });
});
