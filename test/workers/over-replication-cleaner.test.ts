import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { overReplicationCleaner } from '../../lib/workers/over-replication-cleaner/over-replication-cleaner.ts';
import { createTestFleet, type TestFleet, type TestFleetOptions } from '../support/fleet.ts';
import { justBefore, watchWrites } from '../support/watch.ts';

const cleaner = 'over-replication-cleaner';
const upkeep = ['replicator', cleaner, 'cleanup-queue', 'pending-reaper'] as const;

/** One object, `k`, with copies on a, b and c, and a factor of two. */
async function threeCopies(options: TestFleetOptions = {}): Promise<TestFleet> {
  const fleet = await createTestFleet({ ...options, policies: { default: { factor: 3 } } });
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  await fleet.apply({ ...options, policies: { default: { factor: 2 } } });
  return fleet;
}

/** Takes a backend away until the returned function is called. */
function outage(fleet: TestFleet, name: string): () => void {
  const outer = fleet.before;
  fleet.before = (call) => {
    if (call.port === name) throw new BackendError('unavailable', name, `Backend "${name}" refused the connection`);
    return outer?.(call);
  };
  return () => {
    fleet.before = outer;
  };
}

test('cleaner removes one surplus copy, queues its bytes, and the ledger follows', async () => {
  const fleet = await threeCopies();
  expect(await fleet.tick(cleaner)).toMatchObject({ outcome: 'success', planned: 1, succeeded: 1 });
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
  expect(fleet.queue()).toMatchObject([{ backend: 'c', state: 'cleanup', reason: 'surplus' }]);
  expect((await fleet.recount()).differences).toEqual([]);
  await fleet.settle();
  expect([fleet.keysOn('a').length, fleet.keysOn('b').length, fleet.keysOn('c').length]).toEqual([1, 1, 0]);
});

test('an idle cleaner tick is one query', async () => {
  const fleet = await threeCopies();
  await fleet.tick(cleaner);
  const calls: string[] = [];
  fleet.before = ({ port, method }) => void calls.push(`${port}.${method}`);
  expect((await fleet.tick(cleaner)).outcome).toBe('empty');
  expect(calls).toEqual(['store.control']);
});

test('the copy on the fullest backend goes first, and of equals the later name [cleaner-order]', async () => {
  const backends = [{ name: 'a', quotaBytes: 100 }, 'b', 'c'];
  const fleet = await threeCopies({ backends });
  await fleet.tick(cleaner);
  // a has used 1 % of its limit and scores 2.99; b and c have none and score 2.5.
  expect(Object.keys(fleet.copiesOf('k'))).toEqual(['a', 'b']);
});

test.each([
  ['is gone', (fleet: TestFleet) => fleet.backends.a!.deleteNow(fleet.keysOn('a')[0]!)],
  ['has shrunk', (fleet: TestFleet) => void fleet.backends.a!.putNow(fleet.keysOn('a')[0]!, Buffer.from(''))],
  ['does not answer', (fleet: TestFleet) => void outage(fleet, 'a')],
])('nothing is removed when a survivor %s', async (_, spoil) => {
  const fleet = await threeCopies();
  spoil(fleet);
  const report = await fleet.tick(cleaner);
  expect(report).toMatchObject({ planned: 1, succeeded: 0 });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b', 'c']);
  expect(fleet.queue()).toEqual([]);
});

