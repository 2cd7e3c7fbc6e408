import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  Actions,
  ObjectAnswer,
  ObjectList,
  ParameterLine,
  QueueList,
  WaitingLine,
} from '../../lib/console/protocol.ts';
import { storageKey } from '../../lib/store/keys.ts';
import { newRange } from '../../lib/store/pass-rows.ts';
import { createTestFleet } from '../support/fleet.ts';
import { type ConsoleLab, consoleOver, startConsoleLab } from './kit.ts';

let lab: ConsoleLab;

beforeAll(async () => {
  lab = await startConsoleLab({ backends: ['a', 'b', 'c'], env: { BREAKER_FAILURES: '1' } });
  for (const key of ['one', 'two', 'folder/three']) await lab.fleet.client.put(key, `content of ${key}`);
  await lab.fleet.settle();
});

afterAll(() => lab.close());

/** As anybody on this machine can send it, whatever a browser would put into it. */
function send(
  path: string,
  headers: Readonly<Record<string, string>>,
  method = 'GET',
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: lab.console.port, path, method, headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode!, text }));
    });
    sent.on('error', reject);
    sent.end(method === 'POST' ? '{"worker":"scrubber"}' : undefined);
  });
}

describe('who is let in:', () => {
  const own = () => ({ host: `127.0.0.1:${lab.console.port}` });
  const bearer = () => ({ ...own(), authorization: `Bearer ${lab.token}` });
  const paths = [
    '/',
    '/page.js',
    '/page.css',
    '/api/events',
    '/api/object?key=one',
    '/api/download?key=one',
    '/nothing',
  ];

  test.each(paths)(
    'a request for %s without the token, or with another one, is refused [console-guarded]',
    async (path) => {
      expect(await send(path, own())).toMatchObject({ status: 401 });
      expect(await send(path, { ...own(), authorization: 'Bearer wrong' })).toMatchObject({ status: 401 });
      expect(await send(`${path}${path.includes('?') ? '&' : '?'}token=wrong`, own())).toMatchObject({ status: 401 });
    },
  );

  test.each(paths)('a request for %s by another name of this machine is refused [console-guarded]', async (path) => {
    for (const host of ['evil.example', `evil.example:${lab.console.port}`, '127.0.0.1', '127.0.0.1:1'])
      expect(await send(path, { ...bearer(), host })).toMatchObject({ status: 403 });
  });

  test.each(paths)('a request for %s that another page sends is refused [console-guarded]', async (path) => {
    for (const origin of ['http://evil.example', 'null', 'http://127.0.0.1:1', `https://127.0.0.1:${lab.console.port}`])
      expect(await send(path, { ...bearer(), origin })).toMatchObject({ status: 403 });
    for (const site of ['cross-site', 'same-site'])
      expect(await send(path, { ...bearer(), 'sec-fetch-site': site })).toMatchObject({ status: 403 });
  });

  test('whatever is answered is kept by nobody, and may be neither framed nor taken for something else', async () => {
    const headersOf = async (path: string, headers: Record<string, string>) =>
      (await fetch(`http://127.0.0.1:${lab.console.port}${path}`, { headers })).headers;
    for (const path of [...paths.filter((one) => one !== '/api/events'), '/api/object?key=', '/api/queue?state=no'])
      for (const given of [bearer(), {}] as Record<string, string>[]) {
        const { host: _, ...asked } = given;
        const headers = await headersOf(path, asked);
        expect(headers.get('cache-control'), path).toBe('no-store');
        expect(headers.get('x-content-type-options'), path).toBe('nosniff');
        expect(headers.get('referrer-policy'), path).toBe('no-referrer');
        expect(headers.get('content-security-policy'), path).toContain("frame-ancestors 'none'");
        expect(headers.get('access-control-allow-origin'), path).toBeNull();
      }
  });

  test.each([
    ['GET / HTTP/1.0', 403],
    ['GET http://evil.example/ HTTP/1.1\r\nHost: evil.example', 403],
    ['GET / HTTP/1.1\r\nHost: [::1]:PORT', 403],
    ['GET / HTTP/1.1\r\nHost: 127.0.0.1.:PORT', 403],
    ['GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT@evil.example', 403],
    ['GET / HTTP/1.1\r\nHost: user@127.0.0.1:PORT', 403],
    ['GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1:PORT', 400],
    ['GET //evil.example/page.js HTTP/1.1\r\nHost: 127.0.0.1:PORT', 404],
    ['GET /../lib/console/console.ts HTTP/1.1\r\nHost: 127.0.0.1:PORT', 404],
    ['GET /page/..%2f..%2f..%2fetc/passwd HTTP/1.1\r\nHost: 127.0.0.1:PORT', 404],
    ['GET /page.js/../../package.json HTTP/1.1\r\nHost: 127.0.0.1:PORT', 404],
    ['OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:PORT', 400],
    ['DELETE /api/object?key=one HTTP/1.1\r\nHost: 127.0.0.1:PORT', 405],
    ['GET /nothing HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: Upgrade\r\nUpgrade: websocket', 404],
  ])('%s is answered with %i, whoever has the token', async (request, status) => {
    const socket = connect(lab.console.port, '127.0.0.1');
    const [line, ...rest] = request.replaceAll('PORT', String(lab.console.port)).split('\r\n');
    socket.write([line, ...rest, `Authorization: Bearer ${lab.token}`, 'Connection: close', '', ''].join('\r\n'));
    let answer = '';
    for await (const chunk of socket) answer += chunk;
    expect(answer.split('\r\n')[0]).toContain(` ${status} `);
  });

  test('an action that a form of another page could send is refused', async () => {
    const before = lab.fleet.store.rowAt('fleet', 'settings');
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      const answer = await send('/api/actions/pause', { ...bearer(), 'content-type': type }, 'POST');
      expect(answer).toMatchObject({ status: 415 });
    }
    expect(lab.fleet.store.rowAt('fleet', 'settings')).toEqual(before);
  });

  test('the page asks nobody else for anything, and no other page may show it [console-guarded]', async () => {
    const response = await fetch(lab.console.url);
    expect(response.status).toBe(200);
    const policy = response.headers.get('content-security-policy')!;
    expect(policy.split('; ')).toEqual(
      expect.arrayContaining([
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
      ]),
    );
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    expect(response.headers.get('referrer-policy')).toBe('no-referrer');
    expect(response.headers.get('cache-control')).toBe('no-store');
  });
});

