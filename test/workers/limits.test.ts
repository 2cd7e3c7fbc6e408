import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { shardOf } from '../../lib/store/keys.ts';
import type { Change } from '../../lib/store/port.ts';
import { StoreError } from '../../lib/store/port.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { inMonth } from '../support/usage.ts';

const month = '2026-01';

test('a copy charges egress at its source and ingress at its target', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'x'.repeat(100));
  await fleet.tick('replicator');
  const usage = await fleet.store.usage(inMonth(month), ['a', 'b']);
  expect(usage.get('a')).toMatchObject({ egressBytes: 100, ingressBytes: 0 });
  expect(usage.get('b')).toMatchObject({ egressBytes: 0, ingressBytes: 100 });
});

test.each([
  ['egress of the source', { a: { egressBytes: 250 } }, 'over-egress'],
  ['ingress of the target', { b: { ingressBytes: 250 } }, 'over-ingress'],
] as const)('a tick stops at the %s budget and defers what it leaves', async (_what, limits, reason) => {
  const backends = ['a', 'b'].map((name) => ({ name, limits: (limits as Record<string, object>)[name] ?? {} }));
  const fleet = await createTestFleet({ backends });
  for (let i = 0; i < 5; i += 1) await fleet.client.put(`k${i}`, 'x'.repeat(100));
  const report = await fleet.tick('replicator');
  expect(report).toMatchObject({ planned: 5, succeeded: 2, deferred: 3, reasons: { [reason]: 3 } });
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 0, deferred: 5 - 2 });
  fleet.clock.advance(31 * 24 * 3_600_000);
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 2 });
});

test('parallel parts keep to a limit together, and leave nothing of it unused [parts-share-limits]', async () => {
  const backends = [{ name: 'a', limits: { egressBytes: 400 } }, 'b'];
  const fleet = await createTestFleet({ backends });
  for (let i = 0; i < 20; i += 1) await fleet.client.put(`k${i}`, 'x'.repeat(100));
  const reports = await Promise.all([0, 1].map((part) => fleet.tick('replicator', { part, of: 2 })));
  expect(reports.reduce((sum, { succeeded }) => sum + succeeded, 0)).toBe(4);
  expect((await fleet.store.usage(inMonth(month), ['a'])).get('a')).toMatchObject({ egressBytes: 400 });
});

test('workers and applications at once keep to a limit together [usage-limits-hold]', async () => {
  const b = { name: 'b', limits: { classA: 30 } };
  const fleet = await createTestFleet({ backends: ['a', b, 'c'], policies: { default: { factor: 2 } } });
  for (let i = 0; i < 60; i += 1) await fleet.client.put(`k${i}`, 'x');
  let sent = 0;
  fleet.before = ({ port, method }) => {
    if (port === 'b' && method === 'put') sent += 1;
  };
  const clients = [0, 1, 2].map(() => fleet.newClient());
  await Promise.all([
    ...[0, 1, 2, 3].map((part) => fleet.tick('replicator', { part, of: 4 })),
    ...clients.flatMap((client, i) =>
      Array.from({ length: 20 }, (_, n) => client.put(`${i}/${n}`, 'x', { copies: 2 })),
    ),
  ]);
  await Promise.all(clients.map((client) => client.close()));
  expect(sent).toBe(30);
  await fleet.settle(['replicator'], 3);
  expect(sent).toBe(30);
  expect((await fleet.store.usage(inMonth(month), ['b'])).get('b')).toMatchObject({ classA: 30 });
});

test('usage is charged to the month in which it was spent, whenever it is written down', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'x'.repeat(100));
  fleet.clock.advance(31 * 24 * 3_600_000);
  await fleet.client.put('l', 'x'.repeat(10));
  await fleet.client.close();
  expect((await fleet.store.usage(inMonth(month), ['a'])).get('a')).toMatchObject({ ingressBytes: 100 });
  expect((await fleet.store.usage(inMonth('2026-02'), ['a'])).get('a')).toMatchObject({ ingressBytes: 10 });
});

test('what a tick spent and could not write down, the next tick of its process does', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'x'.repeat(100));
  fleet.before = ({ port, method }) => {
    if (port === 'store' && method === 'addUsage') throw new StoreError('unreachable', 'no store');
  };
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'error', succeeded: 1 });
  fleet.before = undefined;
  await fleet.client.put('l', 'x'.repeat(10));
  // The lease is free all the same.
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', succeeded: 1 });
  expect((await fleet.store.usage(inMonth(month), ['b'])).get('b')).toMatchObject({ ingressBytes: 110 });
});

