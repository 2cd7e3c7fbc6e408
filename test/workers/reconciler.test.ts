import { expect, test } from 'vitest';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { BackendError, type ListFrom } from '../../lib/fleet/backend.ts';
import { drain } from '../../lib/operations/drain.ts';
import { commit } from '../../lib/store/commit.ts';
import type { QueueItem } from '../../lib/store/model.ts';
import { createUsageBook } from '../../lib/store/usage-book.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { markFor, markName } from '../../lib/transfer/mark.ts';
import { workers } from '../../lib/workers/workers.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

async function filled(options: Parameters<typeof createTestFleet>[0] = {}): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a', 'b'], ...options });
  for (let i = 0; i < 30; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.tick('replicator');
  fleet.clock.advance(2 * hourMs);
  return fleet;
}

function contentsOf(fleet: TestFleet): Record<string, string[]> {
  return Object.fromEntries(Object.keys(fleet.backends).map((name) => [name, fleet.keysOn(name)]));
}

/** Bytes of ours that no record names: as a crashed tick leaves them. */
function orphan(fleet: TestFleet, name: string, key: string, generation?: string): string {
  const storage = `${key}!${fleet.ids.ulid()}`;
  const entry = fleet.entry(key);
  const metadata = {
    [markName]: markFor({ fleetId: fleetIdOf(fleet), generation: generation ?? entry!.generation }, name, storage),
  };
  fleet.backends[name]!.putNow(storage, Buffer.from('orphan'), { metadata });
  return storage;
}

function fleetIdOf(fleet: TestFleet): string {
  const text = fleet.backends.a!.peek('.holdfast/owner')!.metadata['holdfast-owner']!;
  return text.split(' ')[0]!;
}

test('a sweep queues orphan bytes of ours, in pages, and a second pass writes nothing', async () => {
  const fleet = await filled({ env: { RECONCILER_BATCH_SIZE: '7' } });
  const storage = orphan(fleet, 'b', 'k3');
  fleet.clock.advance(2 * hourMs);
  expect(await fleet.tick('reconciler')).toMatchObject({ succeeded: 1, reasons: { orphan: 1 } });
  expect(fleet.queue()).toMatchObject([{ backend: 'b', storageKey: storage, reason: 'orphan', state: 'cleanup' }]);
  await fleet.settle(['cleanup-queue']);
  expect(fleet.keysOn('b')).toHaveLength(30);
  expect((await fleet.recount()).differences).toEqual([]);
  const writes: string[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port !== 'store' || (method !== 'transact' && method !== 'write')) return;
    const changes = [args[0]].flat() as { kind: string }[];
    writes.push(
      ...changes.map((change) => change.kind).filter((kind) => kind === 'object' || kind.startsWith('queue')),
    );
  };
  expect((await fleet.tick('reconciler')).outcome).toBe('empty');
  expect(writes).toEqual([]);
});

test('a tick frozen just before its commit and thawed after the sweep records nothing', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'v');
  let thaw = () => {};
  const ice = new Promise<void>((resolve) => {
    thaw = resolve;
  });
  let reached = () => {};
  const atCommit = new Promise<void>((resolve) => {
    reached = resolve;
  });
  fleet.before = async ({ port, method }) => {
    if (port !== 'store' || method !== 'transact') return;
    fleet.before = undefined;
    reached();
    await ice;
  };
  const frozen = fleet.tick('replicator', { deadline: fleet.clock.now() + 24 * hourMs });
  await atCommit;
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  expect(fleet.queue()).toMatchObject([{ backend: 'b', reason: 'orphan' }]);
  thaw();
  expect(await frozen).toMatchObject({ succeeded: 0, skipped: 1 });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a']);
  await fleet.settle(['cleanup-queue', 'replicator']);
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
  expect((await fleet.recount()).differences).toEqual([]);
});

test.each(['unavailable', 'timeout', 'credentials', 'throttled'] as const)(
  'a listing that fails with %s is not the end of it: nothing is removed, and it is said',
  async (kind) => {
    const fleet = await filled();
    const before = contentsOf(fleet);
    fleet.before = ({ method }) => {
      if (method === 'list') throw new BackendError(kind, 'a', 'no listing');
    };
    const report = await fleet.tick('reconciler');
    expect(report.failed).toBe(2);
    expect(fleet.queue()).toEqual([]);
    expect(contentsOf(fleet)).toEqual(before);
    expect(
      fleet.logs
        .filter((line) => line.alarm === true)
        .map(({ backend }) => backend)
        .toSorted(),
    ).toEqual(['a', 'b']);
  },
);

