import { expect, test } from 'vitest';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { gaugesOf } from '../../lib/tick/metrics.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import type { TickReport } from '../../lib/tick/tick.ts';
import { markFor, markName } from '../../lib/transfer/mark.ts';
import { workers } from '../../lib/workers/workers.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

/** What a function would publish after this tick. */
async function gauges(fleet: TestFleet, worker: WorkerName) {
  let publish = (_: TickReport): ReturnType<typeof gaugesOf> => {
    throw new Error('The tick did not read the fleet');
  };
  const deps: typeof fleet.deps = {
    ...fleet.deps,
    sawFleet: (view, params) => {
      publish = ({ figures }) => gaugesOf({ ...view, config: view.config! }, params, figures, fleet.clock.now());
    },
  };
  const report = await runTick(deps, workers[worker]!, { deadline: fleet.clock.now() + 300_000 });
  return publish(report);
}

test('gauges tell what the ledger holds: objects by counted copies, what is short, what is at risk', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 2 }, three: { prefix: 'three/', factor: 3 } } });
  await fleet.client.put('one', '1');
  await fleet.client.put('three/x', '3');
  const first = await gauges(fleet, 'cleanup-queue');
  expect(first.fleet).toMatchObject({ UnderReplicated: 2, AtRisk: 2, OverReplicated: 0, Damaged: 0, QueueDepth: 0 });
  expect(first.copies).toMatchObject({ objectsWith1Copy: 2, objectsWith2Copies: 0 });
  await fleet.settle();
  const later = await gauges(fleet, 'cleanup-queue');
  expect(later.fleet).toMatchObject({ UnderReplicated: 0, AtRisk: 0 });
  expect(later.copies).toMatchObject({ objectsWith1Copy: 0, objectsWith2Copies: 1, objectsWith3Copies: 1 });
});

test('a backend tells how full it is where there is a quota, and whether its breaker is open', async () => {
  const fleet = await createTestFleet({ backends: [{ name: 'a', quotaBytes: 100 }, 'b', 'c'] });
  await fleet.client.put('k', '0123456789');
  expect((await gauges(fleet, 'cleanup-queue')).backends).toEqual({
    a: { UsedRatio: 0.1, BreakerOpen: 0 },
    b: { BreakerOpen: 0 },
    c: { BreakerOpen: 0 },
  });
  const row = { pk: 'fleet', sk: 'breaker/b', version: 1, data: { failures: 5, openedAt: fleet.clock.now() } };
  await fleet.store.write({ kind: 'row', put: row, expect: 'absent' });
  expect((await gauges(fleet, 'cleanup-queue')).backends.b).toEqual({ BreakerOpen: 1 });
});

test('lag is measured when the last needed copy is recorded, from the write', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  fleet.clock.advance(120_000);
  expect((await gauges(fleet, 'replicator')).fleet).toMatchObject({
    ReplicationLagSeconds: 120,
    OldestUnderReplicatedSeconds: 120,
  });
  expect((await gauges(fleet, 'replicator')).fleet).not.toHaveProperty('ReplicationLagSeconds');
});

test('lag after an outage is measured from when the copy stopped counting, not from the write', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await fleet.settle();
  fleet.clock.advance(1000 * hourMs);
  const now = fleet.clock.now();
  // Ten minutes unhealthy are allowed: the copy stopped counting five minutes ago.
  const data = { failures: 5, openedAt: now, unhealthySince: now - 900_000 };
  await fleet.store.write({ kind: 'row', put: { pk: 'fleet', sk: 'breaker/b', version: 1, data }, expect: 'absent' });
  expect((await gauges(fleet, 'replicator')).fleet).toMatchObject({ ReplicationLagSeconds: 300 });
});

test('the queue tells how long its oldest due item has been due', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  await fleet.client.delete('k');
  fleet.clock.advance(300_000 + 90_000);
  const told = await gauges(fleet, 'cleanup-queue');
  expect(told.fleet).toMatchObject({ QueueOldestSeconds: 90 });
  expect((await gauges(fleet, 'cleanup-queue')).fleet).not.toHaveProperty('QueueOldestSeconds');
});

test('damaged objects and what a tick quarantined are told', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await fleet.settle();
  const view = await readFleet(fleet.store, fleet.clock.now());
  const told = gaugesOf(
    { ...view, config: view.config! },
    { unhealthyAfterMs: 0 },
    { quarantined: 3, removalLimitReached: 1 },
    0,
  );
  expect(told.fleet).toMatchObject({ Quarantined: 3, RemovalLimitReached: 1, Damaged: 0, DeadLetters: 0 });
});

test('bytes of ours whose object is unknown are told from the last complete pass on, until a pass meets none', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  const { fleetId } = (await readFleet(fleet.store, 0)).config!;
  const unknown = `unknown!${fleet.object('k').copies.a!}`;
  const mark = markFor({ fleetId, generation: fleet.object('k').generation }, 'a', unknown);
  fleet.backends.a!.putNow(unknown, Buffer.from('u'), { metadata: { [markName]: mark } });
  expect((await gauges(fleet, 'cleanup-queue')).fleet).toMatchObject({ UnrecordedKeys: 0 });
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  expect((await gauges(fleet, 'cleanup-queue')).fleet).toMatchObject({ UnrecordedKeys: 1 });
  expect(fleet.logs).toContainEqual(expect.objectContaining({ what: 'no-record', storageKey: unknown }));
  fleet.backends.a!.deleteNow(unknown);
  fleet.clock.advance(25 * hourMs);
  await fleet.tick('reconciler');
  expect((await gauges(fleet, 'cleanup-queue')).fleet).toMatchObject({ UnrecordedKeys: 0 });
});