test.each(['scrubber', 'over-replication-cleaner'] as const)(
  'what the %s reads at once stays within the month’s egress together',
  async (worker) => {
    const fleet = await createTestFleet({ backends: ['b', 'a'], policies: { default: { factor: 2 } } });
    // Of one shard: the scrubber reads those at once.
    const keys = Array.from({ length: 200 }, (_, i) => `k${i}`).filter((key) => shardOf(key) === shardOf('k0'));
    for (const key of keys.slice(0, 8)) await fleet.client.put(key, 'x'.repeat(100));
    await fleet.tick('replicator');
    await fleet.apply({
      backends: ['b', { name: 'a', limits: { egressBytes: 250 } }],
      policies: { default: { factor: 1 } },
    });
    await fleet.tick(worker);
    const { egressBytes } = (await fleet.store.usage(inMonth(month), ['a'])).get('a')!;
    expect(egressBytes).toBe(200);
  },
);

test('no evidence is taken where the month allows no more reading', async () => {
  const fleet = await createTestFleet({ backends: ['a', { name: 'b', limits: { egressBytes: 150 } }] });
  await fleet.client.put('k', 'x'.repeat(100));
  await fleet.tick('replicator');
  const rotten = fleet.keysOn('b')[0]!;
  fleet.backends.b!.putNow(rotten, Buffer.from('y'.repeat(100)), fleet.backends.b!.peek(rotten)!);
  await fleet.tick('scrubber');
  // The scrubber's own reading left 50 bytes: a second one is not allowed.
  expect((await fleet.store.usage(inMonth(month), ['b'])).get('b')).toMatchObject({ egressBytes: 100 });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b']);
});

test('usage limits never hold back a delete [usage-limits-hold]', async () => {
  const fleet = await createTestFleet({
    backends: [{ name: 'a', limits: { requests: 1 } }],
    policies: { default: { factor: 1 } },
  });
  await fleet.client.put('k', 'v');
  await fleet.client.delete('k');
  await fleet.client.close();
  fleet.clock.advance(600_000);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ succeeded: 1 });
  expect(fleet.keysOn('a')).toEqual([]);
});

test('five failures in a row open the breaker, one probe closes it, and a healthy tick writes nothing [breaker-by-own-failures]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  const breaker = async () => (await fleet.store.control('fleet')).rows.find((row) => row.sk === 'breaker/a')?.data;
  let heads = 0;
  fleet.before = ({ port, method }) => {
    if (port !== 'a') return;
    if (method === 'head') heads += 1;
    throw new BackendError('timeout', 'a', 'no answer');
  };
  for (let i = 0; i < 4; i += 1) await fleet.tick('replicator');
  expect(await breaker()).toEqual({ failures: 4 });
  await fleet.tick('replicator');
  const opened = await breaker();
  expect(opened).toMatchObject({ failures: 5, openedAt: expect.any(Number), unhealthySince: expect.any(Number) });
  heads = 0;
  await fleet.tick('replicator');
  expect(heads).toBe(0);
  fleet.clock.advance(376_000);
  await Promise.all([fleet.tick('replicator'), fleet.tick('replicator'), fleet.tick('replicator', { part: 0, of: 3 })]);
  expect(heads).toBe(1);
  expect(await breaker()).toMatchObject({ unhealthySince: opened!.unhealthySince });
  fleet.before = undefined;
  fleet.clock.advance(376_000);
  await fleet.tick('replicator');
  expect(await breaker()).toEqual({ failures: 0 });
  const writes: string[] = [];
  fleet.before = ({ port, method }) => {
    if (port === 'store' && !['control', 'identity'].includes(method)) writes.push(method);
  };
  await fleet.tick('replicator');
  expect(writes).toEqual([]);
});

test('while a probe is out, no other process sends its backend anything [one-probe]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  const now = fleet.clock.now();
  const halfOpen = { failures: 5, openedAt: now - 400_000, probeAfter: now - 1_000, probeExpiresAt: now + 60_000 };
  const row = { pk: 'fleet', sk: 'breaker/a', version: 1, data: halfOpen };
  fleet.store.apply([{ kind: 'row', put: row, expect: 'absent' }]);
  const asked: string[] = [];
  fleet.before = ({ port, method }) => {
    if (port === 'a') asked.push(method);
  };
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  await fleet.tick('scrubber');
  expect(asked).toEqual([]);
  expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
});

