import { expect, test } from 'vitest';
import type { WorkerName } from '../../lib/config/parameters.ts';
import type { DeleteRequest } from '../../lib/fleet/backend.ts';
import { drain } from '../../lib/operations/drain.ts';
import { type Undrained, undrain } from '../../lib/operations/undrain.ts';
import { isWhole } from '../support/extent.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;
const upkeep = ['replicator', 'over-replication-cleaner', 'cleanup-queue', 'pending-reaper'] as const;

/** A fleet with two imported files and two objects of its own on a, each at its factor elsewhere too, which drains. */
async function draining(options = { deleteImported: true }): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { RECONCILER_IMPORT: 'true' } });
  for (const name of ['file', 'other']) fleet.backends.a!.putNow(name, Buffer.from(`their ${name}`));
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  for (const name of ['mine', 'ours']) await fleet.newClient().put(name, `our ${name}`);
  await fleet.settle(['replicator', 'scrubber'], 3);
  await drain(fleet.deps, 'a', options);
  await fleet.tick('replicator');
  return fleet;
}

/** Deletions on a that begin from now on. */
function watchDeletions(fleet: TestFleet): string[] {
  const begun: string[] = [];
  const outer = fleet.before;
  fleet.before = async (call) => {
    await outer?.(call);
    if (call.port === 'a' && call.method === 'delete')
      begun.push(...(call.args[0] as DeleteRequest[]).map(({ storageKey }) => storageKey));
  };
  return begun;
}

async function expectContents(fleet: TestFleet): Promise<void> {
  for (const name of ['file', 'other']) expect(await fleet.read(name), name).toBe(`their ${name}`);
  for (const name of ['mine', 'ours']) expect(await fleet.read(name), name).toBe(`our ${name}`);
}

function namesOf(undrained: Undrained, what: 'deleted' | 'left' | 'unsure'): string[] {
  return undrained.outcome === 'undrained' ? undrained[what].map(({ storageKey }) => storageKey) : [];
}

/** Undrains at the nth call of a port that a tick makes. False when it makes fewer. */
async function undrainWithin(worker: WorkerName, side: 'before' | 'after', nth: number): Promise<boolean> {
  const fleet = await draining();
  if (worker === 'cleanup-queue') {
    await fleet.tick('over-replication-cleaner');
    fleet.clock.advance(10 * 60_000);
  }
  let calls = 0;
  let undrained: Undrained | undefined;
  let later: string[] = [];
  const where = `${worker}, ${side} call ${nth}`;
  fleet[side] = async ({ port, method }) => {
    calls += 1;
    // What is on its way has begun.
    if (calls !== nth || (port === 'a' && method === 'delete')) return;
    fleet[side] = undefined;
    undrained = await undrain(fleet.deps, 'a');
    later = watchDeletions(fleet);
  };
  await fleet.tick(worker);
  if (calls < nth) return false;
  if (undrained === undefined) return true;
  for (let round = 0; round < 6; round += 1) {
    await fleet.settle(upkeep, 1);
    fleet.clock.advance(10 * 60_000);
  }
  const before = undrained.outcome === 'undrained' ? undrained.deletedBefore.objects : 0;
  for (const name of ['file', 'other']) {
    expect(later, `${where}: ${name} is not deleted any more`).not.toContain(name);
    const isThere = fleet.backends.a!.peek(name) !== undefined;
    const isTold = namesOf(undrained, 'deleted').includes(name) || before === 2;
    expect([isThere, isTold], `${where}: ${name}`).toContain(true);
  }
  await expectContents(fleet);
  expect((await fleet.recount()).differences).toEqual([]);
  return true;
}

test.each([
  ['over-replication-cleaner', 'before'],
  ['over-replication-cleaner', 'after'],
  ['cleanup-queue', 'before'],
  ['cleanup-queue', 'after'],
] as const)(
  'no file is deleted by a drain that ends %s %s any call: it stays, or it is named',
  async (worker, side) => {
    let calls = 1;
    // The quick run ends the drain at every seventh call.
    while (await undrainWithin(worker, side, calls)) calls += isWhole ? 1 : 7;
    expect(calls).toBeGreaterThan(5);
  },
);

test('what a drain queued and nobody claimed is back in the records when undrain returns [undrain-stops-deletions]', async () => {
  const fleet = await draining();
  await fleet.tick('over-replication-cleaner');
  expect(fleet.queue().filter(({ drainSince }) => drainSince !== undefined)).toHaveLength(4);
  expect(await undrain(fleet.deps, 'a')).toMatchObject({ outcome: 'undrained', rejoined: 4, left: [], deleted: [] });
  expect(fleet.queue()).toEqual([]);
  for (const name of ['file', 'other', 'mine', 'ours']) expect(fleet.object(name).copies).toHaveProperty('a');
  await expectContents(fleet);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('what was overwritten since it left does not rejoin: a file stays, bytes of ours are deleted as surplus', async () => {
  const fleet = await draining();
  const before = `mine!${fleet.object('mine').copies.a}`;
  await fleet.tick('over-replication-cleaner');
  for (const name of ['file', 'mine']) await fleet.newClient().put(name, 'newer');
  const undrained = await undrain(fleet.deps, 'a');
  expect(undrained).toMatchObject({ outcome: 'undrained', rejoined: 2 });
  expect(namesOf(undrained, 'left')).toEqual(['file']);
  await fleet.settle(upkeep, 30);
  expect(await fleet.read('file')).toBe('newer');
  expect(await fleet.read('mine')).toBe('newer');
  expect(fleet.backends.a!.peek('file')).toBeDefined();
  expect(fleet.backends.a!.peek(before)).toBeUndefined();
});

test('an item of an earlier drain is not deleted by a later one', async () => {
  const fleet = await draining();
  await fleet.tick('over-replication-cleaner');
  // The drain ends without a word to the queue, as where the process that ended it died right then.
  const row = fleet.store.rowAt('fleet', 'drain/a')!;
  await fleet.store.write({ kind: 'row-end', pk: 'fleet', sk: 'drain/a', expect: row.version });
  fleet.clock.advance(1_000);
  await drain(fleet.deps, 'a');
  const later = watchDeletions(fleet);
  await fleet.settle(upkeep, 30);
  expect(later.filter((key) => key === 'file' || key === 'other')).toEqual([]);
  expect(fleet.backends.a!.peek('file')).toBeDefined();
  await expectContents(fleet);
});

test('undrain that is cut short at any call is gone on with', async () => {
  for (let cut = 1; ; cut += isWhole ? 1 : 7) {
    const fleet = await draining();
    await fleet.tick('over-replication-cleaner');
    let calls = 0;
    fleet.before = () => {
      calls += 1;
      if (calls >= cut) throw new Error('died');
    };
    const isWhole = await undrain(fleet.deps, 'a').then(
      () => true,
      () => false,
    );
    fleet.before = undefined;
    await undrain(fleet.deps, 'a');
    expect(fleet.queue(), `cut at call ${cut}`).toEqual([]);
    for (const name of ['file', 'mine']) expect(fleet.object(name).copies).toHaveProperty('a');
    expect(fleet.store.rowAt('fleet', 'rejoin/a'), `cut at call ${cut}`).toBeDefined();
    expect((await fleet.recount()).differences).toEqual([]);
    if (isWhole) break;
  }
});
