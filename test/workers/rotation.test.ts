import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareUtf8 } from '../../lib/base/bytes.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { shardOf, shards, shardsOfPart, storageKey } from '../../lib/store/keys.ts';
import type { QueueItem } from '../../lib/store/model.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { findDue } from '../../lib/tick/due-items.ts';
import { findByPlacement } from '../../lib/tick/find-work.ts';
import type { Tick } from '../../lib/tick/tick.ts';
import { firstPlace, type Place, readStretch } from '../../lib/tick/walk.ts';
import { createKeyFeed, type KeyFeed, prefixesBefore } from '../../lib/workers/reconciler/key-feed.ts';
import { item, record } from '../contracts/store-fixtures.ts';
import { createManualClock, createTestFleet } from '../support/fleet.ts';

const clock = createManualClock();
/** Keys that begin with one another and go on below and above `!`. */
const aKey = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '!', '/'), minLength: 1, maxLength: 4 });
const someKeys = (maxLength: number) => fc.uniqueArray(aKey, { maxLength });

/** What comes and goes between two looks: keys of other objects. */
const changes = fc.array(
  fc.record({ key: fc.string({ minLength: 1, maxLength: 3 }).map((key) => `+${key}`), goes: fc.boolean() }),
  { maxLength: 6 },
);

function put(store: MemoryStore, key: string, fields: Parameters<typeof record>[1] = {}): void {
  if (![...store.allObjects()].some((entry) => entry.key === key))
    store.apply([{ kind: 'object', put: record(key, fields), expect: 'absent' }]);
}

/** Makes objects that are not watched, and changes the placement of those that are there: they are gone from where they were. */
function disturb(store: MemoryStore, all: readonly { readonly key: string; readonly goes: boolean }[]): void {
  for (const { key, goes } of all) {
    const existing = [...store.allObjects()].find((entry) => entry.key === key);
    if (existing === undefined) put(store, key);
    else if (goes && existing.kind === 'object') {
      const { generation, rev } = existing;
      const gone = { ...existing, rev: rev + 1, copies: { elsewhere: 'x' } };
      store.apply([{ kind: 'object', put: gone, expect: { generation, rev } }]);
    }
  }
}