test('what was begun before others found a backend unreachable sends it nothing more', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_CONCURRENCY: '1' } });
  for (const key of ['k1', 'k2', 'k3']) await fleet.client.put(key, 'v');
  await fleet.tick('replicator');
  for (const key of fleet.keysOn('b')) fleet.backends.b!.deleteNow(key);
  fleet.clock.advance(2 * 3_600_000);
  const asked: string[] = [];
  let isUnreachable = false;
  fleet.before = ({ port, method, args }) => {
    if (port === 'b') asked.push(method);
    // While the first is quarantined, another tick finds b unreachable; the removal limit's state, read for the second, tells of it.
    if (port !== 'store' || method !== 'transact' || isUnreachable) return;
    if (!(args[0] as Change[]).some(({ kind }) => kind === 'object')) return;
    isUnreachable = true;
    const openedAt = fleet.clock.now();
    const data = { failures: 5, openedAt, probeAfter: openedAt + 300_000 };
    const put = { pk: 'fleet', sk: 'breaker/b', version: 1, data };
    fleet.store.apply([{ kind: 'row', put, expect: 'absent' }]);
  };
  const reasons = { 'missing-quarantined': 1, parked: 1 };
  expect(await fleet.tick('reconciler')).toMatchObject({ failed: 0, reasons });
  // Each time that it is missing it is asked again on a fresh connection; and once more before it leaves the record, and after
  // that whose its bucket is.
  expect(asked).toEqual(['head', 'list', 'head', 'get', 'get', 'get', 'get', 'head', 'head']);
  // What it saw of b is older than what opened the breaker.
  const breaker = (await fleet.store.control('fleet')).rows.find((row) => row.sk === 'breaker/b');
  expect(breaker).toMatchObject({ version: 1, data: { failures: 5 } });
});

test.each(['not-found', 'throttled', 'precondition', 'too-large'] as const)(
  '%s says nothing against a backend’s health',
  async (kind) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'], env: { BREAKER_FAILURES: '1' } });
    await fleet.client.put('k', 'v');
    fleet.before = ({ port, method }) => {
      if (port === 'b' && method === 'put') throw new BackendError(kind, 'b', 'no');
    };
    await fleet.tick('replicator');
    expect((await fleet.store.control('fleet')).rows.find((row) => row.sk === 'breaker/b')).toBeUndefined();
  },
);

test('a source’s failure is not held against the target', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { BREAKER_FAILURES: '1' } });
  await fleet.client.put('k', 'v');
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'get') throw new BackendError('unavailable', 'a', 'unreachable');
  };
  await fleet.tick('replicator');
  const rows = (await fleet.store.control('fleet')).rows.map((row) => row.sk);
  expect(rows).toContain('breaker/a');
  expect(rows).not.toContain('breaker/b');
});

test('a paused worker and a stale event do nothing [late-ticks-harmless]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  const stale = new Date(fleet.clock.now() - 301_000).toISOString();
  expect(await fleet.tick('replicator', { scheduledTime: stale })).toMatchObject({
    outcome: 'empty',
    message: expect.stringContaining('stale'),
  });
  fleet.store.apply([
    {
      kind: 'row',
      put: { pk: 'fleet', sk: 'settings', version: 1, data: { overrides: {}, paused: ['replicator'] } },
      expect: 'absent',
    },
  ]);
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'empty', message: 'The worker is paused' });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a']);
});

test('a live override changes the next tick, and a dry run changes nothing', async () => {
  const fleet = await createTestFleet();
  for (let i = 0; i < 3; i += 1) await fleet.client.put(`k${i}`, 'v');
  expect(await fleet.tick('replicator', { dryRun: true })).toMatchObject({
    planned: 3,
    skipped: 3,
    reasons: { 'dry-run': 3 },
  });
  expect(fleet.keysOn('b')).toEqual([]);
  const settings = (overrides: object, version: number) =>
    fleet.store.apply([
      {
        kind: 'row',
        put: { pk: 'fleet', sk: 'settings', version, data: { overrides, paused: [] } },
        expect: version === 1 ? 'absent' : version - 1,
      },
    ]);
  settings({ REPLICATOR_BATCH_SIZE: '1', REPLICATOR_ROUNDS: '1' }, 1);
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 1 });
  settings({}, 2);
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 2 });
});

