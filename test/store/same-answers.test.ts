import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareUtf8 } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { defined } from '../../lib/base/defined.ts';
import { type LocalDynamo, startDynamo } from '../../lib/local/dynamodb.ts';
import { laneOf, placementLabel, shards } from '../../lib/store/keys.ts';
import { conditions, queueStates } from '../../lib/store/model.ts';
import { type Change, type Page, type Store, StoreError } from '../../lib/store/port.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import { item, record, tombstone } from '../contracts/store-fixtures.ts';
import { labAt } from '../contracts/store-on-dynamodb.ts';
import { isWhole } from '../support/extent.ts';
import { inMonth } from '../support/usage.ts';

// A small world, so that expectations are met about as often as not.
const keys = ['a', 'caf\u00e9', '\u{1F600}', '\uFFFD'];
const backends = [{}, { b2: 'x' }, { b2: '' }, { b2: 'x', oci: 'y' }];
const months = ['2024-01', '2024-02'];
const sks = ['used/b2#0', 'used/b2#1'];

const small = fc.integer({ min: -1, max: 2 });
const version = fc.record({ generation: fc.constantFrom('g1', 'g2'), rev: fc.integer({ min: 1, max: 2 }) });
const key = fc.constantFrom(...keys);
const count = fc.record({ objects: small, bytes: small });

const entry = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .record({
        key,
        version,
        copies: fc.constantFrom(...backends),
        condition: fc.constantFrom(...conditions),
        sha256: fc.constantFrom('f', undefined),
      })
      .map(({ key, version, copies, condition, sha256 }) =>
        record(key, { ...version, copies, condition, ...defined({ sha256 }) }),
      ),
  },
  fc.record({ key, version }).map(({ key, version }) => tombstone(key, version)),
);

const queueItem = fc
  .record({ key, state: fc.constantFrom(...queueStates), dueAt: small, claimedBy: fc.constantFrom('me', undefined) })
  .map(({ key, state, dueAt, claimedBy }) => item(key, { state, dueAt, ...defined({ claimedBy }) }));

const queueExpectation = fc.record(
  { state: fc.constantFrom(...queueStates), dueAt: small, claimedBy: fc.constant('me') },
  { requiredKeys: ['state'] },
);

const orAbsent = <T>(arbitrary: fc.Arbitrary<T>) => fc.oneof(fc.constant('absent' as const), arbitrary);
const control = fc.constantFrom(...sks.map((sk) => ({ pk: 'fleet', sk })));
const row = fc.constantFrom({ pk: 'fleet', sk: 'config' }, { pk: 'fleet', sk: 'settings' });
const rowVersion = fc.integer({ min: 1, max: 2 });

const queueChange = fc.record({
  kind: fc.constant('queue' as const),
  put: queueItem,
  expect: orAbsent(queueExpectation),
});
const rowChange = fc
  .record({ row, version: rowVersion, text: fc.string(), expect: orAbsent(rowVersion) })
  .map(({ row, version, text, expect }) => ({
    kind: 'row' as const,
    put: { ...row, version, data: { text } },
    expect,
  }));
const rowEnd = fc
  .record({ row, expect: rowVersion })
  .map(({ row, expect }) => ({ kind: 'row-end' as const, ...row, expect }));

const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('object' as const), put: entry, expect: orAbsent(version) }) },
  { weight: 3, arbitrary: queueChange },
  fc
    .record({ key, expect: queueExpectation })
    .map(({ key, expect }) => ({ kind: 'queue-end' as const, id: item(key).id, expect })),
  fc
    .record({ control, add: count, limit: fc.constantFrom('atMostBytes', 'atMostObjects', null), most: small })
    .map(({ control, add, limit, most }) => ({
      kind: 'add' as const,
      ...control,
      add,
      ...(limit !== null && { [limit]: most }),
    })),
  fc
    .record({ control, expect: count })
    .map(({ control, expect }) => ({ kind: 'add-end' as const, ...control, expect })),
  rowChange,
  rowEnd,
);

