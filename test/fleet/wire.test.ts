import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { createWire, type Wire, type WireRequest } from '../../lib/fleet/s3/wire.ts';

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('connections to a backend', () => {
  /** What the server does with what it reads on a connection. */
  let serve: (socket: Socket, text: string) => void = () => {};
  let connections = 0;
  let port = 0;
  let wire: Wire;
  const server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => {}).on('data', (bytes) => serve(socket, bytes.toString('latin1')));
  });
  beforeEach(async () => {
    connections = 0;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
    wire = createWire({
      clock: systemClock,
      timeouts: { connectMs: 10_000, answerMs: 30_000, stallMs: 30_000 },
      maxSockets: 4,
      keepsSockets: true,
    });
  });
  afterEach(async () => {
    wire.destroy();
    // One that is not read from does not see that the other side has gone.
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });

  const asked = (more: Partial<WireRequest> = {}): WireRequest => ({
    operation: 'HeadObject',
    isSecure: false,
    hostname: '127.0.0.1',
    port,
    method: 'GET',
    path: '/a',
    headers: ['host', 'a'],
    sentBytes: 0,
    readsObject: false,
    ...more,
  });
  const send = (more?: Partial<WireRequest>) => wire.send(asked(more), {});
  const text = async (more?: Partial<WireRequest>) => Buffer.from((await send(more)).body as Uint8Array).toString();

  it('serve one request after the other', async () => {
    serve = (socket) => void socket.write(ok);
    for (let i = 0; i < 3; i += 1) expect(await text()).toBe('ok');
    expect(connections).toBe(1);
  });

  it('are not given up for an answer that came while this process had no core', async () => {
    serve = (socket) => void socket.write(ok);
    const hasty = createWire({
      clock: systemClock,
      timeouts: { connectMs: 100, answerMs: 100, stallMs: 30_000 },
      maxSockets: 4,
      keepsSockets: true,
      // Once it waits for its connection, nothing happens here for far longer than it waits.
      onRequest: () => void setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)),
    });
    expect((await hasty.send(asked(), {})).status).toBe(200);
    hasty.destroy();
  });

  it('are not used again where more came than was asked for', async () => {
    serve = (socket) => void socket.write(`${ok}HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n`);
    for (let i = 0; i < 3; i += 1) expect(await text()).toBe('ok');
    expect(connections).toBe(3);
  });

  it('are not used again where something came that nobody had asked for', async () => {
    const closed: Promise<unknown>[] = [];
    serve = (socket) => {
      socket.write(ok);
      closed.push(once(socket, 'close'));
    };
    expect(await text()).toBe('ok');
    const [first] = closed;
    serve = (socket) => void socket.write(ok);
    // The server says by itself that it has waited for too long.
    for (const socket of sockets) socket.write('HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n');
    await first;
    expect(await text()).toBe('ok');
    expect(connections).toBe(2);
  });

  it('are not used again where the answer came before everything was sent', async () => {
    serve = (socket) => void socket.write(ok);
    const never: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    };
    const put = { method: 'PUT', headers: ['host', 'a', 'content-length', '5'], sentBytes: 5 };
    expect(await text({ ...put, body: never })).toBe('ok');
    expect(await text()).toBe('ok');
    expect(connections).toBe(2);
  });

  it('are not used again where the answer came before a body in memory was taken', async () => {
    let isFirst = true;
    serve = (socket) => {
      // The rest is never read: the next request would wait behind it for ever.
      if (isFirst) socket.pause();
      isFirst = false;
      socket.write(ok);
    };
    const body = Buffer.alloc(64 * 2 ** 20);
    const headers = ['host', 'a', 'content-length', String(body.length)];
    expect(await text({ method: 'PUT', headers, sentBytes: body.length, body })).toBe('ok');
    expect(await text()).toBe('ok');
    expect(connections).toBe(2);
  });

  it('are used again once a streamed body was sent whole', async () => {
    let received = '';
    serve = (socket, more) => {
      received += more;
      if (received.endsWith('hello') || more.startsWith('GET')) socket.write(ok);
    };
    const put = { method: 'PUT', headers: ['host', 'a', 'content-length', '5'], sentBytes: 5 };
    expect(await text({ ...put, body: bodyOf(Buffer.from('hello')) })).toBe('ok');
    expect(await text()).toBe('ok');
    expect(connections).toBe(1);
  });

  it('that are closed here end no answer as whole, though it has no length', async () => {
    serve = (socket) => void socket.write('HTTP/1.1 200 OK\r\n\r\nsome of it');
    const { body } = await send({ readsObject: true });
    const reading = collect(body as AsyncIterable<Uint8Array>);
    wire.destroy();
    await expect(reading).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it.each(['x\r\ny: z', 'x\0'])('nothing is sent with %j in a header', async (value) => {
    await expect(send({ headers: ['host', value] })).rejects.toMatchObject({ code: 'ERR_INVALID_CHAR' });
    expect(connections).toBe(0);
  });

  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
});
