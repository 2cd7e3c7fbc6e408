import fc from 'fast-check';
import { expect, test } from 'vitest';
import { idsFrom } from '../../lib/base/ids.ts';
import { type CommitDeps, commit } from '../../lib/store/commit.ts';
import { queueId, storageKey } from '../../lib/store/keys.ts';
import type { Entry, ObjectRecord, QueueItem, QueueState } from '../../lib/store/model.ts';
import { type Change, type Store, StoreError } from '../../lib/store/port.ts';
import type { Swap } from '../../lib/store/swap.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { createManualClock, seeded } from '../support/fleet.ts';

const backends = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];
const keys = ['k1', 'k2', 'k3'];

interface World {
  readonly store: MemoryStore;
  readonly sent: (readonly Change[])[];
  readonly deps: CommitDeps;
  readonly inTime: () => number;
}

/** A store behind the real commit, with some answers lost on the way back and some requests on the way there. */
function createWorld(seed: number, quotaBytes: (backend: string) => number, lossRatio = 0): World {
  const clock = createManualClock();
  const store = createMemoryStore({ clock });
  const random = seeded(seed);
  const sent: (readonly Change[])[] = [];
  const transact: Store['transact'] = async (changes, token) => {
    sent.push(changes);
    if (random() < lossRatio / 2) throw new StoreError('unanswered', 'lost on the way there');
    const answer = store.apply(changes, token);
    if (random() < lossRatio / 2) throw new StoreError('unanswered', 'lost on the way back');
    return answer;
  };
  const ids = idsFrom(clock, seeded(seed + 1));
  const deps = { store: { ...store, transact }, clock, ids, stripes: 3, quotaOf: quotaBytes };
  return { store, sent, deps, inTime: () => clock.now() + 60_000 };
}

function recordOf(key: string, fields: Partial<ObjectRecord> = {}): ObjectRecord {
  const fixed = { kind: 'object', key, generation: `g-${key}`, rev: 0, createdAt: 0, sizeBytes: 10 } as const;
  return { ...fixed, copies: {}, policy: 'default', condition: 'sound', ...fields };
}

function itemOf(key: string, backend: string, copyId: string, sizeBytes: number, state: QueueState): QueueItem {
  const storage = storageKey(key, copyId);
  const id = queueId(backend, storage);
  const times = { createdAt: 0, dueAt: 0, attempts: 0, cause: 'replaced', reason: 'test' } as const;
  return { id, state, backend, storageKey: storage, key, generation: 'g', sizeBytes, ...times };
}

/** What one swap does, on whatever is there when it is made. */
interface Intention {
  readonly key: string;
  readonly what:
    | 'write'
    | 'copy'
    | 'drop'
    | 'delete'
    | 'damage'
    | 'name'
    | 'record'
    | 'enqueueDeletes'
    | 'fail'
    | 'end'
    | 'stale';
  readonly backend: string;
  readonly sizeBytes: number;
  readonly isPlain: boolean;
}

const intention: fc.Arbitrary<Intention> = fc.record({
  key: fc.constantFrom(...keys),
  what: fc.constantFrom<Intention['what'][]>(
    ...([
      'write',
      'copy',
      'drop',
      'delete',
      'damage',
      'name',
      'record',
      'enqueueDeletes',
      'fail',
      'end',
      'stale',
    ] as const),
  ),
  backend: fc.constantFrom('a', 'b', 'c'),
  sizeBytes: fc.nat({ max: 40 }),
  isPlain: fc.boolean(),
});

const orphans = { cause: 'replaced', reason: 'test', dueAt: 0, createdAt: 0 } as const;

