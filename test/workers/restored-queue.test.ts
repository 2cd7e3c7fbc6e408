import { expect, test } from 'vitest';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import { apply } from '../../lib/operations/apply.ts';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { sayWaiting } from '../../lib/operations/say-drain.ts';
import { createUsageBook } from '../../lib/store/usage-book.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { type Recovering, takenOver } from '../support/taken-over.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const everyone = [
  'replicator',
  'over-replication-cleaner',
  'cleanup-queue',
  'pending-reaper',
  'scrubber',
  'reconciler',
] as const;

/** "one" was replaced by "two"; the tables are saved while its bytes wait for their deletion. */
async function replaced(copies = 2, backends = ['a', 'b', 'c'].slice(0, Math.max(2, copies))): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends, policies: { default: { factor: copies } } });
  await fleet.client.put('k', 'one');
  await fleet.tick('replicator');
  await fleet.client.put('k', 'two');
  await fleet.tick('replicator');
  return fleet;
}

/** "one" is brought back after the tables were saved, and what it replaced is deleted. */
async function broughtBack(fleet: TestFleet): Promise<void> {
  await fleet.client.undelete('k');
  await fleet.settle(['replicator', 'cleanup-queue'], 10);
  expect(await fleet.read('k')).toBe('one');
}

async function days(fleet: TestFleet, now: Recovering, count: number): Promise<void> {
  for (let day = 0; day < count; day += 1) {
    fleet.clock.advance(25 * hourMs);
    for (const worker of everyone) await now.tick(worker);
  }
}

function contentsOn(fleet: TestFleet, backend: string): string[] {
  const bucket = fleet.backends[backend]!;
  return fleet.keysOn(backend).map((key) => Buffer.from(bucket.peek(key)!.bytes).toString());
}

test('what was brought back in the lost time is the object again where nothing else is left [restored-queue-waits]', async () => {
  const fleet = await replaced();
  const saved = fleet.store.snapshot();
  await broughtBack(fleet);
  // Ticks on buckets that are not theirs yet do nothing, and keep nobody from anything later.
  fleet.clock.advance(hourMs);
  const now = await takenOver(fleet, saved, 'new tables', (tick) => tick('cleanup-queue'));
  await now.recover();
  expect(await now.read('k')).toBe('one');
  await days(fleet, now, 20);
  expect(await now.read('k')).toBe('one');
});

test('bytes that somebody was about to delete when the tables were saved are the object where nothing else is left', async () => {
  const fleet = await replaced(1);
  // Whoever claims it is cut off before it deletes anything.
  fleet.clock.advance(6 * minuteMs);
  fleet.before = ({ method }) => {
    if (method === 'delete') throw new Error('killed');
  };
  await fleet.tick('cleanup-queue').catch(() => {});
  fleet.before = undefined;
  const saved = fleet.store.snapshot();
  expect([...saved.queue.values()].map(({ claimedBy }) => claimedBy)).toEqual([expect.any(String)]);
  for (const [name, copyId] of Object.entries(fleet.object('k').copies)) fleet.backends[name]!.deleteNow(`k!${copyId}`);
  const now = await takenOver(fleet, saved);
  await now.recover();
  expect(await now.read('k')).toBe('one');
  await days(fleet, now, 20);
  expect(await now.read('k')).toBe('one');
});

test('such bytes are no further copies of what is good elsewhere', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 2 } } });
  await fleet.client.put('k', 'one');
  await fleet.tick('replicator');
  await fleet.apply({ backends: ['a', 'b'], policies: { default: { factor: 1 } } });
  await fleet.tick('over-replication-cleaner');
  fleet.clock.advance(6 * minuteMs);
  fleet.before = ({ method }) => {
    if (method === 'delete') throw new Error('killed');
  };
  await fleet.tick('cleanup-queue').catch(() => {});
  fleet.before = undefined;
  const [claimed] = fleet.queue();
  const now = await takenOver(fleet, fleet.store.snapshot());
  await now.recover();
  expect(Object.keys(now.object('k').copies)).not.toContain(claimed!.backend);
  expect(await now.read('k')).toBe('one');
});

