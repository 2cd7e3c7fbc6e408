import { expect, test } from 'vitest';
import { BackendError, type BackendErrorKind, type DeleteOutcome } from '../../lib/fleet/backend.ts';
import { commit } from '../../lib/store/commit.ts';
import { newQueueItem } from '../../lib/store/queue-items.ts';
import { newRecord } from '../../lib/store/records.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

test('cleanup queue deletes replaced and deleted bytes after the grace, not before, and the ledger follows [one-deleter]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'one');
  const first = fleet.keysOn('a');
  await fleet.client.put('k', 'three');
  await fleet.client.put('gone', 'bytes');
  await fleet.client.delete('gone');
  fleet.clock.advance(299_000);
  expect((await fleet.tick('cleanup-queue')).outcome).toBe('empty');
  expect(fleet.keysOn('a')).toHaveLength(3);
  fleet.clock.advance(2_000);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({
    outcome: 'success',
    succeeded: 2,
    reasons: { deleted: 2 },
  });
  expect(fleet.keysOn('a')).toHaveLength(1);
  expect(fleet.keysOn('a')).not.toContain(first[0]);
  expect(await fleet.read('k')).toBe('three');
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a delayed delete after the key was put again on the same backend leaves the new bytes alone [deletes-only-unnamed]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'old');
  await fleet.client.delete('k');
  fleet.clock.advance(400_000);
  let resume = () => {};
  const frozen = new Promise<void>((resolve) => {
    resume = resolve;
  });
  let reached = () => {};
  const atDelete = new Promise<void>((resolve) => {
    reached = resolve;
  });
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'delete') return;
    reached();
    await frozen;
  };
  const late = fleet.tick('cleanup-queue');
  await atDelete;
  fleet.before = undefined;
  await fleet.client.put('k', 'new');
  fleet.clock.advance(hourMs);
  resume();
  await late;
  expect(fleet.copiesOf('k')).toEqual({ a: 'new' });
  expect(await fleet.read('k')).toBe('new');
});

test('bytes that a record names are dropped from the queue with an alarm, never deleted [cleanup-asks-records]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  const { copies, generation } = fleet.object('k');
  const storage = `k!${copies.a}`;
  const item = {
    id: `a/${storage}`,
    state: 'cleanup',
    backend: 'a',
    storageKey: storage,
    key: 'k',
    generation,
    sizeBytes: 1,
    createdAt: 0,
    dueAt: 0,
    cause: 'replaced',
    reason: 'a defect',
    attempts: 0,
  } as const;
  fleet.store.apply([
    { kind: 'queue', put: item, expect: 'absent' },
    { kind: 'add', pk: 'fleet', sk: 'queue/cleanup/a#0', add: { objects: 1, bytes: 1 } },
    { kind: 'add', pk: 'fleet', sk: 'used/a#0', add: { objects: 0, bytes: 1 } },
  ]);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ skipped: 1, reasons: { 'named-by-record': 1 } });
  expect(await fleet.read('k')).toBe('v');
  expect(fleet.queue()).toEqual([]);
  expect(fleet.logs.filter((line) => line.alarm === true)).toMatchObject([{ level: 'error', key: 'k', backend: 'a' }]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a backend down for nine hours leaves attempts unchanged and nothing dead, while other deletes go on [cleanup-attempts]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  await fleet.client.delete('k');
  fleet.before = ({ port }) => {
    if (port === 'a') throw new BackendError('unavailable', 'a', 'refused');
  };
  for (let minute = 0; minute < 9 * 60; minute += 10) {
    fleet.clock.advance(10 * 60_000);
    await fleet.tick('replicator');
    await fleet.tick('cleanup-queue');
  }
  expect(fleet.keysOn('b')).toEqual([]);
  expect(fleet.queue()).toMatchObject([{ backend: 'a', state: 'cleanup', attempts: 0 }]);
  fleet.before = undefined;
  await fleet.settle();
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('a')).toEqual([]);
});

