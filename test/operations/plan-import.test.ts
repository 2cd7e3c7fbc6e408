import { expect, test } from 'vitest';
import { type PlannedImport, planImport } from '../../lib/operations/plan-import.ts';
import { prices, writeUnitsOfCopy } from '../../lib/plans/import-estimate.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { reconciler } from '../../lib/workers/reconciler/reconciler.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

async function planOf({ deps }: TestFleet, backends: readonly string[]): Promise<PlannedImport> {
  const tick = (event: Parameters<typeof runTick>[2]) => runTick(deps, reconciler, event);
  const planning = await planImport({ ...deps, tick }, { kind: 'import', backends });
  if (planning.outcome === 'error') throw new Error(planning.message);
  return planning;
}

const md5Of = (digit: string) => `"${digit.repeat(32)}"`;

test('an import is priced by the fleet file: requests where they cost most, and what must be read', async () => {
  const priced = [
    { name: 'a', egressUsdPerGb: 1000, usdPerMillionA: 600_000 },
    { name: 'b', egressUsdPerGb: 2000, usdPerMillionB: 500_000 },
    { name: 'c', usdPerMillionA: 1_000_000 },
  ];
  const fleet = await createTestFleet({ backends: priced, policies: { default: { factor: 2 } } });
  fleet.backends.a!.putNow('one', Buffer.alloc(1000));
  // Written in parts: their ETags do not say whether they are the same.
  for (const name of ['a', 'b'])
    fleet.backends[name]!.putNow('parts', Buffer.alloc(5000), { etag: `"${name.repeat(32)}-2"` });
  const plan = await planOf(fleet, ['a', 'b']);
  expect(plan).toMatchObject({
    isComplete: true,
    listed: 3,
    import: { readBytes: 10_000 },
    replication: { copies: 2 },
  });
  // A listing at a dollar, two reads at half a dollar, 5,000 bytes at 1,000 and 2,000 dollars a gigabyte.
  const metadataUsd = 3 * prices.readUnit + plan.import.writeUnits * prices.writeUnit;
  expect(plan.import.usd).toBeCloseTo(plan.import.listRequests + 2 * 0.5 + 0.005 + 0.01 + metadataUsd, 9);
  // A read and a write for each copy, and the bytes from where they are.
  const copyUsd = 0.5 + 1 + writeUnitsOfCopy * prices.writeUnit;
  expect(plan.replication.usd).toBeCloseTo(2 * copyUsd + (6000 / 1e9) * 1000, 9);
});

test('an import counts the copies that pins and labels ask for', async () => {
  const at = (name: string, provider: string) => ({ name, labels: { provider } });
  const backends = [at('a1', 'a'), at('a2', 'a'), at('b1', 'b')];
  const fleet = await createTestFleet({
    backends,
    policies: {
      default: { factor: 2, spreadOver: 'provider' },
      pinned: { prefix: 'pinned/', factor: 2, backends: ['a2', 'b1'] },
    },
  });
  fleet.backends.a1!.putNow('pinned/k', Buffer.alloc(10));
  expect((await planOf(fleet, ['a1'])).replication).toMatchObject({ copies: 2, bytes: 20 });
  for (const name of ['a1', 'a2']) fleet.backends[name]!.putNow('together', Buffer.alloc(10), { etag: md5Of('a') });
  // It stands on two backends, and both are at one provider.
  expect((await planOf(fleet, ['a1', 'a2'])).replication).toMatchObject({ copies: 3, bytes: 30 });
});
