import { beforeEach, expect, test } from 'vitest';
import { idsFrom } from '../../lib/base/ids.ts';
import { recount } from '../../lib/operations/recount.ts';
import { type CommitDeps, commit } from '../../lib/store/commit.ts';
import { createCommitter } from '../../lib/store/committer.ts';
import { enqueueDeletes } from '../../lib/store/enqueue-deletes.ts';
import type { ObjectRecord, QueueItem } from '../../lib/store/model.ts';
import { type Change, type Store, StoreError } from '../../lib/store/port.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { createManualClock, createTestFleet, type ManualClock, seeded } from '../support/fleet.ts';

let clock: ManualClock;
let store: MemoryStore;
let quotas: Record<string, number>;
let seed = 1;

beforeEach(() => {
  clock = createManualClock();
  store = createMemoryStore({ clock });
  quotas = {};
});

function depsWith(transact?: Store['transact']): CommitDeps {
  seed += 1;
  const ids = idsFrom(clock, seeded(seed));
  const port: Store = transact === undefined ? store : { ...store, transact };
  return { store: port, clock, ids, stripes: 8, quotaOf: (name) => quotas[name] ?? 0 };
}

function object(key: string, copies: Record<string, string>, sizeBytes = 10): ObjectRecord {
  return {
    kind: 'object',
    key,
    generation: `gen-${key}`,
    rev: 1,
    sizeBytes,
    createdAt: 0,
    copies,
    policy: 'default',
    condition: 'sound',
    sha256: 'x',
  };
}

async function make(key: string, sizeBytes = 10): Promise<ObjectRecord> {
  const after = object(key, { a: `id-${key}` }, sizeBytes);
  const [outcome] = await commit(depsWith(), [{ key, change: { before: null, after } }], clock.now() + 60_000);
  expect(outcome?.outcome).toBe('committed');
  return after;
}

const addCopy = (before: ObjectRecord, backend = 'b', copyId = 'new') => ({
  key: before.key,
  change: { before, after: { ...before, copies: { ...before.copies, [backend]: copyId } } },
});

const inTime = () => clock.now() + 60_000;
const differences = async () => (await recount({ store, clock, ids: idsFrom(clock, seeded(1)) }, false)).differences;
const entry = (key: string) => [...store.allObjects()].find((e) => e.key === key);

test('of many swaps each has its own outcome, in order, and the ledger is exact', async () => {
  const objects: ObjectRecord[] = [];
  for (let i = 0; i < 230; i += 1) objects.push(await make(`k${i}`));
  await commit(depsWith(), [addCopy(objects[3]!, 'c', 'other')], inTime());
  const outcomes = await commit(
    depsWith(),
    objects.map((o) => addCopy(o)),
    inTime(),
  );
  expect(outcomes.map((o) => o.outcome)).toEqual(objects.map((_, i) => (i === 3 ? 'lost' : 'committed')));
  expect(outcomes[3]).toMatchObject({ seen: { copies: { a: 'id-k3', c: 'other' } } });
  expect(await differences()).toEqual([]);
});

test('a lost answer is asked for again under the same token: the effect happens once [unknown-is-not-no]', async () => {
  const before = await make('k');
  let sends = 0;
  const deps = depsWith(async (changes, token) => {
    sends += 1;
    const answer = store.apply(changes, token);
    if (sends === 1) throw new StoreError('unanswered', 'the answer was lost');
    return answer;
  });
  expect((await commit(deps, [addCopy(before)], inTime()))[0]?.outcome).toBe('committed');
  expect(sends).toBe(2);
  expect(entry('k')).toMatchObject({ rev: 2 });
  expect(await differences()).toEqual([]);
});

test('an answer that comes after the deadline, or never, is undecided: nothing is queued and nothing decided [unknown-is-not-no]', async () => {
  const before = await make('k');
  const deps = depsWith(async () => {
    clock.advance(61_000);
    throw new StoreError('unanswered', 'no answer');
  });
  expect(await commit(deps, [addCopy(before)], inTime())).toEqual([{ outcome: 'undecided' }]);
  expect([...store.allQueueItems()]).toEqual([]);
});