test('a bucket that is suddenly empty removes nothing and is an error', async () => {
  const fleet = await filled();
  for (const key of [...fleet.backends.a!.contents().keys()]) fleet.backends.a!.deleteNow(key);
  const report = await fleet.tick('reconciler');
  expect(report).toMatchObject({ outcome: 'error', message: expect.stringContaining('has no owner object') });
  expect(fleet.queue()).toEqual([]);
  for (let i = 0; i < 30; i += 1) expect(Object.keys(fleet.object(`k${i}`).copies)).toEqual(['a', 'b']);
});

test.each(['delete-marker', 'denied', 'rejected'] as const)(
  'a key that always answers %s keeps the pass from none of the others',
  async (kind) => {
    const fleet = await filled({ env: { RECONCILER_BATCH_SIZE: '7' } });
    const storage = orphan(fleet, 'b', 'k9');
    const hidden = fleet.keysOn('b').find((key) => key.startsWith('k1!'))!;
    fleet.clock.advance(2 * hourMs);
    const { list, head } = fleet.backends.b!;
    fleet.backends.b!.list = async (options) => {
      const page = await list(options);
      return { ...page, items: page.items.filter(({ storageKey }) => storageKey !== hidden) };
    };
    fleet.backends.b!.head = async (key) => {
      if (key === hidden) throw new BackendError(kind, 'b', `Backend "b" answers ${kind}`);
      return head(key);
    };
    expect(await fleet.tick('reconciler')).toMatchObject({
      outcome: 'partial',
      reasons: { orphan: 1, [`key-${kind}`]: 1 },
      figures: { passComplete: 1 },
    });
    expect(fleet.queue()).toMatchObject([{ backend: 'b', storageKey: storage, reason: 'orphan' }]);
    expect(Object.keys(fleet.object('k1').copies)).toEqual(['a', 'b']);
  },
);

test('a listing that shows nothing although the bytes are there removes nothing [listings-never-lie-by-omission]', async () => {
  const fleet = await filled();
  const real = fleet.backends.a!.list;
  fleet.backends.a!.list = async () => ({ items: [] });
  await fleet.tick('reconciler');
  fleet.backends.a!.list = real;
  expect(fleet.queue()).toEqual([]);
  expect(Object.keys(fleet.object('k1').copies)).toEqual(['a', 'b']);
});

test('recorded and not there: quarantined up to the removal limit, rebuilt [missing-copies-confirmed]', async () => {
  const fleet = await filled();
  const lost = fleet.keysOn('a').slice(0, 5);
  for (const key of lost) fleet.backends.a!.deleteNow(key);
  expect(await fleet.tick('reconciler')).toMatchObject({ reasons: { 'missing-quarantined': 5 } });
  await fleet.tick('replicator');
  for (let i = 0; i < 30; i += 1) expect(fleet.copiesOf(`k${i}`)).toEqual({ a: `v${i}`, b: `v${i}` });
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a copy that refuses to be read, and whose rest others begin anew each time, keeps no pass from its end', async () => {
  const fleet = await filled();
  const left = orphan(fleet, 'b', 'k3');
  fleet.backends.b!.deleteNow(`k1!${fleet.object('k1').copies.b}`);
  fleet.clock.advance(2 * hourMs);
  let gets = 0;
  fleet.before = ({ port, method, args }) => {
    if (method !== 'get' || !/^k[13]!/.test(String(args[0]))) return;
    gets += 1;
    throw new BackendError('denied', port, 'not this one');
  };
  const sweep = () => fleet.tick('reconciler', { reconcile: { kind: 'sweep', backends: ['b'] } });
  await sweep();
  expect(gets).toBeGreaterThan(0);
  gets = 0;
  expect(await sweep()).toMatchObject({
    figures: { passComplete: 1 },
    reasons: { 'missing-backing-off': 1, 'proof-backing-off': 1 },
  });
  expect(gets).toBe(0);
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('b')).toContain(left);
  expect(Object.keys(fleet.object('k1').copies)).toEqual(['a', 'b']);
  fleet.before = () => {};
  fleet.clock.advance(hourMs);
  expect(await sweep()).toMatchObject({ reasons: { 'missing-quarantined': 1, orphan: 1 } });
});

