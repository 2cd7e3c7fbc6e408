import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { justBefore, watchWrites } from '../support/watch.ts';

const limited = (...names: string[]) => names.map((name) => ({ name, quotaBytes: 100 }));
const single = { default: { factor: 1 } };
const upkeep = ['replicator', 'over-replication-cleaner', 'rebalancer', 'cleanup-queue', 'pending-reaper'] as const;

/** Ten objects of eight bytes on a, nothing on b. */
async function lopsided(env: Record<string, string> = {}, backends: object[] = limited('a', 'b')): Promise<TestFleet> {
  const fleet = await createTestFleet({
    backends: backends as { name: string }[],
    policies: single,
    env: { REBALANCER_STRATEGY: 'spread', ...env },
  });
  for (let i = 0; i < 10; i += 1) await fleet.client.put(`k${i}`, `content${i}`);
  return fleet;
}

const countOn = (fleet: TestFleet, name: string) =>
  [...fleet.store.allObjects()].filter((e) => e.kind === 'object' && e.copies[name] !== undefined).length;

test('rebalancer spreads objects evenly, copy by copy, and the ledger follows', async () => {
  const fleet = await lopsided();
  expect(await fleet.tick('rebalancer')).toMatchObject({ outcome: 'success', planned: 5, succeeded: 5 });
  expect([countOn(fleet, 'a'), countOn(fleet, 'b')]).toEqual([5, 5]);
  for (let i = 0; i < 10; i += 1) expect(Object.values(fleet.copiesOf(`k${i}`))).toEqual([`content${i}`]);
  expect(fleet.queue()).toHaveLength(5);
  expect((await fleet.recount()).differences).toEqual([]);
  await fleet.settle(upkeep);
  expect([fleet.keysOn('a').length, fleet.keysOn('b').length]).toEqual([5, 5]);
});

test('an idle rebalancer tick is one query', async () => {
  const fleet = await lopsided();
  await fleet.tick('rebalancer');
  const calls: string[] = [];
  fleet.before = ({ port, method }) => void calls.push(`${port}.${method}`);
  expect((await fleet.tick('rebalancer')).outcome).toBe('empty');
  expect(calls).toEqual(['store.control']);
});

test('rebalancer does nothing below its threshold', async () => {
  const fleet = await lopsided({ REBALANCER_THRESHOLD: '0.81' });
  expect((await fleet.tick('rebalancer')).outcome).toBe('empty');
});

test('rebalancer packs into the fullest, and comes to rest', async () => {
  const fleet = await lopsided({ REBALANCER_STRATEGY: 'pack' }, limited('b', 'a'));
  await fleet.apply({ backends: limited('a', 'b'), policies: single });
  fleet.clock.advance(10_000);
  await fleet.client.put('x', 'elevenchars');
  expect([countOn(fleet, 'a'), countOn(fleet, 'b')]).toEqual([1, 10]);
  expect(await fleet.tick('rebalancer')).toMatchObject({ outcome: 'success', succeeded: 1 });
  expect([countOn(fleet, 'a'), countOn(fleet, 'b')]).toEqual([0, 11]);
  const watch = watchWrites(fleet);
  for (let i = 0; i < 5; i += 1) expect((await fleet.tick('rebalancer')).outcome).toBe('empty');
  expect(watch.writes).toEqual([]);
});

test('rounds of a small batch end balanced and never overshoot', async () => {
  const fleet = await lopsided({ REBALANCER_BATCH_SIZE: '3' });
  await fleet.tick('rebalancer');
  expect([countOn(fleet, 'a'), countOn(fleet, 'b')]).toEqual([5, 5]);
});

