import { expect, test } from 'vitest';
import { type Backend, BackendError } from '../../lib/fleet/backend.ts';
import { rangesOfPass } from '../../lib/store/pass-rows.ts';
import { markFor, markName } from '../../lib/transfer/mark.ts';
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

/** What a backend is asked for by name, its owner object aside. */
function countHeads(fleet: TestFleet, name: string): { readonly heads: string[] } {
  const heads: string[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === name && method === 'head' && args[0] !== '.holdfast/owner') heads.push(String(args[0]));
  };
  return { heads };
}

/** Changes what a backend's listing says. */
function listsOtherwise(
  fleet: TestFleet,
  name: string,
  change: (page: Awaited<ReturnType<Backend['list']>>) => object,
) {
  const backend = fleet.backends[name]!;
  const { list } = backend;
  backend.list = async (options) => {
    const page = await list(options);
    return { ...page, ...change(page) };
  };
}

/** Puts an object whose one copy is on the last of the backends. */
async function putOn(fleet: TestFleet, name: string, key: string): Promise<string> {
  const refused = Object.keys(fleet.backends).filter((one) => one !== name);
  fleet.before = ({ port, method }) => {
    if (refused.includes(port) && method === 'put') throw new BackendError('unavailable', port, 'no');
  };
  await fleet.client.put(key, 'v');
  fleet.before = undefined;
  return `${key}!${fleet.object(key).copies[name]}`;
}

test('a pass over a backend that holds little of what is recorded has no more of it in memory than over one that holds all [passes-cover-all]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: once });
  fill(fleet, 'a', 4_500);
  await fleet.tick('reconciler', { ...importOf('a'), deadline: fleet.clock.now() + hourMs });
  // Between two keys of the second backend stand all that the first has, and one that is recorded and gone.
  await putOn(fleet, 'b', 'aaa');
  await putOn(fleet, 'b', 'zzz');
  const gone = await putOn(fleet, 'b', 'photos/002000');
  fleet.backends.b!.deleteNow(gone);
  fleet.clock.advance(3 * hourMs);
  const { heads } = countHeads(fleet, 'b');
  const counted = fleet.before!;
  let most = 0;
  fleet.before = (call) => {
    if (call.port === 'store' && call.method === 'objects') most = Math.max(most, (call.args[0] as string[]).length);
    return counted(call);
  };
  const report = await fleet.tick('reconciler', { deadline: fleet.clock.now() + hourMs });
  expect(report.figures.passesComplete).toBe(2);
  expect(most).toBeLessThan(2_100);
  expect(new Set(heads)).toEqual(new Set([gone]));
});

test('what is recorded between two listed keys may take longer than a tick: each goes on behind what the one before compared', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: once });
  fill(fleet, 'a', 4_500);
  await fleet.tick('reconciler', { ...importOf('a'), deadline: fleet.clock.now() + hourMs });
  const gone = [await putOn(fleet, 'b', 'photos/000100'), await putOn(fleet, 'b', 'photos/004000')];
  for (const storage of gone) fleet.backends.b!.deleteNow(storage);
  fleet.clock.advance(3 * hourMs);
  const looked: string[] = [];
  let readings = 0;
  fleet.before = ({ port, method, args }) => {
    if (port === 'b' && method === 'head' && args[0] !== '.holdfast/owner') looked.push(String(args[0]));
    if (port !== 'store' || method !== 'objects' || (args[0] as string[]).length < 100) return;
    readings += 1;
    // One part of the stretch takes most of a tick.
    fleet.clock.advance(40_000);
  };
  const request = { reconcile: { kind: 'sweep', backends: ['b'] } } as const;
  let ticks = 0;
  for (let isComplete = false; !isComplete && ticks < 20; ticks += 1)
    isComplete =
      (await fleet.tick('reconciler', { ...request, deadline: fleet.clock.now() + 60_000 })).figures.passComplete === 1;
  expect(ticks).toBeGreaterThan(1);
  expect(ticks).toBeLessThan(20);
  // Nothing was compared twice.
  expect(readings).toBeLessThan(8);
  expect(new Set(looked)).toEqual(new Set(gone));
});

test('an empty page with more behind it says nothing of what is recorded', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once });
  for (let i = 0; i < 20; i += 1) await fleet.client.put(`k${i}`, 'v');
  fleet.clock.advance(3 * hourMs);
  const { list } = fleet.backends.a!;
  fleet.backends.a!.list = async (options = {}) => {
    const { from, ...rest } = options;
    if (from === undefined) return { items: [], next: { token: 'behind nothing' } };
    return list('token' in from ? rest : options);
  };
  const { heads } = countHeads(fleet, 'a');
  expect((await fleet.tick('reconciler')).figures.passesComplete).toBe(1);
  expect(heads).toEqual([]);
});