test('items larger than the bytes in flight allow wait for each other, and are counted [bounded-in-flight]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { MAX_BYTES_IN_FLIGHT: '150' } });
  for (let i = 0; i < 5; i += 1) await fleet.client.put(`k${i}`, 'x'.repeat(100));
  let now = 0;
  let most = 0;
  fleet.before = async ({ port, method }) => {
    if (port !== 'b' || method !== 'put') return;
    now += 1;
    most = Math.max(most, now);
    await new Promise(setImmediate);
  };
  fleet.after = ({ port, method }) => {
    if (port === 'b' && method === 'put') now -= 1;
  };
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 5, figures: { admissionRejections: 4 } });
  expect(most).toBe(1);
});

/** Lets no removal on evidence be committed before so many have been asked for. */
function untilAsked(fleet: TestFleet, many: number): void {
  let asked = 0;
  let release = () => {};
  const all = new Promise<void>((resolve) => {
    release = resolve;
  });
  fleet.before = async ({ method, args }) => {
    const isRemoval = method === 'transact' && JSON.stringify(args[0]).includes('"removals/');
    if (!isRemoval || asked >= many) return;
    asked += 1;
    if (asked === many) release();
    await all;
  };
}

test('ticks that remove in parallel, each of its own shards, stay within the removal limit together [removal-limit]', async () => {
  const env = { REMOVAL_LIMIT_MIN_COUNT: '1', REMOVAL_LIMIT_RATIO: '0', SCRUBBER_BATCH_SIZE: '100' };
  const fleet = await createTestFleet({ backends: ['a', 'b'], env });
  for (let i = 0; i < 20; i += 1) await fleet.client.put(`k${i}`, 'v');
  await fleet.tick('replicator');
  for (const key of fleet.keysOn('a')) fleet.backends.a!.deleteNow(key);
  untilAsked(fleet, 2);
  const reports = await Promise.all([0, 1].map((part) => fleet.tick('scrubber', { part, of: 2 })));
  expect(fleet.queue()).toHaveLength(1);
  expect(reports.map(({ figures }) => figures.removalLimitReached! > 0)).toEqual([true, true]);
  expect(Object.keys(fleet.object('k0').copies).length).toBeGreaterThan(0);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('bytes that have come are spent, though they wait for their turn at a rate when the tick ends', async () => {
  const slow = { name: 'a', maxBytesPerSecond: 1 };
  const fleet = await createTestFleet({ backends: [slow], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'x'.repeat(100));
  const tick = fleet.tick('scrubber', { deadline: fleet.clock.now() + 60_000 });
  await fleet.clock.untilAsleep(90_000);
  fleet.clock.advance(59_000);
  await tick;
  expect((await fleet.store.usage(inMonth(month), ['a'])).get('a')).toMatchObject({ egressBytes: 100 });
});

const hourMs = 3_600_000;

test('class A spent: nothing more of it is sent there, copies go elsewhere, reads and deletes go on [usage-classes]', async () => {
  const reset = { hour: 0, zone: 'America/Los_Angeles' };
  const fleet = await createTestFleet({
    backends: ['a', { name: 'b', limits: { classA: 3 }, limitsReset: reset }, 'c'],
  });
  const sent = new Map<string, number>();
  fleet.before = ({ port, method }) => void sent.set(`${port} ${method}`, (sent.get(`${port} ${method}`) ?? 0) + 1);
  for (let i = 0; i < 8; i += 1) await fleet.client.put(`k${i}`, 'x');
  const first = await fleet.tick('replicator');
  expect(first).toMatchObject({ planned: 8, succeeded: 8 });
  expect(sent.get('b put')).toBe(3);
  expect(sent.get('c put')).toBe(5);
  // A person's read, a delete, and what a delete needs are not refused.
  const onB = [...fleet.store.allObjects()].find((entry) => entry.kind === 'object' && 'b' in entry.copies)!;
  await fleet.client.delete(onB.key);
  fleet.clock.advance(600_000);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ succeeded: 2, failed: 0 });
  expect(sent.get('b delete')).toBe(1);
  for (let i = 0; i < 8; i += 1) if (`k${i}` !== onB.key) expect(await fleet.read(`k${i}`)).toBe('x');
  // Listings are of class A as well; the month of its provider ends eight hours after that of UTC.
  fleet.clock.advance(Date.UTC(2026, 1, 1, 7, 59) - fleet.clock.now());
  expect(await fleet.tick('reconciler')).toMatchObject({ reasons: expect.objectContaining({ 'over-class-a': 1 }) });
  expect(sent.get('b list')).toBeUndefined();
  fleet.clock.advance(hourMs);
  await fleet.tick('reconciler');
  expect(sent.get('b list')).toBeGreaterThan(0);
});

test('a put of the library goes to another backend where a limit is spent, and is refused where all are [usage-classes]', async () => {
  const fleet = await createTestFleet({
    backends: [
      { name: 'a', dailyLimits: { classA: 2 } },
      { name: 'b', limits: { usd: 1 }, usdPerMillionA: 500_000 },
    ],
    policies: { default: { factor: 1 } },
  });
  const placed: string[] = [];
  for (let i = 0; i < 4; i += 1) {
    await fleet.client.put(`k${i}`, 'x');
    placed.push(...Object.keys(fleet.object(`k${i}`).copies));
  }
  expect(placed).toEqual(['a', 'a', 'b', 'b']);
  const told = fleet.client.put('more', 'x');
  await expect(told).rejects.toMatchObject({ kind: 'no-backend' });
  await expect(fleet.client.put('more', 'x')).rejects.toThrow(
    /"a" has reached a usage limit \(over-class-a\); "b" has reached a usage limit \(over-dollars\)/,
  );
  expect(await fleet.read('k0')).toBe('x');
  // Another process sees it once it is written down.
  await fleet.client.close();
  await expect(fleet.newClient().put('more', 'x')).rejects.toMatchObject({ kind: 'no-backend' });
  fleet.clock.advance(24 * hourMs);
  await fleet.newClient().put('more', 'x');
  expect(Object.keys(fleet.object('more').copies)).toEqual(['a']);
});

test('what a put has still to send counts for those that begin after usage was written down [usage-classes]', async () => {
  const fleet = await createTestFleet({
    backends: [{ name: 'a', limits: { ingressBytes: 150 } }, 'b'],
    policies: { default: { factor: 1 } },
  });
  const onItsWay = Promise.withResolvers<void>();
  const isBegun = Promise.withResolvers<void>();
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'put') return;
    fleet.before = undefined;
    isBegun.resolve();
    await onItsWay.promise;
  };
  const first = fleet.client.put('first', 'x'.repeat(100));
  await isBegun.promise;
  fleet.clock.advance(61_000);
  await fleet.client.put('second', 'x'.repeat(100));
  onItsWay.resolve();
  await first;
  expect(Object.keys(fleet.object('first').copies)).toEqual(['a']);
  expect(Object.keys(fleet.object('second').copies)).toEqual(['b']);
});