test('a first send that lands after its resend was refused for room is neither refused nor queued', async () => {
  quotas.b = 15;
  const [first, second] = [await make('k1'), await make('k2')];
  let delayed: (() => void) | undefined;
  let sends = 0;
  const deps = depsWith(async (changes, token) => {
    sends += 1;
    if (sends === 1) {
      delayed = () => void store.apply(changes, token);
      // Meanwhile somebody else takes the room.
      await commit(depsWith(), [addCopy(second)], inTime());
      throw new StoreError('unanswered', 'on its way');
    }
    // While the first send is out, a refusal for want of room proves nothing: the room comes back and it lands.
    if (sends === 4) {
      const { b: _b, ...copies } = (entry('k2') as ObjectRecord).copies;
      const now = entry('k2') as ObjectRecord;
      const item: QueueItem = { ...cleanup('k2', 'new'), dueAt: 0 };
      await commit(
        depsWith(),
        [
          {
            key: 'k2',
            change: { before: now, after: { ...now, copies } },
            orphans: { cause: 'replaced', reason: 't', dueAt: 0, createdAt: 0 },
          },
        ],
        inTime(),
      );
      await commit(depsWith(), [{ key: 'k2', completes: [{ item }] }], inTime());
      delayed?.();
      throw new StoreError('unanswered', 'still nothing');
    }
    return store.apply(changes, token);
  });
  expect((await commit(deps, [addCopy(first)], inTime()))[0]?.outcome).toBe('committed');
  expect(entry('k1')).toMatchObject({ rev: 2, copies: { a: 'id-k1', b: 'new' } });
  expect(await differences()).toEqual([]);
});

test('a refusal of generation or rev holds for an unanswered send too', async () => {
  const before = await make('k');
  let late: (() => unknown) | undefined;
  const deps = depsWith(async (changes, token) => {
    if (late === undefined) {
      late = () => store.apply(changes, token);
      await commit(depsWith(), [addCopy(before, 'c', 'winner')], inTime());
      throw new StoreError('unanswered', 'on its way');
    }
    return store.apply(changes, token);
  });
  expect(await commit(deps, [addCopy(before)], inTime())).toMatchObject([
    { outcome: 'lost', seen: { copies: { c: 'winner' } } },
  ]);
  expect(late?.()).toMatchObject({ outcome: 'refused' });
});

function cleanup(key: string, copyId: string): QueueItem {
  const storageKey = `${key}!${copyId}`;
  return {
    id: `b/${storageKey}`,
    state: 'cleanup',
    backend: 'b',
    storageKey,
    key,
    generation: `gen-${key}`,
    sizeBytes: 10,
    createdAt: 0,
    dueAt: 1,
    cause: 'replaced',
    reason: 'test',
    attempts: 0,
  };
}

test('enqueueing for deletion moves the rev on, so that a commit still under way can no longer record the bytes [enqueueing-moves-rev]', async () => {
  const before = await make('k');
  expect(await enqueueDeletes(depsWith(), [{ item: cleanup('k', 'new'), expected: before }], inTime())).toEqual([
    'queued',
  ]);
  expect(await commit(depsWith(), [addCopy(before)], inTime())).toMatchObject([{ outcome: 'lost' }]);
  expect(entry('k')).toMatchObject({ rev: 2, copies: { a: 'id-k' } });
  expect([...store.allQueueItems()]).toMatchObject([{ id: 'b/k!new' }]);
  expect(await differences()).toEqual([]);
});

test('bytes that a record names by now are not enqueued for deletion', async () => {
  const before = await make('k');
  await commit(depsWith(), [addCopy(before)], inTime());
  expect(await enqueueDeletes(depsWith(), [{ item: cleanup('k', 'new'), expected: before }], inTime())).toEqual([
    'named',
  ]);
  expect([...store.allQueueItems()]).toEqual([]);
});

test('a commit that was frozen in its pause until its time was over sends nothing more', async () => {
  const before = await make('k');
  let sends = 0;
  const deps = depsWith(async () => {
    sends += 1;
    throw new StoreError('unanswered', 'no answer');
  });
  const freezing = { ...deps, clock: { ...clock, sleep: async () => clock.advance(600_000) } };
  expect(await commit(freezing, [addCopy(before)], inTime())).toEqual([{ outcome: 'undecided' }]);
  expect(sends).toBe(1);
});

