import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { forget } from '../../lib/operations/forget.ts';
import { sayDrainWarning, sayWaiting } from '../../lib/operations/say-drain.ts';
import { undrain } from '../../lib/operations/undrain.ts';
import { isWhole } from '../support/extent.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { justBefore, watchWrites } from '../support/watch.ts';

const upkeep = ['replicator', 'over-replication-cleaner', 'cleanup-queue', 'pending-reaper'] as const;
const single = { default: { factor: 1 } };
const settleMs = 1_200_000;

async function filled(options: Parameters<typeof createTestFleet>[0] = {}): Promise<TestFleet> {
  const fleet = await createTestFleet(options);
  for (let i = 0; i < 10; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.tick('replicator');
  return fleet;
}

function loseBackend(fleet: TestFleet, name: string): void {
  const outer = fleet.before;
  fleet.before = (call) => {
    if (call.port === name) throw new BackendError('unavailable', name, 'no');
    return outer?.(call);
  };
}

/** Runs the workers a minute at a time; before each of them every object must be readable. */
async function settleReadable(fleet: TestFleet, keys: readonly string[], minutes: number): Promise<void> {
  for (let minute = 0; minute < minutes; minute += 1) {
    for (const name of upkeep) {
      await fleet.tick(name);
      for (const key of keys) expect(await fleet.read(key), key).not.toBeNull();
    }
    fleet.clock.advance(60_000);
  }
}

/** What an operator is told who asks, and asks again half a minute later. */
async function askedTwice(fleet: TestFleet, name: string) {
  await drainStatus(fleet.deps, name);
  fleet.clock.advance(30_000);
  return drainStatus(fleet.deps, name);
}

test('a drained backend is empty, and every object kept its copies elsewhere [drain-empties]', async () => {
  const fleet = await filled();
  expect(await drain(fleet.deps, 'a')).toMatchObject({ outcome: 'draining' });
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'draining', copies: { objects: 10 } });
  await settleReadable(fleet, ['k0', 'k9'], 10);
  for (let i = 0; i < 10; i += 1) expect(fleet.copiesOf(`k${i}`)).toEqual({ b: `v${i}`, c: `v${i}` });
  expect(fleet.keysOn('a')).toEqual([]);
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'settling' });
  fleet.clock.advance(settleMs);
  expect(await askedTwice(fleet, 'a')).toMatchObject({ outcome: 'drained' });
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a drain at factor one never leaves an object without a readable copy', async () => {
  const fleet = await filled({ policies: single });
  await drain(fleet.deps, 'a');
  await settleReadable(fleet, ['k0', 'k5', 'k9'], 40);
  for (let i = 0; i < 10; i += 1) expect(fleet.copiesOf(`k${i}`)).toEqual({ b: `v${i}` });
  expect(await askedTwice(fleet, 'a')).toMatchObject({ outcome: 'drained' });
});

test('draining twice keeps the beginning, and undrain lets the backend take part again', async () => {
  const fleet = await filled();
  const first = await drain(fleet.deps, 'a');
  fleet.clock.advance(60_000);
  expect(await drain(fleet.deps, 'a')).toEqual(first);
  expect(await undrain(fleet.deps, 'a')).toMatchObject({ outcome: 'undrained', rejoined: 0, deleted: [] });
  expect(await undrain(fleet.deps, 'a')).toEqual({ outcome: 'not-draining' });
  expect(await drainStatus(fleet.deps, 'a')).toEqual({ outcome: 'not-draining' });
  const watch = watchWrites(fleet);
  await fleet.settle(upkeep, 5);
  expect(watch.writes).toEqual([]);
  expect(await drain(fleet.deps, 'nowhere')).toEqual({ outcome: 'not-configured' });
});

