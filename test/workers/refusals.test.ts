import { expect, test } from 'vitest';
import { BackendError, type BackendErrorKind } from '../../lib/fleet/backend.ts';
import { shardOf } from '../../lib/store/keys.ts';
import { createTestFleet, type TestFleet, type TestFleetOptions } from '../support/fleet.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** The object whose bytes a call would write, small or big; undefined for any other call. */
function writes({ method, args }: { method: string; args: readonly unknown[] }): string | undefined {
  if (method !== 'put' && method !== 'createUpload') return undefined;
  const { storageKey } = args[0] as { storageKey: string };
  return storageKey.startsWith('.holdfast/') ? undefined : storageKey.split('!')[0];
}

/** Makes targets refuse objects, for as long as the set says. Everything else goes on. */
function refuse(
  fleet: TestFleet,
  targets: readonly string[],
  keys: ReadonlySet<string>,
  kind: BackendErrorKind = 'rejected',
): void {
  fleet.before = (call) => {
    const key = writes(call);
    if (key !== undefined && targets.includes(call.port) && keys.has(key))
      throw new BackendError(kind, call.port, `Cannot write "${key}" on "${call.port}": it was refused`);
  };
}

function copyCounts(fleet: TestFleet, keys: Iterable<string>): number[] {
  return [...keys].map((key) => Object.keys(fleet.object(key).copies).length);
}

async function ticks(fleet: TestFleet, count: number, everyMs = 5 * minuteMs) {
  const reports = [];
  for (let i = 0; i < count; i += 1) {
    reports.push(await fleet.tick('replicator'));
    fleet.clock.advance(everyMs);
  }
  return reports;
}

const allKeys = Array.from({ length: 400 }, (_, i) => `k${i}`);
/** In the order in which the replicator meets them. */
const inOrder = [...allKeys].sort((a, b) => (shardOf(a) + a < shardOf(b) + b ? -1 : 1));
const places: Record<string, readonly string[]> = {
  'at random places': allKeys.filter((_, i) => (i * 7919) % 4 === 0),
  'in one cluster': inOrder.slice(150, 250),
  'all first in the order': inOrder.slice(0, 100),
};

const kinds = ['rejected', 'unavailable'] as const;

test.each(Object.keys(places).flatMap((where) => kinds.map((kind) => [kind, where] as const)))(
  'of 400 objects 100 that every target refuses (%s), %s, cost the other 300 nothing',
  async (kind, where) => {
    const fleet = await createTestFleet();
    for (const key of allKeys) await fleet.client.put(key, 'v');
    const refused = new Set(places[where]);
    refuse(fleet, ['b', 'c'], refused, kind);
    await ticks(fleet, 2);
    expect(
      copyCounts(
        fleet,
        allKeys.filter((key) => !refused.has(key)),
      ),
    ).toEqual(Array(300).fill(2));
    for (const key of refused) {
      const { condition, stuck, copies } = fleet.object(key);
      expect(condition).toBe('stuck');
      expect(Object.keys(copies)).toEqual(['a']);
      expect(stuck).toMatchObject({ b: { leg: 'target', cause: kind }, c: { leg: 'target', cause: kind } });
    }
    expect((await fleet.recount()).differences).toEqual([]);
    // Lifted: each within its backoff.
    fleet.before = undefined;
    await ticks(fleet, 8);
    expect(copyCounts(fleet, allKeys)).toEqual(Array(400).fill(2));
    expect(
      allKeys.filter((key) => fleet.object(key).condition !== 'sound' || fleet.object(key).stuck !== undefined),
    ).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test('a target that refuses everything costs ten objects of reading, then none while it is left alone, and nothing is stuck [targets-trusted-slowly]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  for (const key of allKeys) await fleet.client.put(key, 'v');
  let reads = 0;
  const asked: number[] = [];
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'get') reads += 1;
    if (port !== 'b' || method !== 'put') return;
    asked.push(fleet.clock.now());
    throw new BackendError('denied', 'b', 'Cannot write on "b": 403 AccessDenied');
  };
  const first = await fleet.tick('replicator');
  expect(reads).toBeLessThanOrEqual(10);
  expect(first).toMatchObject({ outcome: 'error', message: expect.stringContaining('Backend "b" takes no writes') });
  const before = reads;
  const later = await ticks(fleet, 48, 15 * minuteMs);
  // Tried again by a few bytes of ours alone, less and less often.
  expect(reads).toBe(before);
  expect(later.every(({ outcome, message }) => outcome === 'error' && message?.includes('"b" takes no writes'))).toBe(
    true,
  );
  const tries = asked.filter((at) => at > asked[0]! + minuteMs);
  expect(tries.length).toBeLessThan(10);
  expect(allKeys.map((key) => fleet.object(key).condition)).toEqual(Array(400).fill('sound'));
  expect(allKeys.some((key) => fleet.object(key).stuck !== undefined)).toBe(false);
  fleet.before = undefined;
  await ticks(fleet, 13, 30 * minuteMs);
  expect(copyCounts(fleet, allKeys)).toEqual(Array(400).fill(2));
  expect((await fleet.tick('replicator')).outcome).toBe('empty');
});