test('bytes that are queued already, and no more by the next attempt, are queued', async () => {
  const before = await make('k');
  const item = { ...cleanup('k', 'id-k'), id: 'a/k!id-k', backend: 'a' };
  // As an old table that was restored would name them: commits never name recorded bytes.
  store.apply([{ kind: 'queue', put: item, expect: 'absent' }]);
  let sends = 0;
  const deps = depsWith(async (changes, token) => {
    sends += 1;
    if (sends === 2) {
      store.apply([{ kind: 'queue-end', id: item.id, expect: { state: 'cleanup' } }]);
      throw new StoreError('unanswered', 'no answer');
    }
    return store.apply(changes, token);
  });
  const after = object('k', { b: 'new' });
  const orphans = { cause: 'replaced', dueAt: clock.now() + 1_000, createdAt: clock.now() } as const;
  expect(await commit(deps, [{ key: 'k', change: { before, after }, orphans }], inTime())).toMatchObject([
    { outcome: 'committed' },
  ]);
  expect([...store.allQueueItems()]).toMatchObject([{ id: item.id, reason: 'replaced', state: 'cleanup' }]);
  expect(await differences()).toEqual([]);
});

test('bytes that are queued already, under a claim, stay claimed: somebody may be deleting them', async () => {
  const before = await make('k');
  const claim = { claimedBy: 'a tick', claimedAt: 7 };
  const item = { ...cleanup('k', 'id-k'), id: 'a/k!id-k', backend: 'a', ...claim };
  store.apply([{ kind: 'queue', put: item, expect: 'absent' }]);
  const orphans = { cause: 'deleted', dueAt: clock.now() + 1_000, createdAt: clock.now() } as const;
  await commit(depsWith(), [{ key: 'k', change: { before, after: object('k', { b: 'new' }) }, orphans }], inTime());
  expect([...store.allQueueItems()]).toMatchObject([{ id: item.id, reason: 'deleted', ...claim }]);
});

test('room is granted in order, only what exceeds it has none, and an absent gate is an empty backend', async () => {
  quotas.b = 25;
  const objects = [await make('k1'), await make('k2'), await make('k3', 5), await make('k4')];
  const outcomes = await commit(
    depsWith(),
    objects.map((o) => addCopy(o)),
    inTime(),
  );
  expect(outcomes.map((o) => o.outcome)).toEqual(['committed', 'committed', 'committed', 'no-room']);
  const again = await commit(depsWith(), [addCopy(objects[3]!)], inTime());
  expect(again).toEqual([{ outcome: 'no-room', backend: 'b' }]);
  expect(await differences()).toEqual([]);
});

test('two swaps of one object in one call happen in order', async () => {
  const before = await make('k');
  const second = {
    key: 'k',
    change: {
      before: { ...before, copies: { a: 'id-k', b: 'new' }, rev: 2 },
      after: { ...before, copies: { b: 'new' } },
    },
    orphans: { cause: 'moved', dueAt: 9, createdAt: 0 } as const,
  };
  const outcomes = await commit(depsWith(), [addCopy(before), second], inTime());
  expect(outcomes.map((o) => o.outcome)).toEqual(['committed', 'committed']);
  expect([...store.allQueueItems()]).toMatchObject([{ id: 'a/k!id-k', reason: 'moved', state: 'cleanup' }]);
  expect(await differences()).toEqual([]);
});

test('conflicts and throttling are retried, on other stripes, until the deadline', async () => {
  const before = await make('k');
  const stripes = new Set<string>();
  let sends = 0;
  const deps = depsWith(async (changes, token) => {
    sends += 1;
    for (const change of changes) if (change.kind === 'add') stripes.add(change.sk.split('#')[1]!);
    if (sends < 6) return { outcome: 'refused', refusals: changes.map(() => ({ cause: 'conflict' }) as const) };
    if (sends < 9) throw new StoreError('throttled', 'slow down');
    return store.apply(changes as Change[], token);
  });
  expect((await commit(deps, [addCopy(before)], inTime()))[0]?.outcome).toBe('committed');
  expect(stripes.size).toBeGreaterThan(2);
  const never = depsWith(async (changes) => ({
    outcome: 'refused',
    refusals: changes.map(() => ({ cause: 'conflict' }) as const),
  }));
  const now = entry('k') as ObjectRecord;
  expect(await commit(never, [addCopy(now, 'c', 'x')], inTime())).toEqual([{ outcome: 'not-now' }]);
});