test('a drain begins when it is written down, however long the fleet took to read', async () => {
  const fleet = await filled();
  fleet.after = ({ port, method }) => {
    if (port === 'store' && method === 'control') fleet.clock.advance(600_000);
  };
  const before = fleet.clock.now();
  expect(await drain(fleet.deps, 'a')).toEqual({ outcome: 'draining', since: before + 600_000 });
});

test('a drain after which too few backends would remain is refused, and nothing drains', async () => {
  const policies = { default: { factor: 1 }, wide: { prefix: 'w/', factor: 2 } };
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], policies });
  expect(await drain(fleet.deps, 'a')).toMatchObject({ outcome: 'draining' });
  expect(await drain(fleet.deps, 'b')).toEqual({ outcome: 'too-few', remaining: 1, policies: ['wide'] });
  expect(await drainStatus(fleet.deps, 'b')).toEqual({ outcome: 'not-draining' });
  expect(await drain(fleet.deps, 'a')).toMatchObject({ outcome: 'draining' });
});

test('a drain is closed once it is found empty, and drained only after what was decided before has had its time [drained-means-empty]', async () => {
  const fleet = await createTestFleet({ policies: single, env: { DRAIN_SETTLE_SECONDS: '0' } });
  await drain(fleet.deps, 'a');
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'settling' });
  fleet.clock.advance(19_000);
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'settling' });
  fleet.clock.advance(1_000);
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'drained' });
});

test('a closing that takes effect late does not count from when it was sent', async () => {
  const fleet = await createTestFleet({ policies: single, env: { DRAIN_SETTLE_SECONDS: '0' } });
  await drain(fleet.deps, 'a');
  let isSent = false;
  fleet.before = ({ port, method }) => {
    if (port !== 'store' || method !== 'write' || isSent) return;
    isSent = true;
    fleet.clock.advance(3_600_000);
  };
  const now = () => fleet.clock.now();
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'settling', settledAt: now() + 20_000 });
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'settling', settledAt: now() + 20_000 });
});

test('while a recovery is pending no backend is drained, let back in or forgotten', async () => {
  const fleet = await filled();
  await drain(fleet.deps, 'a');
  const recovery = { pk: 'fleet', sk: 'recovery', version: 1, data: { since: fleet.clock.now() } };
  await fleet.store.write({ kind: 'row', put: recovery, expect: 'absent' });
  expect(await drain(fleet.deps, 'b')).toEqual({ outcome: 'recovering' });
  expect(await undrain(fleet.deps, 'a')).toEqual({ outcome: 'recovering' });
  expect(await forget(fleet.deps, 'nowhere')).toMatchObject({ outcome: 'recovering', removed: 0 });
});

test('two drains at once agree on one beginning', async () => {
  const fleet = await filled();
  const both = await Promise.all([drain(fleet.deps, 'a'), drain(fleet.deps, 'a')]);
  expect(both[0]).toEqual(both[1]);
});

test('an undrain in the middle leaves no copy too many', async () => {
  const fleet = await filled();
  await drain(fleet.deps, 'a');
  await fleet.tick('replicator');
  await undrain(fleet.deps, 'a');
  await fleet.settle(upkeep, 20);
  for (let i = 0; i < 10; i += 1) expect(Object.keys(fleet.copiesOf(`k${i}`))).toEqual(['a', 'b']);
});

test('a drain whose other copies lie on a dead backend waits for replacements, and nothing becomes unreachable', async () => {
  const fleet = await filled({ backends: ['a', 'b', 'c', 'd'] });
  await drain(fleet.deps, 'a');
  loseBackend(fleet, 'b');
  await settleReadable(fleet, ['k0', 'k9'], 60);
  for (let i = 0; i < 10; i += 1) expect(Object.keys(fleet.object(`k${i}`).copies)).toEqual(['c', 'd']);
  expect(fleet.keysOn('a')).toEqual([]);
  expect(await askedTwice(fleet, 'a')).toMatchObject({ outcome: 'drained' });
});