test('a target that refuses all objects but takes a few bytes of ours makes them stuck, ten at a time', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  const keys = allKeys.slice(0, 40);
  for (const key of keys) await fleet.client.put(key, 'v');
  refuse(fleet, ['b'], new Set(keys));
  await fleet.tick('replicator');
  expect(keys.map((key) => fleet.object(key).condition)).toEqual(Array(40).fill('stuck'));
});

const unwilling: Record<string, Partial<TestFleetOptions> & { hook?: (fleet: TestFleet) => void }> = {
  down: {
    backends: ['a', 'b', 'c'],
    hook: (fleet) => {
      const { before } = fleet;
      fleet.before = (call) => {
        if (call.port === 'c') throw new BackendError('unavailable', 'c', 'Backend "c" refused the connection');
        return before?.(call);
      };
    },
  },
  full: { backends: ['a', 'b', { name: 'c', quotaBytes: 1 }] },
  'over its limit': { backends: ['a', 'b', { name: 'c', limits: { ingressBytes: 1 } }] },
};

test.each(Object.keys(unwilling))(
  'a target that is %s makes nothing stuck, and one that refuses is asked again only after its backoff',
  async (state) => {
    const { backends, hook } = unwilling[state]!;
    const fleet = await createTestFleet({ backends: backends! });
    await fleet.client.put('k', 'value');
    let reads = 0;
    fleet.before = (call) => {
      if (call.port === 'a' && call.method === 'get' && !String(call.args[0]).startsWith('.holdfast')) reads += 1;
      if (call.port === 'b' && writes(call) === 'k') throw new BackendError('rejected', 'b', 'Cannot write "k" on "b"');
    };
    hook?.(fleet);
    await ticks(fleet, 3 * 12);
    const { condition, stuck, copies } = fleet.object('k');
    expect({ condition, copies: Object.keys(copies) }).toEqual({ condition: 'sound', copies: ['a'] });
    expect(stuck).toMatchObject({ b: { cause: 'rejected', attempts: expect.any(Number) } });
    // 5, 10, 20, 40, 80 minutes.
    expect(reads).toBeLessThanOrEqual(7);
  },
);

test('an object that a target refuses goes to another in the same tick, and nothing of it is kept [replicator-failures]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  refuse(fleet, ['b'], new Set(['k']));
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', succeeded: 1 });
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', c: 'v' });
  expect(fleet.object('k').condition).toBe('sound');
});

/** An object that every target refuses. */
async function stuckFleet(options: TestFleetOptions = {}): Promise<TestFleet> {
  const fleet = await createTestFleet(options);
  await fleet.client.put('k', 'v');
  refuse(fleet, ['b', 'c', 'd'], new Set(['k']));
  await fleet.tick('replicator');
  expect(fleet.object('k').condition).toBe('stuck');
  return fleet;
}

test('a put makes a stuck object one that is stuck no more', async () => {
  const fleet = await stuckFleet();
  await fleet.client.put('k', 'other');
  expect(fleet.object('k')).toMatchObject({ condition: 'sound' });
  expect(fleet.object('k').stuck).toBeUndefined();
  fleet.before = undefined;
  await fleet.tick('replicator');
  expect(fleet.copiesOf('k')).toEqual({ a: 'other', b: 'other' });
});

test('a stuck object that has enough copies by the fleet file now is stuck no more', async () => {
  const fleet = await stuckFleet();
  await fleet.apply({ policies: { default: { factor: 1 } } });
  await fleet.tick('replicator');
  expect(fleet.object('k').condition).toBe('sound');
  expect(fleet.object('k').stuck).toBeUndefined();
  expect((await fleet.tick('replicator')).outcome).toBe('empty');
});

test('a new fleet file gives a stuck object another chance at once', async () => {
  const fleet = await stuckFleet();
  await fleet.apply({ backends: ['a', 'b', 'c', 'e'] });
  expect(await fleet.tick('replicator')).toMatchObject({ succeeded: 1 });
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', e: 'v' });
  expect(fleet.object('k')).toMatchObject({ condition: 'sound' });
});

test('a target that was lost from the file when the others refused is tried as soon as it is back', async () => {
  const fleet = await stuckFleet({ backends: ['a', 'b', 'c'] });
  fleet.before = undefined;
  await fleet.apply({ backends: ['a', 'b', 'c'], routing: 'spread' });
  await fleet.tick('replicator');
  expect(Object.keys(fleet.object('k').copies)).toHaveLength(2);
});