test('keys that share prefixes and pages are all found to be there', async () => {
  const fleet = await createTestFleet({
    backends: ['a'],
    policies: { default: { factor: 1 } },
    env: { RECONCILER_BATCH_SIZE: '1' },
  });
  const keys = [
    'a',
    'a b',
    'a!b',
    'a!',
    'a-b',
    'a/b',
    'aB',
    'é',
    'e\u0301',
    '😀',
    'a!01ARZ3NDEKTSV4RRFFQ69G5FAV',
    'a\tb',
    ' ',
    '!',
    '__multipart/u/1',
  ];
  for (const key of keys) await fleet.client.put(key, `of ${key}`);
  fleet.clock.advance(2 * hourMs);
  expect(await fleet.tick('reconciler')).toMatchObject({ planned: 0, outcome: 'empty' });
  const heads: unknown[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'head') heads.push(args[0]);
  };
  await fleet.tick('reconciler');
  expect(heads).toEqual(['.holdfast/owner']);
});

test('metadata restored to yesterday removes nothing: the bytes are newer than their records', async () => {
  const fleet = await filled();
  const yesterday = fleet.store.snapshot();
  fleet.clock.advance(24 * hourMs);
  for (let i = 0; i < 10; i += 1) await fleet.client.put(`k${i}`, `new${i}`);
  await fleet.client.put('fresh', 'bytes');
  await fleet.settle(['replicator', 'cleanup-queue']);
  fleet.clock.advance(2 * hourMs);
  const before = contentsOf(fleet);
  const restored = createMemoryStore({ clock: fleet.clock, from: yesterday, identity: await fleet.store.identity() });
  const report = await runTick({ ...fleet.deps, store: restored }, workers.reconciler!, {
    deadline: fleet.clock.now() + 300_000,
  });
  expect(report.reasons.orphan).toBeUndefined();
  expect([...restored.allQueueItems()]).toEqual([]);
  expect(contentsOf(fleet)).toEqual(before);
});

test('a cloned table pointed at the same buckets writes, sweeps and deletes nothing there [owner-object]', async () => {
  const fleet = await filled();
  await fleet.client.delete('k1');
  fleet.clock.advance(24 * hourMs);
  const before = contentsOf(fleet);
  const clone = createMemoryStore({ clock: fleet.clock, from: fleet.store.snapshot(), identity: 'a clone' });
  for (const name of ['replicator', 'cleanup-queue', 'reconciler', 'scrubber'] as const) {
    const report = await runTick({ ...fleet.deps, store: clone }, workers[name]!, {
      deadline: fleet.clock.now() + 300_000,
    });
    expect(report).toMatchObject({ outcome: 'error', message: expect.stringContaining('belongs to another fleet') });
  }
  expect(contentsOf(fleet)).toEqual(before);
});

test('after the tables are lost, a take-over and a recovery bring every object back', async () => {
  const fleet = await filled();
  await fleet.client.put('k1', 'newest');
  await fleet.tick('replicator');
  fleet.clock.advance(2 * hourMs);
  const empty = createMemoryStore({ clock: fleet.clock, identity: 'new tables' });
  const deps = { ...fleet.deps, store: empty };
  const { apply } = await import('../../lib/operations/apply.ts');
  const { parseFleetFile } = await import('../../lib/config/parse-fleet-file.ts');
  const file = parseFleetFile({
    backends: ['a', 'b'].map((name) => ({
      name,
      endpoint: `https://${name}.example.com`,
      bucket: `bucket-${name}`,
      credentials: 'role',
    })),
    policies: { default: { factor: 2 } },
  });
  const admin = { ...deps, findCapabilities: async ({ name }: { name: string }) => fleet.backends[name]!.capabilities };
  await expect(apply(admin, file)).rejects.toThrow('belongs to another fleet');
  const { fleetId } = await apply(admin, file, { takeOver: true });
  expect(fleetId).toBe(fleetIdOf(fleet));
  const tick = (event = {}) => runTick(deps, workers.reconciler!, { deadline: fleet.clock.now() + 300_000, ...event });
  await tick();
  expect([...empty.allQueueItems()]).toEqual([]);
  for (const backend of ['a', 'b']) await tick({ reconcile: { kind: 'recover', backends: [backend] } });
  const { createClient } = await import('../../lib/client/client.ts');
  const { collect } = await import('../../lib/base/bytes.ts');
  const client = createClient(deps);
  for (let i = 0; i < 30; i += 1) {
    const found = await client.get(`k${i}`);
    expect((await collect(found!.body)).toString()).toBe(i === 1 ? 'newest' : `v${i}`);
  }
  const { recount } = await import('../../lib/operations/recount.ts');
  expect((await recount(deps, false)).differences).toEqual([]);
});