test('a drain whose other copies lie on a dead backend, with one spare backend, keeps the copies it needs', async () => {
  const fleet = await filled();
  await drain(fleet.deps, 'a');
  loseBackend(fleet, 'b');
  await settleReadable(fleet, ['k0', 'k9'], 60);
  for (let i = 0; i < 10; i += 1) {
    const { a, b, c } = fleet.copiesOf(`k${i}`);
    expect({ a, b, c }).toEqual({ a: `v${i}`, b: `v${i}`, c: `v${i}` });
  }
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'draining', copies: { objects: 10 } });
});

test('a drain with no room anywhere ends each tick with no-target, never completes and never runs hot [replicator-failures]', async () => {
  const fleet = await filled({ backends: ['a', 'b', { name: 'c', quotaBytes: 1 }] });
  await drain(fleet.deps, 'a');
  const watch = watchWrites(fleet);
  for (let i = 0; i < 10; i += 1) {
    let calls = 0;
    const count = fleet.before;
    fleet.before = (call) => {
      calls += 1;
      return count?.(call);
    };
    expect(await fleet.tick('replicator')).toMatchObject({ planned: 10, skipped: 10, reasons: { 'no-target': 10 } });
    expect((await fleet.tick('over-replication-cleaner')).outcome).toBe('empty');
    fleet.before = count;
    expect(calls).toBeLessThan(100);
    fleet.clock.advance(600_000);
  }
  expect(watch.writes).toEqual([]);
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'draining', copies: { objects: 10 } });
});

test('a put that was admitted just before the drain is moved off too, and only then is the backend drained', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('warm', 'up');
  await fleet.tick('replicator');
  let write = () => {};
  const reached = new Promise<void>((atBytes) => {
    fleet.before = ({ port, method }) => {
      if (port !== 'a' || method !== 'put') return;
      fleet.before = undefined;
      return new Promise<void>((go) => {
        write = go;
        atBytes();
      });
    };
  });
  const late = fleet.client.put('late', 'bytes', { timeoutMs: 24 * 3_600_000 });
  await reached;
  await drain(fleet.deps, 'a');
  await fleet.settle(['replicator', 'over-replication-cleaner', 'cleanup-queue'], 30);
  // Nothing is recorded there; the intent alone names the backend.
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({
    outcome: 'draining',
    copies: { objects: 0 },
    queue: { intent: { objects: 1 } },
  });
  write();
  await late;
  expect(Object.keys(fleet.object('late').copies)).toEqual(['a']);
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'draining', copies: { objects: 1 } });
  await settleReadable(fleet, ['late', 'warm'], 20);
  expect(fleet.copiesOf('late')).toEqual({ b: 'bytes', c: 'bytes' });
  expect(await askedTwice(fleet, 'a')).toMatchObject({ outcome: 'drained' });
});

test('a draining backend receives neither puts nor copies', async () => {
  const fleet = await createTestFleet({ routing: 'pack' });
  await drain(fleet.deps, 'a');
  fleet.clock.advance(10_000);
  const watch = watchWrites(fleet);
  await fleet.newClient().put('k', 'v');
  await fleet.settle(upkeep, 5);
  expect(watch.writes).not.toContain('a.put');
  expect(fleet.copiesOf('k')).toEqual({ b: 'v', c: 'v' });
});

test.each(['overwritten', 'deleted', 'deleted and put again'])(
  'an object %s while it is moved off keeps its new content',
  async (what) => {
    const fleet = await filled({ policies: single });
    await drain(fleet.deps, 'a');
    await fleet.tick('replicator');
    justBefore(
      fleet,
      (port, _, changes) => port === 'store' && changes.some((c) => c.kind === 'object'),
      async () => {
        if (what !== 'overwritten') await fleet.client.delete('k3');
        if (what !== 'deleted') await fleet.client.put('k3', 'new');
      },
    );
    await fleet.tick('over-replication-cleaner');
    await fleet.settle(upkeep, 30);
    expect(await fleet.read('k3')).toBe(what === 'deleted' ? null : 'new');
    expect(fleet.keysOn('a')).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
    expect(await askedTwice(fleet, 'a')).toMatchObject({ outcome: 'drained' });
  },
);