test('the page is at most 200 KiB as it is sent', async () => {
  const origin = `http://127.0.0.1:${lab.console.port}`;
  const sizes = await Promise.all(
    ['/', '/page.js', '/page.css'].map(async (path) => {
      const response = await fetch(`${origin}${path}?token=${lab.token}`);
      await response.arrayBuffer();
      return Number(response.headers.get('content-length'));
    }),
  );
  const all = sizes.reduce((sum, size) => sum + size, 0);
  expect(all).toBeGreaterThan(5_000);
  expect(all).toBeLessThanOrEqual(200 * 1024);
});

test('the overview sums up the fleet from its ledger, and its workers from their leases', async () => {
  const overview = await lab.overview();
  expect(overview).toMatchObject({ objects: 3, isReadOnly: false, byCopies: [0, 0, 3, 0, 0] });
  expect(overview.backends.map(({ name, objects, breaker }) => [name, objects, breaker])).toEqual([
    ['a', 3, 'closed'],
    ['b', 3, 'closed'],
    ['c', 0, 'closed'],
  ]);
  expect(overview.attention.filter(({ objects }) => objects > 0)).toEqual([]);
  const replicator = overview.workers.find(({ name }) => name === 'replicator')!;
  expect(replicator.last).toMatchObject({ outcome: 'success', succeeded: 3 });
  const spent = overview.backends[1]!.usage!.find(({ what }) => what === 'ingressBytes');
  expect(spent!.used).toBeGreaterThan(0);
});

test('lists stand behind the figures, a page at a time', async () => {
  const on = (query: string) => lab.get<ObjectList>(`/api/objects?${query}`);
  expect((await on('copies=2')).body.objects.map(({ key }) => key).sort()).toEqual(['folder/three', 'one', 'two']);
  expect((await on('copies=1')).body.objects).toEqual([]);
  expect((await on('backend=c')).body.objects).toEqual([]);
  expect((await on('which=damaged')).body.objects).toEqual([]);
  const found = await lab.get<ObjectList>('/api/find?prefix=folder/');
  expect(found.body.objects).toEqual([
    expect.objectContaining({ key: 'folder/three', backends: ['a', 'b'], counted: 2, wanted: 2 }),
  ]);
});

