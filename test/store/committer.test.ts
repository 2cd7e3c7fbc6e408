import { beforeEach, expect, test } from 'vitest';
import { idsFrom } from '../../lib/base/ids.ts';
import { type CommitDeps, commit } from '../../lib/store/commit.ts';
import { createCommitter } from '../../lib/store/committer.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';
import type { Change, TransactAnswer } from '../../lib/store/port.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { createManualClock, type ManualClock, seeded } from '../support/fleet.ts';

let clock: ManualClock;
let store: MemoryStore;
/** Transactions that were sent, and what lets each of them go. */
let sent: { readonly changes: readonly Change[]; go(): void }[];
let held: CommitDeps;
const deps = () => held;

beforeEach(() => {
  clock = createManualClock(undefined, { shortMs: 0 });
  store = createMemoryStore({ clock });
  sent = [];
  held = holdingDeps();
});

/** Each transaction waits until the test lets it go. */
function holdingDeps(): CommitDeps {
  const transact = (changes: readonly Change[], token: string) =>
    new Promise<TransactAnswer>((resolve) => {
      sent.push({ changes, go: () => resolve(store.apply(changes, token)) });
    });
  const ids = idsFrom(clock, seeded(7));
  return { store: { ...store, transact }, clock, ids, stripes: 8, quotaOf: () => 0 };
}

function recordOf(key: string): ObjectRecord {
  const fixed = { kind: 'object', key, rev: 1, sizeBytes: 10, createdAt: 0, sha256: 'x' } as const;
  return { ...fixed, generation: `gen-${key}`, copies: { a: 'one' }, policy: 'default', condition: 'sound' };
}

async function make(count: number): Promise<ObjectRecord[]> {
  const records = Array.from({ length: count }, (_, i) => recordOf(`k${i}`));
  const swaps = records.map((after) => ({ key: after.key, change: { before: null, after } }));
  const direct = { store, clock, ids: idsFrom(clock, seeded(3)), stripes: 8, quotaOf: () => 0 };
  await commit(direct, swaps, clock.now() + 60_000);
  return records;
}

const addCopy = (before: ObjectRecord) => ({
  key: before.key,
  change: { before, after: { ...before, copies: { ...before.copies, b: 'two' } } },
});

/** Everything that can go on without time or an answer has. */
const settled = () => new Promise((resolve) => setImmediate(resolve));
const objectsIn = ({ changes }: { readonly changes: readonly Change[] }) =>
  changes.filter(({ kind }) => kind === 'object').length;
const stripesIn = ({ changes }: { readonly changes: readonly Change[] }) =>
  new Set(changes.flatMap((change) => (change.kind === 'add' ? [change.sk.split('#')[1]] : [])));

test('a group waits for what is coming, and goes once there are enough, or once nothing more comes', async () => {
  const records = await make(7);
  let coming = 7;
  const gathering = { enough: 4, coming: () => coming, longestMs: 100 };
  const committer = createCommitter(deps, { gathering });
  const bring = (record: ObjectRecord) => {
    coming -= 1;
    committer.recheck();
    return committer.commit(addCopy(record), clock.now() + 60_000);
  };
  const outcomes = records.slice(0, 3).map(bring);
  await settled();
  expect(sent).toHaveLength(0);
  outcomes.push(bring(records[3]!));
  await settled();
  expect(sent.map(objectsIn)).toEqual([4]);
  outcomes.push(...records.slice(4).map(bring));
  await settled();
  expect(sent.map(objectsIn)).toEqual([4, 3]);
  for (const { go } of sent) go();
  expect((await Promise.all(outcomes)).map(({ outcome }) => outcome)).toEqual(Array(7).fill('committed'));
});

test('what was coming and does not come keeps nobody waiting', async () => {
  const [record] = await make(1);
  let coming = 1;
  const committer = createCommitter(deps, { gathering: { enough: 4, coming: () => coming, longestMs: 100 } });
  const outcome = committer.commit(addCopy(record!), clock.now() + 60_000);
  await settled();
  expect(sent).toHaveLength(0);
  coming = 0;
  committer.recheck();
  await settled();
  sent[0]!.go();
  expect((await outcome).outcome).toBe('committed');
});

test('a group waits for slow others no longer than it may', async () => {
  const [record] = await make(1);
  const committer = createCommitter(deps, { gathering: { enough: 4, coming: () => 3, longestMs: 100 } });
  const outcome = committer.commit(addCopy(record!), clock.now() + 60_000);
  await settled();
  clock.advance(99);
  await settled();
  expect(sent).toHaveLength(0);
  clock.advance(1);
  await settled();
  sent[0]!.go();
  expect((await outcome).outcome).toBe('committed');
});

test('groups that are out at once add to stripes of their own', async () => {
  const records = await make(8);
  const committer = createCommitter(deps, { groupSize: 1, width: 8 });
  const outcomes = records.map((record) => committer.commit(addCopy(record), clock.now() + 60_000));
  await settled();
  expect(sent).toHaveLength(8);
  expect(new Set(sent.flatMap((one) => [...stripesIn(one)])).size).toBe(8);
  for (const { go } of sent) go();
  await Promise.all(outcomes);
});

test('one swap of a group that is refused costs itself alone', async () => {
  const records = await make(4);
  const overtaken = { store, clock, ids: idsFrom(clock, seeded(5)), stripes: 8, quotaOf: () => 0 };
  const other = { ...records[2]!, copies: { a: 'one', c: 'three' } };
  await commit(overtaken, [{ key: 'k2', change: { before: records[2]!, after: other } }], clock.now() + 60_000);
  const committer = createCommitter(deps, { gathering: { enough: 4, coming: () => 0, longestMs: 100 } });
  const outcomes = records.map((record) => committer.commit(addCopy(record), clock.now() + 60_000));
  await settled();
  sent[0]!.go();
  await settled();
  sent[1]!.go();
  expect((await Promise.all(outcomes)).map(({ outcome }) => outcome)).toEqual([
    'committed',
    'committed',
    'lost',
    'committed',
  ]);
});