test('two backends of which one begins with an empty page are joined all the same, and go on where they were', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    policies: once,
    env: { RECONCILER_BATCH_SIZE: '10', RECONCILER_ROUNDS: '1' },
  });
  for (const name of ['a', 'b']) fill(fleet, name, 45);
  const { list } = fleet.backends.b!;
  fleet.backends.b!.list = async (options = {}) => {
    const { from, ...rest } = options;
    if (from === undefined) return { items: [], next: { token: 'behind nothing' } };
    return list('token' in from ? rest : options);
  };
  fleet.clock.advance(hourMs);
  let ticks = 0;
  for (let isComplete = false; !isComplete && ticks < 20; ticks += 1)
    isComplete = (await fleet.tick('reconciler', importOf('a', 'b'))).figures.passComplete === 1;
  expect(await foundBy(fleet, 'import/a+b')).toEqual({ imported: 45, joined: 45 });
  expect(await unaccountedBy(fleet, 'import/a+b')).toBe(0);
});

test('a listing that is begun anew asks for nothing by name that it had come to before', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once, env: { RECONCILER_BATCH_SIZE: '10' } });
  setCapabilities(fleet, 'a', { startsAfterKeys: false });
  for (let i = 0; i < 50; i += 1) await fleet.client.put(`k${i}`, 'v');
  fleet.clock.advance(3 * hourMs);
  const { list } = fleet.backends.a!;
  let pages = 0;
  fleet.backends.a!.list = async ({ from, ...options } = {}) => {
    pages += 1;
    if (pages === 4) throw new BackendError('rejected', 'a', 'InvalidArgument: token');
    const page = await list(
      from !== undefined && 'token' in from ? { ...options, from: { afterKey: from.token } } : options,
    );
    const next = page.next === undefined ? {} : { next: { token: page.items.at(-1)!.storageKey } };
    return { items: page.items, ...next };
  };
  const { heads } = countHeads(fleet, 'a');
  const report = await fleet.tick('reconciler');
  expect(report).toMatchObject({ reasons: { 'list-rejected': 1 }, figures: { passesComplete: 1 } });
  expect(heads).toEqual([]);
});

test('a key that is listed twice on one page is one object, as it is now, and both are accounted for', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once });
  setCapabilities(fleet, 'a', { listsInByteOrder: false });
  fill(fleet, 'a', 5);
  const old = fleet.backends.a!.listNow({}).items[3]!;
  fleet.backends.a!.putNow(old.storageKey, Buffer.from('longer than before'));
  fleet.clock.advance(hourMs);
  // One as it was and as it is, another twice as it is.
  listsOtherwise(fleet, 'a', ({ items }) => ({ items: [old, ...items, items[1]] }));
  const report = await fleet.tick('reconciler', importOf('a'));
  expect(report).toMatchObject({ failed: 0, figures: { passComplete: 1 } });
  expect(await foundBy(fleet, 'import/a')).toEqual({ imported: 5, 'listed-twice': 2 });
  expect(await unaccountedBy(fleet, 'import/a')).toBe(0);
  const { sizeBytes, plainEtags } = fleet.object(old.storageKey);
  const now = fleet.backends.a!.peek(old.storageKey)!;
  expect([sizeBytes, plainEtags!.a]).toEqual([now.sizeBytes, now.etag]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('bytes of ours that are listed twice are queued once', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once });
  setCapabilities(fleet, 'a', { listsInByteOrder: false });
  await fleet.client.put('k', 'v');
  const storage = `k!${fleet.ids.ulid()}`;
  const fleetId = fleet.backends.a!.peek('.holdfast/owner')!.metadata['holdfast-owner']!.split(' ')[0]!;
  const mark = markFor({ fleetId, generation: '01ARZ3NDEKTSV4RRFFQ69G5FAV' }, 'a', storage);
  fleet.backends.a!.putNow(storage, Buffer.from('orphan'), { metadata: { [markName]: mark } });
  fleet.clock.advance(3 * hourMs);
  listsOtherwise(fleet, 'a', ({ items }) => ({ items: [...items, ...items] }));
  const report = await fleet.tick('reconciler');
  expect(report).toMatchObject({ failed: 0, reasons: { orphan: 1 } });
  expect(fleet.queue()).toMatchObject([{ storageKey: storage }]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('keys that cannot be read are accounted for, and however long their texts are, a range keeps its place', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once });
  fill(fleet, 'a', 5);
  listsOtherwise(fleet, 'a', () => ({
    unreadable: Array.from({ length: 120 }, (_, i) => `${i}${'%FF'.repeat(1_300)}`),
  }));
  expect((await fleet.tick('reconciler', importOf('a'))).figures.passComplete).toBe(1);
  expect(await foundBy(fleet, 'import/a')).toEqual({ imported: 5, 'unreadable-key': 120 });
  expect(await unaccountedBy(fleet, 'import/a')).toBe(0);
  // A table takes rows of 400 KiB, and as many keys may be waiting to be tried again.
  const [range] = await rangesOfPass(fleet.store, 'import/a');
  expect(JSON.stringify(range).length).toBeLessThan(100_000);
});

