import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { planImport } from '../../lib/operations/plan-import.ts';
import { runPass } from '../../lib/operations/run-pass.ts';
import type { TickEvent } from '../../lib/tick/tick.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import {
  fileKey,
  fill,
  foundBy,
  hourMs,
  importOf,
  objectsIn,
  setCapabilities,
  unaccountedBy,
} from '../support/passes.ts';

const once = { default: { factor: 1 } };
const tens = { RECONCILER_BATCH_SIZE: '10' };

/** Runs a verb's pass to its end, or says that it has none. */
function run(fleet: TestFleet, ...backends: string[]) {
  let ticks = 0;
  const tick = (event: TickEvent) => {
    ticks += 1;
    if (ticks > 40) throw new Error('it does not end');
    return fleet.tick('reconciler', event);
  };
  return runPass({ store: fleet.store, clock: fleet.clock, tick }, { kind: 'import', backends });
}

/** Does something once, when a page of a backend was listed for the nth time. */
function atPage(fleet: TestFleet, name: string, page: number, act: () => unknown): void {
  let pages = 0;
  fleet.after = async ({ port, method, args }) => {
    const isPage = port === name && method === 'list' && (args[0] as { limit: number }).limit !== 1;
    if (isPage) pages += 1;
    if (isPage && pages === page) await act();
  };
}

test.each(['its file goes too', 'its file cannot be deleted safely, and stays'])(
  'a delete is not undone by an import that somebody asked for before it; %s [import-from-listing]',
  async (what) => {
    const stays = what !== 'its file goes too';
    const fleet = await createTestFleet({ backends: ['a'], policies: once, env: { ...tens, RECONCILER_ROUNDS: '1' } });
    setCapabilities(fleet, 'a', { conditionalDelete: !stays });
    fill(fleet, 'a', 30);
    await run(fleet, 'a');
    fleet.clock.advance(hourMs);
    const asked = { reconcile: { kind: 'import', backends: ['a'], since: fleet.clock.now() } } as const;
    await fleet.tick('reconciler', asked);
    fleet.clock.advance(60_000);
    await fleet.client.delete(fileKey(25));
    for (let minute = 0; minute < 10; minute += 1) {
      fleet.clock.advance(60_000);
      await fleet.tick('cleanup-queue');
    }
    expect(fleet.keysOn('a')).toHaveLength(stays ? 30 : 29);
    for (let ticks = 0; ticks < 5; ticks += 1) await fleet.tick('reconciler', asked);
    expect(fleet.entry(fileKey(25))?.kind).toBe('tombstone');
    expect(await foundBy(fleet, 'import/a')).toEqual({ known: 29, ...(stays && { 'left-behind': 1 }) });
    // Who asks after it was deleted wants it back.
    fleet.clock.advance(60_000);
    await run(fleet, 'a');
    expect(objectsIn(fleet)).toHaveLength(stays ? 30 : 29);
  },
);

test.each(['before', 'after'] as const)(
  'a delete right %s the page that shows its file is not undone',
  async (when) => {
    const fleet = await createTestFleet({ backends: ['a'], policies: once });
    fill(fleet, 'a', 30);
    await run(fleet, 'a');
    fleet.clock.advance(hourMs);
    let isDone = false;
    fleet[when] = async ({ port, method }) => {
      if (port !== 'a' || method !== 'list' || isDone) return;
      isDone = true;
      fleet.clock.advance(1_000);
      await fleet.client.delete(fileKey(25));
      fleet.clock.advance(1_000);
    };
    expect(await run(fleet, 'a')).toMatchObject({ outcome: 'ended', progress: { isComplete: true } });
    expect(fleet.entry(fileKey(25))?.kind).toBe('tombstone');
    expect(fleet.queue()).toHaveLength(1);
    expect(await unaccountedBy(fleet, 'import/a')).toBe(0);
  },
);