test('ten real failures make an item dead, still charged, and a requeue works [cleanup-dead]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  await fleet.client.delete('k');
  const refused = { outcome: 'failed', error: new BackendError('denied', 'a', 'Access Denied') };
  const { delete: real } = fleet.backends.a!;
  fleet.backends.a!.delete = async (requests) => requests.map(() => refused as never);
  for (let i = 0; i < 10; i += 1) {
    fleet.clock.advance(25 * hourMs);
    await fleet.tick('cleanup-queue');
  }
  expect(fleet.queue()).toMatchObject([
    { state: 'dead', attempts: 10, lastError: expect.stringContaining('Access Denied') },
  ]);
  expect((await fleet.recount()).differences).toEqual([]);
  fleet.backends.a!.delete = real;
  const { requeueDead } = await import('../../lib/operations/requeue.ts');
  expect(await requeueDead(fleet.deps)).toBe(1);
  await fleet.tick('cleanup-queue');
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('a')).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a delete answered 404 is done', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  await fleet.client.delete('k');
  fleet.backends.a!.deleteNow(fleet.keysOn('a')[0]!);
  fleet.clock.advance(hourMs);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ succeeded: 1 });
  expect(fleet.queue()).toEqual([]);
});

test('two cleanup ticks over the same items delete once and agree on the ledger', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  for (let i = 0; i < 30; i += 1) await fleet.client.put(`k${i}`, 'v');
  for (let i = 0; i < 30; i += 1) await fleet.client.delete(`k${i}`);
  fleet.clock.advance(hourMs);
  const reports = await Promise.all([
    fleet.tick('cleanup-queue', { part: 0, of: 2 }),
    fleet.tick('cleanup-queue', { part: 0, of: 1 }),
  ]);
  expect(reports.reduce((sum, r) => sum + r.succeeded, 0)).toBe(30);
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

async function withQuarantined(fleet: TestFleet): Promise<void> {
  await fleet.client.put('k', 'v');
  await fleet.apply({ policies: { default: { factor: 2 } } });
  await fleet.tick('replicator');
  await fleet.apply({ policies: { default: { factor: 3 } } });
  const { BackendError: E } = await import('../../lib/fleet/backend.ts');
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'get') throw new E('not-found', 'a', 'NoSuchKey, wrongly');
  };
  await fleet.tick('replicator');
  fleet.before = undefined;
}