test('a list of many placements goes on where its page ended, and meets every object once', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c', 'd'], policies: { default: { factor: 1 } } });
  const many = await consoleOver(fleet);
  try {
    const keys = Array.from({ length: 130 }, (_, i) => `k/${i}`);
    for (const key of keys) await fleet.client.put(key, key);
    const met: string[] = [];
    let after = '';
    do {
      const { body } = await many.get<ObjectList>(`/api/objects?after=${after}`);
      met.push(...body.objects.map(({ key }) => key));
      after = body.next ?? '';
    } while (after !== '');
    expect(met.sort()).toEqual(keys.sort());
  } finally {
    await many.close();
  }
});

test('what begins alike is listed in key order, a page at a time, each once', async () => {
  const found = await startConsoleLab();
  try {
    const keys = Array.from({ length: 120 }, (_, i) => `in/${i}`);
    for (const key of ['in/', ...keys, 'inn', 'im']) await found.fleet.client.put(key, key);
    const met: string[] = [];
    let next: string | undefined = '';
    while (next !== undefined) {
      const after: string = next === '' ? '' : `&after=${encodeURIComponent(next)}`;
      const { body }: { body: ObjectList } = await found.get(`/api/find?prefix=in/${after}`);
      expect(body.objects.length).toBeLessThanOrEqual(50);
      met.push(...body.objects.map(({ key }) => key));
      next = body.next;
    }
    expect(met).toEqual(['in/', ...keys.sort()]);
  } finally {
    await found.close();
  }
});

test('what there is no list of is said to be none, and never answered with another list', async () => {
  const wrong = [
    '/api/objects?which=everything',
    '/api/objects?copies=many',
    '/api/queue?state=nothing',
    '/api/object?key=',
    `/api/object?key=${'k'.repeat(2_000)}`,
    `/api/find?prefix=${'k'.repeat(2_000)}`,
    '/api/waiting?key=.holdfast/owner',
    '/api/download?key=.holdfast/owner',
  ];
  for (const path of wrong) {
    const { status, body } = await lab.get<{ error: string }>(path);
    expect([path, status]).toEqual([path, 400]);
    expect(body.error.length).toBeGreaterThan(10);
  }
});

test('an object is shown with every copy, and downloaded as it was put', async () => {
  const { body } = await lab.get<ObjectAnswer>('/api/object?key=one');
  if (body.outcome !== 'found') throw new Error(body.outcome);
  const { copies, sizeBytes, counted } = body.object;
  expect({ sizeBytes, counted }).toEqual({ sizeBytes: 14, counted: 2 });
  expect(copies.map(({ backend, bucket }) => [backend, bucket])).toEqual([
    ['a', 'bucket-a'],
    ['b', 'bucket-b'],
  ]);
  expect(copies.every(({ verified }) => verified?.how === 'written')).toBe(true);
  const response = await fetch(`http://127.0.0.1:${lab.console.port}/api/download?key=one&token=${lab.token}`);
  expect(response.headers.get('content-disposition')).toBe("attachment; filename*=UTF-8''one");
  expect(await response.text()).toBe('content of one');
  expect((await lab.get<ObjectAnswer>('/api/object?key=none')).body).toEqual({ outcome: 'absent' });
});

test('a download of which no copy verifies is never whole', async () => {
  await lab.fleet.client.put('rotten', 'r'.repeat(100_000));
  const { copies } = lab.fleet.object('rotten');
  for (const [name, copyId] of Object.entries(copies))
    lab.fleet.backends[name]!.putNow(storageKey('rotten', copyId), Buffer.alloc(100_000, 'x'));
  const response = await fetch(`http://127.0.0.1:${lab.console.port}/api/download?key=rotten&token=${lab.token}`);
  const isWhole =
    response.ok &&
    (await response
      .text()
      .then(() => true)
      .catch(() => false));
  expect(isWhole).toBe(false);
  await lab.fleet.client.delete('rotten');
});

