import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

async function filled(objects: number, env: Record<string, string> = {}): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env });
  for (let i = 0; i < objects; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.tick('replicator');
  return fleet;
}

/** Counts full reads of copies, by backend and storage key. */
function countReads(fleet: TestFleet): Map<string, number> {
  const reads = new Map<string, number>();
  fleet.before = ({ port, method, args }) => {
    if (method === 'get' && port !== 'store')
      reads.set(`${port}/${args[0]}`, (reads.get(`${port}/${args[0]}`) ?? 0) + 1);
  };
  return reads;
}

test('scrubber verifies each of 1000 copies exactly once in 100 ticks of ten, and writes nothing for them [scrubber-cycle]', async () => {
  const fleet = await filled(500, { SCRUBBER_BATCH_SIZE: '10', SCRUBBER_ROUNDS: '1' });
  const reads = countReads(fleet);
  const before = fleet.store.snapshot();
  for (let ticks = 1; ticks <= 100; ticks += 1) {
    const report = await fleet.tick('scrubber');
    expect(report.figures.cycleProgress === 1).toBe(ticks === 100);
    fleet.clock.advance(hourMs);
  }
  expect((await fleet.tick('scrubber')).planned).toBe(0);
  expect(reads.size).toBe(1000);
  expect([...reads.values()].every((n) => n === 1)).toBe(true);
  expect([...fleet.store.allObjects()]).toEqual([...before.objects].map((o) => (Array.isArray(o) ? o[1] : o)));
});

test('a copy with wrong bytes is quarantined while another verifies, rebuilt, and its bytes are kept a week [scrubber-verdicts]', async () => {
  const fleet = await filled(3);
  const victim = fleet.keysOn('a')[0]!;
  const { metadata } = fleet.backends.a!.peek(victim)!;
  fleet.backends.a!.putNow(victim, Buffer.from('xx'), { metadata });
  await fleet.tick('scrubber');
  expect(fleet.queue()).toMatchObject([
    { storageKey: victim, reason: 'quarantined: wrong', dueAt: fleet.clock.now() + 7 * 24 * hourMs },
  ]);
  await fleet.tick('replicator');
  for (const i of [0, 1, 2]) expect(fleet.copiesOf(`k${i}`)).toEqual({ a: `v${i}`, b: `v${i}` });
  fleet.clock.advance(8 * 24 * hourMs);
  await fleet.tick('cleanup-queue');
  expect(fleet.queue()).toEqual([]);
  expect(fleet.keysOn('a')).toHaveLength(3);
  expect((await fleet.recount()).differences).toEqual([]);
});

test.each(['timeout', 'truncated', 'denied', 'no-bucket', 'throttled'] as const)(
  'one copy that answers %s neither stops the scrub cycle nor is quarantined',
  async (kind) => {
    const fleet = await filled(5);
    const bad = fleet.keysOn('a')[2]!;
    fleet.before = ({ port, method, args }) => {
      if (port === 'a' && method === 'get' && args[0] === bad) throw new BackendError(kind, 'a', 'no');
    };
    const report = await fleet.tick('scrubber');
    expect(report).toMatchObject({ outcome: 'partial', planned: 10, succeeded: 9, failed: 1 });
    expect(fleet.queue()).toEqual([]);
    expect(Object.keys(fleet.object('k0').copies)).toHaveLength(2);
  },
);

test('250 objects without a hash are backfilled in one scrub cycle, each copy read once', async () => {
  const fleet = await filled(250);
  for (const entry of [...fleet.store.allObjects()]) {
    if (entry.kind !== 'object') continue;
    const { sha256: _sha, ...unhashed } = entry;
    fleet.store.apply([{ kind: 'object', put: { ...unhashed, rev: entry.rev + 1 }, expect: entry }]);
  }
  const reads = countReads(fleet);
  for (let i = 0; i < 10; i += 1) await fleet.tick('scrubber');
  const objects = [...fleet.store.allObjects()].filter((e) => e.kind === 'object');
  expect(objects).toHaveLength(250);
  expect(objects.every((o) => o.kind === 'object' && o.sha256?.length === 64)).toBe(true);
  expect(reads.size).toBe(500);
  expect([...reads.values()].every((n) => n === 1)).toBe(true);
});