test('a damaged object stays under the label of damaged ones, and refusals of it are kept', async () => {
  const fleet = await stuckFleet();
  const [key] = fleet.keysOn('a');
  fleet.backends.a!.putNow(key!, Buffer.from('w'), fleet.backends.a!.peek(key!)!);
  await fleet.tick('scrubber');
  await fleet.tick('scrubber');
  expect(fleet.object('k').condition).toBe('damaged');
  await ticks(fleet, 12);
  expect(fleet.object('k').condition).toBe('damaged');
  expect((await fleet.recount()).differences).toEqual([]);
});

test('an object of which every copy refuses to be read is stuck; while one does not, it is copied from that', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 2 } } });
  await fleet.client.put('k', 'v');
  await fleet.tick('replicator');
  await fleet.apply({ policies: { default: { factor: 3 } } });
  const refusing = new Set(['a']);
  let reads = 0;
  fleet.before = ({ port, method, args }) => {
    if (method !== 'get' || !refusing.has(port) || !String(args[0]).startsWith('k!')) return;
    reads += 1;
    throw new BackendError('denied', port, `Cannot read "k" on "${port}": 403`);
  };
  await fleet.tick('replicator');
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v', c: 'v' });
  expect(fleet.object('k').condition).toBe('sound');
  await fleet.apply({ backends: ['a', 'b', 'c', 'd'], policies: { default: { factor: 4 } } });
  for (const name of ['b', 'c']) refusing.add(name);
  reads = 0;
  await ticks(fleet, 3);
  expect(fleet.object('k').condition).toBe('stuck');
  expect(Object.keys(fleet.object('k').stuck!).sort()).toEqual(['a', 'b', 'c']);
  expect(reads).toBeLessThanOrEqual(6);
  refusing.clear();
  await ticks(fleet, 4);
  expect(Object.keys(fleet.copiesOf('k'))).toHaveLength(4);
  expect(fleet.object('k')).toMatchObject({ condition: 'sound' });
});

test('what every target refuses has a share of each tick while others want copies too', async () => {
  const fleet = await createTestFleet({ env: { REPLICATOR_BATCH_SIZE: '16', REPLICATOR_ROUNDS: '1' } });
  const stuck = allKeys.slice(0, 20);
  for (const key of stuck) await fleet.client.put(key, 'v');
  refuse(fleet, ['b', 'c'], new Set(stuck));
  await ticks(fleet, 3);
  expect(stuck.map((key) => fleet.object(key).condition)).toEqual(Array(20).fill('stuck'));
  fleet.before = undefined;
  fleet.clock.advance(6 * hourMs);
  for (const key of allKeys.slice(100, 300)) await fleet.client.put(key, 'v');
  await ticks(fleet, 4, minuteMs);
  const lifted = stuck.filter((key) => fleet.object(key).condition === 'sound').length;
  expect(lifted).toBe(8);
});

test('a batch of one is a stuck object in every eighth round, whatever chance says, and from tick to tick', async () => {
  const fleet = await createTestFleet({ env: { REPLICATOR_BATCH_SIZE: '1', REPLICATOR_ROUNDS: '2' } });
  await fleet.client.put('stuck', 'v');
  refuse(fleet, ['b', 'c'], new Set(['stuck']));
  await ticks(fleet, 3);
  expect(fleet.object('stuck').condition).toBe('stuck');
  fleet.before = undefined;
  fleet.clock.advance(6 * hourMs);
  // Chance, asked, would never choose it.
  Object.assign(fleet.ids, { random: () => 0.99 });
  for (const key of allKeys.slice(100, 130)) await fleet.client.put(key, 'v');
  await ticks(fleet, 4, minuteMs);
  expect(copyCounts(fleet, ['stuck'])).toEqual([2]);
  expect(copyCounts(fleet, allKeys.slice(100, 130)).filter((copies) => copies > 1)).toHaveLength(7);
});

test('a batch of one is shared by turns, and a tick ends', async () => {
  const fleet = await createTestFleet({ env: { REPLICATOR_BATCH_SIZE: '1' } });
  for (const key of ['k', 'l', 'm']) await fleet.client.put(key, 'v');
  refuse(fleet, ['b', 'c'], new Set(['k', 'l']));
  await ticks(fleet, 3);
  expect(copyCounts(fleet, ['k', 'l', 'm'])).toEqual([1, 1, 2]);
  fleet.before = undefined;
  await ticks(fleet, 4);
  expect(copyCounts(fleet, ['k', 'l', 'm'])).toEqual([2, 2, 2]);
});