test.each(['lost before the effect', 'lost after the effect', 'late, after the deadline', 'ten minutes late'])(
  'the answer to a replicator’s commit is %s: no recorded bytes are ever queued',
  async (how) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'] });
    for (let i = 0; i < 5; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
    let isFirst = true;
    let late: (() => unknown) | undefined;
    const transact: Store['transact'] = async (changes, token) => {
      const isCommit = changes.some((change) => change.kind === 'object');
      if (!isCommit || !isFirst) {
        if (isCommit && how.includes('late')) throw new StoreError('unanswered', 'no answer');
        return fleet.store.transact(changes, token);
      }
      isFirst = how.includes('late');
      if (how === 'lost after the effect') fleet.store.apply(changes, token);
      if (how.includes('late')) {
        late ??= () => fleet.store.apply(changes, token);
        fleet.clock.advance(100_000);
      }
      throw new StoreError('unanswered', how);
    };
    const { runTick } = await import('../../lib/tick/run-tick.ts');
    const { replicator } = await import('../../lib/workers/replicator/replicator.ts');
    const deps = { ...fleet.deps, ids: idsFrom(fleet.clock, seeded(99)), store: { ...fleet.store, transact } };
    await runTick(deps, replicator, { deadline: fleet.clock.now() + 300_000 });
    expect(fleet.queue()).toEqual([]);
    if (how === 'ten minutes late') fleet.clock.advance(600_000);
    late?.();
    const named = Object.values(fleet.object('k1').copies).length;
    expect(named).toBe(2);
    fleet.clock.advance(2 * 3_600_000);
    await fleet.settle(['reconciler', 'cleanup-queue', 'replicator'], 10);
    for (let i = 0; i < 5; i += 1) expect(fleet.copiesOf(`k${i}`)).toEqual({ a: `v${i}`, b: `v${i}` });
    expect((await fleet.recount()).differences).toEqual([]);
    expect(fleet.keysOn('b')).toHaveLength(5);
  },
);

test('a caller in a hurry gives up alone: those who wait beside it and have time are served', async () => {
  const [hurried, patient] = [await make('hurried'), await make('patient')];
  const startedAt = clock.now();
  const deps = depsWith(async (changes, token) => {
    if (clock.now() < startedAt + 5_000) {
      clock.advance(1_000);
      throw new StoreError('throttled', 'not now');
    }
    return store.apply(changes, token);
  });
  const committer = createCommitter(() => deps);
  const outcomes = await Promise.all([
    committer.commit(addCopy(hurried), startedAt + 300),
    committer.commit(addCopy(patient), startedAt + 60_000),
  ]);
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(['not-now', 'committed']);
});

test.each([0, 1])(
  'what a counter allows is given to the first swaps, and no more, whatever it held: %i before',
  async (before) => {
    const sk = 'removals/b/2026-01-05';
    const counter = { kind: 'add' as const, pk: 'fleet', sk, add: { objects: 1, bytes: 10 } };
    if (before > 0) await store.transact([counter], 'before');
    const objects = await Promise.all(Array.from({ length: 5 }, (_, i) => make(`k${i}`)));
    const limited = objects.map((one) => ({ ...addCopy(one), counters: [{ ...counter, atMostObjects: 2 }] }));
    const outcomes = await commit(depsWith(), limited, inTime());
    const allowed = 3 - before;
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(
      objects.map((_, i) => (i < allowed ? 'committed' : 'limited')),
    );
    const { counters } = await store.control('fleet');
    expect(counters.find((one) => one.sk === sk)!.count.objects).toBe(3);
    expect(await differences()).toEqual([]);
  },
);

test.each([
  ['the process sleeps after it asked', 'sleeps'],
  ['the tables refuse it for long', 'refused'],
])('whether a backend takes copies is asked again before it is given any: %s', async (_, how) => {
  const before = await make('k');
  let isDrained = false;
  let asked = 0;
  const whoTakes = async () => {
    asked += 1;
    const takes = !isDrained;
    if (how === 'sleeps' && asked === 1) clock.advance(6_000);
    isDrained = true;
    return { isFresh: true, takesCopies: (name: string) => name !== 'b' || takes };
  };
  let sent = 0;
  const deps = depsWith(async (changes, token) => {
    sent += 1;
    if (how !== 'refused' || sent > 1) return store.transact(changes, token);
    clock.advance(6_000);
    throw new StoreError('throttled', 'too much at once');
  });
  const [outcome] = await commit({ ...deps, whoTakes }, [addCopy(before)], clock.now() + 60_000);
  expect(outcome).toEqual({ outcome: 'not-taking', backend: 'b' });
  expect(entry('k')).toMatchObject({ copies: { a: 'id-k' } });
});

test('where nobody can say anew who takes copies, and that takes long, what was known holds: something is sent', async () => {
  const before = await make('k');
  const whoTakes = async () => {
    clock.advance(30_000);
    return { isFresh: false, takesCopies: () => true };
  };
  const [outcome] = await commit({ ...depsWith(), whoTakes }, [addCopy(before)], clock.now() + 300_000);
  expect(outcome).toMatchObject({ outcome: 'committed' });
});