test('after older tables were restored, a recovery finds a copy that was moved away and back since', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'content');
  const before = fleet.object('k').copies.a!;
  // In the time that the record knows nothing of, the bytes got another storage key on the same backend.
  const existing = fleet.backends.a!.peek(`k!${before}`)!;
  const copyId = fleet.ids.ulid();
  const mark = markFor({ fleetId: fleetIdOf(fleet), generation: fleet.object('k').generation }, 'a', `k!${copyId}`);
  fleet.backends.a!.putNow(`k!${copyId}`, existing.bytes, { metadata: { [markName]: mark } });
  fleet.backends.a!.deleteNow(`k!${before}`);
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('scrubber');
  expect(fleet.object('k').condition).toBe('damaged');
  const report = await fleet.tick('reconciler', { reconcile: { kind: 'recover', backends: ['a'] } });
  expect(report.reasons).toMatchObject({ joined: 1 });
  expect(fleet.object('k')).toMatchObject({ copies: { a: copyId }, condition: 'sound' });
  expect(await fleet.read('k')).toBe('content');
  await fleet.settle(['cleanup-queue']);
  expect(fleet.keysOn('a')).toEqual([`k!${copyId}`]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('after a take-over nothing is deleted before the recovery, which finds a put that older tables still queue', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'old');
  const seen = fleet.object('k');
  // The tables were saved while two puts were under way, of which the other came first: by them this one came too late.
  const before = fleet.store.snapshot();
  await fleet.client.put('k', 'new');
  const { generation, copies, sizeBytes, sha256 } = fleet.object('k');
  const storage = `k!${copies.a}`;
  const now = fleet.clock.now();
  const intent: QueueItem = {
    id: `a/${storage}`,
    state: 'intent',
    backend: 'a',
    storageKey: storage,
    key: 'k',
    generation,
    sizeBytes,
    createdAt: now,
    dueAt: now,
    reason: 'put',
    attempts: 0,
    sha256: sha256!,
    cause: 'put',
    intent: {},
  };
  const store = createMemoryStore({ clock: fleet.clock, from: before, identity: 'restored' });
  await commit(
    { ...fleet.deps, store, stripes: 1, quotaOf: () => 0 },
    [{ key: 'k', reserves: [intent] }],
    now + 60_000,
  );
  expect(store.snapshot().objects.get('k')).toEqual(seen);
  const deps = { ...fleet.deps, store };
  const { apply } = await import('../../lib/operations/apply.ts');
  const file = fleet.store.snapshot().rows.find(({ sk }) => sk === 'config')!.data.file as FleetFile;
  await apply({ ...deps, findCapabilities: async () => fleet.backends.a!.capabilities }, file, { takeOver: true });
  const tick = (name: WorkerName, event = {}) =>
    runTick({ ...deps, unreported: createUsageBook() }, workers[name]!, {
      deadline: fleet.clock.now() + 300_000,
      ...event,
    });
  fleet.clock.advance(2 * hourMs);
  expect((await tick('pending-reaper')).reasons).toEqual({});
  fleet.clock.advance(2 * hourMs);
  await tick('cleanup-queue');
  expect(fleet.keysOn('a')).toContain(storage);
  expect((await tick('reconciler', { reconcile: { kind: 'recover', backends: ['a'] } })).reasons).toMatchObject({
    recovered: 1,
  });
  expect(store.snapshot().objects.get('k')).toMatchObject({ generation, copies, sha256 });
  fleet.clock.advance(2 * hourMs);
  await tick('cleanup-queue');
  // What was superseded is queued by nobody before a person says so.
  expect(fleet.keysOn('a')).toHaveLength(2);
  expect([...store.allQueueItems()]).toEqual([]);
});

test('a sweep leaves bytes of ours alone when a recorded copy of their object does not answer [orphans-queued-with-care]', async () => {
  const fleet = await filled();
  orphan(fleet, 'b', 'k3');
  fleet.backends.a!.deleteNow(`k3!${fleet.object('k3').copies.a}`);
  const before = fleet.keysOn('b');
  fleet.clock.advance(2 * hourMs);
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'list') throw new BackendError('unavailable', 'a', 'no');
  };
  await fleet.tick('reconciler', { reconcile: { kind: 'sweep', backends: ['b'] } });
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('b')).toEqual(before);
});

