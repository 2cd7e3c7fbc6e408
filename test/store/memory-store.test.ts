import { expect, test } from 'vitest';
import { shardOf } from '../../lib/store/keys.ts';
import type { Change } from '../../lib/store/port.ts';
import { createMemoryIndexes, type MemoryIndexes } from '../../lib/testing/store/indexes.ts';
import { createMemoryStore, type MemoryStoreDeps } from '../../lib/testing/store/memory-store.ts';
import { given, item, newToken, objectAt, putItem, putObject, record, tombstone } from '../contracts/store-fixtures.ts';
import { usageOf } from '../support/usage.ts';

const addition: Change = { kind: 'add', pk: 'fleet', sk: 'a', add: { objects: 1, bytes: 10 } };

function storeAt(start: number, deps: Partial<MemoryStoreDeps> = {}) {
  const clock = { time: start, now: () => clock.time };
  return { clock, store: createMemoryStore({ clock, ...deps }) };
}

test('a token is remembered for ten minutes, and then no longer', async () => {
  const { store, clock } = storeAt(5_000);
  const token = newToken();
  for (const minutes of [0, 4, 9.99]) {
    clock.time = 5_000 + minutes * 60_000;
    await store.transact([{ ...addition, sk: 'other' }], newToken());
    expect(await store.transact([addition], token)).toEqual({ outcome: 'done', writeUnits: 0 });
    expect(store.allCounters()).toContainEqual({ pk: 'fleet', sk: 'a', count: { objects: 1, bytes: 10 } });
  }
  clock.time = 5_000 + 10 * 60_000;
  await store.transact([addition], token);
  expect(store.allCounters()).toContainEqual({ pk: 'fleet', sk: 'a', count: { objects: 2, bytes: 20 } });
});

test('a refused request is not remembered: its token may still succeed', async () => {
  const { store } = storeAt(0);
  const changes = [putObject(record('a', { rev: 2 }), record('a'))];
  expect(await store.transact(changes, 't')).toMatchObject({ outcome: 'refused' });
  await given(store, putObject(record('a')));
  expect(await store.transact(changes, 't')).toMatchObject({ outcome: 'done' });
});

test('a token that DynamoDB would not take is rejected', async () => {
  const { store } = storeAt(0);
  await expect(store.transact([addition], '')).rejects.toMatchObject({ kind: 'rejected' });
  await expect(store.transact([addition], 'x'.repeat(37))).rejects.toMatchObject({ kind: 'rejected' });
});

test('what is read cannot be changed', async () => {
  const { store } = storeAt(0);
  await given(store, putObject(record('a')), putItem(item('a', { intent: {} })));
  const found = (await objectAt(store, 'a')) as { copies: Record<string, string> };
  expect(() => {
    found.copies.b2 = 'changed';
  }).toThrow(TypeError);
});

test('a store made from a snapshot has all of it, and goes its own way', async () => {
  const { store } = storeAt(0);
  await given(store, putObject(record('a')), putObject(tombstone('b')), putItem(item('a')), addition);
  await given(store, { kind: 'row', put: { pk: 'fleet', sk: 'r', version: 1, data: {} }, expect: 'absent' });
  await store.addUsage('2024-01', { b2: usageOf({ requests: 1, egressBytes: 2, ingressBytes: 3 }) }, newToken());
  await store.acquireLease({ worker: 'w', part: '0/1', holder: 'h', now: 0, expiresAt: 1 });
  const before = store.snapshot();
  const { store: copy } = storeAt(0, { from: before });
  expect(copy.snapshot()).toEqual(before);
  expect(await copy.byKey(shardOf('a'), undefined, 10)).toEqual({ items: ['a'] });
  await given(copy, putObject(record('c')));
  expect(store.snapshot()).toEqual(before);
  expect([...copy.allObjects()]).toHaveLength(3);
  expect([...copy.allQueueItems()]).toEqual([item('a')]);
});

test('index reads come from the indexes it is given, however stale', async () => {
  const fresh = createMemoryIndexes();
  const held: (() => void)[] = [];
  const stale: MemoryIndexes = { ...fresh, noteObject: (key, entry) => held.push(() => fresh.noteObject(key, entry)) };
  const { store } = storeAt(0, { indexes: stale });
  await given(store, putObject(record('a')));
  expect((await store.byKey(shardOf('a'), undefined, 10)).items).toEqual([]);
  expect(await objectAt(store, 'a')).toEqual(record('a'));
  for (const catchUp of held) catchUp();
  expect((await store.byKey(shardOf('a'), undefined, 10)).items).toEqual(['a']);
});

test('only tombstones whose time is up expire', async () => {
  const { store } = storeAt(10_000);
  const { ttl: _, ...lasting } = tombstone('lasting');
  const entries = [record('a'), tombstone('past', { ttl: 10 }), tombstone('future', { ttl: 11 }), lasting];
  await given(store, ...entries.map((put) => putObject(put)));
  expect(store.expire()).toBe(1);
  expect([...store.allObjects()].map(({ key }) => key)).toEqual(['a', 'future', 'lasting']);
});
