import { describe, expect, test } from 'vitest';
import type { ControlRow, Count, QueueItem } from '../../lib/store/model.ts';
import type { Change, CounterAdd, Refusal, Store } from '../../lib/store/port.ts';
import * as fixtures from './store-fixtures.ts';

const { attempt, generation, given, item, itemAt, laterGeneration, newToken, objectAt, putItem, putObject } = fixtures;
const { record, tombstone, wholeItem, wholeRecord } = fixtures;

function refused(...refusals: (Refusal | null)[]) {
  return { outcome: 'refused', refusals };
}

const fleet = (sk: string) => ({ pk: 'fleet', sk });
const row = (version: number, data: ControlRow['data'] = { text: 'x' }): ControlRow => ({
  ...fleet('config'),
  version,
  data,
});
const add = (objects: number, bytes: number, more: Partial<CounterAdd> = {}): CounterAdd => ({
  kind: 'add',
  ...fleet('used/b2#0'),
  add: { objects, bytes },
  ...more,
});

async function counterAt(store: Store, sk: string): Promise<Count | undefined> {
  return (await store.control('fleet')).counters.find((counter) => counter.sk === sk)?.count;
}

/** What a store must do with typed changes. */
export function changesContract(fresh: () => Promise<Store>): void {
  describe('objects', () => {
    test('a new object is written when its key is absent, whole', async () => {
      const store = await fresh();
      const whole = wholeRecord('a');
      expect(await attempt(store, putObject(whole))).toMatchObject({ outcome: 'done' });
      expect(await objectAt(store, 'a')).toEqual(whole);
    });

    test('a new object is refused where a record or a tombstone is', async () => {
      const store = await fresh();
      const grave = tombstone('b', { plainEtags: { b2: 'e' } });
      await given(store, putObject(record('a')), putObject(grave));
      const answer = await attempt(store, putObject(record('a', { rev: 9 })), putObject(record('b')));
      expect(answer).toEqual(refused({ cause: 'object', seen: record('a') }, { cause: 'object', seen: grave }));
      expect(await objectAt(store, 'a')).toEqual(record('a'));
    });

    test('a change is made only on the very generation and rev expected [change-on-version]', async () => {
      const store = await fresh();
      const now = record('a', { rev: 5 });
      await given(store, putObject(now));
      const next = record('a', { rev: 6, copies: { b2: 'x' } });
      const seen = refused({ cause: 'object', seen: now });
      expect(await attempt(store, putObject(next, { generation, rev: 4 }))).toEqual(seen);
      expect(await attempt(store, putObject(next, { generation: laterGeneration, rev: 5 }))).toEqual(seen);
      expect(await attempt(store, putObject(next, { generation, rev: 5 }))).toMatchObject({ outcome: 'done' });
      expect(await objectAt(store, 'a')).toEqual(next);
    });

    test('a record may be given where its version is expected', async () => {
      const store = await fresh();
      await given(store, putObject(record('a')));
      expect(await attempt(store, putObject(record('a', { rev: 2 }), record('a')))).toMatchObject({ outcome: 'done' });
    });

    test('a change of a missing object is refused with nothing seen', async () => {
      const store = await fresh();
      const answer = await attempt(store, putObject(record('a', { rev: 2 }), { generation, rev: 1 }));
      expect(answer).toEqual(refused({ cause: 'object', seen: null }));
    });

    test('a tombstone replaces a record entirely, and a record a tombstone', async () => {
      const store = await fresh();
      await given(store, putObject(record('a', { sha256: 'f', plainEtags: { b2: 'e' } })));
      const grave = tombstone('a', { rev: 2 });
      await given(store, putObject(grave, { generation, rev: 1 }));
      expect(await objectAt(store, 'a')).toEqual(grave);
      const again = record('a', { rev: 3 });
      await given(store, putObject(again, grave));
      expect(await objectAt(store, 'a')).toEqual(again);
    });

    test('optional fields given as undefined are not stored', async () => {
      const store = await fresh();
      const sparse = { ...tombstone('a'), plainEtags: undefined } as unknown as ReturnType<typeof tombstone>;
      await given(store, putObject(sparse));
      expect(Object.keys((await objectAt(store, 'a'))!)).not.toContain('plainEtags');
    });

    test('what was read or written does not change with what the caller does to it', async () => {
      const store = await fresh();
      const copies: Record<string, string> = { b2: 'x' };
      await given(store, putObject(record('a', { copies })));
      copies.oci = 'y';
      expect(await objectAt(store, 'a')).toEqual(record('a', { copies: { b2: 'x' } }));
    });
  });

  describe('queue items', () => {
    test('an item is written when its id is absent, whole, in every state', async () => {
      const store = await fresh();
      const items: QueueItem[] = [
        item('cleanup', { lastError: 'e', claimedBy: 'c', claimedAt: 3, plainEtag: '"x"' }),
        item('dead', { state: 'dead', attempts: 10 }),
        wholeItem('known'),
        item('intent', { state: 'intent', sha256: 'f', intent: { replaces: generation } }),
        item('bare', { state: 'intent', intent: {} }),
        item('transfer', {
          state: 'transfer',
          transfer: { from: 'oci', uploadId: 'u', partSizeBytes: 5, partsDone: 0, hashState: '' },
        }),
        item('failed transfer', {
          state: 'transfer',
          transfer: {
            from: 'oci',
            uploadId: 'u',
            partSizeBytes: 5,
            partsDone: 3,
            hashState: 'AA==',
            sha256: 'f',
            isUnproven: true,
            leaves: 'oci',
            failedLeg: 'target',
          },
        }),
      ];
      await given(store, ...items.map((put) => putItem(put)));
      const found = await store.queueItems(items.map(({ id }) => id));
      expect(items.map(({ id }) => found.get(id))).toEqual(items);
    });

    test('a new item is refused where one is', async () => {
      const store = await fresh();
      await given(store, putItem(item('a')));
      const answer = await attempt(store, putItem(item('a', { reason: 'other' })));
      expect(answer).toEqual(refused({ cause: 'queue', seen: item('a') }));
    });

    test('each field of an expectation is compared, and no other', async () => {
      const store = await fresh();
      const now = item('a', { claimedBy: 'me', dueAt: 7 });
      await given(store, putItem(now));
      const next = item('a', { state: 'dead' });
      const seen = refused({ cause: 'queue', seen: now });
      expect(await attempt(store, putItem(next, { state: 'intent' }))).toEqual(seen);
      expect(await attempt(store, putItem(next, { state: 'cleanup', dueAt: 8 }))).toEqual(seen);
      expect(await attempt(store, putItem(next, { state: 'cleanup', claimedBy: 'you' }))).toEqual(seen);
      const met = { state: 'cleanup', dueAt: 7, claimedBy: 'me' } as const;
      expect(await attempt(store, putItem(next, met))).toMatchObject({ outcome: 'done' });
      expect(await itemAt(store, next.id)).toEqual(next);
    });

    test('a field that is expected but missing is not met', async () => {
      const store = await fresh();
      await given(store, putItem(item('a')));
      const answer = await attempt(store, putItem(item('a'), { state: 'cleanup', claimedBy: 'me' }));
      expect(answer).toEqual(refused({ cause: 'queue', seen: item('a') }));
    });

    test('an item ends only in the state expected, and once', async () => {
      const store = await fresh();
      await given(store, putItem(item('a')));
      const { id } = item('a');
      const end = (state: QueueItem['state']): Change => ({ kind: 'queue-end', id, expect: { state } });
      expect(await attempt(store, end('dead'))).toEqual(refused({ cause: 'queue', seen: item('a') }));
      expect(await attempt(store, end('cleanup'))).toMatchObject({ outcome: 'done' });
      expect(await itemAt(store, id)).toBeUndefined();
      expect(await attempt(store, end('cleanup'))).toEqual(refused({ cause: 'queue', seen: null }));
    });
  });

  describe('counters', () => {
    test('additions create a counter at zero and may take it below', async () => {
      const store = await fresh();
      await given(store, add(1, 10));
      await given(store, add(-3, -30));
      expect(await counterAt(store, 'used/b2#0')).toEqual({ objects: -2, bytes: -20 });
    });

    test('a limited addition is made while the counter is absent or its bytes are at most the limit', async () => {
      const store = await fresh();
      await given(store, add(1, 10, { atMostBytes: -5 }));
      await given(store, add(1, 10, { atMostBytes: 10 }));
      const answer = await attempt(store, add(1, 10, { atMostBytes: 19 }));
      expect(answer).toEqual(refused({ cause: 'counter', seen: { objects: 2, bytes: 20 } }));
      expect(await counterAt(store, 'used/b2#0')).toEqual({ objects: 2, bytes: 20 });
    });

    test('an addition limited by objects is made while there are at most so many, none where the counter is absent', async () => {
      const store = await fresh();
      expect(await attempt(store, add(2, 20, { atMostObjects: -1 }))).toEqual(
        refused({ cause: 'counter', seen: null }),
      );
      await given(store, add(2, 20, { atMostObjects: 0 }));
      await given(store, add(1, 10, { atMostObjects: 2 }));
      const seen = { objects: 3, bytes: 30 };
      const limited = await attempt(store, add(1, 10, { atMostObjects: 2 }));
      expect(limited).toEqual(refused({ cause: 'counter', seen }));
      expect(await counterAt(store, 'used/b2#0')).toEqual(seen);
    });

    test('a counter ends only at the very values expected', async () => {
      const store = await fresh();
      await given(store, add(2, 20));
      const end = (objects: number, bytes: number): Change => ({
        kind: 'add-end',
        ...fleet('used/b2#0'),
        expect: { objects, bytes },
      });
      const seen = refused({ cause: 'counter', seen: { objects: 2, bytes: 20 } });
      expect(await attempt(store, end(2, 21))).toEqual(seen);
      expect(await attempt(store, end(1, 20))).toEqual(seen);
      expect(await attempt(store, end(2, 20))).toMatchObject({ outcome: 'done' });
      expect(await attempt(store, end(2, 20))).toEqual(refused({ cause: 'counter', seen: null }));
      expect(await counterAt(store, 'used/b2#0')).toBeUndefined();
    });
  });

  describe('rows', () => {
    test('a row is written on its version, whatever JSON it holds', async () => {
      const store = await fresh();
      const data = { text: '', list: [1, null, { deep: [true, -1.5] }], map: {}, big: 2 ** 53 - 1, zero: 0 };
      await given(store, { kind: 'row', put: row(1, data), expect: 'absent' });
      expect((await store.control('fleet')).rows).toEqual([row(1, data)]);
      const seen = refused({ cause: 'row', seen: row(1, data) });
      expect(await attempt(store, { kind: 'row', put: row(1), expect: 'absent' })).toEqual(seen);
      expect(await attempt(store, { kind: 'row', put: row(3), expect: 2 })).toEqual(seen);
      await given(store, { kind: 'row', put: row(2), expect: 1 });
      expect((await store.control('fleet')).rows).toEqual([row(2)]);
    });

    test('a row may say when it expires', async () => {
      const store = await fresh();
      const put = { ...row(1), ttl: 1_800_000_000 };
      await given(store, { kind: 'row', put, expect: 'absent' });
      expect((await store.control('fleet')).rows).toEqual([put]);
    });

    test('a row ends on its version', async () => {
      const store = await fresh();
      const end = (expected: number): Change => ({ kind: 'row-end', ...fleet('config'), expect: expected });
      expect(await attempt(store, end(1))).toEqual(refused({ cause: 'row', seen: null }));
      await given(store, { kind: 'row', put: row(1), expect: 'absent' });
      expect(await attempt(store, end(2))).toEqual(refused({ cause: 'row', seen: row(1) }));
      await given(store, end(1));
      expect(await store.control('fleet')).toEqual({ counters: [], rows: [] });
    });
  });

  describe('transactions', () => {
    test('nothing of a refused transaction is written, and refusals come in the order of the changes [one-commit]', async () => {
      const store = await fresh();
      await given(store, putObject(record('a')), add(1, 50), putItem(item('a')));
      const answer = await attempt(
        store,
        putObject(record('new')),
        putObject(record('a')),
        add(1, 1, { atMostBytes: 49 }),
        add(7, 7, { sk: 'used/b2#1' }),
        { kind: 'queue-end', id: 'none', expect: { state: 'cleanup' } },
        { kind: 'row', put: row(2), expect: 1 },
        { kind: 'queue-end', id: item('a').id, expect: { state: 'cleanup' } },
      );
      expect(answer).toEqual(
        refused(
          null,
          { cause: 'object', seen: record('a') },
          { cause: 'counter', seen: { objects: 1, bytes: 50 } },
          null,
          { cause: 'queue', seen: null },
          { cause: 'row', seen: null },
          null,
        ),
      );
      expect(await objectAt(store, 'new')).toBeUndefined();
      expect(await itemAt(store, item('a').id)).toEqual(item('a'));
      expect((await store.control('fleet')).counters).toEqual([{ sk: 'used/b2#0', count: { objects: 1, bytes: 50 } }]);
    });

    test('a request sent again with its token takes effect once, whatever happened since', async () => {
      const store = await fresh();
      const token = newToken();
      const changes = [putObject(record('a')), add(1, 10)];
      expect(await store.transact(changes, token)).toMatchObject({ outcome: 'done' });
      await given(store, putObject(record('a', { rev: 2 }), record('a')));
      expect(await store.transact(changes, token)).toMatchObject({ outcome: 'done' });
      expect(await objectAt(store, 'a')).toEqual(record('a', { rev: 2 }));
      expect(await counterAt(store, 'used/b2#0')).toEqual({ objects: 1, bytes: 10 });
    });

    test('a token does not serve for another request', async () => {
      const store = await fresh();
      const token = newToken();
      await store.transact([add(1, 10)], token);
      await expect(store.transact([add(1, 11)], token)).rejects.toMatchObject({ kind: 'rejected' });
      expect(await counterAt(store, 'used/b2#0')).toEqual({ objects: 1, bytes: 10 });
    });

    test('one hundred changes are made at once; none and one hundred and one are rejected', async () => {
      const store = await fresh();
      const puts = Array.from({ length: 101 }, (_, i) => putObject(record(`k${i}`)));
      await expect(attempt(store, ...puts)).rejects.toMatchObject({ kind: 'rejected' });
      await expect(attempt(store)).rejects.toMatchObject({ kind: 'rejected' });
      expect((await store.objects(puts.map(({ put }) => put.key))).size).toBe(0);
      expect(await attempt(store, ...puts.slice(1))).toMatchObject({ outcome: 'done' });
      expect((await store.objects(puts.map(({ put }) => put.key))).size).toBe(100);
    });

    test('two changes of one item in a transaction are rejected', async () => {
      const store = await fresh();
      const twice = attempt(store, add(1, 1), add(1, 2));
      await expect(twice).rejects.toMatchObject({ kind: 'rejected' });
      expect(await counterAt(store, 'used/b2#0')).toBeUndefined();
    });

    test('an empty key is rejected', async () => {
      const store = await fresh();
      await expect(attempt(store, putObject(record('')))).rejects.toMatchObject({ kind: 'rejected' });
    });
  });

  describe('single writes', () => {
    test('a single write is made on the same conditions as in a transaction', async () => {
      const store = await fresh();
      expect(await store.write(putItem(item('a')))).toEqual({ outcome: 'done' });
      const seen = { outcome: 'refused', refusal: { cause: 'queue', seen: item('a') } };
      expect(await store.write(putItem(item('a')))).toEqual(seen);
      expect(await store.write(putItem(item('a', { dueAt: 9 }), { state: 'dead' }))).toEqual(seen);
      expect(await store.write(putItem(item('a', { dueAt: 9 }), { state: 'cleanup' }))).toEqual({ outcome: 'done' });
      expect(await itemAt(store, item('a').id)).toEqual(item('a', { dueAt: 9 }));
    });

    test('a single row is written and ended on its version', async () => {
      const store = await fresh();
      expect(await store.write({ kind: 'row', put: row(1), expect: 'absent' })).toEqual({ outcome: 'done' });
      const seen = { outcome: 'refused', refusal: { cause: 'row', seen: row(1) } };
      expect(await store.write({ kind: 'row', put: row(3), expect: 2 })).toEqual(seen);
      expect(await store.write({ kind: 'row-end', ...fleet('config'), expect: 2 })).toEqual(seen);
      expect(await store.write({ kind: 'row-end', ...fleet('config'), expect: 1 })).toEqual({ outcome: 'done' });
      expect(await store.write({ kind: 'row-end', ...fleet('config'), expect: 1 })).toEqual({
        outcome: 'refused',
        refusal: { cause: 'row', seen: null },
      });
    });
  });
}
