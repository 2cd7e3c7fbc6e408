import { expect, test } from 'vitest';
import { fleetHistory } from '../../lib/console/history.ts';
import { readHours, writeHour } from '../../lib/store/history-rows.ts';
import { StoreError } from '../../lib/store/port.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** A tick of a process that keeps history. */
function tick(fleet: TestFleet, name: 'replicator' | 'scrubber' | 'cleanup-queue', dryRun = false) {
  const deps = { ...fleet.deps, keepsHistory: true as const };
  return runTick(deps, workers[name], { deadline: fleet.clock.now() + 300_000, dryRun });
}

const rowsOf = (fleet: TestFleet, worker = 'replicator') => fleet.store.control(`history/${worker}/0/1`);

/** Writes of history alone. */
function countWrites(fleet: TestFleet): () => number {
  let writes = 0;
  fleet.before = ({ port, method, args }) => {
    const [change] = args as [{ put?: { pk: string } }];
    if (port === 'store' && method === 'write' && change.put?.pk.startsWith('history/')) writes += 1;
  };
  return () => writes;
}

test('the sums of an hour are those of its ticks, and cost one write once it is over [history-costs-a-write-an-hour]', async () => {
  const fleet = await createTestFleet();
  const writes = countWrites(fleet);
  const begun = fleet.clock.now();
  for (let i = 0; i < 12; i += 1) {
    await fleet.client.put(`first/${i}`, 'x'.repeat(100));
    await tick(fleet, 'replicator');
    fleet.clock.advance(4 * 60_000);
  }
  expect(writes()).toBe(0);
  fleet.clock.advance(hourMs);
  for (let i = 0; i < 3; i += 1) {
    await fleet.client.put(`second/${i}`, 'x');
    await tick(fleet, 'replicator');
  }
  expect(writes()).toBe(1);
  const history = await fleetHistory(fleet.deps);
  // As the last tick read the fleet: its own copy is not counted yet.
  expect(history).toMatchObject([
    { at: begun, copiesMade: 12, bytesMoved: 1_200, objects: 12, usedBytes: 2_300, lagSeconds: 0 },
    { at: begun + hourMs, copiesMade: 3, bytesMoved: 3, objects: 15 },
  ]);
});

test('a tick that finds nothing to do writes no history, and neither does one that only plans [history-costs-a-write-an-hour]', async () => {
  const fleet = await createTestFleet();
  const writes = countWrites(fleet);
  await fleet.client.put('one', 'one');
  await tick(fleet, 'replicator');
  fleet.clock.advance(2 * hourMs);
  for (let i = 0; i < 5; i += 1) await tick(fleet, 'replicator');
  await fleet.client.put('two', 'two');
  await tick(fleet, 'replicator', true);
  expect(writes()).toBe(0);
  expect(await fleetHistory(fleet.deps)).toMatchObject([{ copiesMade: 1 }]);
});

test('ninety days are kept, hour by hour, in a number of rows that does not grow [history-costs-a-write-an-hour]', async () => {
  const fleet = await createTestFleet();
  const begun = fleet.clock.now();
  const figures = {
    ...{ ticks: 1, endedAt: 0, succeeded: 1, failed: 0, skipped: 0, deferred: 0, requests: 0 },
    ...{ egressBytes: 0, ingressBytes: 0, objects: 0, underReplicated: 0, queued: 0, usedBytes: 0 },
  };
  const days = 200;
  for (let hour = 0; hour < days * 24; hour += 6)
    await writeHour(fleet.store, 'replicator', '0/1', { at: begun + hour * hourMs, ...figures });
  const now = begun + days * dayMs;
  const { rows } = await rowsOf(fleet);
  expect(rows.length).toBe(91);
  const hours = await readHours(fleet.store, 'replicator', '0/1', now);
  expect(hours.length).toBe(90 * 4);
  expect(hours[0]!.at).toBe(now - 90 * dayMs);
});

test('the largest row of an hour stays below four kilobytes, however large its figures are', async () => {
  const fleet = await createTestFleet();
  const begun = Math.floor(fleet.clock.now() / dayMs) * dayMs;
  const most = Number.MAX_SAFE_INTEGER;
  for (let hour = 0; hour < 24; hour += 1)
    await writeHour(fleet.store, 'replicator', '0/1', {
      ...{ at: begun + hour * hourMs, endedAt: begun, ticks: 60, succeeded: 1e6, failed: 1e6, skipped: 1e6 },
      ...{ deferred: 1e6, requests: 1e7, egressBytes: most, ingressBytes: most, lagSeconds: 1e6, objects: 1e9 },
      ...{ underReplicated: 1e9, queued: 1e9, usedBytes: most },
    });
  const [row] = (await rowsOf(fleet)).rows;
  expect(JSON.stringify(row).length).toBeLessThan(4 * 1024);
});

test('what is written again, or by a tick that outlived its lease, changes nothing', async () => {
  const fleet = await createTestFleet();
  const at = Math.floor(fleet.clock.now() / hourMs) * hourMs;
  const figures = {
    ...{ at, endedAt: at, failed: 0, skipped: 0, deferred: 0, requests: 0 },
    ...{ egressBytes: 0, ingressBytes: 0, objects: 0, underReplicated: 0, queued: 0, usedBytes: 0 },
  };
  await writeHour(fleet.store, 'replicator', '0/1', { ...figures, ticks: 5, succeeded: 50 });
  await writeHour(fleet.store, 'replicator', '0/1', { ...figures, ticks: 5, succeeded: 50 });
  await writeHour(fleet.store, 'replicator', '0/1', { ...figures, ticks: 2, succeeded: 20 });
  expect(await readHours(fleet.store, 'replicator', '0/1', at)).toMatchObject([{ ticks: 5, succeeded: 50 }]);
});

test('a tick whose history cannot be written succeeds all the same, and gives its lease back', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('one', 'one');
  await tick(fleet, 'replicator');
  fleet.clock.advance(2 * hourMs);
  await fleet.client.put('two', 'two');
  fleet.before = ({ port, method, args }) => {
    if (port === 'store' && method === 'control' && String(args[0]).startsWith('history/'))
      throw new StoreError('unreachable', 'no store');
  };
  expect(await tick(fleet, 'replicator')).toMatchObject({ outcome: 'success', succeeded: 1 });
  const [lease] = await fleet.store.leases('replicator');
  expect(lease!.expiresAt).toBe(0);
  expect(fleet.logs.map(({ sentence }) => sentence)).toContain('History could not be written');
});

test('a clock that was ahead for one tick does not swallow the hours after it', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('one', 'one');
  const ahead = { ...fleet.deps.clock, now: () => fleet.clock.now() + 300 * dayMs };
  await fleet.store.acquireLease({ worker: 'replicator', part: '0/1', holder: 'x', now: 0, expiresAt: 1 });
  const deps = { ...fleet.deps, keepsHistory: true as const, clock: ahead };
  await runTick(deps, workers.replicator, { deadline: ahead.now() + 300_000 });
  fleet.clock.advance(hourMs);
  await fleet.client.put('two', 'two');
  await tick(fleet, 'replicator');
  fleet.clock.advance(hourMs);
  await fleet.client.put('three', 'three');
  await tick(fleet, 'replicator');
  const now = fleet.clock.now();
  const history = (await fleetHistory(fleet.deps)).filter(({ at }) => at <= now);
  expect(history.map(({ copiesMade }) => copiesMade)).toEqual([1, 1]);
});
