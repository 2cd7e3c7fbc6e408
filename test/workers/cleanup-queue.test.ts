import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

test('cleanup queue deletes replaced and deleted bytes after the grace, not before, and the ledger follows', async () => {
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

test('a delayed delete after the key was put again on the same backend leaves the new bytes alone', async () => {
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

test('bytes that a record names are dropped from the queue with an alarm, never deleted', async () => {
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

test('a backend down for nine hours leaves attempts unchanged and nothing dead, while other deletes go on', async () => {
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

test('ten real failures make an item dead, still charged, and a requeue works', async () => {
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
