import { expect, test } from 'vitest';
import { idsFrom } from '../../lib/base/ids.ts';
import { silentLog } from '../../lib/base/log.ts';
import { createClient } from '../../lib/client/client.ts';
import type { ClientDeps } from '../../lib/client/context.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { apply } from '../../lib/operations/apply.ts';
import { recount } from '../../lib/operations/recount.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import { createLaggingIndexes } from '../simulation/lagging-indexes.ts';
import { createManualClock, createTestFleet, seeded, type TestFleet } from '../support/fleet.ts';

/** Recounts, with a step of the test in the minute between the two counts. */
function recounting(fleet: TestFleet, between: () => unknown = () => {}) {
  const clock = {
    now: fleet.clock.now,
    async sleep(ms: number) {
      await between();
      fleet.clock.advance(ms);
    },
  };
  return recount({ store: fleet.store, clock, ids: fleet.ids }, true);
}

async function bend(fleet: TestFleet, sk: string, objects: number, bytes: number): Promise<void> {
  await fleet.store.transact([{ kind: 'add', pk: 'fleet', sk, add: { objects, bytes } }], fleet.ids.ulid());
}

async function totalOf(fleet: TestFleet, row: string) {
  const { totals } = await readFleet(fleet.store, fleet.clock.now());
  return totals.find((total) => total.row === row)?.count;
}

test('a recount a moment after a write sees it, however late the indexes are', async () => {
  const clock = createManualClock();
  const ids = idsFrom(clock, seeded(1));
  const store = createMemoryStore({ clock, indexes: createLaggingIndexes(clock.now, () => 60_000) });
  const backend = createMemoryBackend({ name: 'a', clock });
  const deps = { store, clock, ids, log: silentLog, env: {}, openBackend: async () => backend } satisfies ClientDeps;
  const backends = [{ name: 'a', endpoint: 'https://a.example.com', bucket: 'bucket-a', credentials: 'role' }];
  const file = parseFleetFile({ backends, policies: { default: { factor: 1 } } });
  await apply({ ...deps, findCapabilities: async () => backend.capabilities }, file);
  await createClient(deps).put('k', 'value');
  clock.advance(100);
  expect(await recount({ store, clock, ids }, true)).toEqual({ differences: [], moved: [], repaired: 0 });
});

test('a bent total is corrected once two counts a minute apart agree on it [recount-repairs-the-certain]', async () => {
  const fleet = await createTestFleet({ backends: [{ name: 'a', quotaBytes: 1_000 }, 'b'] });
  await fleet.client.put('k', 'value');
  await fleet.tick('replicator');
  await bend(fleet, 'placement/default/a+b#0', 3, 7);
  await bend(fleet, 'quota/a', 0, -2);
  await bend(fleet, 'queue/cleanup/b#1', 1, 1);
  const before = fleet.clock.now();
  const { differences, moved, repaired } = await recounting(fleet);
  expect(differences.map(({ row }) => row)).toEqual(['placement/default/a+b', 'queue/cleanup/b', 'quota/a']);
  expect({ moved, repaired }).toEqual({ moved: [], repaired: 3 });
  expect(fleet.clock.now() - before).toBeGreaterThanOrEqual(60_000);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('what moves between the counts is not corrected, and is named', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'value');
  await bend(fleet, 'placement/default/a#0', 3, 7);
  await bend(fleet, 'queue/dead/b#0', 1, 1);
  const found = await recounting(fleet, () => fleet.client.put('other', 'value'));
  expect(found.moved).toContain('placement/default/a');
  expect(found.repaired).toBe(1);
  expect(await totalOf(fleet, 'placement/default/a')).toEqual({ objects: 5, bytes: 17 });
  await recounting(fleet);
  expect((await fleet.recount()).differences).toEqual([]);
  expect(await totalOf(fleet, 'placement/default/a')).toEqual({ objects: 2, bytes: 10 });
});

test('a total that moves while it is counted is named, and no difference', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'value');
  const { everyQueueItem } = fleet.store;
  fleet.store.everyQueueItem = async (after, limit) => {
    fleet.store.everyQueueItem = everyQueueItem;
    await fleet.client.put('late', 'value');
    return everyQueueItem(after, limit);
  };
  const found = await fleet.recount();
  expect(found.differences).toEqual([]);
  expect(found.moved).toContain('placement/default/a');
});

test('what a commit adds while a total is corrected is kept', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'value');
  await bend(fleet, 'placement/default/a#0', 3, 7);
  const { transact } = fleet.store;
  fleet.store.transact = async (changes, token) => {
    fleet.store.transact = transact;
    await fleet.client.put('late', 'value');
    return transact(changes, token);
  };
  expect(await recounting(fleet)).toMatchObject({ repaired: 1 });
  expect((await fleet.recount()).differences).toEqual([]);
  expect(await totalOf(fleet, 'placement/default/a')).toEqual({ objects: 2, bytes: 10 });
});
