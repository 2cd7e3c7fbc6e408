import { expect, test } from 'vitest';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import { apply } from '../../lib/operations/apply.ts';
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
async function replaced(copies = 2): Promise<TestFleet> {
  const backends = ['a', 'b', 'c'].slice(0, Math.max(2, copies));
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