test('a backend that wrongly answers 404 for a day loses no bytes: they are taken back', async () => {
  const fleet = await createTestFleet();
  await withQuarantined(fleet);
  expect(fleet.queue()).toMatchObject([{ backend: 'a', state: 'cleanup', reason: 'quarantined: missing' }]);
  const stored = fleet.keysOn('a');
  fleet.clock.advance(24 * hourMs);
  await fleet.tick('cleanup-queue');
  expect(fleet.keysOn('a')).toEqual(stored);
  fleet.clock.advance(6 * 24 * hourMs + 60_000);
  await fleet.tick('cleanup-queue');
  expect(fleet.copiesOf('k')).toMatchObject({ a: 'v', b: 'v' });
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('bytes that an earlier claimant may still delete are not taken back, although its attempt was settled', async () => {
  const fleet = await createTestFleet();
  await withQuarantined(fleet);
  fleet.clock.advance(7 * 24 * hourMs + 60_000);
  const { get, delete: real } = fleet.backends.a!;
  fleet.backends.a!.get = async () => {
    throw new BackendError('timeout', 'a', 'no answer');
  };
  fleet.backends.a!.delete = async (requests) =>
    requests.map(() => ({ outcome: 'failed', error: new BackendError('denied', 'a', 'Access Denied') }) as const);
  await fleet.tick('cleanup-queue');
  expect(fleet.queue()).toMatchObject([{ attempts: 1, claimedBy: expect.any(String) }]);
  Object.assign(fleet.backends.a!, { get, delete: real });
  fleet.clock.advance(hourMs);
  await fleet.tick('cleanup-queue');
  expect(fleet.object('k').copies.a).toBeUndefined();
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('a')).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

/** Objects of one copy on a, deleted and due. */
async function withDeleted(count: number): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  for (let i = 0; i < count; i += 1) await fleet.client.put(`k${i}`, 'v');
  for (let i = 0; i < count; i += 1) await fleet.client.delete(`k${i}`);
  fleet.clock.advance(hourMs);
  return fleet;
}

/** Twenty that are due, one of which will be refused; `real` deletes. */
async function withPoison() {
  const fleet = await withDeleted(20);
  return { fleet, poison: fleet.keysOn('a')[7]!, real: fleet.backends.a!.delete };
}

const failure = (kind: BackendErrorKind): DeleteOutcome => ({
  outcome: 'failed',
  error: new BackendError(kind, 'a', `answered: ${kind}`),
});

test.each(['unavailable', 'denied', 'rejected', 'timeout', 'unsupported', 'no-bucket'] as const)(
  'one key whose deletion always ends as "%s" is dead after ten attempts, and the other nineteen are gone in the first tick',
  async (kind) => {
    const { fleet, poison, real } = await withPoison();
    fleet.backends.a!.delete = async (requests) => {
      const outcomes = await real(requests.filter(({ storageKey }) => storageKey !== poison));
      const left = [...outcomes];
      return requests.map(({ storageKey }) => (storageKey === poison ? failure(kind) : left.shift()!));
    };
    await fleet.tick('cleanup-queue');
    expect(fleet.keysOn('a')).toEqual([poison]);
    expect(fleet.queue()).toMatchObject([{ storageKey: poison, attempts: 1, state: 'cleanup' }]);
    for (let attempt = 2; attempt <= 10; attempt += 1) {
      fleet.clock.advance(25 * hourMs);
      await fleet.tick('cleanup-queue');
    }
    expect(fleet.queue()).toMatchObject([{ attempts: 10, state: 'dead', lastError: `${kind}: answered: ${kind}` }]);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test.each(['unsupported', 'rejected', 'timeout', 'unavailable', 'denied'] as const)(
  'a request that names many keys and ends as "%s" is sent again key by key, and the one that is refused is an attempt',
  async (kind) => {
    const { fleet, poison, real } = await withPoison();
    fleet.backends.a!.delete = async (requests) => {
      const isPoisoned = requests.some(({ storageKey }) => storageKey === poison);
      if (requests.length > 1) return requests.map(() => ({ ...failure(kind), outcome: 'unsettled' }) as DeleteOutcome);
      return isPoisoned ? [failure(kind)] : real(requests);
    };
    await fleet.tick('cleanup-queue');
    expect(fleet.keysOn('a')).toEqual([poison]);
    expect(fleet.queue()).toMatchObject([{ storageKey: poison, attempts: 1 }]);
  },
);

test('a backend that answers everything with an error costs no item an attempt', async () => {
  const fleet = await withDeleted(20);
  fleet.before = ({ port }) => {
    if (port === 'a') throw new BackendError('unavailable', 'a', 'Internal Error');
  };
  await fleet.tick('cleanup-queue');
  expect(new Set(fleet.queue().map(({ attempts }) => attempts))).toEqual(new Set([0]));
  expect(fleet.keysOn('a')).toHaveLength(20);
});

test('a backend that stops answering between the owner object and the deletion costs no item an attempt', async () => {
  const fleet = await withDeleted(20);
  let isGone = false;
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'delete') isGone = true;
    if (port === 'a' && isGone) throw new BackendError('unavailable', 'a', 'Internal Error');
  };
  await fleet.tick('cleanup-queue');
  expect(fleet.queue().map(({ attempts }) => attempts)).toEqual(Array(20).fill(0));
});

test('a right to delete that is missing is said once, however many items it costs an attempt', async () => {
  const fleet = await withDeleted(20);
  fleet.backends.a!.delete = async (requests) => requests.map(() => failure('denied'));
  const report = await fleet.tick('cleanup-queue');
  expect(report).toMatchObject({ outcome: 'error', message: expect.stringContaining('lack the right to delete') });
  expect(fleet.queue().map(({ attempts }) => attempts)).toEqual(Array(20).fill(1));
});

test('uploads that may not be listed cost their item an attempt: its bytes go, and so does everything beside it', async () => {
  const fleet = await withDeleted(10);
  const bytes = { key: 'big', generation: 'g', sizeBytes: 1 };
  fleet.backends.a!.putNow('big!01ARZ3NDEKTSV4RRFFQ69G5FAV', Buffer.from('x'));
  const item = newQueueItem({
    ...bytes,
    state: 'cleanup',
    backend: 'a',
    storageKey: 'big!01ARZ3NDEKTSV4RRFFQ69G5FAV',
    createdAt: 0,
    dueAt: 0,
    cause: 'copy-abandoned',
    transfer: { from: 'b', uploadId: 'u', partSizeBytes: 1, partsDone: 0, hashState: '' },
  });
  fleet.store.apply([{ kind: 'queue', put: item, expect: 'absent' }]);
  fleet.backends.a!.openUploads = async () => {
    throw new BackendError('denied', 'a', 'ListMultipartUploads is denied');
  };
  await fleet.tick('cleanup-queue');
  expect(fleet.keysOn('a')).toEqual([]);
  expect(fleet.queue()).toMatchObject([{ key: 'big', attempts: 1, lastError: expect.stringContaining('denied') }]);
});

test('quarantined bytes that cannot be read on day seven stay while no recorded copy verifies, and go once one does [quarantine-a-week]', async () => {
  const fleet = await createTestFleet();
  await withQuarantined(fleet);
  const [{ storageKey: waiting } = { storageKey: '' }] = fleet.queue();
  fleet.clock.advance(7 * 24 * hourMs + 60_000);
  const unreadable = ['a', 'b', 'c'];
  fleet.before = ({ port, method, args }) => {
    const isOwner = String(args[0]).startsWith('.holdfast/');
    if (method === 'get' && unreadable.includes(port) && !isOwner)
      throw new BackendError('denied', port, 'Access Denied');
  };
  for (let day = 0; day < 10; day += 1) {
    await fleet.tick('cleanup-queue');
    fleet.clock.advance(25 * hourMs);
  }
  expect(fleet.keysOn('a')).toContain(waiting);
  expect(fleet.queue()).toMatchObject([{ state: 'cleanup', attempts: 0 }]);
  unreadable.splice(1, 1);
  for (let day = 0; day < 3; day += 1) {
    await fleet.tick('cleanup-queue');
    fleet.clock.advance(25 * hourMs);
  }
  expect(fleet.keysOn('a')).not.toContain(waiting);
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('quarantined bytes that are good take the place of a copy there that is not, while nothing else is good', async () => {
  const fleet = await createTestFleet();
  await withQuarantined(fleet);
  const [{ storageKey: good } = { storageKey: '' }] = fleet.queue();
  await fleet.settle(['replicator'], 3);
  const { copies } = fleet.object('k');
  for (const [name, copyId] of Object.entries(copies)) fleet.backends[name]!.putNow(`k!${copyId}`, Buffer.from('?'));
  fleet.clock.advance(7 * 24 * hourMs + 60_000);
  await fleet.settle(['cleanup-queue'], 5);
  expect(`k!${fleet.object('k').copies.a}`).toBe(good);
  expect(await fleet.read('k')).toBe('v');
  expect((await fleet.recount()).differences).toEqual([]);
});

test('bytes at a storage key that is the name of another object are not deleted while that object records them', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  const storage = 'k!01ARZ3NDEKTSV4RRFFQ69G5FAV';
  const { etag } = fleet.backends.a!.putNow(storage, Buffer.from('theirs'));
  const record = recordOfFile(storage, etag);
  const item = newQueueItem({
    key: 'k',
    generation: 'old',
    sizeBytes: 6,
    state: 'cleanup',
    backend: 'a',
    storageKey: storage,
    createdAt: 0,
    dueAt: 0,
    cause: 'quarantined',
  });
  fleet.store.apply([
    { kind: 'object', put: { ...record, rev: 1 }, expect: 'absent' },
    { kind: 'queue', put: item, expect: 'absent' },
    { kind: 'add', pk: 'fleet', sk: 'queue/cleanup/a#0', add: { objects: 1, bytes: 6 } },
  ]);
  await fleet.tick('cleanup-queue');
  expect(fleet.backends.a!.peek(storage)?.bytes.toString()).toBe('theirs');
  expect(fleet.queue()).toEqual([]);
  expect(fleet.logs.filter(({ alarm }) => alarm === true)).toMatchObject([{ storageKey: storage }]);
});

/** Of an imported file of six bytes on `a`. */
const recordOfFile = (key: string, etag: string) =>
  newRecord({
    key,
    generation: 'g',
    sizeBytes: 6,
    createdAt: 0,
    copies: { a: '' },
    policy: 'default',
    plainEtags: { a: etag },
  });

/** A file that was imported and whose object was deleted: due to be deleted itself, remembered by a tombstone. */
async function withDeletedFile() {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  const { etag } = fleet.backends.a!.putNow('file', Buffer.from('theirs'));
  const record = recordOfFile('file', etag);
  fleet.store.apply([
    { kind: 'object', put: { ...record, rev: 1 }, expect: 'absent' },
    { kind: 'add', pk: 'fleet', sk: 'placement/default/a*#0', add: { objects: 1, bytes: 6 } },
    { kind: 'add', pk: 'fleet', sk: 'used/a#0', add: { objects: 0, bytes: 6 } },
  ]);
  await fleet.client.delete('file');
  expect(fleet.entry('file')).toMatchObject({ kind: 'tombstone', plainEtags: { a: etag } });
  expect(fleet.entry('file')).not.toHaveProperty('ttl');
  return fleet;
}

test('a file goes with its object, and then nothing remembers it: its tombstone ends', async () => {
  const fleet = await withDeletedFile();
  fleet.clock.advance(hourMs);
  await fleet.tick('cleanup-queue');
  expect(fleet.keysOn('a')).toEqual([]);
  expect(fleet.queue()).toEqual([]);
  const entry = fleet.entry('file');
  expect(entry).toMatchObject({ kind: 'tombstone', ttl: expect.any(Number) });
  expect(entry).not.toHaveProperty('plainEtags');
  expect((await fleet.recount()).differences).toEqual([]);
});

test('the same file, uploaded again after its object was deleted, is left alone and reported [foreign-files-stay]', async () => {
  const fleet = await withDeletedFile();
  fleet.clock.advance(60_000);
  fleet.backends.a!.putNow('file', Buffer.from('theirs'));
  fleet.clock.advance(hourMs);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ reasons: { 'plain-file-left-newer-than-item': 1 } });
  expect(fleet.keysOn('a')).toEqual(['file']);
  expect(fleet.queue()).toEqual([]);
});

test('a file of which the backend does not say when it was written is left alone and reported', async () => {
  const fleet = await withDeletedFile();
  const { head } = fleet.backends.a!;
  fleet.backends.a!.head = async (key, signal) => {
    const found = await head(key, signal);
    if (found === null || key !== 'file') return found;
    const { lastModified: _, ...rest } = found;
    return rest;
  };
  fleet.clock.advance(hourMs);
  await fleet.tick('cleanup-queue');
  expect(fleet.keysOn('a')).toEqual(['file']);
  expect(fleet.logs.filter(({ level }) => level === 'warn')).toMatchObject([{ storageKey: 'file' }]);
});

test('a file that its owner has deleted, under a delete marker, is gone: its item ends, and what lies below is not touched', async () => {
  const fleet = await withDeletedFile();
  const { head } = fleet.backends.a!;
  fleet.backends.a!.head = async (key, signal) => {
    if (key === 'file') throw new BackendError('delete-marker', 'a', 'it has a delete marker');
    return head(key, signal);
  };
  const deleted: string[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'delete') deleted.push(JSON.stringify(args[0]));
  };
  fleet.clock.advance(hourMs);
  await fleet.tick('cleanup-queue');
  expect(fleet.queue()).toEqual([]);
  expect(deleted).toEqual([]);
  expect(fleet.entry('file')).not.toHaveProperty('plainEtags');
});