test('two cleaners at once, without leases, never take an object below its factor [never-below-factor]', async () => {
  const fleet = await threeCopies();
  for (let i = 0; i < 20; i += 1) await fleet.client.put(`k${i}`, 'v');
  await fleet.apply({ policies: { default: { factor: 3 } } });
  await fleet.tick('replicator');
  await fleet.apply({ policies: { default: { factor: 2 } } });
  const lease = { worker: cleaner, part: '0/1', holder: 'x', epoch: 1, expiresAt: 0 };
  const store = new Proxy(fleet.deps.store, {
    get(target, method) {
      if (method === 'acquireLease') return async () => lease;
      if (method === 'updateLease') return async () => true;
      return Reflect.get(target, method);
    },
  });
  const event = { deadline: fleet.clock.now() + 300_000 };
  const both = [0, 1].map(() => runTick({ ...fleet.deps, store }, overReplicationCleaner, event));
  const reports = await Promise.all(both);
  expect(reports.reduce((sum, { succeeded }) => sum + succeeded, 0)).toBe(21);
  for (const { key } of fleet.store.allObjects()) expect(Object.keys(fleet.copiesOf(key))).toEqual(['a', 'b']);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('copies that are not reachable are no survivors: nothing is removed until enough answer again', async () => {
  const fleet = await threeCopies();
  const endA = outage(fleet, 'a');
  const endB = outage(fleet, 'b');
  for (let i = 0; i < 5; i += 1) await fleet.tick('replicator');
  expect((await fleet.tick(cleaner)).outcome).toBe('empty');
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b', 'c']);
  endB();
  endA();
  outage(fleet, 'a');
  fleet.clock.advance(400_000);
  await fleet.tick('replicator');
  await fleet.tick(cleaner);
  // The unreachable one goes first, because b and c remain.
  expect(Object.keys(fleet.object('k').copies)).toEqual(['b', 'c']);
  expect((await fleet.tick(cleaner)).outcome).toBe('empty');
});

test('after an outage and a replacement the backend returns, and exactly one surplus copy leaves', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  const end = outage(fleet, 'a');
  for (let i = 0; i < 5; i += 1) await fleet.tick('replicator');
  fleet.clock.advance(601_000);
  await fleet.tick('replicator');
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b', 'c']);
  end();
  fleet.clock.advance(400_000);
  await fleet.tick('replicator');
  const watch = watchWrites(fleet);
  await fleet.settle(upkeep, 60);
  expect(watch.copiesMade()).toBe(0);
  expect(watch.writes.filter((write) => write === 'store.object')).toHaveLength(1);
  expect(Object.keys(fleet.copiesOf('k'))).toHaveLength(2);
  const stored = ['a', 'b', 'c'].flatMap((name) => fleet.keysOn(name));
  expect(stored).toHaveLength(2);
});

test('over five flaps of a backend at most one copy is made of each object: it is not used again for what it lost', async () => {
  const fleet = await createTestFleet();
  const keys = ['k0', 'k1', 'k2'];
  for (const key of keys) await fleet.client.put(key, 'v');
  await fleet.tick('replicator');
  const watch = watchWrites(fleet);
  for (let flap = 0; flap < 5; flap += 1) {
    const end = outage(fleet, 'a');
    await fleet.settle(upkeep, 30);
    end();
    await fleet.settle(upkeep, 30);
  }
  expect(watch.copiesMade()).toBeLessThanOrEqual(keys.length);
  for (const key of keys) expect(fleet.copiesOf(key)).toEqual({ b: 'v', c: 'v' });
  expect(fleet.queue()).toEqual([]);
});

test('five flaps during which the cleaner does not run cost at most one copy of an object each', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  const watch = watchWrites(fleet);
  for (let flap = 0; flap < 5; flap += 1) {
    const end = outage(fleet, 'a');
    await fleet.settle(['replicator'], 30);
    end();
    await fleet.settle(upkeep, 30);
  }
  expect(watch.copiesMade()).toBeLessThanOrEqual(5);
  expect(Object.keys(fleet.copiesOf('k'))).toHaveLength(2);
});