test.each([
  ['page.html', "attachment; filename*=UTF-8''page.html"],
  ['a/../../"; filename="evil.exe', "attachment; filename*=UTF-8''%22%3B%20filename%3D%22evil.exe"],
  ['line\r\nset-cookie: a=b', "attachment; filename*=UTF-8''line%0D%0Aset-cookie%3A%20a%3Db"],
  ["日本 (1)'*.txt", "attachment; filename*=UTF-8''%E6%97%A5%E6%9C%AC%20%281%29%27%2A.txt"],
  ['folder/', "attachment; filename*=UTF-8''object"],
])('%j is downloaded under a name that is one header, as bytes and not as what it says it is', async (key, header) => {
  const content = '<script>alert(1)</script>';
  await lab.fleet.client.put(key, content, { headers: { contentType: 'text/html' } });
  const asked = new URLSearchParams({ key, token: lab.token });
  const response = await fetch(`http://127.0.0.1:${lab.console.port}/api/download?${asked}`);
  expect(response.headers.get('content-disposition')).toBe(header);
  expect(response.headers.get('content-type')).toBe('application/octet-stream');
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  expect(response.headers.get('content-length')).toBe(String(content.length));
  expect(await response.text()).toBe(content);
  await lab.fleet.client.delete(key);
  await lab.fleet.settle();
});

test('a download to a slow reader leaves nothing behind on its connection, and one that is given up ends', async () => {
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => warnings.push(message);
  process.on('warning', onWarning);
  await lab.fleet.client.put('large', Buffer.alloc(6_000_000, 'x'));
  const address = `http://127.0.0.1:${lab.console.port}/api/download?key=large&token=${lab.token}`;
  try {
    let bytes = 0;
    for await (const chunk of (await fetch(address)).body!) bytes += chunk.length;
    expect(bytes).toBe(6_000_000);
    const left = (await fetch(address)).body!.getReader();
    await left.read();
    await left.cancel();
    expect((await lab.get('/api/object?key=large')).status).toBe(200);
    expect(warnings).toEqual([]);
  } finally {
    process.off('warning', onWarning);
    await lab.fleet.client.delete('large');
    await lab.fleet.settle();
  }
});

test('a copy that rots is found by verifying it, and the record says so', async () => {
  await lab.fleet.client.put('rots', 'as it was put');
  await lab.fleet.settle();
  const { copies } = lab.fleet.object('rots');
  for (const [name, copyId] of Object.entries(copies))
    lab.fleet.backends[name]!.putNow(storageKey('rots', copyId), Buffer.from('as it became.'));
  const { body } = await lab.act('scrub', { key: 'rots' });
  expect(body).toMatchObject({ outcome: 'done', sentence: 'Not every copy verifies' });
  expect(lab.fleet.object('rots').condition).toBe('damaged');
  expect((await lab.get<ObjectList>('/api/objects?which=damaged')).body.objects).toEqual([
    expect.objectContaining({ key: 'rots', condition: 'damaged' }),
  ]);
  await lab.fleet.client.delete('rots');
  await lab.fleet.settle();
});

test('settings are changed, and what is wrong with them is said', async () => {
  const row = async (name: string) =>
    (await lab.get<ParameterLine[]>('/api/settings')).body.find((parameter) => parameter.name === name);
  expect(await lab.act('set', { name: 'SCRUBBER_BATCH_SIZE', value: '7' })).toMatchObject({
    body: { outcome: 'done' },
  });
  expect(await row('SCRUBBER_BATCH_SIZE')).toMatchObject({ value: '7', source: 'set', mayBeSet: true });
  expect(await lab.act('set', { name: 'SCRUBBER_BATCH_SIZE', value: 'many' })).toMatchObject({
    body: { outcome: 'refused' },
  });
  expect(await lab.act('set', { name: 'SCRUBBER_SCHEDULE', value: 'rate(1 hour)' })).toMatchObject({
    body: { outcome: 'refused' },
  });
  expect(await row('SCRUBBER_BATCH_SIZE')).toMatchObject({ value: '7' });
  await lab.act('unset', { name: 'SCRUBBER_BATCH_SIZE' });
  expect(await row('SCRUBBER_BATCH_SIZE')).toMatchObject({ source: 'default' });
  await lab.act('pause', { worker: 'scrubber' });
  expect(await lab.fleet.tick('scrubber')).toMatchObject({ message: 'The worker is paused' });
  await lab.act('resume', { worker: 'scrubber' });
  expect(await lab.act('pause', { worker: 'nobody' })).toMatchObject({ body: { outcome: 'refused' } });
});