test('a file whose bucket is missing for a moment is still remembered: nothing was found out about it', async () => {
  const fleet = await withDeletedFile();
  fleet.clock.advance(hourMs);
  const { head } = fleet.backends.a!;
  let isMissing = false;
  fleet.backends.a!.head = async (key, signal) => {
    if (key === 'file') isMissing = true;
    return isMissing ? null : head(key, signal);
  };
  await fleet.tick('cleanup-queue');
  expect(fleet.entry('file')).toHaveProperty('plainEtags');
  expect(fleet.queue()).toMatchObject([{ storageKey: 'file', state: 'cleanup', attempts: 0 }]);
});

test('an item of a drain that has ended deletes nothing', async () => {
  const fleet = await withDeletedFile();
  const [item] = fleet.queue();
  const of = { ...item!, cause: 'drained', drainSince: 5 } as const;
  fleet.store.apply([{ kind: 'queue', put: of, expect: { state: 'cleanup' } }]);
  fleet.clock.advance(hourMs);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ reasons: { 'drain-over': 1 } });
  expect(fleet.keysOn('a')).toEqual(['file']);
  expect(fleet.queue()).toEqual([]);
});

test('what counted the removals of past days ends, yesterday’s and today’s counts stay', async () => {
  const fleet = await withDeleted(1);
  const day = (ago: number) => new Date(fleet.clock.now() - ago * 24 * hourMs).toISOString().slice(0, 10);
  const rows = [0, 1, 2, 30].map((ago) => `removals/a/${day(ago)}`);
  fleet.store.apply(rows.map((sk) => ({ kind: 'add', pk: 'fleet', sk, add: { objects: 3, bytes: 9 } }) as const));
  await fleet.tick('cleanup-queue');
  const left = fleet.store.allCounters().flatMap(({ sk }) => (sk.startsWith('removals/') ? [sk] : []));
  expect(left.sort()).toEqual(rows.slice(0, 2).sort());
});