test('raising the factor of a prefix takes effect before the cleaner could remove what it asks for', async () => {
  const fleet = await threeCopies();
  await fleet.client.put('archive/x', 'v');
  await fleet.tick('replicator');
  // The label of archive/x is still "default"; by its key it now belongs to a policy that asks for three.
  await fleet.apply({ policies: { default: { factor: 1 }, archive: { prefix: 'archive/', factor: 3 } } });
  expect(fleet.object('archive/x').policy).toBe('default');
  await fleet.tick(cleaner);
  expect(fleet.object('archive/x')).toMatchObject({ policy: 'archive', copies: { a: expect.any(String) } });
  expect(Object.keys(fleet.object('archive/x').copies)).toHaveLength(2);
  await fleet.settle(upkeep, 20);
  expect(fleet.copiesOf('archive/x')).toEqual({ a: 'v', b: 'v', c: 'v' });
  expect(Object.keys(fleet.copiesOf('k'))).toHaveLength(1);
});

test('an object under a policy that was renamed is relabelled, and keeps every copy the new one asks for [labels-only-find]', async () => {
  const policies = (name: string) => ({ default: { factor: 1 }, [name]: { prefix: 'archive/', factor: 3 } });
  const fleet = await createTestFleet({ policies: policies('archive') });
  await fleet.client.put('archive/x', 'v');
  await fleet.tick('replicator');
  await fleet.apply({ policies: policies('vault') });
  const watch = watchWrites(fleet);
  expect(await fleet.tick(cleaner)).toMatchObject({ succeeded: 1, reasons: { relabelled: 1 } });
  expect(fleet.object('archive/x').policy).toBe('vault');
  await fleet.settle(upkeep, 20);
  expect(fleet.copiesOf('archive/x')).toEqual({ a: 'v', b: 'v', c: 'v' });
  expect(watch.writes).toEqual(['store.object']);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('an unreplicated object under a renamed policy is found again by its new label', async () => {
  const fleet = await createTestFleet({
    policies: { default: { factor: 1 }, archive: { prefix: 'archive/', factor: 3 } },
  });
  await fleet.client.put('archive/x', 'v');
  await fleet.apply({ policies: { default: { factor: 1 }, vault: { prefix: 'archive/', factor: 3 } } });
  await fleet.settle(upkeep, 5);
  expect(Object.keys(fleet.copiesOf('archive/x'))).toEqual(['a', 'b', 'c']);
});

test.each(['overwritten', 'deleted', 'deleted and put again', 'moved on by another worker'])(
  'an object %s between the read and the removal keeps its new content',
  async (what) => {
    const fleet = await threeCopies();
    justBefore(
      fleet,
      (port, method, changes) => port === 'store' && method === 'transact' && changes.some((c) => c.kind === 'object'),
      async () => {
        if (what === 'moved on by another worker') return void (await fleet.tick('scrubber'));
        if (what !== 'overwritten') await fleet.client.delete('k');
        if (what !== 'deleted') await fleet.client.put('k', 'new');
      },
    );
    await fleet.tick(cleaner);
    expect((await fleet.recount()).differences).toEqual([]);
    await fleet.settle(upkeep);
    expect(await fleet.read('k')).toBe(what === 'deleted' ? null : what.startsWith('moved') ? 'v' : 'new');
    if (what !== 'deleted') expect(Object.keys(fleet.copiesOf('k'))).toEqual(['a', 'b']);
    expect(fleet.queue()).toEqual([]);
  },
);

/** Gives an object a plain copy, as an import would record it. */
function recover(fleet: TestFleet, key: string, backend: string, change: { etag?: string } = {}): void {
  const entry = fleet.object(key);
  const { etag } = fleet.backends[backend]!.putNow(key, Buffer.from('v'));
  const put = {
    ...entry,
    rev: entry.rev + 1,
    copies: { ...entry.copies, [backend]: '' },
    plainEtags: { [backend]: change.etag ?? etag },
  };
  const set = (copies: Record<string, string>) =>
    Object.keys(copies)
      .sort()
      .map((name) => (copies[name] === '' ? `${name}*` : name))
      .join('+');
  const row = (copies: Record<string, string>, sign: number) =>
    ({
      kind: 'add',
      pk: 'fleet',
      sk: `placement/${entry.policy}/${set(copies)}#0`,
      add: { objects: sign, bytes: sign * entry.sizeBytes },
    }) as const;
  fleet.store.apply([
    { kind: 'object', put, expect: { generation: entry.generation, rev: entry.rev } },
    row(entry.copies, -1),
    row(put.copies, 1),
    { kind: 'add', pk: 'fleet', sk: `used/${backend}#0`, add: { objects: 0, bytes: entry.sizeBytes } },
  ]);
}

test('a plain copy is never removed, even when it is the one of least worth [cleaner-leaves-files]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  recover(fleet, 'k', 'c');
  await fleet.tick(cleaner);
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', c: 'v' });
  await fleet.settle(upkeep, 20);
  expect(fleet.backends.c!.peek('k')).toBeDefined();
});

test('plain copies alone are not surplus, and finding that costs one query', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  recover(fleet, 'k', 'b');
  await fleet.tick(cleaner);
  expect(fleet.object('k').copies).toEqual({ b: '' });
  expect((await fleet.tick(cleaner)).outcome).toBe('empty');
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a plain survivor whose ETag changed is not the content that was recorded: nothing is removed', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  recover(fleet, 'k', 'b', { etag: '"another"' });
  expect(await fleet.tick(cleaner)).toMatchObject({ failed: 1, reasons: { 'survivor-changed': 1 } });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b']);
});