test('what is asked for wrongly changes nothing', async () => {
  const before = lab.fleet.store.snapshot();
  const wrong: [string, unknown][] = [
    ['nothing', {}],
    ['constructor', {}],
    ['pause', {}],
    ['pause', { worker: 'scrubber', more: 1 }],
    ['set', { name: 'SCRUBBER_BATCH_SIZE', value: 7 }],
    ['import', { backends: [] }],
    ['scrub', { key: '' }],
    ['drain', null],
  ];
  for (const [action, asked] of wrong) expect((await lab.act(action, asked)).status).toBe(400);
  // It is answered too, not hung up on.
  expect((await lab.act('set', { name: 'SCRUBBER_BATCH_SIZE', value: '7'.repeat(3_000_000) })).status).toBe(400);
  expect(lab.fleet.store.snapshot()).toEqual(before);
});

test('a drain is begun after its plan, and ended again', async () => {
  const { body: plan } = await lab.get('/api/drain-plan?backend=a');
  expect(plan).toMatchObject({ holds: { objects: 3 }, copies: { objects: 3 }, warnings: [] });
  expect((await lab.act('drain', { backend: 'a' })).body).toMatchObject({ outcome: 'done' });
  expect((await lab.overview()).backends[0]!.drain).toMatchObject({ left: 3, state: 'draining' });
  const { body } = await lab.act('undrain', { backend: 'a' });
  expect(body.outcome).toBe('begun');
  await expect.poll(async () => (await lab.overview()).jobs[0]!.state, { interval: 20 }).toBe('done');
  expect((await lab.overview()).backends[0]!.drain).toBeUndefined();
  const tooFew = await consoleOver(await createTestFleet({ backends: ['a', 'b'] }));
  expect((await tooFew.act('drain', { backend: 'a' })).body).toMatchObject({
    outcome: 'refused',
    sentence: expect.stringContaining('fewer than the factor'),
  });
  await tooFew.close();
});

test('what was deleted is listed while it waits, and brought back', async () => {
  await lab.fleet.client.put('missed', 'as it was');
  const { generation } = lab.fleet.object('missed');
  await lab.fleet.client.delete('missed');
  const { body: waiting } = await lab.get<WaitingLine[]>('/api/waiting?key=missed');
  expect(waiting).toEqual([expect.objectContaining({ generation, sizeBytes: 9 })]);
  expect((await lab.act('undelete', { key: 'missed', generation: 'another' })).body.outcome).toBe('refused');
  expect((await lab.act('undelete', { key: 'missed', generation })).body.outcome).toBe('done');
  expect(await lab.fleet.read('missed')).toBe('as it was');
  await lab.fleet.client.delete('missed');
  await lab.fleet.settle();
});

test('what the queue gave up is listed, and tried again', async () => {
  await lab.fleet.client.put('gone', 'gone');
  await lab.fleet.client.delete('gone');
  const ofIt = () => lab.fleet.queue().filter(({ key }) => key === 'gone');
  const [item] = ofIt();
  await lab.fleet.store.write({
    kind: 'queue',
    put: { ...item!, state: 'dead', attempts: 10, lastError: 'it was refused' },
    expect: { state: 'cleanup' },
  });
  // As the cleanup queue's own commit does it.
  const move = (state: string, objects: number) =>
    ({ kind: 'add', pk: 'fleet', sk: `queue/${state}/a#0`, add: { objects, bytes: objects * 4 } }) as const;
  lab.fleet.store.apply([move('cleanup', -1), move('dead', 1)]);
  const { body } = await lab.get<QueueList>('/api/queue?state=dead');
  expect(body.items).toEqual([expect.objectContaining({ key: 'gone', attempts: 10, lastError: 'it was refused' })]);
  expect(await lab.act('requeue', { ids: [body.items[0]!.id] })).toMatchObject({
    body: { outcome: 'done', sentence: '1 item tried again from the start' },
  });
  expect(ofIt()).toEqual([expect.objectContaining({ state: 'cleanup', attempts: 0 })]);
  await lab.fleet.settle();
});

test('an import that goes on with one that was stopped says so', async () => {
  const files = await consoleOver(await createTestFleet({ backends: ['a', 'b'] }));
  const { fleet } = files;
  try {
    fleet.backends.a!.putNow('found', Buffer.from('found'));
    const write = (pk: string, sk: string, data: object) =>
      fleet.store.write({ kind: 'row', put: { pk, sk, version: 1, data: { ...data } }, expect: 'absent' });
    const { id, ...range } = newRange('0', 1, ['a'], {});
    await write('fleet', 'pass/import/a', { number: 1, startedAt: fleet.clock.now() - 60_000, isRunning: true });
    await write('pass/import/a', `range/${id}`, range);
    await files.act('import', { backends: ['a'] });
    const jobNow = async () => (await files.overview()).jobs[0]!;
    await expect.poll(async () => (await jobNow()).state, { interval: 20, timeout: 20_000 }).toBe('done');
    const { result } = await jobNow();
    expect(result!.at(-1)).toMatch(
      /^This went on with an import that began at 20.*: for files put since then, import again$/,
    );
    expect(fleet.object('found').copies).toEqual({ a: '' });
  } finally {
    await files.close();
  }
});