test('a file that is queued since the fleet was read joins no object, though deleted bytes are not kept at all', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    policies: once,
    env: { CLEANUP_QUEUE_GRACE_SECONDS: '0' },
  });
  fill(fleet, 'a', 3);
  await run(fleet, 'a');
  fleet.clock.advance(hourMs);
  let isDone = false;
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'list' || isDone) return;
    isDone = true;
    await fleet.client.delete(fileKey(1));
    const { put } = fleet.backends.a!;
    fleet.backends.a!.put = async () => {
      throw new BackendError('unavailable', 'a', 'no');
    };
    // The same bytes again, elsewhere.
    await fleet.client.put(fileKey(1), 'file 1');
    fleet.backends.a!.put = put;
    fleet.clock.advance(1_000);
  };
  await run(fleet, 'a');
  expect(isDone).toBe(true);
  expect(await foundBy(fleet, 'import/a')).toEqual({ known: 2, queued: 1 });
  expect(Object.keys(fleet.object(fileKey(1)).copies)).toEqual(['b']);
});

test('files of two backends that are judged together are accounted for one by one where they are refused', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  fill(fleet, 'a', 4);
  fill(fleet, 'b', 4, (i) => (i === 1 ? 'flie 1' : `file ${i}`));
  fleet.clock.advance(hourMs);
  fleet.before = ({ port, method, args }) => {
    if (port === 'b' && method === 'get' && args[0] === fileKey(1))
      throw new BackendError('denied', 'b', 'AccessDenied');
  };
  for (let hour = 0; hour < 9; hour += 1) {
    if ((await fleet.tick('reconciler', importOf('a', 'b'))).figures.passComplete === 1) break;
    fleet.clock.advance(hourMs);
  }
  expect(await foundBy(fleet, 'import/a+b')).toEqual({ imported: 3, joined: 3, unreadable: 2 });
  expect(await unaccountedBy(fleet, 'import/a+b')).toBe(0);
});

test('what is in conflict is so in every import that follows, also beside a copy that was made since', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 2 } } });
  fill(fleet, 'a', 4);
  fill(fleet, 'b', 4, (i) => (i === 1 ? 'another file' : `file ${i}`));
  await run(fleet, 'a', 'b');
  expect(await foundBy(fleet, 'import/a+b')).toEqual({ imported: 4, joined: 3, conflict: 1 });
  fleet.clock.advance(hourMs);
  await run(fleet, 'a', 'b');
  expect(await foundBy(fleet, 'import/a+b')).toEqual({ known: 7, conflict: 1 });
  await fleet.tick('replicator');
  expect(Object.keys(fleet.object(fileKey(1)).copies)).toEqual(['a', 'b']);
  fleet.clock.advance(hourMs);
  const { progress } = (await run(fleet, 'a', 'b')) as Extract<Awaited<ReturnType<typeof run>>, { outcome: 'ended' }>;
  expect(progress).toMatchObject({ counts: { known: 7, conflict: 1 }, named: [{ backend: 'b', key: fileKey(1) }] });
});

test.each([
  ['leaves the fleet file', 'b: not-in-fleet'],
  ['does not answer', 'b: unusable'],
])(
  'an import of two backends of which one %s is not complete, ends, and says what holds it up',
  async (what, problem) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'], policies: once, env: tens });
    fill(fleet, 'a', 100);
    fill(fleet, 'b', 100, (i) => (i % 3 === 0 ? `flie ${i}` : `file ${i}`));
    fleet.clock.advance(hourMs);
    atPage(fleet, 'a', 3, async () => {
      fleet.clock.advance(30_000);
      if (what === 'leaves the fleet file') return fleet.apply({ backends: ['a'], policies: once });
      fleet.before = ({ port }) => {
        if (port === 'b') throw new BackendError('unreachable', 'b', 'ECONNREFUSED');
      };
    });
    const ended = await run(fleet, 'a', 'b');
    expect(ended).toMatchObject({ outcome: 'ended', progress: { isComplete: false, problems: [problem] } });
    expect(objectsIn(fleet)).toHaveLength(100);
    expect(await unaccountedBy(fleet, 'import/a+b')).toBe(0);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test('an import of a backend that is not usable from the beginning says so, and shows nothing of the import before', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once });
  fill(fleet, 'a', 5);
  await run(fleet, 'a');
  fleet.clock.advance(hourMs);
  const owner = fleet.backends.a!.peek('.holdfast/owner')!;
  fleet.backends.a!.deleteNow('.holdfast/owner');
  const [unusable, noOwner] = ['a: unusable', expect.stringMatching(/^The bucket of backend "a" has no owner object/)];
  const progress = { isComplete: false, listed: 0, counts: {}, problems: [unusable, noOwner] };
  expect(await run(fleet, 'a')).toMatchObject({ outcome: 'ended', progress });
  for (let minute = 0; minute < 5; minute += 1) await fleet.tick('replicator');
  const { bytes, metadata } = owner;
  fleet.backends.a!.putNow('.holdfast/owner', bytes, { metadata });
  expect(await run(fleet, 'a')).toMatchObject({ outcome: 'ended', progress: { problems: ['a: unreachable'] } });
});