test('files of a backend that lists them by other ETags than it is asked for them are looked up, once each', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 2 } } });
  setCapabilities(fleet, 'a', { listsHeadEtags: false });
  fill(fleet, 'a', 12);
  fleet.clock.advance(hourMs);
  listsOtherwise(fleet, 'a', ({ items }) => ({
    items: items.map((item) => ({ ...item, etag: item.etag.replace(/^"/, '"of-the-listing-') })),
  }));
  const { heads } = countHeads(fleet, 'a');
  expect(await fleet.tick('reconciler', importOf('a'))).toMatchObject({ failed: 0, reasons: { imported: 12 } });
  expect(heads).toHaveLength(12);
  fleet.before = undefined;
  await fleet.tick('replicator');
  const generations = objectsIn(fleet).map((key) => fleet.object(key).generation);
  fleet.clock.advance(25 * hourMs);
  for (const event of [{}, importOf('a')])
    expect(await fleet.tick('reconciler', event)).toMatchObject({ failed: 0, succeeded: 0 });
  expect(await foundBy(fleet, 'import/a')).toEqual({ known: 12 });
  // Nothing was taken for overwritten, and each has its copy.
  expect(objectsIn(fleet).map((key) => fleet.object(key).generation)).toEqual(generations);
  for (const key of objectsIn(fleet)) expect(Object.keys(fleet.object(key).copies)).toEqual(['a', 'b']);
});

test('a listing that lags behind a file that is known shows it as known', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once });
  fill(fleet, 'a', 3);
  const before = fleet.backends.a!.listNow({}).items;
  fleet.backends.a!.putNow(fileKey(1), Buffer.from('written again'));
  await fleet.tick('reconciler', importOf('a'));
  listsOtherwise(fleet, 'a', () => ({ items: before }));
  fleet.clock.advance(hourMs);
  expect((await fleet.tick('reconciler', importOf('a'))).figures.passComplete).toBe(1);
  expect(await foundBy(fleet, 'import/a')).toEqual({ known: 3 });
  expect(await unaccountedBy(fleet, 'import/a')).toBe(0);
});

test('a backend whose clock is ahead: its files join, and are objects that a pass may find to be gone', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 2 } } });
  fleet.clock.advance(100 * hourMs);
  for (const name of ['a', 'b']) fill(fleet, name, 5);
  fleet.clock.advance(-100 * hourMs);
  expect(await fleet.tick('reconciler', importOf('a'))).toMatchObject({ reasons: { imported: 5 } });
  fleet.clock.advance(1_000);
  expect(await fleet.tick('reconciler', importOf('b'))).toMatchObject({ failed: 0, reasons: { joined: 5 } });
  for (const name of ['a', 'b']) fleet.backends[name]!.deleteNow(fileKey(1));
  fleet.clock.advance(25 * hourMs);
  expect((await fleet.tick('reconciler')).reasons.gone).toBeGreaterThan(0);
});

test('a backend whose files bear the first day of all, and one that says no ETag, are imported like any other', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: once });
  fill(fleet, 'a', 3);
  listsOtherwise(fleet, 'a', ({ items }) => ({
    items: items.map((item) => ({ ...item, lastModified: Date.UTC(1, 0, 1) })),
  }));
  expect(await fleet.tick('reconciler', importOf('a'))).toMatchObject({ failed: 0, figures: { passComplete: 1 } });
  expect(objectsIn(fleet)).toHaveLength(3);
  expect(await fleet.read(fileKey(1))).toBe('file 1');
});