test('a deletion is not begun under a claim that is about to end [cleanup-claims]', async () => {
  const fleet = await withDeleted(3);
  const stored = fleet.keysOn('a');
  let isFirst = true;
  // The tick is frozen between its claims and the deletion.
  fleet.before = ({ port, method }) => {
    if (port === 'store' && method === 'objects' && isFirst) {
      isFirst = false;
      fleet.clock.advance(200_000);
    }
  };
  await fleet.tick('cleanup-queue');
  expect(fleet.keysOn('a')).toEqual(stored);
  expect(fleet.queue().map(({ attempts }) => attempts)).toEqual([0, 0, 0]);
});

/** Somebody claims the item of quarantined bytes and falls silent, and all recorded copies rot. Returns the item. */
function claimAndRot(fleet: TestFleet) {
  const item = fleet.queue()[0]!;
  const claimed = { ...item, claimedBy: 'frozen', claimedAt: 0 };
  fleet.store.apply([{ kind: 'queue', put: claimed, expect: { state: 'cleanup' } }]);
  const rotten = Object.entries(fleet.object('k').copies);
  for (const [name, copyId] of rotten) fleet.backends[name]!.putNow(`k!${copyId}`, Buffer.from('?'));
  return item;
}

test('quarantined bytes that are good, and that somebody claimed once, come back under a fresh key, and go only then', async () => {
  const fleet = await createTestFleet();
  await withQuarantined(fleet);
  const item = claimAndRot(fleet);
  fleet.clock.advance(7 * 24 * hourMs + 60_000);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ reasons: { 'copied-to-a-fresh-key': 1 } });
  // Nobody begins a second copy while the first one is under way.
  fleet.clock.advance(2 * hourMs);
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ reasons: { 'copy-under-way': 1 } });
  await fleet.settle(['replicator'], 5);
  const { copies, condition } = fleet.object('k');
  expect(condition).toBe('sound');
  expect(`k!${copies.a}`).not.toBe(item!.storageKey);
  expect(fleet.backends.a!.peek(`k!${copies.a}`)?.bytes.toString()).toBe('v');
  expect(await fleet.read('k')).toBe('v');
  fleet.clock.advance(2 * hourMs);
  await fleet.settle(['cleanup-queue'], 5);
  expect(fleet.keysOn('a')).not.toContain(item!.storageKey);
  expect(fleet.object('k').copies.a).toBe(copies.a);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('good bytes on their way to a fresh key on a backend that drains are copied to another', async () => {
  const backends = ['a', 'b', 'c', 'd'];
  const fleet = await createTestFleet({ backends });
  await withQuarantined(fleet);
  await fleet.apply({ backends, policies: { default: { factor: 3 } } });
  const item = claimAndRot(fleet);
  fleet.clock.advance(7 * 24 * hourMs + 60_000);
  await fleet.tick('cleanup-queue');
  const transfer = fleet.queue().find(({ state }) => state === 'transfer')!;
  const drain = { since: fleet.clock.now(), isClosed: true };
  const put = { pk: 'fleet', sk: `drain/${transfer.backend}`, version: 1, data: drain };
  fleet.store.apply([{ kind: 'row', put, expect: 'absent' }]);
  fleet.clock.advance(60_000);
  expect(await fleet.tick('replicator')).toMatchObject({ reasons: { 'abandoned-target-not-counted': 1 } });
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('cleanup-queue');
  expect(fleet.queue()).toContainEqual(expect.objectContaining({ id: item!.id }));
  const next = fleet.queue().find(({ state }) => state === 'transfer');
  expect(next?.backend).toEqual(expect.not.stringMatching(`^${transfer.backend}$`));
  await fleet.tick('replicator');
  const { copies, condition } = fleet.object('k');
  expect(condition).toBe('sound');
  expect(fleet.backends[next!.backend]!.peek(`k!${copies[next!.backend]}`)?.bytes.toString()).toBe('v');
  expect(await fleet.read('k')).toBe('v');
});