test('objects under a placement are found in turn, each before any comes round again, whatever comes and goes', async () => {
  const turns = fc.array(changes, { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(someKeys(25), fc.integer({ min: 1, max: 7 }), turns, async (keys, limit, disturbances) => {
      const store = createMemoryStore({ clock });
      for (const [i, key] of keys.entries()) put(store, key, { policy: i % 3 === 0 ? 'archive' : 'default' });
      const placements = ['default/b2+oci', 'archive/b2+oci'];
      const missing = new Set(keys);
      let others = 0;
      let cursor: string | undefined;
      let turn = 0;
      while (missing.size > 0) {
        const found = await findByPlacement(store, placements, shards, cursor, limit);
        const met = found.objects.map(({ key }) => key);
        expect(new Set(met).size).toBe(met.length);
        expect(met.length).toBeLessThanOrEqual(limit);
        for (const key of met) missing.delete(key);
        cursor = found.cursor;
        const disturbance = disturbances[turn] ?? [];
        others += disturbance.length;
        disturb(store, disturbance);
        turn += 1;
        // Every look shows `limit` more of them, or all that there are.
        expect(turn).toBeLessThanOrEqual(Math.ceil((keys.length + others) / limit) + 1);
      }
    }),
  );
});

test('where nothing changes, a scrub cycle meets every object once', async () => {
  await fc.assert(
    fc.asyncProperty(someKeys(25), fc.integer({ min: 1, max: 7 }), fc.nat(), async (keys, limit, skipped) => {
      const store = createMemoryStore({ clock });
      for (const key of keys) put(store, key);
      const read = (cursor: string | undefined, most: number) =>
        findByPlacement(store, ['default/b2+oci'], shards, cursor, most);
      // The scrub cycle begins anywhere.
      let { cursor } = skipped % 30 === 0 ? { cursor: undefined } : await read(undefined, skipped % 30);
      const met: string[] = [];
      for (let left = keys.length; left > 0; left -= limit) {
        const found = await read(cursor, Math.min(limit, left));
        met.push(...found.objects.map(({ key }) => key));
        cursor = found.cursor;
      }
      expect(met.toSorted(compareUtf8)).toEqual(keys.toSorted(compareUtf8));
    }),
  );
});

/** A tick that sees some lanes of a queue, and its clock. */
function tickOver(store: MemoryStore, mine: readonly string[], time: { now: number }): Tick {
  const standings = () => ['a', 'b'].map((name) => ({ name, isReachable: true }));
  const queue = () => ({ objects: 1, bytes: 0 });
  const tick = {
    deps: { store },
    shards: mine,
    figures: {},
    removing: new Map(),
    standings,
    view: { queue, row: () => undefined },
    now: () => time.now,
  };
  return tick as unknown as Tick;
}

function queued(backend: string, key: string, dueAt: number): QueueItem {
  return item(key, { id: `${backend}/${key}`, backend, dueAt });
}

/** Keys of a few shards, so that lanes hold many. */
const queueKeys = Array.from({ length: 400 }, (_, i) => `k${i}`).filter((key) =>
  ['00', '07', '15'].includes(shardOf(key)),
);
const queueOf = (maxLength: number) =>
  fc.uniqueArray(
    fc.record({ backend: fc.constantFrom('a', 'b'), key: fc.constantFrom(...queueKeys), dueAt: fc.nat(50) }),
    { maxLength, selector: ({ backend, key }) => `${backend}/${key}`, size: 'max' },
  );

test('due items are found until none is left, oldest first in each lane, as many as asked for while there are so many', async () => {
  await fc.assert(
    fc.asyncProperty(queueOf(40), fc.integer({ min: 1, max: 9 }), fc.constantFrom(1, 4, 16), async (all, limit, of) => {
      const now = 30;
      const store = createMemoryStore({ clock });
      for (const { backend, key, dueAt } of all)
        store.apply([{ kind: 'queue', put: queued(backend, key, dueAt), expect: 'absent' }]);
      // All shards, or those of one of many parallel parts.
      const mine = shardsOfPart(shards.indexOf(shardOf(all[0]?.key ?? '')) % of, of);
      const tick = tickOver(store, mine, { now });
      let left = all
        .filter(({ key, dueAt }) => dueAt <= now && mine.includes(shardOf(key)))
        .map(({ backend, key }) => `${backend}/${key}`);
      let cursor: string | undefined;
      do {
        const found = await findDue(tick, 'cleanup', cursor, limit);
        expect(found.items).toHaveLength(Math.min(limit, left.length));
        for (const { id, state, dueAt } of found.items) {
          expect(left).toContain(id);
          expect(dueAt).toBeLessThanOrEqual(now);
          store.apply([{ kind: 'queue-end', id, expect: { state, dueAt } }]);
        }
        left = left.filter((id) => !found.items.some((met) => met.id === id));
        cursor = found.cursor;
      } while (cursor !== undefined);
      expect(left).toEqual([]);
    }),
  );
});

test('an item that cannot succeed and waits again never starves another, in whatever order items come and go [cursors-rotate]', async () => {
  const come = fc.array(queueOf(4), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(queueOf(25), fc.integer({ min: 1, max: 5 }), come, async (all, limit, coming) => {
      const store = createMemoryStore({ clock });
      const time = { now: 100 };
      const tick = tickOver(store, shards, time);
      const add = (items: typeof all, dueAt?: number) => {
        for (const one of items)
          store.apply([{ kind: 'queue', put: queued(one.backend, one.key, dueAt ?? one.dueAt), expect: 'absent' }]);
      };
      add(all);
      const missing = new Set(all.map(({ backend, key }) => `${backend}/${key}`));
      let cursor: string | undefined;
      for (let turn = 0; missing.size > 0; turn += 1) {
        // In each turn at least one lane more is seen, of which the oldest are first.
        expect(turn).toBeLessThanOrEqual(32 * (all.length + 1));
        const found = await findDue(tick, 'cleanup', cursor, limit);
        for (const one of found.items) {
          missing.delete(one.id);
          const again = { ...one, dueAt: time.now };
          store.apply([{ kind: 'queue', put: again, expect: { state: one.state, dueAt: one.dueAt } }]);
        }
        cursor = found.cursor;
        time.now += 1;
        add(coming[turn % coming.length]!, time.now);
      }
    }),
    { numRuns: 50 },
  );
});

test('a tick runs rounds until nothing is left, also where a part has a single lane', async () => {
  const env = { CLEANUP_QUEUE_BATCH_SIZE: '2' };
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } }, env });
  for (let i = 0; i < 64; i += 1) {
    await fleet.client.put(`k${i}`, Buffer.from('x'));
    await fleet.client.delete(`k${i}`);
  }
  fleet.clock.advance(3_600_000);
  for (let part = 0; part < 16; part += 1) await fleet.tick('cleanup-queue', { part, of: 16 });
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('a')).toEqual([]);
});