test('a pass over one backend that leaves the fleet file meanwhile is not complete', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: once, env: tens });
  fill(fleet, 'b', 100);
  atPage(fleet, 'b', 2, () => fleet.apply({ backends: ['a'], policies: once }));
  const passed = await runPass(
    { store: fleet.store, clock: fleet.clock, tick: (event) => fleet.tick('reconciler', { ...event, rounds: 1 }) },
    { kind: 'sweep', backends: ['b'] },
  );
  expect(passed).toMatchObject({ outcome: 'ended', progress: { isComplete: false } });
});

test.each([1, 4])(
  'a dry run of two backends of which one stops at its page %i says that it is not complete',
  async (at) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'], env: tens });
    for (const name of ['a', 'b']) fill(fleet, name, 60);
    fleet.clock.advance(hourMs);
    let pages = 0;
    fleet.before = ({ port, method }) => {
      if (port === 'b' && method === 'list') pages += 1;
      if (port === 'b' && pages >= at) throw new BackendError('unreachable', 'b', 'ECONNREFUSED');
    };
    const tick = (event: TickEvent) => fleet.tick('reconciler', event);
    const planned = await planImport(
      { store: fleet.store, clock: fleet.clock, tick },
      { kind: 'import', backends: ['a', 'b'] },
    );
    expect(planned).toMatchObject({ outcome: 'planned', isComplete: false });
  },
);

test('a dry run of one backend says what it found, whatever is wrong with another', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: once });
  fill(fleet, 'a', 5);
  fleet.backends.b!.deleteNow('.holdfast/owner');
  for (let minute = 0; minute < 6; minute += 1) await fleet.tick('replicator');
  fleet.clock.advance(hourMs);
  const tick = (event: TickEvent) => fleet.tick('reconciler', event);
  const planned = await planImport({ store: fleet.store, clock: fleet.clock, tick }, importOf('a').reconcile);
  expect(planned).toMatchObject({ outcome: 'planned', isComplete: true, listed: 5 });
});

test('imports of one prefix after the other leave no row for each of them in what every tick reads', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once });
  fill(fleet, 'a', 30);
  for (let i = 0; i < 30; i += 1) {
    const reconcile = { kind: 'import', backends: ['a'], prefix: fileKey(i) } as const;
    expect((await fleet.tick('reconciler', { reconcile })).reasons).toEqual({ imported: 1 });
    fleet.clock.advance(24 * hourMs);
  }
  const { rows } = await fleet.store.control('fleet');
  const passes = rows.map(({ sk }) => sk).filter((sk) => sk.startsWith('pass/import/'));
  expect(passes.length).toBeLessThanOrEqual(3);
  const { rows: ranges } = await fleet.store.control(`pass/import/a/${fileKey(0)}`);
  expect(ranges).toEqual([]);
});

