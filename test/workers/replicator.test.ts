import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import { createTestFleet } from '../support/fleet.ts';
import { createVirtualTime } from '../support/virtual-time.ts';

test('replicator gives every object the copies its policy asks for, byte-identical, and keeps the ledger exact', async () => {
  const fleet = await createTestFleet({
    policies: { default: { factor: 2 }, archive: { prefix: 'archive/', factor: 3 } },
  });
  await fleet.client.put('a.txt', 'alpha');
  await fleet.client.put('archive/b.txt', 'beta');
  const report = await fleet.tick('replicator');
  expect(report).toMatchObject({ outcome: 'success', planned: 2, succeeded: 2 });
  expect(fleet.copiesOf('a.txt')).toEqual({ a: 'alpha', b: 'alpha' });
  expect(fleet.copiesOf('archive/b.txt')).toEqual({ a: 'beta', b: 'beta', c: 'beta' });
  expect((await fleet.recount()).differences).toEqual([]);
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'empty', planned: 0 });
});

test('an idle replicator tick is one query and one HEAD per backend [idle-tick-one-query]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  const calls: string[] = [];
  fleet.before = ({ port, method }) => void calls.push(`${port}.${method}`);
  expect((await fleet.tick('replicator')).outcome).toBe('empty');
  // `identity` is asked of the process, which asks the table once in its life.
  expect(calls.filter((c) => c !== 'store.identity').sort()).toEqual(['a.head', 'b.head', 'c.head', 'store.control']);
});

test('an idle tick of a queue worker is one query', async () => {
  const fleet = await createTestFleet();
  for (const worker of ['cleanup-queue', 'pending-reaper'] as const) {
    const calls: string[] = [];
    fleet.before = ({ port, method }) => void calls.push(`${port}.${method}`);
    expect((await fleet.tick(worker)).outcome).toBe('empty');
    expect(calls).toEqual(['store.control']);
  }
});

test('of two replicator ticks at once one works and the other is busy', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  let reached = () => {};
  let release = () => {};
  const inside = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const barrier = new Promise<void>((resolve) => {
    release = resolve;
  });
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'get') return;
    reached();
    await barrier;
  };
  const first = fleet.tick('replicator');
  await inside;
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'busy', planned: 0 });
  release();
  expect(await first).toMatchObject({ outcome: 'success', succeeded: 1 });
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
});

test('two replicator ticks without leases both finish, with a correct ledger', async () => {
  const fleet = await createTestFleet();
  for (let i = 0; i < 20; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  const lease = { worker: 'replicator', part: '0/1', holder: 'x', epoch: 1, expiresAt: 0 };
  const free = {
    ...fleet.deps,
    store: {
      ...fleet.deps.store,
      ...passThrough(fleet.deps.store),
      acquireLease: async () => lease,
      updateLease: async () => true,
    },
  };
  const { runTick } = await import('../../lib/tick/run-tick.ts');
  const { replicator } = await import('../../lib/workers/replicator/replicator.ts');
  const event = { deadline: fleet.clock.now() + 300_000 };
  await Promise.all([runTick(free, replicator, event), runTick(free, replicator, event)]);
  for (let i = 0; i < 20; i += 1) expect(Object.values(fleet.copiesOf(`k${i}`))).toEqual([`v${i}`, `v${i}`]);
  expect((await fleet.recount()).differences).toEqual([]);
  // What lost the race is queued, and goes.
  await fleet.settle();
  expect(fleet.queue()).toEqual([]);
  const stored = ['a', 'b', 'c'].flatMap((name) => fleet.keysOn(name));
  expect(stored).toHaveLength(40);
});

function passThrough<T extends object>(port: T): T {
  return Object.fromEntries(
    Object.keys(port).map((name) => [
      name,
      (...args: unknown[]) => (port as Record<string, (...a: unknown[]) => unknown>)[name]!(...args),
    ]),
  ) as T;
}

test('of two concurrent 60-byte copies into 100 free bytes one is recorded and the other is queued and later gone [replicator-targets]', async () => {
  const fleet = await createTestFleet({
    backends: ['a', { name: 'b', quotaBytes: 100 }],
    policies: { default: { factor: 1 }, two: { prefix: 'x', factor: 2 } },
  });
  await fleet.client.put('x1', 'p'.repeat(60));
  await fleet.client.put('x9', 'q'.repeat(60));
  // Two parts plan at once, each by its own view of the free room.
  const parts = await Promise.all([
    fleet.tick('replicator', { part: 0, of: 2 }),
    fleet.tick('replicator', { part: 1, of: 2 }),
  ]);
  const both = await fleet.tick('replicator');
  expect(parts.reduce((sum, r) => sum + r.succeeded, 0) + both.succeeded).toBe(1);
  expect((await fleet.recount()).differences).toEqual([]);
  await fleet.settle(['cleanup-queue']);
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('b')).toHaveLength(1);
  expect(fleet.backends.b!.contents().size).toBe(2);
});