test('damage is lifted when a copy verifies again', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  const key = fleet.keysOn('a')[0]!;
  const { bytes, metadata } = fleet.backends.a!.peek(key)!;
  fleet.backends.a!.putNow(key, Buffer.from('x'), { metadata });
  await fleet.tick('scrubber');
  expect(fleet.object('k').condition).toBe('damaged');
  expect((await fleet.recount()).differences).toEqual([]);
  fleet.backends.a!.putNow(key, bytes, { metadata });
  fleet.clock.advance(31 * 24 * hourMs);
  await fleet.tick('scrubber');
  expect(fleet.object('k').condition).toBe('sound');
  expect(await fleet.read('k')).toBe('v');
});

test('a copy that was read wrong once is read again before a missing one makes its object damaged', async () => {
  const fleet = await filled(1, { SCRUBBER_CYCLE_DAYS: '1' });
  const [kept, lost] = [fleet.keysOn('b')[0]!, fleet.keysOn('a')[0]!];
  const { bytes, metadata } = fleet.backends.b!.peek(kept)!;
  fleet.backends.b!.putNow(kept, Buffer.from('xx'), { metadata });
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'get' && args[0] === lost) throw new BackendError('timeout', 'a', 'no');
  };
  await fleet.tick('scrubber');
  expect(fleet.object('k0')).toMatchObject({
    condition: 'sound',
    copies: { a: expect.anything(), b: expect.anything() },
  });

  fleet.before = () => {};
  fleet.backends.b!.putNow(kept, bytes, { metadata });
  fleet.backends.a!.deleteNow(lost);
  fleet.clock.advance(26 * hourMs);
  await fleet.tick('scrubber');
  expect(fleet.queue()).toMatchObject([{ storageKey: lost, reason: 'quarantined: missing' }]);
  expect(fleet.object('k0').condition).toBe('sound');
  await fleet.tick('replicator');
  expect(fleet.copiesOf('k0')).toEqual({ a: 'v0', b: 'v0' });
});

test('two copies that read wrong make their object damaged, and both stay', async () => {
  const fleet = await filled(1);
  for (const name of ['a', 'b'] as const) {
    const key = fleet.keysOn(name)[0]!;
    const { metadata } = fleet.backends[name]!.peek(key)!;
    fleet.backends[name]!.putNow(key, Buffer.from('xx'), { metadata });
  }
  const reads = countReads(fleet);
  await fleet.tick('scrubber');
  expect(fleet.object('k0').condition).toBe('damaged');
  const readBefore = [...reads.values()].reduce((sum, n) => sum + n, 0);
  fleet.clock.advance(26 * hourMs);
  await fleet.tick('reconciler');
  // What was said once is not found out again by everybody who meets it.
  expect([...reads.values()].reduce((sum, n) => sum + n, 0)).toBe(readBefore);
  expect(Object.keys(fleet.object('k0').copies).sort()).toEqual(['a', 'b']);
  expect(fleet.queue()).toEqual([]);
});

test('a renamed policy relabels every object, and nothing is removed [scrubber-relabels]', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    policies: { default: { factor: 1 }, old: { prefix: 'x/', factor: 2 } },
  });
  for (let i = 0; i < 10; i += 1) await fleet.client.put(`x/${i}`, 'v');
  await fleet.tick('replicator');
  await fleet.apply({
    backends: ['a', 'b'],
    policies: { default: { factor: 1 }, renamed: { prefix: 'x/', factor: 2 } },
  });
  await fleet.tick('scrubber');
  for (let i = 0; i < 10; i += 1) expect(fleet.object(`x/${i}`)).toMatchObject({ policy: 'renamed' });
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('more than the removal limit allows is not quarantined in a day [removal-limit]', async () => {
  const fleet = await filled(100, { REMOVAL_LIMIT_MIN_COUNT: '3', REMOVAL_LIMIT_RATIO: '0.05' });
  for (const key of fleet.keysOn('a')) fleet.backends.a!.deleteNow(key);
  await fleet.tick('scrubber');
  expect(fleet.queue()).toHaveLength(5);
  expect(fleet.logs.some((line) => line.alarm === true && line.sentence.startsWith('Removal limit reached'))).toBe(
    true,
  );
});