const externalClients = [
  'a-b',
  'aB',
  'a/b',
  'é',
  '😀',
  'with spaces',
  'a!01ARZ3NDEKTSV4RRFFQ69G5FAV',
  '__multipart/u/1',
];

test('external clients’ files are imported as they are, replicated, and never deleted or touched again', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  for (const key of externalClients) fleet.backends.a!.putNow(key, Buffer.from(`file ${key}`));
  const ours = await fleet.client.put('ours', 'v');
  fleet.backends.a!.putNow('x'.repeat(1000), Buffer.from('long'));
  fleet.clock.advance(2 * hourMs);
  const report = await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
  expect(report.reasons).toMatchObject({ imported: externalClients.length, 'too-long': 1 });
  for (let round = 0; round < 3; round += 1) {
    await fleet.settle(['replicator', 'scrubber', 'cleanup-queue'], 10);
    fleet.clock.advance(24 * hourMs);
    await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
  }
  for (const key of externalClients) {
    expect(fleet.object(key).copies.a).toBe('');
    expect(fleet.copiesOf(key)).toEqual({ a: `file ${key}`, b: `file ${key}` });
  }
  expect(await fleet.read('ours')).toBe('v');
  expect(ours.key).toBe('ours');
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('a')).toHaveLength(externalClients.length + 2);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a file that a second backend holds too joins when its bytes are equal, and is a conflict when not [import-joins-equals]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { RECONCILER_IMPORT: 'true' } });
  fleet.backends.a!.putNow('same', Buffer.from('bytes'));
  fleet.backends.b!.putNow('same', Buffer.from('bytes'));
  fleet.backends.a!.putNow('other', Buffer.from('one'));
  fleet.backends.b!.putNow('other', Buffer.from('two'));
  fleet.clock.advance(2 * hourMs);
  expect((await fleet.tick('reconciler')).reasons).toMatchObject({ imported: 2, joined: 1, conflict: 1 });
  await fleet.settle(['replicator', 'cleanup-queue']);
  expect(fleet.object('same').copies).toEqual({ a: '', b: '' });
  expect(fleet.copiesOf('other')).toMatchObject({ a: 'one' });
  expect(fleet.backends.b!.peek('other')!.bytes.toString()).toBe(Buffer.from('two').toString());
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a file whose name looks like a copy of a recorded object joins like any other', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_IMPORT: 'true' } });
  await fleet.client.put('k', 'ours');
  await fleet.settle(['replicator']);
  const likeOurs = 'k!01BX5ZZKBKACTAV9WEVGEMMVRZ';
  for (const name of ['a', 'b']) fleet.backends[name]!.putNow(likeOurs, Buffer.from('theirs'));
  fleet.clock.advance(2 * hourMs);
  expect((await fleet.tick('reconciler')).reasons).toMatchObject({ imported: 1, joined: 1 });
  expect(fleet.object(likeOurs).copies).toEqual({ a: '', b: '' });
});

test('what a person deleted through the library is not imported again while its delete is queued, nor from the file left behind [import-from-listing]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_IMPORT: 'true' } });
  fleet.backends.a!.putNow('file', Buffer.from('recovered'));
  fleet.backends.a!.putNow('kept', Buffer.from('recovered too'));
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  await fleet.client.delete('file');
  await fleet.client.put('kept', 'through the library');
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  expect(fleet.entry('file')?.kind).toBe('tombstone');
  expect(await fleet.read('kept')).toBe('through the library');
  await fleet.settle(['replicator', 'cleanup-queue']);
  expect(fleet.backends.a!.peek('file')).toBeUndefined();
  expect(Buffer.from(fleet.backends.a!.peek('kept')!.bytes).toString()).toBe('recovered too');
  fleet.clock.advance(48 * hourMs);
  await fleet.tick('reconciler');
  expect(await fleet.read('kept')).toBe('through the library');
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a delete is undone by no file that is older than it, remembered or not, before a person asks; one that its owner writes later is an object', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_IMPORT: 'true' } });
  // Two deletes over nothing: neither tombstone remembers a file.
  for (const key of ['older', 'newer']) fleet.backends.a!.putNow(key, Buffer.from(`${key}, at first`));
  fleet.clock.advance(2 * hourMs);
  for (const key of ['older', 'newer']) await fleet.client.delete(key);
  fleet.clock.advance(60_000);
  fleet.backends.a!.putNow('newer', Buffer.from('written since'));
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  expect(fleet.entry('older')).toMatchObject({ kind: 'tombstone' });
  expect(await fleet.read('newer')).toBe('written since');
  await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
  expect(await fleet.read('older')).toBe('older, at first');
});