test('a tick in which every attempted item failed is failed, whatever it passed over [every-item-counted]', async () => {
  const fleet = await createTestFleet({ backends: ['a', { name: 'b', maxObjectBytes: 10 }] });
  await fleet.client.put('small', 'ok');
  await fleet.client.put('too-big', 'x'.repeat(11));
  fleet.before = ({ port, method, args }) => {
    const isOurs = method === 'put' && (args[0] as { storageKey: string }).storageKey.startsWith('small!');
    if (port === 'b' && isOurs) throw new BackendError('rejected', 'b', 'Cannot write "small" on "b"');
  };
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'failed', planned: 2, failed: 1, skipped: 1 });
});

test('fifty objects that cannot be replicated do not keep the one that can waiting for more than two ticks', async () => {
  const fleet = await createTestFleet({
    backends: ['a', { name: 'b', maxObjectBytes: 10 }],
    env: { REPLICATOR_ROUNDS: '1' },
  });
  for (let i = 0; i < 50; i += 1) await fleet.client.put(`big${i}`, 'x'.repeat(11));
  await fleet.client.put('small', 'ok');
  await fleet.tick('replicator');
  await fleet.tick('replicator');
  expect(fleet.copiesOf('small')).toEqual({ a: 'ok', b: 'ok' });
});

test('a backend unhealthy for longer than UNHEALTHY_AFTER is neither source nor target, and its copies are replaced [replicator-finds]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  const down: string[] = [];
  fleet.before = ({ port, method }) => {
    if (port !== 'a') return;
    down.push(method);
    throw new BackendError('unavailable', 'a', 'Backend "a" refused the connection');
  };
  for (let i = 0; i < 5; i += 1) await fleet.tick('replicator');
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
  fleet.clock.advance(601_000);
  down.length = 0;
  await fleet.tick('replicator');
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v', c: 'v' });
  expect(down).toEqual(['head']);
  await fleet.tick('replicator');
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b', 'c']);
});

test('a source that lost the bytes is quarantined after confirmation and rebuilt [removal-needs-proof]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 3 } } });
  await fleet.client.put('k', 'v');
  await fleet.apply({ policies: { default: { factor: 2 } } });
  await fleet.tick('replicator');
  fleet.backends.a!.deleteNow(fleet.keysOn('a')[0]!);
  await fleet.apply({ policies: { default: { factor: 3 } } });
  await fleet.tick('replicator');
  expect(fleet.object('k').copies.a).toBeUndefined();
  await fleet.tick('replicator');
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v', c: 'v' });
  expect((await fleet.recount()).differences).toEqual([]);
});