test('four parallel parts together do not overshoot', async () => {
  const fleet = await lopsided({ REBALANCER_THRESHOLD: '0' }, [
    { name: 'a', quotaBytes: 1000 },
    { name: 'b', quotaBytes: 1000 },
  ]);
  for (let i = 10; i < 100; i += 1) await fleet.client.put(`k${i}`, 'content?');
  const parts = Array.from({ length: 4 }, (_, part) => fleet.tick('rebalancer', { part, of: 4 }));
  await Promise.all(parts);
  expect(countOn(fleet, 'b')).toBeLessThanOrEqual(50);
  expect(countOn(fleet, 'b')).toBeGreaterThan(0);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('an object larger than a backend takes is not moved there, and one that fits is', async () => {
  const fleet = await lopsided({}, [...limited('a'), { name: 'b', quotaBytes: 100, maxObjectBytes: 5 }]);
  await fleet.client.put('tiny', 'four');
  await fleet.tick('rebalancer');
  expect(fleet.copiesOf('tiny')).toEqual({ b: 'four' });
  expect([countOn(fleet, 'a'), countOn(fleet, 'b')]).toEqual([10, 1]);
});

test('an object is never moved to a backend that has it [rebalancer-ends]', async () => {
  const fleet = await createTestFleet({ backends: limited('a', 'b'), env: { REBALANCER_STRATEGY: 'spread' } });
  for (let i = 0; i < 5; i += 1) await fleet.client.put(`k${i}`, 'content');
  await fleet.tick('replicator');
  await fleet.apply({ backends: limited('a', 'b', 'c') });
  await fleet.settle(upkeep);
  for (let i = 0; i < 5; i += 1) expect(Object.values(fleet.copiesOf(`k${i}`))).toEqual(['content', 'content']);
  expect(countOn(fleet, 'c')).toBeGreaterThan(0);
});

test.each([
  ['over-egress', 'a', { egressBytes: 20 }],
  ['over-ingress', 'b', { ingressBytes: 20 }],
])('a month’s limit defers moves: %s', async (reason, name, limits) => {
  const backends = limited('a', 'b').map((b) => (b.name === name ? { ...b, limits } : b));
  const fleet = await lopsided({}, backends);
  const report = await fleet.tick('rebalancer');
  expect(report).toMatchObject({ planned: 5, succeeded: 2, deferred: 3, reasons: { [reason]: 3 } });
  expect(countOn(fleet, 'b')).toBe(2);
});

test('a destination that fails is tried once, and nothing is lost', async () => {
  const fleet = await lopsided({ REBALANCER_CONCURRENCY: '1' });
  let puts = 0;
  fleet.before = ({ port, method }) => {
    if (port !== 'b' || (method !== 'put' && puts === 0)) return;
    puts += method === 'put' ? 1 : 0;
    throw new BackendError('unavailable', 'b', 'no');
  };
  expect(await fleet.tick('rebalancer')).toMatchObject({ planned: 5, succeeded: 0, failed: 1, skipped: 4 });
  expect(puts).toBe(1);
  expect(countOn(fleet, 'a')).toBe(10);
  expect(fleet.queue()).toEqual([]);
});

test('a source that is not as recorded is not moved, and its object keeps the copy', async () => {
  const fleet = await lopsided();
  const key = fleet.keysOn('a')[0]!;
  const { metadata } = fleet.backends.a!.peek(key)!;
  fleet.backends.a!.putNow(key, Buffer.from('CONTENT!'), { metadata });
  const report = await fleet.tick('rebalancer');
  expect(report.failed + report.succeeded).toBe(report.planned);
  expect(fleet.object('k0').copies.a).toBe(key.slice(3));
  expect(fleet.backends.b!.contents().size).toBe(1 + report.succeeded);
});

test.each(['overwritten', 'deleted', 'deleted and put again'])(
  'an object %s between the copy and the swap keeps its new content, and the bytes made go',
  async (what) => {
    const fleet = await createTestFleet({
      backends: limited('a', 'b'),
      policies: single,
      env: { REBALANCER_STRATEGY: 'spread' },
    });
    await fleet.client.put('k', 'old');
    await fleet.client.put('other', 'a filler of thirty bytes or so');
    justBefore(
      fleet,
      (port, _, changes) => port === 'store' && changes.some((c) => c.kind === 'object'),
      async () => {
        if (what !== 'overwritten') await fleet.client.delete('k');
        if (what !== 'deleted') await fleet.client.put('k', 'new');
      },
    );
    expect(await fleet.tick('rebalancer')).toMatchObject({ planned: 1, skipped: 1, reasons: { lost: 1 } });
    expect((await fleet.recount()).differences).toEqual([]);
    await fleet.settle(['cleanup-queue']);
    expect(await fleet.read('k')).toBe(what === 'deleted' ? null : 'new');
    expect(fleet.queue()).toEqual([]);
    const stored = [...fleet.keysOn('a'), ...fleet.keysOn('b')].filter((key) => key.startsWith('k'));
    expect(stored).toHaveLength(what === 'deleted' ? 0 : 1);
  },
);

test('a destination that fills up meanwhile refuses the swap, and the bytes made are queued [rebalancer-swap]', async () => {
  const fleet = await lopsided();
  justBefore(
    fleet,
    (port, _, changes) => port === 'store' && changes.some((c) => c.kind === 'object'),
    async () => {
      fleet.store.apply([{ kind: 'add', pk: 'fleet', sk: 'quota/b', add: { objects: 0, bytes: 95 } }]);
    },
  );
  const report = await fleet.tick('rebalancer');
  expect(report).toMatchObject({ planned: 5, succeeded: 0, skipped: 5, reasons: { 'no-room': 5 } });
  expect(countOn(fleet, 'a')).toBe(10);
  expect(fleet.queue().map(({ backend, reason }) => `${backend} ${reason}`)).toEqual(Array(5).fill('b no-room'));
  // A swap of these bytes that is still under way has lost: the rev of their objects has moved on.
  for (const { key } of fleet.queue()) expect(fleet.object(key).rev).toBe(2);
});

test('objects with a copy too many or too few are left to the other workers', async () => {
  const fleet = await createTestFleet({ backends: limited('a', 'b', 'c'), env: { REBALANCER_STRATEGY: 'spread' } });
  for (let i = 0; i < 10; i += 1) await fleet.client.put(`k${i}`, 'few');
  const watch = watchWrites(fleet);
  expect((await fleet.tick('rebalancer')).outcome).toBe('empty');
  expect(watch.writes).toEqual([]);
  watch.stop();
  await fleet.tick('replicator');
  await fleet.apply({ backends: limited('a', 'b', 'c'), policies: single });
  expect((await fleet.tick('rebalancer')).outcome).toBe('empty');
  await fleet.apply({ backends: limited('a', 'b', 'c') });
  expect(await fleet.tick('rebalancer')).toMatchObject({ outcome: 'success' });
});

test('a rebalancer on a dry run plans and moves nothing', async () => {
  const fleet = await lopsided();
  const watch = watchWrites(fleet);
  expect(await fleet.tick('rebalancer', { dryRun: true })).toMatchObject({ planned: 5, skipped: 5 });
  expect(watch.writes).toEqual([]);
});

test.each(['pack', 'spread'])(
  'no two workers undo each other: a fleet that should %s comes to rest',
  async (strategy) => {
    const backends = ['a', 'b', 'c', 'd'].map((name) => ({ name, quotaBytes: 3000 }));
    const fleet = await createTestFleet({
      backends,
      policies: { default: { factor: 3 } },
      routing: 'spread',
      env: { REBALANCER_STRATEGY: strategy, REBALANCER_THRESHOLD: '0.01' },
    });
    for (let i = 0; i < 25; i += 1) await fleet.client.put(`k${i}`, 'x'.repeat(10 + 3 * i));
    await fleet.settle(['replicator']);
    await fleet.apply({ backends, policies: { default: { factor: 2 } }, routing: 'spread' });
    const moving = watchWrites(fleet);
    await fleet.settle(upkeep, 60);
    // Surplus copies leave, then each object moves at most once for each of its copies.
    expect(moving.copiesMade()).toBeLessThanOrEqual(50);
    moving.stop();
    const resting = watchWrites(fleet);
    await fleet.settle(upkeep, 50);
    expect(resting.writes).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);