test('what restored tables had queued stays, for as long as nobody says that it may go, and can be brought back', async () => {
  const fleet = await replaced();
  const now = await takenOver(fleet, fleet.store.snapshot());
  await now.recover();
  await days(fleet, now, 40);
  expect(contentsOn(fleet, 'a').sort()).toEqual(['one', 'two']);
  expect(await now.read('k')).toBe('two');
  await now.client.undelete('k');
  expect(await now.read('k')).toBe('one');
});

test('what restored tables had queued and is there no more ends', async () => {
  const fleet = await replaced();
  const saved = fleet.store.snapshot();
  await fleet.settle(['cleanup-queue'], 10);
  expect(contentsOn(fleet, 'a')).toEqual(['two']);
  const now = await takenOver(fleet, saved);
  await now.recover();
  fleet.clock.advance(hourMs);
  await now.tick('cleanup-queue');
  expect([...now.store.allQueueItems()]).toEqual([]);
});

test('seven days after a person has said so it goes, where a recorded copy verifies', async () => {
  const fleet = await replaced();
  const now = await takenOver(fleet, fleet.store.snapshot());
  await now.recover();
  await days(fleet, now, 2);
  const names = Object.keys(fleet.backends);
  const report = await now.tick('reconciler', { reconcile: { kind: 'delete-superseded', backends: names } });
  expect(report.figures.passComplete).toBe(1);
  await days(fleet, now, 6);
  expect(contentsOn(fleet, 'a').sort()).toEqual(['one', 'two']);
  await days(fleet, now, 4);
  expect(contentsOn(fleet, 'a')).toEqual(['two']);
  expect([...now.store.allQueueItems()]).toEqual([]);
});

test('where none verifies it stays all the same', async () => {
  const fleet = await replaced();
  const now = await takenOver(fleet, fleet.store.snapshot());
  await now.recover();
  await now.tick('reconciler', { reconcile: { kind: 'delete-superseded', backends: ['a', 'b'] } });
  for (const [name, copyId] of Object.entries(now.object('k').copies)) {
    const bucket = fleet.backends[name]!;
    bucket.putNow(`k!${copyId}`, Buffer.from('rot'), bucket.peek(`k!${copyId}`)!);
  }
  await days(fleet, now, 20);
  expect(contentsOn(fleet, 'a')).toContain('one');
});

test('a tick that read the fleet before the buckets were taken over deletes nothing', async () => {
  const fleet = await replaced();
  const saved = fleet.store.snapshot();
  const store = createMemoryStore({ clock: fleet.clock, identity: 'new tables', from: saved });
  const deps = { ...fleet.deps, store, unreported: createUsageBook() };
  const file = saved.rows.find(({ sk }) => sk === 'config')!.data.file as FleetFile;
  const findCapabilities = async ({ name }: { readonly name: string }) => fleet.backends[name]!.capabilities;
  fleet.clock.advance(hourMs);
  let isTakenOver = false;
  const watched: typeof store = {
    ...store,
    async due(...args) {
      if (!isTakenOver) {
        isTakenOver = true;
        await apply({ ...deps, findCapabilities }, file, { takeOver: true });
      }
      return store.due(...args);
    },
  };
  await runTick({ ...deps, store: watched }, workers['cleanup-queue']!, { deadline: fleet.clock.now() + 900_000 });
  expect(isTakenOver).toBe(true);
  expect(contentsOn(fleet, 'a').sort()).toEqual(['one', 'two']);
});

test('a drain says what restored tables had queued, who must let it go, and when it goes then', async () => {
  const fleet = await replaced(2, ['a', 'b', 'c']);
  const now = await takenOver(fleet, fleet.store.snapshot());
  await now.recover();
  const deps = { ...fleet.deps, store: now.store };
  expect(await drain(deps, 'a')).toMatchObject({ outcome: 'draining' });
  const waiting = async () => {
    const status = await drainStatus(deps, 'a');
    return status.outcome === 'draining' ? status.waiting : [];
  };
  const [before] = await waiting();
  expect(before).toEqual({ waiting: 'restored', items: { objects: 1, bytes: 3 }, isAll: true });
  expect(sayWaiting('a', before!)).toContain('1 queue item (3 B) of a');
  expect(sayWaiting('a', before!)).toContain('`holdfast recover --delete-superseded`');
  await now.tick('reconciler', { reconcile: { kind: 'delete-superseded', backends: ['a', 'b', 'c'] } });
  const released = fleet.clock.now();
  const [after] = await waiting();
  expect(after).toMatchObject({ waiting: 'restored', dueAt: released + 7 * 24 * hourMs });
  expect(sayWaiting('a', after!)).toMatch(/are deleted from \d{4}-\d\d-\d\d \d\d:\d\d UTC on/);
});