test('a scrub cycle meets every object that stays exactly once, and no other twice, whatever comes and goes meanwhile', async () => {
  const turns = fc.array(
    fc.array(fc.record({ key: fc.string({ minLength: 1, maxLength: 3 }), goes: fc.boolean() }), { maxLength: 6 }),
    { maxLength: 30 },
  );
  await fc.assert(
    fc.asyncProperty(someKeys(30), fc.integer({ min: 1, max: 5 }), turns, async (keys, limit, disturbances) => {
      const store = createMemoryStore({ clock });
      for (const key of keys) put(store, `=${key}`);
      const met: string[] = [];
      let turn = 0;
      for (let at: Place | undefined = firstPlace(shards); at !== undefined; turn += 1) {
        const stretch = await readStretch(store, shards, at, limit);
        expect(stretch.objects.length).toBeLessThanOrEqual(limit);
        met.push(...stretch.objects.map(({ key }) => key));
        for (const { key, goes } of disturbances[turn] ?? []) {
          const existing = [...store.allObjects()].find((entry) => entry.key === `+${key}`);
          if (existing === undefined) put(store, `+${key}`);
          else if (goes && existing.kind === 'object') {
            const { generation, rev } = existing;
            const tombstone = { kind: 'tombstone', key: existing.key, generation, rev: rev + 1, deletedAt: 0 } as const;
            store.apply([{ kind: 'object', put: tombstone, expect: { generation, rev } }]);
          }
        }
        at = stretch.next;
      }
      expect(new Set(met).size).toBe(met.length);
      const stayed = met.filter((key) => key.startsWith('='));
      expect(stayed.toSorted(compareUtf8)).toEqual(keys.map((key) => `=${key}`).toSorted(compareUtf8));
    }),
  );
});

test('every recorded copy is looked for in the stretch of a listing that its storage key falls into', async () => {
  const text = fc.string({
    unit: fc.constantFrom('a', 'b', '!', ' ', '\0', '/', '"', '\uff5e', '\u{1f600}'),
    maxLength: 4,
  });
  const keys = fc.uniqueArray(
    text.filter((key) => key !== ''),
    { minLength: 1, maxLength: 20 },
  );
  const copyId = fc.oneof(fc.ulid(), fc.constant(''));
  await fc.assert(
    fc.asyncProperty(
      keys,
      fc.array(copyId, { minLength: 20, maxLength: 20 }),
      fc.array(text),
      async (all, ids, cuts) => {
        const store = createMemoryStore({ clock });
        for (const [i, key] of all.entries()) put(store, key, { copies: { b2: ids[i]! } });
        const storages = all.map((key, i) => storageKey(key, ids[i]!));
        // Pages end at listed keys, and where a listing was taken up again at keys that are gone.
        const ends = [...new Set([...cuts.filter((cut) => cut !== ''), ...storages.slice(0, 5)])].sort(compareUtf8);
        let after: string | undefined;
        const feed = createKeyFeed(store, after);
        for (const upTo of [...ends, undefined]) {
          const found = new Set([...prefixesBefore(after), ...(await keysUpTo(feed, upTo))]);
          const wanted = all.filter((_, i) => {
            const storage = storages[i]!;
            const isBehind = after === undefined || compareUtf8(storage, after) > 0;
            return isBehind && (upTo === undefined || compareUtf8(storage, upTo) <= 0);
          });
          expect(wanted.filter((key) => !found.has(key))).toEqual([]);
          after = upTo;
        }
      },
    ),
  );
});

async function keysUpTo(feed: KeyFeed, upTo: string | undefined): Promise<string[]> {
  const found: string[] = [];
  for (;;) {
    const read = await feed.next(upTo);
    found.push(...read.keys);
    if (read.upTo === undefined) return found;
  }
}

test('keys come some thousands at a time, in byte order from one time to the next, and none is left out', async () => {
  const store = createMemoryStore({ clock });
  const all = Array.from({ length: 9_000 }, (_, i) => `k${i}`);
  for (const key of all) put(store, key, { copies: { b2: '' } });
  const feed = createKeyFeed(store, undefined);
  const found: string[] = [];
  let reached = '';
  for (const upTo of ['k3', 'k77', undefined]) {
    for (let isLast = false; !isLast; ) {
      const read = await feed.next(upTo);
      expect(read.keys.length).toBeLessThanOrEqual(2_000);
      expect(read.keys.every((key) => compareUtf8(key, reached) > 0)).toBe(true);
      found.push(...read.keys);
      isLast = read.upTo === undefined;
      reached = read.upTo ?? upTo ?? reached;
      expect(read.keys.every((key) => upTo === undefined || compareUtf8(key, reached) <= 0)).toBe(true);
    }
  }
  expect(found.sort(compareUtf8)).toEqual(all.sort(compareUtf8));
});

test('what a tick has just copied, and meets again under its new label, hides nothing behind it', async () => {
  const fleet = await createTestFleet({
    // The third has no room, so that two copies leave an object under-replicated.
    backends: ['a', 'b', { name: 'c', quotaBytes: 1 }],
    policies: { default: { factor: 3 } },
    env: { REPLICATOR_BATCH_SIZE: '1' },
  });
  const [first, second] = Array.from({ length: 200 }, (_, i) => `k${i}`).filter((key) => shardOf(key) === shards[0]);
  await fleet.client.put(first!, 'on a');
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'put') throw new BackendError('unavailable', 'a', 'no');
  };
  await fleet.client.put(second!, 'on b');
  fleet.before = undefined;
  await fleet.tick('replicator');
  expect(Object.keys(fleet.object(first!).copies).sort()).toEqual(['a', 'b']);
  expect(Object.keys(fleet.object(second!).copies).sort()).toEqual(['a', 'b']);
});