test('a damaged object is left alone', async () => {
  const fleet = await threeCopies();
  const entry = fleet.object('k');
  const move = (placement: string, sign: number) =>
    ({
      kind: 'add',
      pk: 'fleet',
      sk: `placement/${placement}/a+b+c#0`,
      add: { objects: sign, bytes: sign },
    }) as const;
  fleet.store.apply([
    {
      kind: 'object',
      put: { ...entry, rev: entry.rev + 1, condition: 'damaged' },
      expect: { generation: entry.generation, rev: entry.rev },
    },
    move('default', -1),
    move('default!damaged', 1),
  ]);
  expect((await fleet.tick(cleaner)).outcome).toBe('empty');
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b', 'c']);
});

test('over 50 ticks of every worker on a settled fleet nothing is written to objects, queue or backends', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b', 'c', 'd'].map((name) => ({ name, quotaBytes: 4000 })),
    policies: { default: { factor: 2 }, archive: { prefix: 'archive/', factor: 3 } },
    env: { REBALANCER_STRATEGY: 'spread', REBALANCER_THRESHOLD: '0.01' },
  });
  for (let i = 0; i < 30; i += 1) await fleet.client.put(`${i % 3 ? '' : 'archive/'}k${i}`, 'x'.repeat(1 + 3 * i));
  const all = [...upkeep, 'rebalancer', 'scrubber', 'reconciler'] as const;
  await fleet.settle(all, 120);
  const watch = watchWrites(fleet);
  await fleet.settle(all, 50);
  expect(watch.writes).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a cleaner on a dry run removes nothing and says what it would look at', async () => {
  const fleet = await threeCopies();
  expect(await fleet.tick(cleaner, { dryRun: true })).toMatchObject({ planned: 1, skipped: 1 });
  expect(Object.keys(fleet.copiesOf('k'))).toEqual(['a', 'b', 'c']);
});

test('a survivor of the right size whose bytes have rotted keeps every other copy in the record [cleaner-survivors]', async () => {
  const fleet = await threeCopies();
  const rotten = fleet.keysOn('a')[0]!;
  fleet.backends.a!.putNow(rotten, Buffer.from('x'), { metadata: fleet.backends.a!.peek(rotten)!.metadata });
  expect(await fleet.tick(cleaner)).toMatchObject({ failed: 1, reasons: { 'survivor-wrong': 1 } });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a', 'b', 'c']);
  await fleet.settle(['scrubber', 'replicator', cleaner, 'cleanup-queue'], 10);
  expect(Object.values(fleet.copiesOf('k'))).toEqual(['v', 'v']);
});