test('the only copy, wrong: the object is damaged, its bytes are kept, and it is never served as good [last-copy-stays]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'good');
  const key = fleet.keysOn('a')[0]!;
  const { metadata } = fleet.backends.a!.peek(key)!;
  fleet.backends.a!.putNow(key, Buffer.from('evil'), { metadata });
  await fleet.tick('replicator');
  expect(fleet.object('k')).toMatchObject({ condition: 'damaged', copies: { a: expect.any(String) } });
  expect(fleet.keysOn('a')).toEqual([key]);
  await expect(fleet.read('k')).rejects.toThrow('none of its copies can be read and verified');
  expect(fleet.keysOn('b')).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('an object whose source cannot be read takes the last room from no other', async () => {
  const fleet = await createTestFleet({ backends: ['a', { name: 'b', quotaBytes: 100 }] });
  for (const key of ['k1', 'k2', 'k3']) await fleet.client.put(key, 'x'.repeat(60));
  const { get } = fleet.backends.a!;
  fleet.backends.a!.get = async (key, ...rest) => {
    if (!key.startsWith('k3')) throw new BackendError('delete-marker', 'a', 'It has a delete marker');
    return get(key, ...rest);
  };
  for (let tick = 0; tick < 2; tick += 1) {
    const report = await fleet.tick('replicator');
    expect(report.planned).toBe(report.succeeded + report.failed + report.skipped + report.deferred);
    expect(Object.keys(fleet.object('k3').copies)).toEqual(['a', 'b']);
  }
  expect(fleet.keysOn('b')).toHaveLength(1);
});

test.each(['no-bucket', 'denied', 'delete-marker', 'timeout', 'truncated'] as const)(
  'a source that answers %s is never quarantined',
  async (kind) => {
    const fleet = await createTestFleet();
    await fleet.client.put('k', 'v');
    await fleet.tick('replicator');
    await fleet.apply({ policies: { default: { factor: 3 } } });
    fleet.before = ({ port, method }) => {
      if (port === 'a' && method === 'get') throw new BackendError(kind, 'a', 'no');
    };
    await fleet.tick('replicator');
    expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v', c: 'v' });
  },
);

test('a wrong bucket under the same name quarantines nothing [removal-needs-proof]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 3 } } });
  await fleet.client.put('k', 'v');
  await fleet.apply({ policies: { default: { factor: 2 } } });
  await fleet.tick('replicator');
  for (const key of fleet.backends.a!.contents().keys()) fleet.backends.a!.deleteNow(key);
  await fleet.apply({ backends: ['b', 'c', 'a'], policies: { default: { factor: 3 } } }).catch(() => {});
  const report = await fleet.tick('replicator');
  expect(report).toMatchObject({ outcome: 'error', message: expect.stringContaining('has no owner object') });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b']);
});

test.each(['overwritten', 'deleted', 'deleted and put again'])(
  'an object %s between the read and the commit keeps its new content',
  async (what) => {
    const fleet = await createTestFleet();
    await fleet.client.put('k', 'old');
    fleet.before = async ({ port, method }) => {
      if (port !== 'b' || method !== 'put') return;
      fleet.before = undefined;
      if (what !== 'overwritten') await fleet.client.delete('k');
      if (what !== 'deleted') await fleet.client.put('k', 'new');
    };
    await fleet.tick('replicator');
    if (what === 'deleted') expect(fleet.entry('k')?.kind).toBe('tombstone');
    else expect(Object.values(fleet.copiesOf('k'))).not.toContain('old');
    expect((await fleet.recount()).differences).toEqual([]);
    await fleet.settle();
    if (what === 'deleted') expect(await fleet.read('k')).toBeNull();
    else expect(fleet.copiesOf('k')).toEqual({ a: 'new', b: 'new' });
    expect(fleet.queue()).toEqual([]);
    const count = what === 'deleted' ? 0 : 1;
    expect([fleet.keysOn('a').length, fleet.keysOn('b').length, fleet.keysOn('c').length]).toEqual([count, count, 0]);
  },
);