test('a plain copy on a draining backend is replaced, and deleted only if it is still the one recorded', async () => {
  const fleet = await createTestFleet({ policies: single, env: { RECONCILER_IMPORT: 'true' } });
  fleet.backends.a!.putNow('mine.txt', Buffer.from('mine'));
  fleet.backends.a!.putNow('theirs.txt', Buffer.from('theirs'));
  fleet.clock.advance(2 * 3_600_000);
  await fleet.tick('reconciler');
  expect(fleet.object('mine.txt').copies).toEqual({ a: '' });
  await drain(fleet.deps, 'a', { deleteImported: true });
  await fleet.tick('replicator');
  await fleet.tick('over-replication-cleaner');
  expect(Object.keys(fleet.object('mine.txt').copies)).toEqual(['b']);
  expect(fleet.queue().map(({ storageKey, plainEtag }) => [storageKey, plainEtag !== undefined])).toEqual([
    ['mine.txt', true],
    ['theirs.txt', true],
  ]);
  fleet.backends.a!.putNow('theirs.txt', Buffer.from('rewritten by its owner'));
  await fleet.settle(upkeep, 30);
  expect(fleet.keysOn('a')).toEqual(['theirs.txt']);
  expect(await fleet.read('mine.txt')).toBe('mine');
  expect(await askedTwice(fleet, 'a')).toMatchObject({ outcome: 'drained' });
});

test('a drain leaves imported files where they are, unless it was told to delete them [foreign-files-stay]', async () => {
  const fleet = await createTestFleet({ policies: single, env: { RECONCILER_IMPORT: 'true' } });
  fleet.backends.a!.putNow('mine.txt', Buffer.from('mine'));
  fleet.clock.advance(2 * 3_600_000);
  await fleet.tick('reconciler');
  await drain(fleet.deps, 'a');
  await fleet.settle([...upkeep, 'replicator', 'over-replication-cleaner'], 30);
  expect(Object.keys(fleet.object('mine.txt').copies)).toEqual(['b']);
  expect(fleet.keysOn('a')).toEqual(['mine.txt']);
  expect(fleet.queue()).toEqual([]);
});

