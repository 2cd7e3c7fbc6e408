import { expect, test } from 'vitest';
import { BackendError, type BackendErrorKind, errorTable } from '../../lib/fleet/errors.ts';
import { ownerKey } from '../../lib/fleet/owner.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { shardOf } from '../../lib/store/keys.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const kinds = Object.keys(errorTable) as BackendErrorKind[];
const minuteMs = 60_000;

const breakerOf = async (fleet: TestFleet, name: string) =>
  (await readFleet(fleet.store, fleet.clock.now())).breaker(name);
const isOpen = async (fleet: TestFleet, name: string) => (await breakerOf(fleet, name))?.openedAt !== undefined;

const answers = (kind: BackendErrorKind, backend: string): never => {
  throw new BackendError(kind, backend, `Backend "${backend}" answers ${kind}`);
};
const keyOf = (args: readonly unknown[]) =>
  typeof args[0] === 'string' ? args[0] : (args[0] as { storageKey?: string })?.storageKey;

/** A fleet whose backend `b` refused everything until its breaker was open, and answers again since. */
async function fleetBehindBreaker(): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['b', 'a', 'c'], env: { RECONCILER_INTERVAL_HOURS: '1' } });
  for (let i = 0; i < 4; i += 1) await fleet.client.put(`k${i}`, 'v');
  await fleet.tick('replicator');
  // A put that dies leaves its intent.
  fleet.before = ({ port, method }) => (port === 'b' && method === 'put' ? new Promise(() => {}) : undefined);
  void fleet.client.put('dying', 'v');
  while (fleet.queue().length === 0) await new Promise(setImmediate);
  fleet.before = ({ port }) => (port === 'b' ? answers('unavailable', 'b') : undefined);
  for (let i = 0; i < 5; i += 1) await fleet.tick('replicator');
  expect(await isOpen(fleet, 'b')).toBe(true);
  fleet.before = undefined;
  return fleet;
}

const healthKinds = kinds.filter((kind) => !['not-found', 'body', 'stale-credentials'].includes(kind));

test.each(healthKinds)(
  'a health check that is answered %s opens the breaker unless it asks for patience, or we do',
  async (kind) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'] });
    await fleet.client.put('k', 'v');
    fleet.before = ({ port }) => (port === 'b' ? answers(kind, 'b') : undefined);
    for (let i = 0; i < 5; i += 1) {
      await fleet.tick('replicator');
      fleet.clock.advance(minuteMs);
    }
    const { speaksOf } = errorTable[kind];
    expect(await isOpen(fleet, 'b')).toBe(speaksOf !== 'throttling' && speaksOf !== 'ourselves');
  },
);

test.each(kinds.filter((kind) => errorTable[kind].speaksOf === 'unclear'))(
  'one key that a target always answers %s costs itself: the others are copied, and no breaker opens',
  async (kind) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'], env: { REPLICATOR_CONCURRENCY: '4' } });
    for (let i = 0; i < 20; i += 1) await fleet.client.put(`k${i}`, 'v');
    for (let i = 0; i < 6; i += 1) await fleet.client.put(`poison-${i}`, 'v');
    fleet.before = ({ port, args }) =>
      port === 'b' && keyOf(args)?.startsWith('poison') ? answers(kind, 'b') : undefined;
    for (let i = 0; i < 8; i += 1) {
      await fleet.tick('replicator');
      expect(await isOpen(fleet, 'b')).toBe(false);
      fleet.clock.advance(5 * minuteMs);
    }
    const copied = [...fleet.store.allObjects()].filter((e) => e.kind === 'object' && e.copies.b !== undefined);
    expect(copied).toHaveLength(20);
  },
);

test('a backend of which nothing can be read opens its breaker, though it answers every HEAD [replicator-health-check]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  for (let i = 0; i < 8; i += 1) await fleet.client.put(`k${i}`, 'v');
  fleet.before = ({ port, method }) => (port === 'a' && method === 'get' ? answers('timeout', 'a') : undefined);
  for (let i = 0; i < 4; i += 1) await fleet.tick('replicator');
  expect(await isOpen(fleet, 'a')).toBe(true);
});

test.each([
  'replicator',
  'over-replication-cleaner',
  'cleanup-queue',
  'pending-reaper',
  'scrubber',
  'reconciler',
] as const)('the %s alone, with work behind a breaker, closes it once the backend answers', async (worker) => {
  const fleet = await fleetBehindBreaker();
  await fleet.client.delete('k0');
  fleet.clock.advance(10 * minuteMs);
  let probes = 0;
  fleet.before = ({ port, method, args }) => {
    if (port === 'b' && method === 'head' && args[0] === ownerKey) probes += 1;
  };
  await fleet.tick(worker);
  expect([await isOpen(fleet, 'b'), probes]).toEqual([false, 1]);
});

test('a breaker that is not due is not probed, and a probe that fails is not repeated before its time', async () => {
  const fleet = await fleetBehindBreaker();
  await fleet.client.delete('k0');
  let heads = 0;
  fleet.before = ({ port, method }) => {
    if (port !== 'b') return;
    heads += method === 'head' ? 1 : 0;
    answers('unavailable', 'b');
  };
  await fleet.tick('cleanup-queue');
  expect(heads).toBe(0);
  fleet.clock.advance(10 * minuteMs);
  for (const worker of ['cleanup-queue', 'reconciler', 'scrubber'] as const) await fleet.tick(worker);
  expect(heads).toBe(1);
});

test('credentials missing in one process are its error, and no breaker opens', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'] });
  for (let i = 0; i < 4; i += 1) await fleet.client.put(`k${i}`, 'v');
  const open = fleet.deps.openBackend;
  const deps = fleet.deps as { openBackend: typeof open };
  deps.openBackend = async (config, can, use) =>
    config.name === 'b' ? answers('missing-credentials', 'b') : open(config, can, use);
  for (let i = 0; i < 6; i += 1) {
    expect(await fleet.tick('replicator')).toMatchObject({
      outcome: 'error',
      message: 'Backend "b" answers missing-credentials',
    });
    fleet.clock.advance(5 * minuteMs);
  }
  expect(await isOpen(fleet, 'b')).toBe(false);
  for (let i = 0; i < 4; i += 1) expect(Object.keys(fleet.object(`k${i}`).copies).sort()).toEqual(['a', 'c']);
});

test('a missing owner object counts once for each time the bucket was asked, however often a tick looks at the answer', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  const [first, second] = Array.from({ length: 100 }, (_, i) => `k${i}`).filter(
    (key) => shardOf(key) === shardOf('k0'),
  );
  for (const key of [first!, second!]) await fleet.client.put(key, 'v');
  await fleet.settle(['replicator'], 2);
  fleet.clock.advance(40 * 24 * 60 * minuteMs);
  fleet.backends.b!.deleteNow(ownerKey);
  let asked = 0;
  fleet.after = async ({ port, method, args }) => {
    if (port === 'b' && method === 'head' && args[0] === ownerKey) asked += 1;
    if (port !== 'a' || method !== 'get' || !keyOf(args)?.startsWith(`${second}!`)) return;
    // Reading it takes longer than a failed health check is taken for granted.
    while (asked === 0) await new Promise(setImmediate);
    fleet.clock.advance(2 * minuteMs);
  };
  await fleet.tick('scrubber');
  expect([asked, (await breakerOf(fleet, 'b'))?.failures]).toEqual([2, 2]);
});