test('an import of two backends that crashes at any write, before or after its effect, goes on and loses nothing [imports-go-on]', async () => {
  let crashes = 0;
  for (const when of ['before', 'after'] as const) {
    for (let nth = 1; nth < 40; nth += 1) {
      const fleet = await createTestFleet({ backends: ['a', 'b'], policies: once, env: tens });
      fill(fleet, 'a', 40);
      fill(fleet, 'b', 50, (i) => (i % 5 === 0 ? `another file ${i}` : `file ${i}`));
      fleet.clock.advance(hourMs);
      let writes = 0;
      fleet[when] = ({ port, method }) => {
        if (port !== 'store' || method !== 'transact') return;
        writes += 1;
        if (writes >= nth) throw new Error('the process is gone');
      };
      const isCrashed = await fleet.tick('reconciler', importOf('a', 'b')).then(
        (report) => report.outcome === 'error',
        () => true,
      );
      fleet[when] = undefined;
      if (!isCrashed) break;
      crashes += 1;
      fleet.clock.advance(hourMs);
      expect(await run(fleet, 'a', 'b')).toMatchObject({ outcome: 'ended', progress: { isComplete: true } });
      expect(objectsIn(fleet)).toHaveLength(50);
      expect(Object.keys(fleet.object(fileKey(7)).copies)).toEqual(['a', 'b']);
      expect(Object.keys(fleet.object(fileKey(45)).copies)).toEqual(['b']);
      expect(Object.keys(fleet.object(fileKey(5)).copies)).toEqual(['a']);
      expect(await unaccountedBy(fleet, 'import/a+b')).toBe(0);
      expect((await fleet.recount()).differences).toEqual([]);
    }
  }
  expect(crashes).toBeGreaterThan(10);
});

test('imports of the same backend side by side, and a scheduled pass that imports: each file is one object', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    policies: once,
    env: { ...tens, RECONCILER_IMPORT: 'true' },
  });
  for (const name of ['a', 'b']) fill(fleet, name, 60);
  fleet.clock.advance(hourMs);
  const all = await Promise.all([run(fleet, 'a'), run(fleet, 'a', 'b'), run(fleet, 'b'), fleet.tick('reconciler')]);
  for (const ended of all.slice(0, 3))
    expect(ended).toMatchObject({ outcome: 'ended', progress: { isComplete: true } });
  expect(objectsIn(fleet)).toHaveLength(60);
  for (let i = 0; i < 60; i += 1) expect(Object.keys(fleet.object(fileKey(i)).copies)).toEqual(['a', 'b']);
  for (const name of ['import/a', 'import/b', 'import/a+b']) expect(await unaccountedBy(fleet, name)).toBe(0);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a drain that begins during an import: what is on its way is imported, nothing behind it is, and the drain ends', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: once, env: tens });
  fill(fleet, 'a', 100);
  fleet.clock.advance(hourMs);
  const deps = { ...fleet.deps, clock: fleet.operatorClock, store: fleet.store };
  atPage(fleet, 'a', 4, async () => {
    await drain(deps, 'a');
    fleet.clock.advance(20_000);
  });
  expect(await run(fleet, 'a')).toMatchObject({ outcome: 'ended', progress: { isComplete: true } });
  fleet.after = undefined;
  const { imported = 0, draining = 0 } = await foundBy(fleet, 'import/a');
  expect(draining).toBeGreaterThan(0);
  expect(imported + draining).toBe(100);
  for (let minute = 0; minute < 40; minute += 1) {
    for (const name of ['replicator', 'over-replication-cleaner', 'cleanup-queue'] as const) await fleet.tick(name);
    fleet.clock.advance(60_000);
  }
  expect(await drainStatus(deps, 'a')).toMatchObject({ outcome: 'settling' });
  fleet.clock.advance(hourMs);
  expect(await drainStatus(deps, 'a')).toMatchObject({ outcome: 'drained' });
  expect(objectsIn(fleet)).toHaveLength(imported);
  expect(fleet.keysOn('a')).toHaveLength(100);
  expect((await fleet.recount()).differences).toEqual([]);
});
