import { expect, test } from 'vitest';
import { createClient } from '../../lib/client/client.ts';
import { workerNames } from '../../lib/config/parameters.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { ownerKey } from '../../lib/fleet/owner.ts';
import { apply } from '../../lib/operations/apply.ts';
import { noteStart } from '../../lib/operations/note-start.ts';
import { askClaimed } from '../../lib/operations/probe.ts';
import { runPass } from '../../lib/operations/run-pass.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { isRecoveryPending } from '../../lib/store/recovery.ts';
import { addStart, latestStart, readStarts } from '../../lib/store/starts.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { reconciler } from '../../lib/workers/reconciler/reconciler.ts';
import { workers } from '../../lib/workers/workers.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

/** The tables as they were: a folder that was copied, with everything that tells it from others. */
async function restored(fleet: TestFleet, from: ReturnType<MemoryStore['snapshot']>): Promise<MemoryStore> {
  return createMemoryStore({ clock: fleet.clock, from, identity: await fleet.store.identity() });
}

const startOn = (fleet: TestFleet, name: string) => fleet.backends[name]!.peek(ownerKey)!.metadata['holdfast-start'];
const latest = async (store: MemoryStore) => latestStart(await readFleet(store, 0));

const contents = (fleet: TestFleet) =>
  Object.fromEntries(
    Object.entries(fleet.backends).map(([name, backend]) => [
      name,
      [...backend.contents()].map(([key, { bytes }]) => [key, Buffer.from(bytes).toString('hex')]),
    ]),
  );

/** What every worker and a put make of a fleet on these tables. */
async function tryAll(fleet: TestFleet, store: MemoryStore) {
  const deps = { ...fleet.deps, store };
  const outcomes: Record<string, string> = {};
  for (const name of workerNames) {
    const report = await runTick(deps, workers[name]!, { deadline: fleet.clock.now() + 300_000 });
    outcomes[name] = `${report.outcome}: ${report.message ?? ''}`;
  }
  const put = await createClient(deps)
    .put('new', 'bytes')
    .then(
      () => 'put',
      (error: Error) => error.message,
    );
  return { outcomes, put };
}

async function filled(names = ['a', 'b']): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: names, env: { RECONCILER_MIN_AGE_SECONDS: '0' } });
  for (let i = 0; i < 4; i += 1) await fleet.client.put(`k${i}`, `content ${i}`);
  await fleet.settle(['replicator'], 2);
  return fleet;
}

/** Nobody answers at some backends, for whatever asks. */
function unreachable(fleet: TestFleet, ...names: string[]): void {
  fleet.before = ({ port }) => {
    if (names.includes(port)) throw new BackendError('unavailable', port, `Backend "${port}" does not answer`);
  };
}

test('tables restored from before the last start change nothing in any bucket, and say so [older-tables-noticed]', async () => {
  const fleet = await filled();
  await noteStart(fleet.deps);
  const backup = fleet.store.snapshot();
  fleet.clock.advance(24 * hourMs);
  expect(await noteStart(fleet.deps)).toEqual({ outcome: 'noted', silent: [] });
  for (let i = 0; i < 4; i += 1) await fleet.client.put(`k${i}`, `newer content ${i}`);
  await fleet.client.delete('k0');
  await fleet.settle(['replicator', 'cleanup-queue'], 10);
  fleet.clock.advance(24 * hourMs);

  const old = await restored(fleet, backup);
  const before = contents(fleet);
  expect(await noteStart({ ...fleet.deps, store: old })).toMatchObject({ outcome: 'not-ours' });
  const { outcomes, put } = await tryAll(fleet, old);
  expect(outcomes.replicator).toContain('knows a later start');
  expect(Object.values(outcomes).filter((outcome) => outcome.startsWith('success'))).toEqual([]);
  expect(put).toContain('knows a later start');
  expect(contents(fleet)).toEqual(before);

  // Those that were not set back go on.
  expect((await tryAll(fleet, fleet.store)).put).toBe('put');
});

test('a crash between the tables and the buckets is made up for by whoever asks next, before anything else is done there', async () => {
  const fleet = await filled();
  await noteStart(fleet.deps);
  const backup = fleet.store.snapshot();
  const id = await addStart(fleet.deps, fleet.clock.now());
  expect(startOn(fleet, 'a')).not.toBe(id);
  const calls: string[] = [];
  fleet.before = ({ port, method, args }) => {
    const [asked] = args as [{ storageKey?: string } | string];
    if (port === 'a') calls.push(`${method} ${typeof asked === 'string' ? asked : asked.storageKey}`);
  };
  await fleet.newClient().put('k9', 'after the crash');
  fleet.before = undefined;
  expect(calls.slice(0, 2)).toEqual([`head ${ownerKey}`, `put ${ownerKey}`]);
  expect(startOn(fleet, 'a')).toBe(id);
  expect(await noteStart({ ...fleet.deps, store: await restored(fleet, backup) })).toMatchObject({
    outcome: 'not-ours',
  });
});

test('a backend that did not answer at a start is brought up to date when it does, and then knows older tables too', async () => {
  const fleet = await filled();
  await noteStart(fleet.deps);
  const backup = fleet.store.snapshot();
  unreachable(fleet, 'b');
  expect(await noteStart(fleet.deps)).toEqual({ outcome: 'noted', silent: ['b'] });
  fleet.before = undefined;
  expect(startOn(fleet, 'b')).not.toBe(startOn(fleet, 'a'));
  await fleet.tick('replicator');
  expect(startOn(fleet, 'b')).toBe(startOn(fleet, 'a'));

  unreachable(fleet, 'a');
  const old = { ...fleet.deps, store: await restored(fleet, backup) };
  expect(await noteStart(old)).toMatchObject({ outcome: 'not-ours', problems: [expect.stringContaining('"b"')] });
});