/** The swap for an intention; null when there is nothing to do it to. */
function swapFor(store: MemoryStore, { key, what, backend, sizeBytes, isPlain }: Intention, n: number): Swap | null {
  const before = [...store.allObjects()].find((entry) => entry.key === key) ?? null;
  const held = [...store.allQueueItems()].find((item) => item.key === key && item.backend === backend);
  const copyId = isPlain ? '' : `id${n}`;
  const changed = (after: Entry, more: Partial<Swap> = {}): Swap => ({
    key,
    change: { before, after },
    orphans,
    ...more,
  });
  switch (what) {
    case 'write':
      return changed(recordOf(key, { sizeBytes, generation: `g${n}`, copies: { [backend]: copyId } }));
    case 'delete':
      return changed(
        { kind: 'tombstone', key, generation: `g${n}`, rev: 0, deletedAt: 0 },
        { deletesPlain: [backend] },
      );
    case 'name':
      return { key, reserves: [itemOf(key, backend, `id${n}`, sizeBytes, isPlain ? 'intent' : 'transfer')] };
    case 'enqueueDeletes':
      return { key, enqueuesDeletes: [itemOf(key, backend, `id${n}`, sizeBytes, 'cleanup')] };
    case 'fail':
      return held ? { key, moves: [{ from: { item: held }, to: { ...held, state: 'dead', attempts: 1 } }] } : null;
    case 'end':
      return held ? { key, completes: [{ item: held }] } : null;
  }
  if (before?.kind !== 'object') return null;
  const { [backend]: _left, ...others } = before.copies;
  switch (what) {
    case 'copy':
      return changed({ ...before, copies: { ...before.copies, [backend]: `id${n}` } });
    case 'drop':
      return changed({ ...before, copies: others });
    case 'damage':
      return changed({
        ...before,
        condition: before.condition === 'damaged' ? 'sound' : 'damaged',
        policy: isPlain ? 'archive' : 'default',
      });
    case 'stale':
      return {
        ...changed({ ...before, copies: {} }),
        change: { before: { ...before, rev: before.rev + 7 }, after: before },
      };
    case 'record':
      if (held === undefined || held.sizeBytes !== before.sizeBytes) return null;
      return changed(
        { ...before, copies: { ...before.copies, [backend]: held.storageKey.slice(key.length + 1) } },
        { completes: [{ item: held }] },
      );
  }
}

/** The totals of the ledger by section 3, counted from the tables themselves. */
function counted(store: MemoryStore, quotaOf: (backend: string) => number): Map<string, [number, number]> {
  const totals = new Map<string, [number, number]>();
  const add = (row: string, objects: number, bytes: number) => {
    const [o, b] = totals.get(row) ?? [0, 0];
    totals.set(row, [o + objects, b + bytes]);
  };
  const use = (backend: string, bytes: number) => {
    add(`used/${backend}`, 0, bytes);
    if (quotaOf(backend) > 0) add(`quota/${backend}`, 0, bytes);
  };
  for (const entry of store.allObjects()) {
    if (entry.kind !== 'object') continue;
    const { policy, condition, sizeBytes, copies } = entry;
    const set = Object.keys(copies)
      .sort()
      .map((name) => (copies[name] === '' ? `${name}*` : name));
    add(`placement/${policy}${condition === 'damaged' ? '!damaged' : ''}/${set.join('+')}`, 1, sizeBytes);
    for (const name of Object.keys(copies)) use(name, sizeBytes);
  }
  for (const { state, backend, sizeBytes } of store.allQueueItems()) {
    add(`queue/${state}/${backend}`, 1, sizeBytes);
    use(backend, sizeBytes);
  }
  return withoutZeros(totals);
}

function ledger(store: MemoryStore): Map<string, [number, number]> {
  const totals = new Map<string, [number, number]>();
  for (const { sk, count } of store.allCounters()) {
    const row = sk.split('#')[0]!;
    const [objects, bytes] = totals.get(row) ?? [0, 0];
    totals.set(row, [objects + count.objects, bytes + count.bytes]);
  }
  return withoutZeros(totals);
}

function withoutZeros(totals: Map<string, [number, number]>): Map<string, [number, number]> {
  return new Map([...totals].filter(([, [objects, bytes]]) => objects !== 0 || bytes !== 0).sort());
}

