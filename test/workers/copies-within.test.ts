import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { crashEverywhere } from '../support/crash.ts';
import { createTestFleet, sha256, type TestFleet, type TestFleetOptions } from '../support/fleet.ts';
import { inMonth } from '../support/usage.ts';

/** Buckets at one endpoint, for the same credentials. */
const near = (...names: string[]) =>
  names.map((name) => ({ name, endpoint: 'https://s3.example.com', egressUsdPerGb: names.indexOf(name) }));
const factor = (n: number) => ({ default: { factor: n } });

async function nearFleet(names: readonly string[], options: TestFleetOptions = {}): Promise<TestFleet> {
  return createTestFleet({ backends: near(...names), ...options });
}

/** What is asked of backends from now on, health checks aside. */
function calls(fleet: TestFleet): string[] {
  const seen: string[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port !== 'store' && !String(args[0]).startsWith('.holdfast/')) seen.push(`${port}.${method}`);
  };
  return seen;
}

/** Changes the bytes of the copy on a backend, and nothing that is said of them. */
function rot(fleet: TestFleet, key: string, name: string): void {
  const storageKey = `${key}!${fleet.object(key).copies[name]}`;
  const { headers, metadata, etag } = fleet.backends[name]!.peek(storageKey)!;
  fleet.backends[name]!.putNow(storageKey, Buffer.from('rotten'), { headers, metadata, etag });
}

test('replicator has the storage of neighbours copy, and moves no bytes itself', async () => {
  const fleet = await nearFleet(['a', 'b']);
  await fleet.client.put('k', 'v');
  const seen = calls(fleet);
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', succeeded: 1 });
  expect(seen).toEqual(['a.head', 'b.copyFrom']);
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
  const usage = await fleet.store.usage(inMonth('2026-01'), ['a', 'b']);
  expect(usage.get('b')).toMatchObject({ ingressBytes: 0 });
  expect(usage.get('a')).toMatchObject({ egressBytes: 0 });
  // The mark names the place: a sweep takes the copy for ours.
  fleet.clock.advance(48 * 3_600_000);
  await fleet.tick('reconciler');
  expect(fleet.queue()).toEqual([]);
});

test.each<[string, Record<string, unknown>, boolean]>([
  ['at another endpoint', { endpoint: 'https://s4.example.com' }, true],
  ['in another region', { region: 'elsewhere' }, true],
  ['under other credentials', { credentials: { env: 'B' } }, true],
  ['whose storage attests nothing', {}, false],
])('a copy to a backend %s is streamed', async (_what, change, attests) => {
  const fleet = await createTestFleet({ backends: [near('a')[0]!, { ...near('a', 'b')[1]!, ...change }] });
  if (!attests) {
    Object.assign(fleet.backends.b!.capabilities, { attestsCopies: false });
    await fleet.apply({ backends: near('a', 'b') });
  }
  await fleet.client.put('k', 'v');
  const seen = calls(fleet);
  await fleet.tick('replicator');
  expect(seen).toEqual(['a.get', 'b.put']);
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
});

test('a role that creates keys only where nothing stands has storage copy only where that is heeded by copies', async () => {
  const ours = near('a', 'b').map((one) => ({
    ...one,
    credentials: 'role',
    endpoint: 'https://s3.us-east-1.amazonaws.com',
  }));
  const fleet = await createTestFleet({ backends: ours });
  await fleet.client.put('one', 'v');
  const seen = calls(fleet);
  await fleet.tick('replicator');
  expect(seen).toEqual(['a.head', 'b.copyFrom']);
  Object.assign(fleet.backends.b!.capabilities, { conditionalCopies: false });
  await fleet.apply({ backends: ours });
  await fleet.client.put('two', 'v');
  seen.length = 0;
  await fleet.tick('replicator');
  expect(seen).toEqual(['a.get', 'b.put']);
});