/** One call of the port; `resend` repeats the token of an earlier transaction, with its changes or with these. */
type Step = (store: Store, history: { changes: readonly Change[]; token: string }[], run: number) => Promise<unknown>;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.array(change, { minLength: 1, maxLength: 4 }).map(
      (changes): Step =>
        (store, history, run) => {
          const token = `${run}-${history.length}`;
          history.push({ changes, token });
          return store.transact(changes, token);
        },
    ),
  },
  fc.record({ nth: fc.nat(), other: fc.option(change) }).map(
    ({ nth, other }): Step =>
      async (store, history) => {
        const earlier = history[nth % Math.max(1, history.length)];
        return earlier && store.transact(other ? [other] : earlier.changes, earlier.token);
      },
  ),
  fc.oneof(queueChange, rowChange, rowEnd).map(
    (one): Step =>
      (store) =>
        store.write(one),
  ),
  fc
    .record({
      holder: fc.constantFrom('h1', 'h2'),
      now: small,
      expiresAt: small,
      cursor: fc.string(),
      epoch: rowVersion,
    })
    .map(
      ({ cursor, epoch, ...ask }): Step =>
        async (store) => {
          const taken = await store.acquireLease({ worker: 'w', part: '0/1', ...ask });
          const lease = taken ?? { worker: 'w', part: '0/1', holder: ask.holder, expiresAt: 0, epoch };
          return [taken, await store.updateLease({ ...lease, epoch }, { cursor })];
        },
    ),
);

let dynamo: LocalDynamo;
beforeAll(async () => {
  dynamo = await startDynamo();
});
afterAll(async () => dynamo.close());

test('random calls are answered alike, and leave the same behind, in memory and on dynoxide', async () => {
  const lab = labAt(dynamo.endpoint, async () => {});
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      run += 1;
      const stores = [createMemoryStore({ clock: systemClock }), await lab.fresh()] as const;
      const answers = await Promise.all(stores.map((store) => answersOf(store, steps, run)));
      expect(answers[1]).toEqual(answers[0]);
      const [left, right] = await Promise.all(stores.map(everythingIn));
      expect(right).toEqual(left);
    }),
    { numRuns: isWhole ? 50 : 20, seed: 20240229, interruptAfterTimeLimit: 45_000, markInterruptAsFailure: false },
  );
  await lab.close();
});

async function answersOf(store: Store, steps: readonly Step[], run: number): Promise<unknown[]> {
  const answers: unknown[] = [];
  const history: { changes: readonly Change[]; token: string }[] = [];
  for (const call of steps) {
    try {
      const answer = await call(store, history, run);
      answers.push(isDone(answer) ? 'done' : answer);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      answers.push(error.kind);
    }
  }
  return answers;
}

function isDone(answer: unknown): boolean {
  return typeof answer === 'object' && answer !== null && 'outcome' in answer && answer.outcome === 'done';
}

async function everythingIn(store: Store): Promise<unknown> {
  const labels = keys.flatMap((key) =>
    backends.flatMap((copies) => conditions.map((condition) => placementLabel(record(key, { copies, condition })))),
  );
  const lanes = keys.flatMap((key) => queueStates.map((state) => laneOf(item(key, { state }))));
  return {
    objects: sorted(await store.objects(keys)),
    queue: sorted(await store.queueItems(keys.map((key) => item(key).id))),
    control: await store.control('fleet'),
    leases: await store.leases('w'),
    usage: await Promise.all(months.map(async (month) => sorted(await store.usage(inMonth(month), ['b2', 'oci'])))),
    byPlacement: await Promise.all(labels.map((label) => walk((after) => store.byPlacement(label, after, 2)))),
    byKey: await Promise.all(shards.map((shard) => walk((after) => store.byKey(shard, after, 1)))),
    due: await Promise.all(lanes.map((lane) => walk((after) => store.due(lane, 1, 2, after)))),
    queuedOf: await Promise.all(
      keys.flatMap((key) => lanes.map((lane) => walk((after) => store.queuedOf(lane, key, after)))),
    ),
  };
}

async function walk<T>(read: (after: string | undefined) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  for (let page = await read(undefined); ; page = await read(page.next)) {
    items.push(...page.items);
    if (page.next === undefined) return items;
  }
}

function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => compareUtf8(a, b));
}
