import { expect, test } from 'vitest';
import { parseParameters } from '../../lib/config/parameters.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { planFile, planTick, type WorkView } from '../../lib/operations/work-plan.ts';
import { prices, writeUnitsOfCopy } from '../../lib/plans/import-estimate.ts';
import { readFleet, standingOf } from '../../lib/store/fleet-view.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { inMonth } from '../support/usage.ts';

const params = parseParameters({}, {});

/** The fleet as it is, and the policies that it is to go by. */
async function workOf(fleet: TestFleet, policies?: Record<string, unknown>): Promise<WorkView> {
  const view = await readFleet(fleet.store, fleet.clock.now());
  const standing = (name: string) => standingOf(view, name, fleet.clock.now(), 600_000);
  const { file } = view.config!;
  return { view, file: policies === undefined ? file : parseFleetFile({ ...file, policies }), standing };
}

const priced = [
  { name: 'a', egressUsdPerGb: 1000, usdPerMillionB: 500_000 },
  { name: 'b', usdPerMillionA: 1_000_000 },
  'c',
];

async function filled(count: number, options: Parameters<typeof createTestFleet>[0]): Promise<TestFleet> {
  const fleet = await createTestFleet(options);
  const client = fleet.newClient();
  for (let i = 0; i < count; i += 1) await client.put(`k${i}`, 'x'.repeat(100));
  await client.close();
  return fleet;
}

test('a policy’s new factor is priced before it is in force: requests, bytes, egress, write units, dollars', async () => {
  const fleet = await filled(10, { backends: priced, policies: { default: { factor: 1 } } });
  const plan = planFile(await workOf(fleet, { default: { factor: 2 } }));
  const units = 10 * writeUnitsOfCopy;
  expect(plan).toMatchObject({ objects: 10, requests: 20, bytes: 1000, egressBytes: 1000 });
  expect(plan.writeUnits).toBeCloseTo(units);
  // A read at half a dollar, a write at one where it costs most, and a thousand bytes at 1,000 dollars a gigabyte.
  expect(plan.usd).toBeCloseTo(10 * (0.5 + 1) + 0.001 + units * prices.writeUnit);
  expect(planFile(await workOf(fleet))).toMatchObject({ objects: 0, usd: 0 });
  expect(planFile(await workOf(fleet, { default: { factor: 3 } }))).toMatchObject({ objects: 10, bytes: 2000 });
});

test('what the work then comes to is no more than was said', async () => {
  const fleet = await filled(10, { backends: priced, policies: { default: { factor: 1 } } });
  const change = { default: { factor: 3 } };
  const planned = planFile(await workOf(fleet, change));
  const before = await fleet.store.usage(inMonth('2026-01'), ['a', 'b', 'c']);
  await fleet.apply({ backends: priced, policies: change });
  const tick = planTick('replicator', await workOf(fleet), { params, rounds: 0 });
  expect(tick).toEqual({ ...planned, writeUnits: Math.ceil(planned.writeUnits) });
  await fleet.settle(['replicator'], 3);
  const after = await fleet.store.usage(inMonth('2026-01'), ['a', 'b', 'c']);
  const spent = (field: 'egressBytes' | 'ingressBytes') =>
    ['a', 'b', 'c'].reduce((sum, name) => sum + (after.get(name)?.[field] ?? 0) - (before.get(name)?.[field] ?? 0), 0);
  expect(spent('egressBytes')).toBeLessThanOrEqual(planned.egressBytes);
  expect(spent('ingressBytes')).toBe(planned.bytes);
});

test('a new prefix is priced as if it took all objects that could be below it', async () => {
  const fleet = await filled(4, {
    backends: priced,
    policies: { default: { factor: 1 }, p: { prefix: 'p/', factor: 1 } },
  });
  await fleet.client.put('p/1', 'x'.repeat(100));
  const both = { default: { factor: 1 }, p: { prefix: 'p/', factor: 1 } };
  expect(planFile(await workOf(fleet, { ...both, q: { prefix: 'q/', factor: 2 } }))).toMatchObject({ objects: 4 });
  expect(planFile(await workOf(fleet, { ...both, deep: { prefix: 'p/q/', factor: 3 } }))).toMatchObject({
    bytes: 10 * 100,
  });
  expect(planFile(await workOf(fleet, { default: { factor: 2 } }))).toMatchObject({ objects: 5 });
});

test('a lower factor is priced by the readings that removals need', async () => {
  const fleet = await filled(3, { backends: priced, policies: { default: { factor: 2 } } });
  await fleet.settle(['replicator'], 3);
  const plan = planFile(await workOf(fleet, { default: { factor: 1 } }));
  expect(plan).toMatchObject({ objects: 3, requests: 12, bytes: 0, egressBytes: 600 });
});

test.each([
  ['replicator', { requests: 6, bytes: 300, egressBytes: 300 }],
  ['over-replication-cleaner', { requests: 0 }],
  ['rebalancer', { requests: 0 }],
  ['cleanup-queue', { requests: 2, objects: 2 }],
  ['pending-reaper', { requests: 0 }],
  ['scrubber', { egressBytes: 300 }],
  ['reconciler', { requests: 4 }],
] as const)('a tick of the %s is priced by what the ledger tells', async (worker, expected) => {
  const free = { requestClasses: { list: 'free' } };
  const fleet = await filled(5, { backends: ['a', 'b', { name: 'c', ...free }], policies: { default: { factor: 2 } } });
  for (const key of ['k0', 'k1']) await fleet.client.delete(key);
  const plan = planTick(worker, await workOf(fleet), { params, rounds: 0 });
  expect(plan).toMatchObject(expected);
  if (plan.objects > 0) expect(plan.usd).toBeGreaterThan(0);
});

test('parts and rounds are a share of it', async () => {
  const fleet = await filled(8, { policies: { default: { factor: 2 } } });
  const work = await workOf(fleet);
  expect(planTick('replicator', work, { params, rounds: 0, of: 4 })).toMatchObject({ objects: 2, bytes: 200 });
  const few = parseParameters({ REPLICATOR_BATCH_SIZE: '1' }, {});
  expect(planTick('replicator', work, { params: few, rounds: 2 })).toMatchObject({ objects: 2, requests: 4 });
});