test('an imported object is streamed until its hash is known, and then copied only while its ETag is the recorded one', async () => {
  const fleet = await nearFleet(['a', 'b', 'c'], { policies: factor(2) });
  fleet.backends.a!.putNow('plain', Buffer.from('v'), { headers: { contentType: 'text/x' }, metadata: { who: 'me' } });
  fleet.clock.advance(2 * 3_600_000);
  await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
  const seen = calls(fleet);
  await fleet.tick('replicator');
  expect(seen).toEqual(['a.get', 'b.put']);
  expect(fleet.object('plain')).toMatchObject({ sha256: sha256('v') });
  await fleet.apply({ backends: near('a', 'b', 'c'), policies: factor(3) });
  fleet.backends.a!.putNow('plain', Buffer.from('w'));
  seen.length = 0;
  await fleet.tick('replicator');
  // Read, which says that it has changed; the replica is a source as good. Then the owner's new content is the object.
  expect(seen).toEqual(['a.head', 'a.get', 'b.head', 'c.copyFrom', 'a.head', 'a.head', 'a.get', 'a.head']);
  expect(fleet.copiesOf('plain')).toEqual({ a: 'w' });
  const [, copy] = [...fleet.backends.c!.contents()].find(([key]) => key.startsWith('plain!'))!;
  expect(copy).toMatchObject({ headers: { contentType: 'text/x' }, metadata: { who: 'me' } });
});

test.each<[string, { sha256?: string }]>([
  ['another SHA-256', { sha256: sha256('another') }],
  ['none', {}],
])('a copy of which the storage attests %s is streamed instead, and its bytes go', async (_what, answer) => {
  const fleet = await nearFleet(['a', 'b'], { env: { REPLICATOR_CONCURRENCY: '1' } });
  const { copyFrom } = fleet.backends.b!;
  fleet.backends.b!.copyFrom = async (request) => {
    await copyFrom(request);
    return answer;
  };
  for (const key of ['k1', 'k2']) await fleet.client.put(key, key);
  const seen = calls(fleet);
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', succeeded: 2 });
  // Once is enough for a tick.
  expect(seen).toEqual(['a.head', 'b.copyFrom', 'a.get', 'b.put', 'a.get', 'b.put']);
  expect(fleet.queue()).toMatchObject([{ state: 'cleanup', backend: 'b', reason: 'unattested' }]);
  expect((await fleet.recount()).differences).toEqual([]);
  await fleet.settle(['cleanup-queue'], 10);
  expect(fleet.keysOn('b')).toEqual(['k1', 'k2'].map((key) => `${key}!${fleet.object(key).copies.b}`));
  for (const key of ['k1', 'k2']) expect(fleet.copiesOf(key)).toEqual({ a: key, b: key });
});

test('a refused copy is streamed, and one that is not answered is the target that failed', async () => {
  const fleet = await nearFleet(['a', 'b'], { env: { REPLICATOR_CONCURRENCY: '1' } });
  await fleet.client.put('k', 'v');
  const fail = (kind: 'denied' | 'timeout') => async () => {
    throw new BackendError(kind, 'b', `It answers ${kind}`);
  };
  fleet.backends.b!.copyFrom = fail('timeout');
  const seen = calls(fleet);
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 0, failed: 1, reasons: { 'target-timeout': 1 } });
  fleet.backends.b!.copyFrom = fail('denied');
  fleet.clock.advance(5 * 60_000);
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', succeeded: 1 });
  // In between a few bytes of ours tell whether the target takes writes at all.
  expect(seen).toEqual(['a.head', 'b.copyFrom', 'b.put', 'a.head', 'b.copyFrom', 'a.get', 'b.put']);
  expect(fleet.queue()).toEqual([]);
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
});

