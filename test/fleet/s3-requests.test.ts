import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { createS3Backend, type S3BackendOptions } from '../../lib/fleet/s3-backend.ts';
import { kindOf, someBytes } from '../contracts/backend-bytes.ts';
import { listenOnLoopback } from '../support/loopback.ts';
import { keys } from './s3-kit.ts';

/** What requests that are built here do on the wire, which no answer of a good server shows. */
describe('requests that are built here', () => {
  let script: (request: IncomingMessage, response: ServerResponse) => void = () => {};
  let seen: IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  const server = createServer(async (request, response) => {
    seen.push(request);
    await collect(request).catch(() => {});
    script(request, response);
  });
  server.on('connection', (socket) => sockets.add(socket));
  let endpoint = '';
  beforeAll(async () => {
    endpoint = await listenOnLoopback(server);
  });
  beforeEach(() => {
    seen = [];
    sockets.clear();
    script = (_request, response) => response.writeHead(200, { etag: '"e"', 'content-length': '0' }).end();
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const connect = (more: Partial<S3BackendOptions> = {}) =>
    createS3Backend({
      ...{ name: 'wire', endpoint, region: 'us-east-1', bucket: 'bucket', prefix: 'p/', pathStyle: true },
      ...{ credentials: keys, capabilities: {}, clock: systemClock, ...more },
    });
  const put = (backend = connect(), sizeBytes = 10) =>
    backend.put({ storageKey: 'k', sizeBytes, body: bodyOf(someBytes(sizeBytes)) });

  it('keep their connection, and a socket that was closed meanwhile costs a second sending of what may be sent twice', async () => {
    const told: string[] = [];
    const backend = connect({ onRequest: (operation) => told.push(operation) });
    await put(backend);
    await put(backend);
    expect(sockets.size).toBe(1);
    // Closed without an answer to what is sent next, as a server does whose patience with an idle connection has ended.
    script = (request, response) => {
      if (seen.length === 3) request.socket.destroy();
      else response.writeHead(200, { etag: '"e"', 'content-length': '0' }).end();
    };
    await put(backend);
    expect(told).toEqual(['PutObject', 'PutObject', 'PutObject', 'PutObject']);
  });

  it('that were streamed, or overwrite, and not answered on a kept socket are unanswered, and not sent again', async () => {
    const backend = connect({ capabilities: { conditionalPut: true } });
    await put(backend);
    script = (request) => request.socket.destroy();
    for (const send of [
      () => put(backend, 2 ** 20),
      () => backend.put({ storageKey: 'k', sizeBytes: 1, body: bodyOf(someBytes(1)), ifMatch: '"e"' }),
      () =>
        backend.uploadPart({ storageKey: 'k', uploadId: 'u', partNumber: 1, sizeBytes: 1, body: bodyOf(someBytes(1)) }),
    ]) {
      seen = [];
      expect(await send().catch((error: unknown) => error)).toMatchObject({ kind: 'unavailable', isUnanswered: true });
      expect(seen.length).toBe(1);
    }
  });

  it.each([
    [412, 'PreconditionFailed'],
    [409, 'ConditionalRequestConflict'],
  ])('to an absent key are sent again, and a refusal with %i then says that they were', async (status, code) => {
    const backend = connect({ capabilities: { conditionalPut: true } });
    const body = `<Error><Code>${code}</Code></Error>`;
    script = (request, response) =>
      seen.length === 1 ? request.socket.destroy() : response.writeHead(status).end(body);
    const put = () => backend.put({ storageKey: 'k', sizeBytes: 1, body: bodyOf(someBytes(1)), ifAbsent: true });
    const refused = { kind: 'precondition', storesNothing: false };
    expect(await put().catch((error: unknown) => error)).toMatchObject({ ...refused, attempts: 2 });
    expect(seen.map(({ headers }) => headers['if-none-match'])).toEqual(['*', '*']);
    expect(await put().catch((error: unknown) => error)).toMatchObject({ ...refused, attempts: 1 });
  });

  it('do not reuse a socket whose request was given up', async () => {
    const stop = new AbortController();
    const backend = connect({ attempts: 1 });
    script = () => stop.abort();
    expect(await kindOf(backend.head('k', stop.signal))).toBe('cancelled');
    script = (_request, response) => response.writeHead(200, { 'content-length': '0' }).end();
    await backend.head('k');
    expect(sockets.size).toBe(2);
  });

  it('ask on a connection of their own where they are told to', async () => {
    const backend = connect();
    await backend.get('k').then((found) => collect(found.body));
    await backend.get('k', { isFresh: true }).then((found) => collect(found.body));
    expect(sockets.size).toBe(2);
  });

  it('carry the token of a session, signed', async () => {
    await put(connect({ credentials: { ...keys, sessionToken: 'the+token=' } }));
    expect(seen[0]!.headers['x-amz-security-token']).toBe('the+token=');
    expect(seen[0]!.headers.authorization).toContain('x-amz-security-token');
  });

  it('ask keys of their source for each request', async () => {
    let asked = 0;
    const backend = connect({ credentials: async () => ({ ...keys, accessKeyId: `KEY${++asked}` }) });
    await put(backend);
    await backend.head('k');
    expect(seen.map(({ headers }) => /Credential=(KEY\d)/.exec(headers.authorization!)![1])).toEqual(['KEY1', 'KEY2']);
  });

  it.each([301, 302, 307, 308])('take a redirect (%i) for an error, and go nowhere', async (status) => {
    script = (_request, response) =>
      response.writeHead(status, { location: 'http://127.0.0.1:1/elsewhere', 'content-length': '0' }).end();
    const backend = connect();
    for (const call of [() => put(backend), () => backend.get('k'), () => backend.head('k')])
      expect(await call().catch((error: unknown) => error)).toMatchObject({ kind: 'rejected' });
    expect(seen.length).toBe(3);
  });

  it('learn of a clock that is off from a refusal, and go well from then on', async () => {
    const ahead = 3_600_000;
    const signedAt = (request: IncomingMessage) => {
      const [, ...parts] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(String(request.headers['x-amz-date']))!;
      const [year, month, day, hour, minute, second] = parts.map(Number) as [
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      return Date.UTC(year, month - 1, day, hour, minute, second);
    };
    script = (request, response) => {
      const now = systemClock.now() + ahead;
      const isRefused = Math.abs(signedAt(request) - now) > 900_000;
      const date = { date: new Date(now).toUTCString() };
      if (isRefused) response.writeHead(403, date).end('<Error><Code>RequestTimeTooSkewed</Code></Error>');
      else response.writeHead(200, { ...date, etag: '"e"', 'content-length': '0' }).end();
    };
    const backend = connect();
    await put(backend);
    expect(seen.length).toBe(2);
    await put(backend);
    expect(seen.length).toBe(3);
  });

  it('go to the host of a bucket by its name where paths do not hold it', async () => {
    const { port } = server.address() as AddressInfo;
    await put(connect({ endpoint: `http://localhost:${port}/base`, pathStyle: false })).catch(() => {});
    // Some resolvers know no names below `localhost`: what was asked is then nowhere to be seen.
    for (const { headers, url } of seen) expect([headers.host, url]).toEqual([`bucket.localhost:${port}`, '/base/p/k']);
  });

  it('answer with the code and message of an error, entities decoded', async () => {
    script = (_request, response) =>
      response
        .writeHead(400)
        .end(
          '<?xml version="1.0"?>\n<Error><Code>InvalidArgument</Code><Message>a &lt; b &amp;amp; c</Message></Error>',
        );
    await expect(connect().get('k')).rejects.toThrow('the backend answered 400 InvalidArgument (a < b &amp; c)');
  });
});