test('bytes on the move between two rows of the ledger never look like a drained backend', async () => {
  const fleet = await filled({ policies: single });
  await drain(fleet.deps, 'a');
  fleet.clock.advance(2 * settleMs);
  // The first of two looks sees nothing, as a query does that passes by while bytes change rows.
  const { control } = fleet.store;
  let looks = 0;
  const store = new Proxy(fleet.deps.store, {
    get(target, method) {
      if (method !== 'control') return Reflect.get(target, method);
      return async (pk: string) => {
        const found = await control(pk);
        looks += 1;
        if (looks > 1) return found;
        return { ...found, counters: found.counters.filter(({ sk }) => !/(placement|used)\//.test(sk)) };
      };
    },
  });
  expect(await drainStatus({ ...fleet.deps, store }, 'a')).toMatchObject({ outcome: 'draining' });
});

/** A fleet that has lost a for good: out of the file, with whatever it held still recorded. */
async function lost(options: Parameters<typeof createTestFleet>[0] = {}): Promise<TestFleet> {
  const fleet = await filled(options);
  await fleet.client.put('alone', 'only on a');
  await fleet.client.put('k0', 'again');
  loseBackend(fleet, 'a');
  await fleet.apply({ ...options, backends: ['b', 'c'] });
  return fleet;
}

test('forget takes a backend out of the records and the queue, and lists last copies without dropping them [forget-keeps-last-copies]', async () => {
  const fleet = await lost();
  const forgotten = await forget(fleet.deps, 'a');
  expect(forgotten).toMatchObject({ outcome: 'last-copies', removed: 9 });
  expect(forgotten.lastCopies.map(({ key }) => key).sort()).toEqual(['alone', 'k0']);
  expect(Object.keys(fleet.object('alone').copies)).toEqual(['a']);
  expect(fleet.queue().filter(({ backend }) => backend === 'a')).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
  await fleet.settle(upkeep, 10);
  for (let i = 1; i < 10; i += 1) expect(fleet.copiesOf(`k${i}`)).toEqual({ b: `v${i}`, c: `v${i}` });
  fleet.clock.advance(10_000);
  await fleet.client.delete('alone');
  await fleet.client.delete('k0');
  expect(await forget(fleet.deps, 'a')).toMatchObject({ outcome: 'forgotten', lastCopies: [] });
  expect((await fleet.recount()).differences).toEqual([]);
  expect(await forget(fleet.deps, 'a')).toMatchObject({ outcome: 'forgotten', removed: 0, ended: 0 });
});

test('forget ends a drain, and refuses a backend that is in the file', async () => {
  const fleet = await filled();
  await drain(fleet.deps, 'a');
  expect(await forget(fleet.deps, 'a')).toMatchObject({ outcome: 'configured', removed: 0 });
  await fleet.apply({ backends: ['b', 'c'] });
  expect(await forget(fleet.deps, 'a')).toMatchObject({ outcome: 'forgotten', removed: 10 });
  expect(await drainStatus(fleet.deps, 'a')).toEqual({ outcome: 'not-draining' });
});

test('forget ends every row about a backend, so that a name which returns is swept again', async () => {
  const fleet = await filled();
  const row = { pk: 'fleet', sk: 'pass/recover/a', version: 1, data: { number: 1 } };
  await fleet.store.write({ kind: 'row', put: row, expect: 'absent' });
  fleet.clock.advance(25 * 3_600_000);
  await fleet.tick('reconciler');
  expect((await fleet.store.control('pass/a')).rows).not.toEqual([]);
  await drain(fleet.deps, 'a');
  await fleet.apply({ backends: ['b', 'c'] });
  expect(await forget(fleet.deps, 'a')).toMatchObject({ outcome: 'forgotten' });
  expect((await fleet.store.control('pass/a')).rows).toEqual([]);
  const { rows } = await fleet.store.control('fleet');
  expect(rows.map(({ sk }) => sk).filter((sk) => sk.endsWith('/a'))).toEqual([]);
  await fleet.apply({ backends: ['b', 'c', 'a'] });
  expect(fleet.keysOn('a')).toHaveLength(10);
  for (let i = 0; i < 10; i += 1) await fleet.newClient().put(`k${i}`, 'newer');
  fleet.clock.advance(2 * 3_600_000);
  await fleet.settle(upkeep, 5);
  for (let i = 0; i < 3; i += 1) await fleet.tick('reconciler');
  await fleet.settle(upkeep, 20);
  expect(fleet.keysOn('a')).toEqual([]);
});

test('forget that is cut short at any call goes on where it stopped', async () => {
  for (let cut = 1; ; cut += isWhole ? 1 : 7) {
    const fleet = await lost();
    const outer = fleet.before;
    let calls = 0;
    fleet.before = (call) => {
      calls += 1;
      if (calls >= cut) throw new Error('died');
      return outer?.(call);
    };
    const whole = await forget(fleet.deps, 'a').then(
      () => true,
      () => false,
    );
    fleet.before = outer;
    const forgotten = await forget(fleet.deps, 'a');
    expect(forgotten.lastCopies.map(({ key }) => key).sort()).toEqual(['alone', 'k0']);
    expect(fleet.queue().filter(({ backend }) => backend === 'a')).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
    for (let i = 1; i < 10; i += 1) expect(await fleet.read(`k${i}`)).toBe(`v${i}`);
    if (whole) break;
  }
});

/** What an operator is warned of when the drain of a begins. */
async function warnedOf(fleet: TestFleet, name = 'a') {
  await drain(fleet.deps, name);
  const status = await drainStatus(fleet.deps, name);
  return status.outcome === 'draining' ? status.warnings : [];
}

test('a drain for which the others have room, and answer, is begun without a warning', async () => {
  expect(await warnedOf(await filled())).toEqual([]);
});

test('a drain says which deletions it waits for: those that are kept, and those that were given up', async () => {
  const policies = { default: { factor: 1, deleteGraceHours: 48 } };
  const fleet = await createTestFleet({ policies, env: { CLEANUP_QUEUE_MAX_ATTEMPTS: '1' } });
  await fleet.client.put('kept', '12345');
  await fleet.client.delete('kept');
  const until = fleet.clock.now() + 48 * 3_600_000;
  await drain(fleet.deps, 'a');
  const items = { objects: 1, bytes: 5 };
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({
    outcome: 'draining',
    waiting: [{ waiting: 'kept', items, isAll: true, until }],
  });
  fleet.clock.advance(48 * 3_600_000);
  fleet.before = ({ method }) => {
    if (method === 'delete') throw new BackendError('denied', 'a', 'no right to delete');
  };
  await fleet.tick('cleanup-queue');
  fleet.before = undefined;
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ waiting: [{ waiting: 'given-up', items }] });
  expect(sayWaiting('a', { waiting: 'given-up', items })).toContain('`holdfast queue requeue`');
});

