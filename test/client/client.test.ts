import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { inMonth } from '../support/usage.ts';

const big = Buffer.alloc(9 * 1024 * 1024, 'a big object that is streamed, not held in memory. ');

/** Serves bodies of one backend in chunks, and cuts them after so many bytes. */
function cutting(fleet: TestFleet, name: string, afterBytes: number): void {
  const backend = fleet.backends[name]!;
  const { get } = backend;
  backend.get = async (key, options, signal) => {
    const found = await get(key, options, signal);
    return {
      ...found,
      body: (async function* () {
        const bytes = await collect(found.body);
        for (let at = 0; at < bytes.length; at += 1_000_000) {
          if (at >= afterBytes) throw new BackendError('truncated', name, 'the body was cut');
          yield bytes.subarray(at, at + 1_000_000);
        }
      })(),
    };
  };
}

const keys = [
  'a-b',
  'aB',
  'a/b',
  'é',
  'e\u0301',
  '😀',
  'with spaces',
  'a!01ARZ3NDEKTSV4RRFFQ69G5FAV',
  '__multipart/u/1',
  '..',
  '//',
  'x\u0001y',
  '%2F',
  '+',
  'k'.repeat(990),
  'constructor',
  '__proto__',
];

test('odd keys are put, read, listed in UTF-8 byte order and deleted, without collisions [lists-in-byte-order]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  for (const key of keys) await fleet.client.put(key, `of ${key}`);
  for (const key of keys) expect(await fleet.read(key)).toBe(`of ${key}`);
  const listed = await Array.fromAsync(fleet.client.list(), ({ key }) => key);
  expect(listed).toEqual([...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  for (const key of keys) expect(await fleet.client.delete(key)).toBe(true);
  expect(await Array.fromAsync(fleet.client.list())).toEqual([]);
  await fleet.settle();
  expect(fleet.keysOn('a')).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a list by prefix finds the prefix itself and everything behind it, across pages', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  for (const key of ['p', 'p/', 'p/1', 'p/2', 'o', 'q', 'p0']) await fleet.client.put(key, 'v');
  for (let i = 0; i < 450; i += 1) await fleet.client.put(`many/${String(i).padStart(4, '0')}`, 'v');
  expect(await Array.fromAsync(fleet.client.list('p'), ({ key }) => key)).toEqual(['p', 'p/', 'p/1', 'p/2', 'p0']);
  const many = await Array.fromAsync(fleet.client.list('many/'), ({ key }) => key);
  expect(many).toHaveLength(450);
  expect(many).toEqual([...many].sort());
});

test.each([
  ['', 'this one is empty'],
  ['\ud800', 'lone surrogate'],
  ['x'.repeat(998), '998 UTF-8 bytes; at most 997'],
  ['.holdfast/owner', 'is reserved'],
])('the key %j is refused, saying why', async (key, why) => {
  const fleet = await createTestFleet();
  await expect(fleet.client.put(key, 'v')).rejects.toMatchObject({
    kind: 'bad-key',
    message: expect.stringContaining(why),
  });
});

test('a put goes to another backend when the first one fails, and leaves nothing there for good', async () => {
  const fleet = await createTestFleet();
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'put') throw new BackendError('unavailable', 'a', 'a is unreachable');
  };
  await fleet.client.put('k', 'v');
  expect(fleet.copiesOf('k')).toEqual({ b: 'v' });
  expect(fleet.queue()).toMatchObject([{ backend: 'a', state: 'cleanup' }]);
  fleet.before = undefined;
  await fleet.settle(['cleanup-queue'], 70);
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a put that no backend can take says why each one could not [messages-name-the-cause]', async () => {
  const fleet = await createTestFleet({
    backends: [
      { name: 'a', quotaBytes: 3 },
      { name: 'b', maxObjectBytes: 2 },
    ],
  });
  await expect(fleet.client.put('k', 'vvvv')).rejects.toMatchObject({ kind: 'no-backend' });
  expect(fleet.queue()).toEqual([]);
});

test('a read fails over to another copy when one is gone, wrong or cut, and always returns the right bytes', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('gone', 'one');
  await fleet.client.put('wrong', 'two');
  await fleet.client.put('big', big);
  await fleet.tick('replicator');
  for (const key of fleet.keysOn('a')) if (key.startsWith('gone')) fleet.backends.a!.deleteNow(key);
  for (const key of fleet.keysOn('a')) if (key.startsWith('wrong')) fleet.backends.a!.putNow(key, Buffer.from('owt'));
  expect(await fleet.read('gone')).toBe('one');
  expect(await fleet.read('wrong')).toBe('two');
  cutting(fleet, 'a', 4_000_000);
  const found = await fleet.client.get('big');
  expect((await collect(found!.body)).equals(big)).toBe(true);
});

test('a big read whose last good copy is wrong ends in an error, not in wrong bytes', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('big', big);
  const key = fleet.keysOn('a')[0]!;
  const bytes = Buffer.from(big);
  bytes[5_000_000]! ^= 1;
  fleet.backends.a!.putNow(key, bytes);
  const found = await fleet.client.get('big');
  let read = 0;
  await expect(async () => {
    for await (const chunk of found!.body) read += chunk.length;
  }).rejects.toMatchObject({ kind: 'unreadable' });
  expect(read).toBeLessThan(big.length);
});

test('content replaced in the middle of a read is never joined with what was read before [get-reads-one-generation]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('big', big);
  cutting(fleet, 'a', 3_000_000);
  const found = await fleet.client.get('big');
  await fleet.client.put('big', Buffer.alloc(big.length, 'other'));
  await expect(collect(found!.body)).rejects.toMatchObject({ kind: 'changed' });
});

test('of concurrent puts of one key the last to commit stays, and the others’ bytes go [last-commit-wins]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await Promise.all(Array.from({ length: 8 }, (_, i) => fleet.newClient().put('k', `content ${i}`)));
  const now = await fleet.read('k');
  expect(now).toMatch(/^content \d$/);
  await fleet.settle(['cleanup-queue'], 70);
  expect(fleet.keysOn('a')).toHaveLength(1);
  expect(await fleet.read('k')).toBe(now);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('headers and metadata come back as they were put, without Holdfast’s own mark', async () => {
  const fleet = await createTestFleet();
  const headers = {
    contentType: 'text/plain; charset=utf-8',
    cacheControl: 'no-store',
    contentEncoding: 'gzip',
    contentDisposition: 'inline',
    contentLanguage: 'de',
  };
  await fleet.client.put('k', 'v', { headers, metadata: { owner: 'me' } });
  await fleet.tick('replicator');
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'get') throw new BackendError('unavailable', 'a', 'unreachable');
  };
  const found = await fleet.client.get('k');
  expect(found).toMatchObject({ headers, metadata: { owner: 'me' } });
});

test('a delete over nothing is remembered, so that a put begun before it cannot bring the key back [deleted-stays-deleted]', async () => {
  const fleet = await createTestFleet();
  expect(await fleet.client.delete('k')).toBe(false);
  expect(fleet.entry('k')).toMatchObject({ kind: 'tombstone' });
  await fleet.client.put('k', 'v');
  expect(await fleet.read('k')).toBe('v');
});

test('what a client spent is written down when it closes', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', '12345');
  await fleet.client.get('k');
  await fleet.client.close();
  const usage = await fleet.store.usage(inMonth('2026-01'), ['a']);
  expect(usage.get('a')).toEqual({ requests: 3, classA: 1, classB: 2, egressBytes: 5, ingressBytes: 5 });
});