test.each(['pending', 'complete'])(
  'what was deleted after the tables were restored stays deleted, however long its recovery takes: %s',
  async (recovery) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'] });
    const saved = fleet.store.snapshot();
    await fleet.client.put('k', 'of the lost time');
    await fleet.tick('replicator');
    await fleet.client.put('k', 'later then');
    const now = await takenOver(fleet, saved);
    if (recovery === 'complete') await now.recover();
    await now.client.delete('k');
    await days(fleet, now, 30);
    now.store.expire();
    await now.recover();
    expect(await now.isPending()).toBe(false);
    expect(await now.read('k')).toBeNull();
  },
);

test('what was deleted when the tables were saved goes seven days after a person has said so, though its tombstone is gone by then', async () => {
  const fleet = await replaced();
  await fleet.client.delete('k');
  expect(new Set(fleet.queue().map(({ cause }) => cause))).toEqual(new Set(['replaced', 'deleted']));
  const now = await takenOver(fleet, fleet.store.snapshot());
  await now.recover();
  await days(fleet, now, 1);
  await now.tick('reconciler', { reconcile: { kind: 'delete-superseded', backends: ['a', 'b'] } });
  for (let day = 0; day < 6; day += 1) {
    await days(fleet, now, 1);
    now.store.expire();
  }
  expect(contentsOn(fleet, 'a').sort()).toEqual(['one', 'two']);
  for (let day = 0; day < 12; day += 1) {
    await days(fleet, now, 1);
    now.store.expire();
  }
  expect([...now.store.allObjects(), ...now.store.allQueueItems()]).toEqual([]);
  expect([...contentsOn(fleet, 'a'), ...contentsOn(fleet, 'b')]).toEqual([]);
});

test('what is deleted, or drained, on restored tables before the buckets are taken over deletes nothing there, and stays deleted', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'] });
  await fleet.client.put('k', 'saved');
  await fleet.client.put('other', 'kept');
  await fleet.tick('replicator');
  const saved = fleet.store.snapshot();
  await fleet.client.put('k', 'of the lost time');
  await fleet.client.put('new', 'of the lost time, too');
  await fleet.tick('replicator');
  fleet.clock.advance(hourMs);
  const before = ['a', 'b', 'c'].map((name) => fleet.keysOn(name));
  const now = await takenOver(fleet, saved, 'new tables', async (tick, client) => {
    await client.delete('k');
    await client.delete('new');
    for (const worker of [...everyone, ...everyone]) {
      fleet.clock.advance(10 * minuteMs);
      await tick(worker);
    }
  });
  expect(['a', 'b', 'c'].map((name) => fleet.keysOn(name))).toEqual(before);
  // What was not theirs before counted as failing.
  await days(fleet, now, 1);
  await now.recover();
  expect(await now.isPending()).toBe(false);
  await days(fleet, now, 9);
  expect(['a', 'b', 'c'].map((name) => fleet.keysOn(name))).toEqual(before);
  expect([await now.read('k'), await now.read('new'), await now.read('other')]).toEqual([null, null, 'kept']);
  await now.tick('reconciler', { reconcile: { kind: 'delete-superseded', backends: ['a', 'b', 'c'] } });
  await days(fleet, now, 20);
  expect([await now.read('k'), await now.read('new'), await now.read('other')]).toEqual([null, null, 'kept']);
  expect(['a', 'b', 'c'].flatMap((name) => fleet.keysOn(name)).filter((key) => !key.startsWith('other!'))).toEqual([]);
});