test('two copies of the same tables that both note a start while nobody answers do not pass for each other', async () => {
  const fleet = await filled();
  await noteStart(fleet.deps);
  const copy = { ...fleet.deps, store: await restored(fleet, fleet.store.snapshot()) };
  unreachable(fleet, 'a', 'b');
  expect(await noteStart(fleet.deps)).toMatchObject({ outcome: 'noted' });
  expect(await noteStart(copy)).toMatchObject({ outcome: 'noted' });
  fleet.before = undefined;
  expect(await noteStart(fleet.deps)).toMatchObject({ outcome: 'noted' });
  expect(await noteStart(copy)).toMatchObject({ outcome: 'not-ours' });
  expect((await tryAll(fleet, copy.store as MemoryStore)).put).toContain('knows a later start');
});

test('a start whose answer is lost is noted by trying again; two processes on the same tables stay on good terms', async () => {
  const fleet = await filled();
  fleet.after = ({ port, method }) => {
    if (port === 'store' && method === 'transact') throw new Error('the answer was lost');
  };
  await expect(noteStart(fleet.deps)).rejects.toThrow('lost');
  fleet.after = undefined;
  const [one, two] = await Promise.all([noteStart(fleet.deps), noteStart(fleet.deps)]);
  expect([one.outcome, two.outcome]).toEqual(['noted', 'noted']);
  await fleet.tick('replicator');
  expect(startOn(fleet, 'a')).toBe(await latest(fleet.store));
  expect(startOn(fleet, 'b')).toBe(await latest(fleet.store));
});

test('an older owner object that arrives late is taken for what it is, and brought up to date', async () => {
  const fleet = await filled();
  await noteStart(fleet.deps);
  const late = fleet.backends.a!.peek(ownerKey)!;
  await noteStart(fleet.deps);
  fleet.backends.a!.putNow(ownerKey, late.bytes, { metadata: late.metadata });
  expect((await fleet.tick('replicator')).outcome).not.toBe('error');
  expect(startOn(fleet, 'a')).toBe(await latest(fleet.store));
});

test('a fleet as it was read before a start, which another process noted meanwhile, is not taken for older tables', async () => {
  const fleet = await filled();
  await noteStart(fleet.deps);
  let isNoted = false;
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'head' || isNoted) return;
    isNoted = true;
    await noteStart({ ...fleet.deps, store: fleet.store, openBackend: async ({ name }) => fleet.backends[name]! });
  };
  const report = await fleet.tick('replicator');
  expect(isNoted).toBe(true);
  expect(report.outcome).not.toBe('error');
  expect((await readStarts(fleet.store)).has(startOn(fleet, 'a')!)).toBe(true);
});

test('a take-over makes the restored tables the ones, begins a recovery, and the tables before are the others from then on', async () => {
  const fleet = await filled();
  await noteStart(fleet.deps);
  const backup = fleet.store.snapshot();
  await noteStart(fleet.deps);
  await fleet.client.put('since', 'bytes');
  fleet.clock.advance(hourMs);
  const old = await restored(fleet, backup);
  const deps = {
    ...fleet.deps,
    store: old,
    findCapabilities: async ({ name }: { name: string }) => fleet.backends[name]!.capabilities,
  };
  const { file } = (await readFleet(old, 0)).config!;
  await expect(apply(deps, file)).rejects.toThrow('`init --take-over` claims it');
  await apply(deps, file, { takeOver: true });
  expect(isRecoveryPending(await readFleet(old, 0))).toBe(true);
  expect(await noteStart(deps)).toMatchObject({ outcome: 'noted' });
  // Whoever still runs on the others hears of it.
  expect((await tryAll(fleet, fleet.store)).put).toContain('knows a later start');
});

test('what was refused on the restored tables keeps nobody waiting: a recovery says which backends are, and a take-over asks them [older-tables-noticed]', async () => {
  const fleet = await filled();
  await noteStart(fleet.deps);
  const backup = fleet.store.snapshot();
  await noteStart(fleet.deps);
  await fleet.client.put('since', 'bytes');
  const store = await restored(fleet, backup);
  const findCapabilities = async ({ name }: { name: string }) => fleet.backends[name]!.capabilities;
  const deps = { ...fleet.deps, store, findCapabilities };
  // A service that is begun again and again opens every breaker.
  for (let starts = 0; starts < 5; starts += 1) await tryAll(fleet, store);
  const breakerOf = async (name: string) => (await readFleet(store, 0)).breaker(name);
  expect((await breakerOf('a'))?.openedAt).toBeDefined();
  await apply(deps, (await readFleet(store, 0)).config!.file, { takeOver: true });
  const recover = () =>
    runPass(
      { store, clock: fleet.clock, tick: (event) => runTick(deps, reconciler, event) },
      { kind: 'recover', backends: ['a', 'b'] },
    );
  const problems = ['a: unreachable', 'b: unreachable'];
  expect(await recover()).toMatchObject({ outcome: 'ended', progress: { isComplete: false, problems } });

  unreachable(fleet, 'b');
  await askClaimed(deps, ['a', 'b']);
  expect((await breakerOf('a'))?.openedAt).toBeUndefined();
  expect((await breakerOf('b'))?.openedAt).toBeDefined();
  fleet.before = undefined;
  await askClaimed(deps, ['a', 'b']);
  expect(await recover()).toMatchObject({ outcome: 'ended', progress: { isComplete: true } });
  expect(await createClient(deps).head('since')).not.toBeNull();
});
