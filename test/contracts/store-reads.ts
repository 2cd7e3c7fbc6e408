import { describe, expect, test } from 'vitest';
import { compareUtf8 } from '../../lib/base/bytes.ts';
import { labelInShard, lane, ledgerPlacement, placementLabel, shardOf, shards } from '../../lib/store/keys.ts';
import { conditions, type QueueItem } from '../../lib/store/model.ts';
import type { Page, Store } from '../../lib/store/port.ts';
import { given, item, objectAt, putItem, putObject, record, tombstone, wholeRecord } from './store-fixtures.ts';

/** Keys that are equal, ordered or split differently by anything that does not treat them as bytes. */
const oddKeys = [
  'caf\u00e9',
  'cafe\u0301',
  '\u{1F600}',
  '\uFFFD',
  '\uE000',
  'a!01ARZ3NDEKTSV4RRFFQ69G5FAV',
  ' leading and trailing ',
  '/',
  '//a//',
  'a/b+c*d%20#"\'\\',
  'line\nbreak\ttab',
  '\u0000nul',
  'A',
  'a',
  'a0',
  'a/',
  'constructor',
  '__proto__',
  'x'.repeat(900),
  '\u00e9'.repeat(450),
];

/** Every page of a query, one item each, with its `next` carried as a cursor. */
async function pagesOfOne<T>(read: (after: string | undefined) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  let after: string | undefined;
  do {
    const page = await read(after);
    expect(page.items.length).toBeLessThanOrEqual(1);
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return items;
}

/** What a store must answer to reads. */
export function readsContract(fresh: () => Promise<Store>): void {
  describe('batch reads', () => {
    test('250 keys are read at once, without those that are absent', async () => {
      const store = await fresh();
      const keys = Array.from({ length: 250 }, (_, i) => `k${i}`);
      await given(store, ...keys.slice(0, 240).map((key) => putObject(record(key))));
      const found = await store.objects(keys);
      expect([...found.keys()].sort()).toEqual(keys.slice(0, 240).sort());
      expect(found.get('k239')).toEqual(record('k239'));
    });

    test('a key named twice is read once, and no key is no request', async () => {
      const store = await fresh();
      await given(store, putObject(record('a')), putItem(item('a')));
      expect(await store.objects(['a', 'a'])).toEqual(new Map([['a', record('a')]]));
      expect(await store.queueItems([item('a').id, item('a').id])).toEqual(new Map([[item('a').id, item('a')]]));
      expect(await store.objects([])).toEqual(new Map());
      expect(await store.queueItems([])).toEqual(new Map());
    });

    test.each(oddKeys.map((key) => [JSON.stringify(key).slice(0, 40), key]))(
      'the key %s is kept as it is',
      async (_, key) => {
        const store = await fresh();
        await given(store, putObject(record(key)), putItem(item(key)));
        expect(await objectAt(store, key)).toEqual(record(key));
        expect((await store.byKey(shardOf(key), undefined, 10)).items).toEqual([key]);
        expect((await store.byPlacement(placementLabel(record(key)), undefined, 10)).items).toEqual([record(key)]);
        expect((await store.due(lane('cleanup', 'b2', shardOf(key)), 2e12, 10)).items).toEqual([item(key)]);
      },
    );
  });

  describe('reads of whole tables', () => {
    test('every record, tombstone and queue item is met once, page by page', async () => {
      const store = await fresh();
      await given(store, ...oddKeys.map((key) => putObject(record(key))), putObject(tombstone('gone')));
      await given(store, ...oddKeys.map((key) => putItem(item(key))));
      const entries = await pagesOfOne((after) => store.everyEntry(after, 1));
      expect(entries.map(({ key }) => key).sort()).toEqual([...oddKeys, 'gone'].sort());
      expect(entries.find(({ key }) => key === 'gone')).toEqual(tombstone('gone'));
      expect(entries.find(({ key }) => key === 'a/')).toEqual(record('a/'));
      const items = await pagesOfOne((after) => store.everyQueueItem(after, 1));
      expect(items.map(({ id }) => id).sort()).toEqual(oddKeys.map((key) => item(key).id).sort());
    });
  });

  describe('the by-key index', () => {
    test('keys come in UTF-8 byte order, page by page', async () => {
      const store = await fresh();
      await given(store, ...oddKeys.map((key) => putObject(record(key))));
      for (const shard of shards) {
        const wanted = oddKeys.filter((key) => shardOf(key) === shard).sort(compareUtf8);
        expect(await pagesOfOne((after) => store.byKey(shard, after, 1))).toEqual(wanted);
      }
    });

    test('characters beyond the basic plane come after all of it', async () => {
      const store = await fresh();
      // Their first UTF-16 unit is lower, so an order by code units would turn them around.
      const keys = oneShard(['\uFFFD', '\u{1F600}', '\uE000']);
      await given(store, ...keys.map((key) => putObject(record(key))));
      expect((await store.byKey(shardOf(keys[0]!), undefined, 10)).items).toEqual([...keys].sort(compareUtf8));
    });

    test('a walk goes on after a key that is no longer there', async () => {
      const store = await fresh();
      const keys = oneShard(['a', 'b', 'c']);
      await given(store, ...[keys[0]!, keys[2]!].map((key) => putObject(record(key))));
      expect((await store.byKey(shardOf(keys[0]!), keys[1], 10)).items).toEqual([keys[2]]);
    });

    test('tombstones are in no index, and records that replace them are again', async () => {
      const store = await fresh();
      const before = record('a');
      await given(store, putObject(before), putObject(tombstone('never')));
      await given(store, putObject(tombstone('a', { rev: 2 }), before));
      expect(await store.byKey(shardOf('a'), undefined, 10)).toEqual({ items: [] });
      expect(await store.byPlacement(placementLabel(before), undefined, 10)).toEqual({ items: [] });
      const again = record('a', { rev: 3 });
      await given(store, putObject(again, tombstone('a', { rev: 2 })));
      expect(await store.byKey(shardOf('a'), undefined, 10)).toEqual({ items: ['a'] });
      expect(await store.byPlacement(placementLabel(before), undefined, 10)).toEqual({ items: [again] });
    });

    test('a tombstone is among the keys while it remembers a file, and no longer', async () => {
      const store = await fresh();
      const remembering = tombstone('a', { plainEtags: { b2: '"e"' } });
      await given(store, putObject(remembering));
      expect(await store.byKey(shardOf('a'), undefined, 10)).toEqual({ items: ['a'] });
      await given(store, putObject(tombstone('a', { rev: 2 }), remembering));
      expect(await store.byKey(shardOf('a'), undefined, 10)).toEqual({ items: [] });
    });
  });

  describe('the by-placement index', () => {
    test('a swap that is built on what the index returned erases nothing', async () => {
      const store = await fresh();
      const whole = wholeRecord('a');
      await given(store, putObject(whole));
      const found = (await store.byPlacement(placementLabel(whole), undefined, 10)).items[0]!;
      expect(found).toEqual(whole);
      await given(store, putObject({ ...found, rev: 2 }, found));
      expect(await objectAt(store, 'a')).toEqual({ ...whole, rev: 2 });
    });

    test.each(conditions)('an object that is %s is found under the label of that, and under no other', async (now) => {
      const store = await fresh();
      await given(store, putObject(record('a', { condition: now })));
      const labels = conditions.map((condition) => placementLabel(record('a', { condition })));
      const found = await Promise.all(labels.map((label) => store.byPlacement(label, undefined, 10)));
      expect(found.map(({ items }) => items.length)).toEqual(conditions.map((c) => (c === now ? 1 : 0)));
    });

    test('whole records come in UTF-8 byte order, page by page, and never from another label', async () => {
      const store = await fresh();
      const records = oneShard(['a', '\u{1F600}', '\uFFFD', 'b']).map((key) =>
        record(key, { sha256: 'f', plainEtags: { b2: 'e' } }),
      );
      const elsewhere = record(oneShard(['a', 'other'])[1]!, { copies: { b2: 'x' } });
      await given(store, ...[...records, elsewhere].map((put) => putObject(put)));
      const label = placementLabel(records[0]!);
      const wanted = records.toSorted((a, b) => compareUtf8(a.key, b.key));
      expect(await pagesOfOne((after) => store.byPlacement(label, after, 1))).toEqual(wanted);
      expect(await store.byPlacement(label, undefined, 10)).toEqual({ items: wanted });
      expect(await store.byPlacement(`${label}+x`, undefined, 10)).toEqual({ items: [] });
    });

    test('a page says where to go on only when there may be more', async () => {
      const store = await fresh();
      const keys = oneShard(['a', 'b', 'c']);
      await given(store, ...keys.map((key) => putObject(record(key))));
      const label = placementLabel(record(keys[0]!));
      const first = await store.byPlacement(label, undefined, 2);
      expect(first).toEqual({ items: keys.slice(0, 2).map((key) => record(key)), next: keys[1] });
      expect(await store.byPlacement(label, first.next, 2)).toEqual({ items: [record(keys[2]!)] });
    });

    test('a record moves to its new label when its copies, policy or state change', async () => {
      const store = await fresh();
      const steps = [
        record('a'),
        record('a', { rev: 2, copies: { b2: '' }, plainEtags: { b2: 'e' } }),
        record('a', { rev: 3, policy: 'archive-2' }),
        record('a', { rev: 4, policy: 'archive-2', condition: 'damaged' }),
        record('a', { rev: 5, copies: {} }),
      ];
      for (const [i, step] of steps.entries()) {
        await given(store, putObject(step, steps[i - 1] ?? 'absent'));
        const labels = steps.map((other) => labelInShard(ledgerPlacement(other), shardOf('a')));
        const found = await Promise.all(labels.map((label) => store.byPlacement(label, undefined, 10)));
        expect(found.map((page) => page.items)).toEqual(steps.map((other) => (other === step ? [step] : [])));
      }
    });
  });

  describe('the due index', () => {
    const laneOfA = lane('cleanup', 'b2', shardOf('a'));
    const queued = (n: number, dueAt: number, fields: Partial<QueueItem> = {}) =>
      item('a', { id: `b2/a!${n}`, dueAt, ...fields });

    test('items come oldest first, and only those that are due', async () => {
      const store = await fresh();
      const items = [queued(1, 30), queued(2, 10), queued(3, 20), queued(4, 31)];
      await given(store, ...items.map((put) => putItem(put)));
      expect(await store.due(laneOfA, 30, 10)).toEqual({ items: [items[1], items[2], items[0]] });
      expect(await store.due(laneOfA, 9, 10)).toEqual({ items: [] });
    });

    test('paging meets every item once, even when all are due in the same millisecond', async () => {
      const store = await fresh();
      const items = Array.from({ length: 7 }, (_, i) => queued(i, i < 5 ? 10 : 11));
      await given(store, ...items.map((put) => putItem(put)));
      const found = await pagesOfOne((after) => store.due(laneOfA, 11, 1, after));
      expect(found.map(({ dueAt }) => dueAt)).toEqual([10, 10, 10, 10, 10, 11, 11]);
      expect(new Set(found.map(({ id }) => id)).size).toBe(7);
    });

    test('a page goes on after an item that was claimed meanwhile', async () => {
      const store = await fresh();
      await given(store, ...[1, 2, 3].map((n) => putItem(queued(n, 10 * n))));
      const first = await store.due(laneOfA, 100, 1);
      await given(store, putItem(queued(1, 500, { claimedBy: 'me' }), { state: 'cleanup' }));
      expect((await store.due(laneOfA, 100, 10, first.next)).items).toEqual([queued(2, 20), queued(3, 30)]);
    });

    test('the items of one object are found among those of others, page after page', async () => {
      const store = await fresh();
      const key = Array.from({ length: 1000 }, (_, n) => `other ${n}`).find((one) => shardOf(one) === shardOf('a'))!;
      // More than one request looks through, where what they read is counted as AWS does.
      const lastError = 'long '.repeat(2_000);
      const others = Array.from({ length: 150 }, (_, n) => queued(1000 + n, n, { key, lastError }));
      const own = [queued(1, 0), queued(2, 75), queued(3, 2e12)];
      const elsewhere = queued(4, 10, { state: 'dead' });
      const all = [...others, ...own, elsewhere].map((put) => putItem(put));
      for (let at = 0; at < all.length; at += 50) await given(store, ...all.slice(at, at + 50));
      const idsOf = async (of: string) => {
        const found: string[] = [];
        let after: string | undefined;
        do {
          const page = await store.queuedOf(laneOfA, of, after);
          found.push(...page.items);
          after = page.next;
        } while (after !== undefined);
        return found;
      };
      expect(await idsOf('a')).toEqual(own.map(({ id }) => id));
      expect(await idsOf(key)).toHaveLength(150);
      expect(await idsOf('nobody')).toEqual([]);
    });

    test('an item waits in the lane of its state, backend and shard', async () => {
      const store = await fresh();
      await given(store, putItem(queued(1, 10)));
      await given(store, putItem(queued(1, 10, { state: 'dead' }), { state: 'cleanup' }));
      expect((await store.due(laneOfA, 100, 10)).items).toEqual([]);
      expect((await store.due(lane('dead', 'b2', shardOf('a')), 100, 10)).items).toHaveLength(1);
      await given(store, { kind: 'queue-end', id: 'b2/a!1', expect: { state: 'dead' } });
      expect((await store.due(lane('dead', 'b2', shardOf('a')), 100, 10)).items).toEqual([]);
    });
  });

  describe('the control table', () => {
    test('counters and rows of one partition come in order of sk, and of no other partition', async () => {
      const store = await fresh();
      const sks = ['b', 'a', 'é', 'a#10', 'a#9', '\uFFFD', '\u{1F600}'];
      await given(
        store,
        ...sks.flatMap((sk) => [
          { kind: 'add', pk: 'fleet', sk: `c/${sk}`, add: { objects: 1, bytes: 2 } } as const,
          { kind: 'row', put: { pk: 'fleet', sk: `r/${sk}`, version: 1, data: {} }, expect: 'absent' } as const,
        ]),
        { kind: 'add', pk: 'other', sk: 'a', add: { objects: 1, bytes: 2 } },
      );
      const { counters, rows } = await store.control('fleet');
      const ordered = [...sks].sort(compareUtf8);
      expect(counters).toEqual(ordered.map((sk) => ({ sk: `c/${sk}`, count: { objects: 1, bytes: 2 } })));
      expect(rows.map(({ sk }) => sk)).toEqual(ordered.map((sk) => `r/${sk}`));
      expect(await store.control('nothing')).toEqual({ counters: [], rows: [] });
    });

    test('a partition of more than a megabyte is read whole', async () => {
      const store = await fresh();
      const data = { text: 'x'.repeat(100_000) };
      for (let n = 10; n < 25; n += 1) {
        await given(store, { kind: 'row', put: { pk: 'fleet', sk: `r${n}`, version: 1, data }, expect: 'absent' });
      }
      expect((await store.control('fleet')).rows).toHaveLength(15);
    });
  });

  test('the identity of the tables stays the same', async () => {
    const store = await fresh();
    const identity = await store.identity();
    expect(identity).not.toBe('');
    await given(store, putObject(record('a')));
    expect(await store.identity()).toBe(identity);
  });
}

/** Keys that start as given and fall in one shard together. */
function oneShard(starts: readonly string[]): string[] {
  const wanted = shardOf(starts[0]!);
  return starts.map((start) => {
    let key = start;
    for (let n = 0; shardOf(key) !== wanted; n += 1) key = `${start}${n}`;
    return key;
  });
}