test('a drain whose objects find no room elsewhere says so, with the backends, what must go there and what is free', async () => {
  const fleet = await filled({ policies: single, backends: ['a', { name: 'b', quotaBytes: 15 }] });
  await fleet.tick('replicator');
  expect(await warnedOf(fleet)).toEqual([
    { warning: 'no-room', backends: ['b'], copies: { objects: 10, bytes: 20 }, freeBytes: 15 },
  ]);
});

test('room that a policy does not allow, or where the object stands already, is none', async () => {
  const policies = { default: { factor: 2 } };
  const backends = ['a', 'b', { name: 'c', quotaBytes: 6 }];
  const fleet = await filled({ policies, backends });
  // All stand on a and b: what leaves a can only go to c.
  expect(await warnedOf(fleet)).toEqual([
    { warning: 'no-room', backends: ['c'], copies: { objects: 10, bytes: 20 }, freeBytes: 6 },
  ]);
});

test('a drain is warned of while those that remain do not answer', async () => {
  const fleet = await filled({ policies: single, backends: ['a', 'b'] });
  loseBackend(fleet, 'b');
  for (let tick = 0; tick < 6; tick += 1) await fleet.tick('replicator');
  expect(await warnedOf(fleet)).toContainEqual({
    warning: 'unreachable',
    policy: 'default',
    factor: 1,
    answering: [],
  });
});

test('a drain that leaves too few values of the label that keeps copies apart says so [copies-kept-apart]', async () => {
  const at = (name: string) => ({ name, labels: { provider: name[0]! } });
  const fleet = await createTestFleet({
    backends: ['a1', 'a2', 'b1'].map(at),
    policies: { default: { factor: 2, spreadOver: 'provider' }, free: { prefix: 'free/', factor: 2 } },
  });
  for (const key of ['k1', 'k2', 'free/k']) await fleet.client.put(key, 'content', { copies: 2 });
  await drain(fleet.deps, 'b1');
  const message = { warning: 'together', policy: 'default', label: 'provider', objects: 2 } as const;
  expect(await warnedOf(fleet, 'b1')).toEqual([message]);
  expect(sayDrainWarning('b1', message)).toMatch(/copies of 2 objects will stand together until there is another/);
  await fleet.apply({
    backends: ['a1', 'a2', 'b1', 'b2'].map(at),
    policies: { default: { factor: 2, spreadOver: 'provider' } },
  });
  expect(await warnedOf(fleet, 'b1')).toEqual([]);
});