test('an import that another was faster than looks at the queue again before it records the file', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { RECONCILER_IMPORT: 'true' } });
  fleet.backends.a!.putNow('file', Buffer.from('theirs'));
  fleet.clock.advance(2 * hourMs);
  let isQueued = false;
  fleet.before = async ({ port, method, args }) => {
    if (port !== 'store' || method !== 'transact' || !JSON.stringify(args[0]).includes('"key":"file"')) return;
    fleet.before = undefined;
    await fleet.tick('reconciler');
    await drain(fleet.deps, 'a', { deleteImported: true });
    await fleet.settle(['replicator', 'over-replication-cleaner'], 1);
    isQueued = fleet.queue().some(({ storageKey }) => storageKey === 'file');
  };
  const asked = await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
  expect(isQueued).toBe(true);
  expect(asked.reasons).toMatchObject({ queued: 1 });
  expect(fleet.object('file').copies).not.toHaveProperty('a');
  expect(await fleet.read('file')).toBe('theirs');
  expect((await fleet.recount()).differences).toEqual([]);
});

test.each(['reconciler', 'scrubber'] as const)(
  'an app that overwrites an imported file behind our back is noticed by the %s: its content is the object, replicas follow',
  async (worker) => {
    const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { RECONCILER_IMPORT: 'true' } });
    fleet.backends.a!.putNow('file', Buffer.from('first'));
    fleet.clock.advance(2 * hourMs);
    await fleet.tick('reconciler');
    await fleet.settle(['replicator', 'scrubber']);
    expect(fleet.copiesOf('file')).toEqual({ a: 'first', b: 'first' });
    const before = fleet.object('file').generation;
    fleet.backends.a!.putNow('file', Buffer.from('second, by the app'));
    fleet.clock.advance(31 * 24 * hourMs);
    await fleet.tick(worker);
    expect(fleet.object('file')).toMatchObject({ copies: { a: '' }, sizeBytes: 18 });
    expect(fleet.object('file').generation).not.toBe(before);
    fleet.clock.advance(hourMs);
    await fleet.tick('cleanup-queue');
    expect(fleet.queue()).toMatchObject([{ backend: 'b', reason: 'overwritten' }]);
    await fleet.settle(['replicator', 'cleanup-queue'], 90);
    expect(fleet.copiesOf('file')).toEqual({ a: 'second, by the app', b: 'second, by the app' });
    expect(fleet.queue()).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test('an ETag that changed over the same bytes is only renewed', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_IMPORT: 'true' } });
  fleet.backends.a!.putNow('file', Buffer.from('same'));
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  await fleet.settle(['replicator']);
  const { generation } = fleet.object('file');
  fleet.backends.a!.putNow('file', Buffer.from('same'), { etag: '"another-2"' });
  fleet.clock.advance(2 * hourMs);
  expect((await fleet.tick('reconciler')).reasons).toMatchObject({ 'plain-renewed': 1 });
  expect(fleet.object('file')).toMatchObject({ generation, plainEtags: { a: '"another-2"' } });
  expect(fleet.queue()).toEqual([]);
});

test('what a pass over one backend imported is replicated as soon as the pass has ended, and not before', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  fleet.backends.a!.putNow('file', Buffer.from('recovered'));
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
  await fleet.tick('replicator');
  expect(fleet.copiesOf('file')).toEqual({ a: 'recovered', b: 'recovered' });
});

test('an import that is stopped goes on where it was, and lists no page twice [imports-go-on]', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    env: { RECONCILER_BATCH_SIZE: '5', RECONCILER_ROUNDS: '1' },
  });
  for (let i = 0; i < 23; i += 1)
    fleet.backends.a!.putNow(`file ${String(i).padStart(2, '0')}`, Buffer.from(`bytes ${i}`));
  fleet.clock.advance(2 * hourMs);
  const listed: unknown[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'list') listed.push(JSON.stringify((args[0] as { from?: ListFrom }).from));
  };
  let ticks = 0;
  while (
    (await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } })).figures.passComplete !== 1
  ) {
    ticks += 1;
    expect(ticks).toBeLessThan(20);
  }
  expect(new Set(listed).size).toBe(listed.length);
  for (let i = 0; i < 23; i += 1) expect(fleet.object(`file ${String(i).padStart(2, '0')}`).copies).toEqual({ a: '' });
  expect((await fleet.recount()).differences).toEqual([]);
});