test('a console that ends lets what is under way end, and begins nothing any more', async () => {
  const ending = await consoleOver(await createTestFleet({ backends: ['a', 'b'] }));
  const { fleet } = ending;
  const authorization = `Bearer ${ending.token}`;
  const address = `http://127.0.0.1:${ending.console.port}`;
  // Somebody looks, somebody does not read what is sent, and an import is held up in the midst of it.
  const looking = await fetch(`${address}/api/events`, { headers: { authorization } });
  const stuck = connect(ending.console.port, '127.0.0.1');
  stuck.on('error', () => {});
  stuck.write(
    `GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:${ending.console.port}\r\nAuthorization: ${authorization}\r\n\r\n`,
  );
  for (let i = 0; i < 5; i += 1) fleet.backends.a!.putNow(`found/${i}`, Buffer.from('found'));
  const { held, release, reached } = gate();
  fleet.before = ({ port, method }) => {
    if (port !== 'a' || method !== 'list') return undefined;
    reached.resolve();
    return held;
  };
  await ending.act('import', { backends: ['a'] });
  await reached.promise;
  const late = request({
    ...{ host: '127.0.0.1', port: ending.console.port, path: '/api/actions/plan-import', method: 'POST' },
    headers: { authorization, 'content-type': 'application/json', connection: 'close' },
  });
  const answered = once(late, 'response').then(([response]) => textOf(response as IncomingMessage));
  late.write('{"backends":');
  const [socket] = (await once(late, 'socket')) as [Socket];
  if (socket.connecting) await once(socket, 'connect');
  await ending.get('/api/settings');
  const closed = ending.close();
  late.end('["b"]}');
  expect(JSON.parse(await answered)).toMatchObject({
    outcome: 'refused',
    sentence: 'Cannot begin "Plan of an import from b": the console is ending',
  });
  release();
  await closed;
  await expect(fetch(address)).rejects.toThrow();
  // Its stream has ended.
  await looking.text().catch(() => '');
  stuck.destroy();
});

/** Holds something up until it is released; tells when it was reached. */
function gate() {
  const opened = Promise.withResolvers<void>();
  return { held: opened.promise, release: () => opened.resolve(), reached: Promise.withResolvers<void>() };
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

test('a console that only shows refuses every action [console-read-only]', async () => {
  const readOnly = await consoleOver(lab.fleet, { isReadOnly: true });
  try {
    const before = lab.fleet.store.snapshot();
    // Every one that there is: the compiler counts them.
    const asked: Actions = {
      pause: { worker: 'scrubber' },
      resume: { worker: 'scrubber' },
      set: { name: 'SCRUBBER_BATCH_SIZE', value: '7' },
      unset: { name: 'SCRUBBER_BATCH_SIZE' },
      drain: { backend: 'a' },
      undrain: { backend: 'a' },
      probe: { backend: 'a' },
      requeue: {},
      retry: { key: 'one' },
      scrub: { key: 'one' },
      undelete: { key: 'one', generation: 'any' },
      'plan-import': { backends: ['a'] },
      import: { backends: ['a'] },
      stop: { job: 'any' },
    };
    for (const [action, given] of Object.entries(asked)) expect((await readOnly.act(action, given)).status).toBe(403);
    expect(lab.fleet.store.snapshot()).toEqual(before);
    expect((await readOnly.overview()).isReadOnly).toBe(true);
  } finally {
    await readOnly.close();
  }
});

test('the console writes no table itself: each action is an operation [console-acts-as-verbs-do]', () => {
  const folder = join(import.meta.dirname, '../../lib/console');
  const writing = readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .filter((name) =>
      /\.(transact|write|acquireLease|updateLease|addUsage)\(|store\/(commit|send)\.ts/.test(
        readFileSync(join(folder, name), 'utf8').replaceAll('response.write(', ''),
      ),
    );
  expect(writing).toEqual([]);
});
