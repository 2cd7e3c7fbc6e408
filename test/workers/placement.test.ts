import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const upkeep = ['replicator', 'over-replication-cleaner', 'rebalancer', 'cleanup-queue', 'pending-reaper'] as const;
const labelled = (name: string, more: object = {}) => ({ name, labels: { provider: name[0]! }, ...more });
const spread = { default: { factor: 2, spreadOver: 'provider' } };

const placesOf = (fleet: TestFleet, key: string) => {
  const entry = [...fleet.store.allObjects()].find((one) => one.key === key);
  return entry?.kind === 'object' ? Object.keys(entry.copies).sort() : [];
};

/** The fewest copies that any record ever had from now on. */
function watchFewest(fleet: TestFleet): () => number {
  let fewest = Number.POSITIVE_INFINITY;
  fleet.after = ({ port }) => {
    if (port !== 'store') return;
    for (const entry of fleet.store.allObjects())
      if (entry.kind === 'object') fewest = Math.min(fewest, Object.keys(entry.copies).length);
  };
  return () => fewest;
}

test('the second copy goes to another provider, whatever the order of the file', async () => {
  const fleet = await createTestFleet({ backends: ['a1', 'a2', 'b1'].map((name) => labelled(name)), policies: spread });
  await fleet.client.put('k', 'content');
  expect(placesOf(fleet, 'k')).toEqual(['a1']);
  await fleet.tick('replicator');
  expect(placesOf(fleet, 'k')).toEqual(['a1', 'b1']);
});

test('three copies of a put are at three providers as far as there are three', async () => {
  const names = ['a1', 'a2', 'b1', 'c1'];
  const fleet = await createTestFleet({
    backends: names.map((name) => labelled(name)),
    policies: { default: { factor: 3, spreadOver: 'provider' } },
  });
  await fleet.client.put('k', 'content', { copies: 3 });
  expect(placesOf(fleet, 'k')).toEqual(['a1', 'b1', 'c1']);
});

test('with no room elsewhere two stand at one provider, and move once there is room; never fewer than two [copies-kept-apart]', async () => {
  const backends = (roomBytes: number) => [labelled('a1'), labelled('a2'), labelled('b1', { quotaBytes: roomBytes })];
  const fleet = await createTestFleet({ backends: backends(5), policies: spread });
  await fleet.client.put('k', 'content');
  await fleet.settle(upkeep);
  expect(placesOf(fleet, 'k')).toEqual(['a1', 'a2']);
  const fewest = watchFewest(fleet);
  await fleet.apply({ backends: backends(500), policies: spread });
  await fleet.settle(upkeep);
  expect(placesOf(fleet, 'k')).toEqual(['a1', 'b1']);
  expect(fewest()).toBe(2);
  expect(await fleet.read('k')).toBe('content');
  expect((await fleet.recount()).differences).toEqual([]);
  expect((await fleet.tick('replicator')).outcome).toBe('empty');
});

test('a policy that comes to pin or to exclude backends has its copies moved there, and imported files left [policies-say-where]', async () => {
  const names = ['a1', 'a2', 'b1', 'c1'];
  const backends = names.map((name) => labelled(name));
  const fleet = await createTestFleet({ backends, policies: { default: { factor: 2 } } });
  await fleet.client.put('k', 'content');
  await fleet.client.put('other/k', 'content');
  await fleet.settle(upkeep);
  expect(placesOf(fleet, 'k')).toEqual(['a1', 'a2']);
  const fewest = watchFewest(fleet);
  await fleet.apply({
    backends,
    policies: {
      default: { factor: 2, backends: ['b1', 'c1'] },
      other: { factor: 2, prefix: 'other/', excludeBackends: ['a1'] },
    },
  });
  await fleet.settle(upkeep, 120);
  expect(placesOf(fleet, 'k')).toEqual(['b1', 'c1']);
  expect(placesOf(fleet, 'other/k')).toEqual(['a2', 'b1']);
  expect(fewest()).toBeGreaterThanOrEqual(2);
  expect((await fleet.recount()).differences).toEqual([]);
  expect(await fleet.read('k')).toBe('content');
});

test('a put goes only where its policy allows, and says so when that cannot be', async () => {
  const fleet = await createTestFleet({
    backends: [labelled('a1'), labelled('b1', { maxObjectBytes: 3 })],
    policies: { default: { factor: 1, backends: ['b1'] } },
  });
  await fleet.client.put('k', 'abc');
  expect(placesOf(fleet, 'k')).toEqual(['b1']);
  await expect(fleet.client.put('big', 'abcdef')).rejects.toThrow(/"big"/);
  expect(fleet.keysOn('a1').filter((key) => key.startsWith('big'))).toEqual([]);
});

test('a provider that is unreachable for long is replaced by what there is, and comes back into its place', async () => {
  const fleet = await createTestFleet({
    backends: ['a1', 'a2', 'b1'].map((name) => labelled(name)),
    policies: spread,
  });
  await fleet.client.put('k', 'content');
  await fleet.settle(upkeep);
  expect(placesOf(fleet, 'k')).toEqual(['a1', 'b1']);
  const fewest = watchFewest(fleet);
  fleet.before = ({ port }) => {
    if (port === 'b1') throw new BackendError('unreachable', 'b1', 'no answer');
  };
  await fleet.settle(upkeep, 180);
  expect(placesOf(fleet, 'k')).toEqual(['a1', 'a2', 'b1']);
  fleet.before = undefined;
  await fleet.settle(upkeep, 180);
  expect(placesOf(fleet, 'k')).toEqual(['a1', 'b1']);
  expect(fewest()).toBe(2);
});

test('rebalancing keeps copies apart', async () => {
  const backends = [
    labelled('a1', { quotaBytes: 200 }),
    labelled('a2', { quotaBytes: 200 }),
    labelled('b1', { quotaBytes: 200 }),
    labelled('b2', { quotaBytes: 200 }),
  ];
  const fleet = await createTestFleet({ backends, policies: spread, env: { REBALANCER_STRATEGY: 'spread' } });
  for (let i = 0; i < 12; i += 1) await fleet.client.put(`k${i}`, 'content!');
  await fleet.settle(upkeep);
  for (let i = 0; i < 12; i += 1) {
    const places = placesOf(fleet, `k${i}`);
    expect(new Set(places.map((name) => name[0])).size).toBe(2);
  }
  const used = backends.map(({ name }) => fleet.keysOn(name).filter((key) => key.startsWith('k')).length);
  expect(Math.max(...used)).toBe(6);
  expect((await fleet.tick('rebalancer')).outcome).toBe('empty');
});