test('after any swaps, in any batches, with answers lost, the ledger is what a recount finds, and no batch breaks a limit [ledger-exact]', async () => {
  const batches = fc.array(fc.array(intention, { minLength: 1, maxLength: 8 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(batches, fc.nat(), fc.constantFrom(0, 0.4), async (all, seed, lossRatio) => {
      const quotaOf = (backend: string) => (backend === 'a' ? 100 : backend === 'b' ? 1_000_000 : 0);
      const { store, sent, deps, inTime } = createWorld(seed, quotaOf, lossRatio);
      for (const [round, batch] of all.entries()) {
        const swaps = batch.flatMap((one, i) => swapFor(store, one, 10 * round + i) ?? []);
        const outcomes = await commit(deps, swaps, inTime());
        expect(outcomes).toHaveLength(swaps.length);
        expect(outcomes.every((one) => one?.outcome !== undefined)).toBe(true);
        expect(ledger(store)).toEqual(counted(store, quotaOf));
      }
      sent.forEach(expectSendable);
    }),
    { numRuns: 50 },
  );
});

/** At most 100 actions, never two of one item. */
function expectSendable(changes: readonly Change[]): void {
  expect(changes.length).toBeLessThanOrEqual(100);
  const objects = changes.flatMap((change) => (change.kind === 'object' ? [change.put.key] : []));
  expect(new Set(objects).size).toBe(objects.length);
}

const everywhere = Object.fromEntries(backends.map((name) => [name, 'id']));

/** An object that is on every backend, and the swap that takes it from some. */
const leaving = (key: string, leaves: readonly string[], rev = 1): Swap => {
  const before = recordOf(key, { copies: everywhere, rev });
  const kept = Object.fromEntries(Object.entries(everywhere).filter(([name]) => !leaves.includes(name)));
  return { key, change: { before, after: { ...before, copies: kept } }, orphans };
};

/** Makes those objects; bytes of some are queued although they are recorded, which must not be, and must not be in the way. */
async function given({ deps, inTime, sent }: World, objects: readonly string[], queued: readonly QueueItem[]) {
  const creations = objects.map((key) => ({
    key,
    change: { before: null, after: recordOf(key, { copies: everywhere }) },
  }));
  await commit(deps, creations, inTime());
  const outcomes = await commit(
    deps,
    queued.map((item) => ({ key: item.key, enqueuesDeletes: [item] })),
    inTime(),
  );
  expect(outcomes.every(({ outcome }) => outcome === 'committed')).toBe(true);
  sent.length = 0;
}

test('however many swaps there are, each request has at most 100 actions and each swap one outcome, in order', async () => {
  const one = fc.record({
    leaves: fc.uniqueArray(fc.constantFrom(...backends), { minLength: 1, maxLength: 10, size: 'max' }),
    isQueued: fc.boolean(),
    isStale: fc.nat(9).map((n) => n === 0),
    key: fc.nat(60).map((n) => `k${n}`),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(one, { minLength: 1, maxLength: 40, size: 'max' }), fc.nat(), async (all, seed) => {
      const world = createWorld(seed, () => 1_000_000);
      const firsts = [...new Map(all.toReversed().map((one) => [one.key, one])).values()];
      const queued = firsts.flatMap(({ key, leaves, isQueued }) =>
        isQueued ? leaves.map((name) => itemOf(key, name, 'id', 10, 'dead')) : [],
      );
      const keysOfAll = firsts.map(({ key }) => key);
      await given(world, keysOfAll, queued);
      const settled = new Set<string>();
      const wanted = all.map(({ key, isStale }) => {
        const isLost = isStale || settled.has(key);
        if (!isLost) settled.add(key);
        return isLost ? 'lost' : 'committed';
      });
      const swaps = all.map(({ key, leaves, isStale }) => leaving(key, leaves, isStale ? 9 : 1));
      const outcomes = await commit(world.deps, swaps, world.inTime());
      expect(outcomes.map(({ outcome }) => outcome)).toEqual(wanted);
      world.sent.forEach(expectSendable);
      expect(ledger(world.store)).toEqual(counted(world.store, () => 1_000_000));
    }),
    { numRuns: 12 },
  );
});

test('swaps that fill a request are sent in two when orphans turn out to be queued already', async () => {
  const world = createWorld(1, () => 1_000_000);
  const objects = Array.from({ length: 6 }, (_, i) => `k${i}`);
  const queued = objects.flatMap((key) => backends.map((name) => itemOf(key, name, 'id', 10, 'dead')));
  await given(world, objects, queued);
  const outcomes = await commit(
    world.deps,
    objects.map((key) => leaving(key, backends)),
    world.inTime(),
  );
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(objects.map(() => 'committed'));
  world.sent.forEach(expectSendable);
  expect(ledger(world.store)).toEqual(counted(world.store, () => 1_000_000));
});

test('a swap for which there is no room takes none from those after it', async () => {
  const { deps, inTime } = createWorld(1, () => 100);
  await commit(deps, [{ key: 'x', reserves: [itemOf('x', 'b', 'id', 22, 'intent')] }], inTime());
  const swaps = [20, 25, 34, 22].map((sizeBytes, i): Swap => {
    return { key: `k${i}`, reserves: [itemOf(`k${i}`, 'b', 'id', sizeBytes, 'intent')] };
  });
  const outcomes = await commit(deps, swaps, inTime());
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(['committed', 'committed', 'no-room', 'committed']);
});

test('room is granted in order, and only what exceeds it is refused [quota-gate]', async () => {
  const names = fc.array(
    fc.record({
      key: fc.constantFrom('x', 'y', 'z', ...keys),
      backend: fc.constantFrom('a', 'b'),
      sizeBytes: fc.nat(40),
    }),
    { maxLength: 20 },
  );
  await fc.assert(
    fc.asyncProperty(names, fc.nat(150), fc.nat(), async (all, takenBytes, seed) => {
      const quotaBytes = 100;
      const { deps, inTime } = createWorld(seed, () => quotaBytes);
      await commit(
        deps,
        [{ key: 'old', enqueuesDeletes: [itemOf('old', 'a', 'old', takenBytes, 'cleanup')] }],
        inTime(),
      );
      const usedBytes = new Map([['a', takenBytes]]);
      const wanted = all.map(({ backend, sizeBytes }) => {
        const after = (usedBytes.get(backend) ?? 0) + sizeBytes;
        if (sizeBytes > 0 && after > quotaBytes) return { outcome: 'no-room', backend };
        usedBytes.set(backend, after);
        return { outcome: 'committed' };
      });
      const swaps = all.map(({ key, backend, sizeBytes }, i): Swap => {
        return { key, reserves: [itemOf(key, backend, `id${i}`, sizeBytes, 'intent')] };
      });
      expect(await commit(deps, swaps, inTime())).toMatchObject(wanted);
    }),
  );
});

test('bytes that lose their record are queued in the same step; a plain file only where a person asked', async () => {
  const place = fc.constantFrom<string | undefined>(undefined, '', 'id1', 'id2');
  const copies = fc
    .record({ a: place, b: place, c: place })
    .map(
      (all) => Object.fromEntries(Object.entries(all).filter(([, id]) => id !== undefined)) as Record<string, string>,
    );
  await fc.assert(
    fc.asyncProperty(copies, copies, fc.subarray(['a', 'b', 'c']), async (before, after, deletesPlain) => {
      const { store, deps, inTime } = createWorld(1, () => 0);
      const plainEtags = { a: '"1"', b: '"2"' };
      const object = recordOf('k', { copies: before, plainEtags, rev: 1 });
      await commit(deps, [{ key: 'k', change: { before: null, after: object } }], inTime());
      const change = { before: object, after: recordOf('k', { copies: after, plainEtags }) };
      const [outcome] = await commit(deps, [{ key: 'k', change, orphans, deletesPlain }], inTime());
      expect(outcome).toMatchObject({ outcome: 'committed', entry: { rev: 2 } });
      const queued = [...store.allQueueItems()].map(({ id, state, sizeBytes }) => ({ id, state, sizeBytes }));
      const wanted = Object.entries(before).flatMap(([name, id]) => {
        if (after[name] === id) return [];
        if (id !== '') return [`${name}/k!${id}`];
        const etag = (plainEtags as Record<string, string>)[name];
        return deletesPlain.includes(name) && etag !== undefined ? [`${name}/k/${etag}`] : [];
      });
      expect(queued.toSorted((x, y) => (x.id < y.id ? -1 : 1))).toEqual(
        wanted.toSorted().map((id) => ({ id, state: 'cleanup', sizeBytes: 10 })),
      );
    }),
  );
});