test('rotten bytes that were copied are not recorded, but enqueued for deletion, and their source is examined [storage-copies-attested]', async () => {
  const fleet = await nearFleet(['a', 'b', 'c']);
  await fleet.client.put('k', 'good!!');
  await fleet.tick('replicator');
  await fleet.apply({ backends: near('a', 'b', 'c'), policies: factor(3) });
  rot(fleet, 'k', 'a');
  const report = await fleet.tick('replicator');
  expect(report.reasons).toMatchObject({ 'examined-quarantined': 1 });
  expect(fleet.copiesOf('k')).toEqual({ b: 'good!!', c: 'good!!' });
  expect(fleet.queue().map(({ backend, reason }) => [backend, reason])).toEqual([
    ['a', 'quarantined: wrong'],
    ['c', 'unattested'],
  ]);
  await fleet.settle();
  expect(fleet.copiesOf('k')).toEqual({ a: 'good!!', b: 'good!!', c: 'good!!' });
  expect((await fleet.recount()).differences).toEqual([]);
});

test('the only copy, rotten, is copied nowhere', async () => {
  const fleet = await nearFleet(['a', 'b']);
  await fleet.client.put('k', 'good!!');
  rot(fleet, 'k', 'a');
  await fleet.tick('replicator');
  expect(fleet.object('k')).toMatchObject({ condition: 'damaged', copies: { a: expect.any(String) } });
  await fleet.settle();
  expect(fleet.keysOn('b')).toEqual([]);
});

test('a source that has vanished is examined', async () => {
  const fleet = await nearFleet(['a', 'b', 'c']);
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  await fleet.apply({ backends: near('a', 'b', 'c'), policies: factor(3) });
  fleet.backends.a!.deleteNow(`k!${fleet.object('k').copies.a}`);
  expect((await fleet.tick('replicator')).reasons).toMatchObject({ 'examined-quarantined': 1 });
  expect(fleet.copiesOf('k')).toEqual({ b: 'v', c: 'v' });
});

test('a copy that moves no bytes needs no budget for them; a streamed one in its place does', async () => {
  const limits = { a: { egressBytes: 1 }, b: { ingressBytes: 1 } } as Record<string, object>;
  const backends = near('a', 'b').map((config) => ({ ...config, limits: limits[config.name] }));
  const fleet = await createTestFleet({ backends });
  // The put itself spends ingress at a alone.
  await fleet.client.put('k1', 'value');
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 1, deferred: 0 });
  await fleet.client.put('k2', 'value');
  fleet.backends.b!.copyFrom = async () => {
    throw new BackendError('unsupported', 'b', 'It cannot');
  };
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 0, deferred: 1, reasons: { 'over-egress': 1 } });
  expect(Object.keys(fleet.copiesOf('k2'))).toEqual(['a']);
});

test('rebalancer has the storage of neighbours move copies', async () => {
  const backends = near('a', 'b').map((config) => ({ ...config, quotaBytes: 100 }));
  const env = { REBALANCER_STRATEGY: 'spread', REBALANCER_CONCURRENCY: '1' };
  const fleet = await createTestFleet({ backends, policies: factor(1), env });
  for (let i = 0; i < 10; i += 1) await fleet.client.put(`k${i}`, `content${i}`);
  const seen = calls(fleet);
  expect(await fleet.tick('rebalancer')).toMatchObject({ outcome: 'success', succeeded: 5 });
  expect(seen).toEqual(Array.from({ length: 5 }, () => ['a.head', 'b.copyFrom']).flat());
  for (let i = 0; i < 10; i += 1) expect(Object.values(fleet.copiesOf(`k${i}`))).toEqual([`content${i}`]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a replicator whose storage copies, cut short anywhere, loses nothing, and the fleet converges', async () => {
  const contents = { one: 'first', two: 'second' };
  const total = await crashEverywhere({
    options: { backends: near('a', 'b', 'c') },
    arrange: async (fleet) => {
      for (const [key, content] of Object.entries(contents)) await fleet.client.put(key, content);
    },
    act: (fleet) => fleet.tick('replicator'),
    contents,
  });
  expect(total).toBeGreaterThan(10);
});