test('a thousand deletions of one backend are one request, with the default batch', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  const items = Array.from({ length: 1_000 }, (_, i) => {
    const storageKey = `k${i}!01ARZ3NDEKTSV4RRFFQ69G5FAV`;
    fleet.backends.a!.putNow(storageKey, Buffer.from('x'));
    const item = { key: `k${i}`, generation: 'old', sizeBytes: 1, createdAt: 0, dueAt: 0 } as const;
    return newQueueItem({ ...item, state: 'cleanup', backend: 'a', storageKey, cause: 'deleted' });
  });
  const deps = { store: fleet.store, clock: fleet.clock, ids: fleet.ids, stripes: 8, quotaOf: () => 0 };
  const swaps = items.map((item) => ({ key: item.key, enqueuesDeletes: [item] }));
  await commit(deps, swaps, fleet.clock.now() + 60_000);
  const asked: number[] = [];
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'delete') asked.push((args[0] as readonly unknown[]).length);
  };
  expect(await fleet.tick('cleanup-queue')).toMatchObject({ outcome: 'success', succeeded: 1_000 });
  expect(asked).toEqual([1_000]);
  expect(fleet.keysOn('a')).toEqual([]);
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('quarantined bytes of an object that was brought back since are its own, and are judged as such [quarantine-a-week]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 2, deleteGraceHours: 24 } } });
  await withQuarantined(fleet);
  const [{ storageKey: waiting } = { storageKey: '' }] = fleet.queue();
  await fleet.client.delete('k');
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'get') throw new BackendError('unavailable', 'a', 'not now');
  };
  await fleet.client.undelete('k');
  fleet.before = undefined;
  expect(fleet.object('k').copies.a).toBeUndefined();
  for (const [name, copyId] of Object.entries(fleet.object('k').copies))
    fleet.backends[name]!.putNow(`k!${copyId}`, Buffer.from('?'));
  fleet.clock.advance(7 * 24 * hourMs + 60_000);
  await fleet.tick('cleanup-queue');
  expect(fleet.keysOn('a')).toContain(waiting);
  expect(await fleet.read('k')).toBe('v');
});