test('reads of an application count for its puts, before they are written down [usage-limits-hold]', async () => {
  const fleet = await createTestFleet({
    backends: [{ name: 'a', limits: { requests: 40 } }],
    policies: { default: { factor: 1 } },
  });
  let sent = 0;
  let most = 0;
  fleet.before = ({ port, method }) => {
    if (port !== 'a') return;
    sent += 1;
    if (method === 'put') most = Math.max(most, sent);
  };
  await fleet.client.put('k', 'x');
  const read = async () => (await collect((await fleet.client.get('k'))!.body)).toString();
  for (let i = 0; i < 30; i += 1) expect(await read()).toBe('x');
  let refused = 0;
  for (let i = 0; i < 20; i += 1) await fleet.client.put(`k${i}`, 'x').catch(() => (refused += 1));
  expect(refused).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(40);
  // What is never held back goes on.
  expect(await read()).toBe('x');
});

test('what a tick could not write down counts for the next one of its process, however late that comes [usage-limits-hold]', async () => {
  const fleet = await createTestFleet({ backends: ['a', { name: 'b', limits: { classA: 3 } }] });
  for (let i = 0; i < 8; i += 1) await fleet.client.put(`k${i}`, 'x');
  let sent = 0;
  fleet.before = ({ port, method }) => {
    if (port === 'b' && method === 'put') sent += 1;
    if (port === 'store' && method === 'addUsage') throw new StoreError('throttled', 'busy');
  };
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'error', succeeded: 3 });
  for (let tick = 0; tick < 3; tick += 1) {
    // Longer than anybody counts what it held.
    fleet.clock.advance(1_200_000);
    await fleet.tick('replicator');
  }
  expect(sent).toBe(3);
});