test('an attested hash verifies without a download, and a wrong one does not [scrubber-attests]', async () => {
  const fleet = await filled(2, { SCRUB_ATTEST: 'true' });
  const reads = countReads(fleet);
  await fleet.tick('scrubber');
  expect(reads.size).toBe(fleet.backends.a!.peek(fleet.keysOn('a')[0]!)!.sha256 === undefined ? 4 : 0);
});

test('a copy that moves during the scrub cycle is not missed: it is read where it is when the scrub cycle comes by', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b', 'c'],
    policies: { default: { factor: 2 }, wide: { prefix: 'wide', factor: 3 } },
    env: { SCRUBBER_BATCH_SIZE: '10', SCRUBBER_ROUNDS: '1' },
  });
  for (let i = 0; i < 100; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.client.put('wide', 'on c from the beginning');
  for (let i = 0; i < 3; i += 1) await fleet.tick('replicator');
  const reads = countReads(fleet);
  for (let i = 0; i < 10; i += 1) await fleet.tick('scrubber');
  const halfway = fleet.before;
  fleet.before = undefined;
  const moved = new Map<string, string>();
  for (let i = 0; i < 100; i += 1) {
    const object = fleet.object(`k${i}`);
    const copyId = fleet.ids.ulid();
    const bytes = fleet.backends.b!.peek(`k${i}!${object.copies.b}`)!.bytes;
    fleet.backends.c!.putNow(`k${i}!${copyId}`, bytes);
    const after = { ...object, rev: object.rev + 1, copies: { a: object.copies.a!, c: copyId } };
    fleet.store.apply([{ kind: 'object', put: after, expect: object }]);
    moved.set(`k${i}`, `c/k${i}!${copyId}`);
  }
  fleet.before = halfway;
  const readBefore = new Set([...reads.keys()].map((place) => place.replace(/^.*\/(k\d+)!.*$/, '$1')));
  expect(readBefore.size).toBeGreaterThan(20);
  expect(readBefore.size).toBeLessThan(80);
  for (let i = 0; i < 30; i += 1) await fleet.tick('scrubber');
  for (const [key, place] of moved) expect(reads.get(place) ?? 0).toBe(readBefore.has(key) ? 0 : 1);
  expect(fleet.queue()).toEqual([]);
});

test('a copy that another hand takes away while the scrubber examines its sibling is passed over', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 3 } } });
  await fleet.client.put('k', 'content');
  await fleet.tick('replicator');
  const victim = fleet.keysOn('a')[0]!;
  fleet.backends.a!.putNow(victim, Buffer.from('CONTENT'), { metadata: fleet.backends.a!.peek(victim)!.metadata });
  let reads = 0;
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'get') return;
    reads += 1;
    if (reads !== 2) return;
    const { c: _c, ...copies } = fleet.object('k').copies;
    const before = fleet.object('k');
    fleet.store.apply([{ kind: 'object', put: { ...before, rev: before.rev + 1, copies }, expect: before }]);
  };
  const report = await fleet.tick('scrubber');
  expect(report.reasons).toMatchObject({ good: 1, lost: 2 });
  expect(Object.keys(fleet.object('k').copies)).toHaveLength(2);
});

test('a record that changes while a first hash is noted still has its other copies read [scrubber-cycle]', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b', 'c'],
    policies: { default: { factor: 2 } },
    env: { RECONCILER_IMPORT: 'true', RECONCILER_MIN_AGE_SECONDS: '0' },
  });
  for (const name of ['a', 'b']) fleet.backends[name]!.putNow('k', Buffer.from('content'));
  fleet.clock.advance(3_600_000);
  await fleet.tick('reconciler');
  expect(fleet.object('k')).toMatchObject({ copies: { a: '', b: '' } });
  const read: string[] = [];
  let isChanged = false;
  fleet.after = ({ port, method }) => void (method === 'get' && read.push(port));
  fleet.before = async ({ port, method, args }) => {
    if (isChanged || port !== 'store' || method !== 'transact' || !JSON.stringify(args[0]).includes('"k"')) return;
    isChanged = true;
    // Another hand notes something of the same content first.
    const entry = fleet.object('k');
    const put = { ...entry, rev: entry.rev + 1, stuck: {} };
    fleet.store.apply([{ kind: 'object', put, expect: { generation: entry.generation, rev: entry.rev } }]);
  };
  await fleet.tick('scrubber');
  expect(isChanged).toBe(true);
  expect(read).toEqual(['a', 'b']);
});