test.each(['true', 'false'])('tags travel with a copy where PRESERVE_TAGS is %s', async (preserves) => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    env: { PRESERVE_TAGS: preserves, RECONCILER_IMPORT: 'true' },
  });
  fleet.backends.a!.putNow('file', Buffer.from('recovered'), { tags: { team: 'photos' } });
  fleet.clock.advance(2 * 3_600_000);
  await fleet.tick('reconciler');
  await fleet.tick('replicator');
  const copied = fleet.backends.b!.peek(fleet.keysOn('b')[0]!)!;
  expect(copied.tags).toEqual(preserves === 'true' ? { team: 'photos' } : {});
});

test('what is changed while a batch is at work is heeded within it', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { REPLICATOR_CONCURRENCY: '1' } });
  for (const key of ['k1', 'k2', 'k3']) await fleet.client.put(key, 'v');
  const first = Object.keys(fleet.object('k1').copies)[0]!;
  const puts: string[] = [];
  fleet.before = ({ port, method }) => {
    if (method !== 'put' || puts.push(port) > 1) return;
    fleet.clock.advance(20_000);
    const put = { pk: 'fleet', sk: `drain/${port}`, version: 1, data: { since: fleet.clock.now() } };
    fleet.store.apply([{ kind: 'row', put, expect: 'absent' }]);
  };
  await fleet.tick('replicator', { rounds: 1 });
  const other = ['a', 'b', 'c'].find((name) => name !== first && name !== puts[0])!;
  expect(puts).toEqual([puts[0], other, other]);
});

test('copies are recorded in groups, and no more of them are ever unrecorded than are in work or may wait', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { REPLICATOR_CONCURRENCY: '8' } });
  for (let i = 0; i < 200; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  let transactions = 0;
  let mostUnrecorded = 0;
  const unrecorded = () => {
    const recorded = [...fleet.store.allObjects()].filter((one) => one.kind === 'object' && 'b' in one.copies).length;
    return fleet.keysOn('b').length - recorded;
  };
  fleet.after = ({ port, method }) => {
    if (port === 'b' && method === 'put') mostUnrecorded = Math.max(mostUnrecorded, unrecorded());
    if (port === 'store' && method === 'transact') transactions += 1;
  };
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', succeeded: 200 });
  expect(mostUnrecorded).toBeGreaterThan(1);
  expect(mostUnrecorded).toBeLessThanOrEqual(8 + 32);
  // More than half of the places in each, though a group that may wait for a while waits for nothing on this clock.
  expect(transactions).toBeLessThanOrEqual(40);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('where S3 takes 30 ms and DynamoDB 5, more than 550 copies a second are made with the defaults, 12 and more to a transaction', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  const objects = 1_000;
  for (let i = 0; i < objects; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  const time = createVirtualTime(fleet.clock);
  // The deadline is far: only waits for others move the clock.
  const sleep = (ms: number, signal?: AbortSignal) =>
    ms > 1_000
      ? fleet.clock.sleep(ms, signal)
      : new Promise<void>((resolve, reject) => {
          signal?.addEventListener('abort', () => reject(signal.reason));
          void time.wait(ms).then(resolve);
        });
  let transactions = 0;
  fleet.before = ({ port, method }) => {
    if (port === 'store' && method === 'transact') transactions += 1;
    return time.wait(port === 'store' ? 5 : 30);
  };
  const startedAt = fleet.clock.now();
  const deps = { ...fleet.deps, clock: { now: fleet.clock.now, sleep } };
  const report = await time.run(runTick(deps, workers.replicator!, { deadline: startedAt + 300_000 }));
  expect(report).toMatchObject({ outcome: 'success', succeeded: objects });
  const seconds = (fleet.clock.now() - startedAt) / 1000;
  process.stdout.write(`${(objects / seconds).toFixed(0)} copies a second, ${transactions} transactions\n`);
  expect(objects / seconds).toBeGreaterThan(550);
  // A copy costs four write units, and six of the ledger are shared by those of its transaction: at most 4.5.
  expect(transactions).toBeLessThanOrEqual(objects / 12);
});
