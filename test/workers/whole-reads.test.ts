import { createHash } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { apply } from '../../lib/operations/apply.ts';
import { drain } from '../../lib/operations/drain.ts';
import { type PassProgress, runPass } from '../../lib/operations/run-pass.ts';
import { undrain } from '../../lib/operations/undrain.ts';
import type { QueueItem } from '../../lib/store/model.ts';
import { createUsageBook } from '../../lib/store/usage-book.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import type { TickEvent, TickReport } from '../../lib/tick/tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import { createTestFleet, type TestFleet, type TestFleetOptions } from '../support/fleet.ts';
import { allowSmallParts } from '../support/small-parts.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** A tick of 20 s reads for 16 to 18 of them. */
const bytesPerSecond = 100;
const sizeBytes = 40 * 16 * bytesPerSecond;
const content = Buffer.from(Array.from({ length: sizeBytes }, (_, i) => (i * 7 + (i >> 8)) % 251));

// Parts of a few bytes: what takes forty ticks with gigabytes takes forty ticks with these.
allowSmallParts();

interface Reads {
  /** Bytes read of each backend's objects. */
  readonly egress: Record<string, number>;
}

/** Counts the bytes that are read of objects. */
function countReads(fleet: TestFleet): Reads {
  const egress: Record<string, number> = {};
  for (const [name, backend] of Object.entries(fleet.backends)) {
    egress[name] = 0;
    const { get } = backend;
    backend.get = async (...args) => {
      const found = await get(...args);
      const { body } = found;
      const counted = async function* () {
        // In small chunks, as a network gives them: what is not asked for any more does not come.
        for await (const whole of body) {
          for (let at = 0; at < whole.length; at += 50) {
            const chunk = whole.subarray(at, at + 50);
            egress[name]! += chunk.length;
            yield chunk;
          }
        }
      };
      return { ...found, body: counted() };
    };
  }
  return { egress };
}

const names = ['a', 'b', 'c'];

/** A fleet with one object on two backends, both of which have become slow. `scale`: so many times as many bytes, as fast. */
async function slowFleet({
  scale = 1,
  ...options
}: TestFleetOptions & { readonly scale?: number } = {}): Promise<TestFleet> {
  const policies = options.policies ?? { default: { factor: 2 } };
  const fleet = await createTestFleet({ minPartBytes: 1, ...options, policies });
  await fleet.client.put('k', Buffer.alloc(scale * sizeBytes, content));
  await fleet.settle(['replicator'], 3);
  expect(Object.keys(fleet.object('k').copies).sort()).toEqual(['a', 'b']);
  Object.assign(fleet.env, { MULTIPART_ABOVE_BYTES: '1000', PART_BYTES: String(100 * scale) });
  await fleet.apply({ backends: names.map((name) => ({ name, maxBytesPerSecond: scale * bytesPerSecond })), policies });
  return fleet;
}

/** Short ticks of these workers, some minutes apart, until something is so. */
async function ticksUntil(
  fleet: TestFleet,
  turn: readonly WorkerName[],
  isSo: () => boolean,
  { most = 400, everyMs = 5 * 60_000 } = {},
): Promise<number> {
  for (let n = 1; n <= most; n += 1) {
    for (const name of turn) await fleet.tick(name, { deadline: fleet.clock.now() + 20_000 });
    fleet.clock.advance(everyMs);
    if (isSo()) return n;
  }
  throw new Error(`not so after ${most} ticks`);
}

test('an object whose reading takes forty ticks is scrubbed, each byte of each copy read once [whole-reads-go-on]', async () => {
  const fleet = await slowFleet();
  const { egress } = countReads(fleet);
  let uncovered = 2;
  await ticksUntil(
    fleet,
    ['scrubber'],
    () => {
      const { figures } = fleet.logs.findLast(({ sentence }) => sentence === 'Tick finished')! as unknown as TickReport;
      uncovered = figures.uncovered!;
      return uncovered === 0 && egress.b! >= sizeBytes;
    },
    { everyMs: hourMs },
  );
  for (const name of ['a', 'b']) expect(egress[name]).toBeLessThanOrEqual(1.1 * sizeBytes);
});

test('a missing copy of an object whose reading takes forty ticks is replaced, and each byte read once for its proof', async () => {
  const fleet = await slowFleet();
  const lost = fleet.object('k').copies.a!;
  fleet.backends.a!.deleteNow(`k!${lost}`);
  fleet.clock.advance(3 * hourMs);
  const { egress } = countReads(fleet);
  await ticksUntil(fleet, ['scrubber'], () => fleet.object('k').copies.a === undefined, { everyMs: hourMs });
  // The scrubber reads its copy on b too: one whole read serves both.
  expect(egress.b).toBeLessThanOrEqual(2.2 * sizeBytes);
});

test('a rotten copy of an object whose reading takes forty ticks is quarantined: two reads of it, one of another', async () => {
  const fleet = await slowFleet();
  const at = `k!${fleet.object('k').copies.a!}`;
  const rotten = Buffer.from(content);
  rotten[sizeBytes - 5]! ^= 1;
  fleet.backends.a!.putNow(at, rotten, fleet.backends.a!.peek(at)!);
  const { egress } = countReads(fleet);
  await ticksUntil(fleet, ['scrubber'], () => fleet.object('k').copies.a === undefined, { everyMs: hourMs });
  expect(egress.a).toBeLessThanOrEqual(2.2 * sizeBytes);
  expect(egress.b).toBeLessThanOrEqual(2.2 * sizeBytes);
  const [item] = fleet.queue();
  expect(item).toMatchObject({ storageKey: at, cause: 'quarantined' });
  expect(item!.dueAt - fleet.clock.now()).toBeGreaterThan(6 * dayMs);
});

test('a missing copy that the reconciler finds leaves its record once another was read to its end', async () => {
  const fleet = await slowFleet();
  fleet.backends.a!.deleteNow(`k!${fleet.object('k').copies.a!}`);
  fleet.clock.advance(3 * hourMs);
  const { egress } = countReads(fleet);
  await ticksUntil(fleet, ['reconciler'], () => fleet.object('k').copies.a === undefined, { everyMs: dayMs / 4 });
  expect(egress.b).toBeLessThanOrEqual(1.1 * sizeBytes);
});

test('after a loss an object whose reading takes forty ticks is at its factor again: one whole read for the proof, one for the new copy', async () => {
  const fleet = await slowFleet();
  fleet.backends.a!.deleteNow(`k!${fleet.object('k').copies.a!}`);
  fleet.clock.advance(3 * hourMs);
  const { egress } = countReads(fleet);
  const places = () => Object.keys(fleet.object('k').copies).sort().join('+');
  await ticksUntil(fleet, ['reconciler'], () => places() === 'b', { everyMs: dayMs / 4 });
  const lost = new Set(fleet.queue().map(({ id }) => id));
  const ticks = await ticksUntil(fleet, ['replicator'], () => places() === 'a+b');
  expect(ticks).toBeGreaterThan(30);
  expect(egress.b).toBeLessThanOrEqual(2.2 * sizeBytes);
  // What was written in parts is read back once where the backend did not prove what it stored.
  expect(egress.a).toBeLessThanOrEqual(1.1 * sizeBytes);
  expect(fleet.queue().filter(({ id }) => !lost.has(id))).toEqual([]);
  const bytes = fleet.backends.a!.peek(`k!${fleet.object('k').copies.a!}`)!.bytes;
  expect(Buffer.from(bytes).equals(content)).toBe(true);
});

/** The tables are lost: others are in their place, which know the fleet file and nothing else. */
async function withTablesLost(fleet: TestFleet) {
  const store = createMemoryStore({ clock: fleet.clock, identity: 'new tables' });
  const deps = { ...fleet.deps, store, unreported: createUsageBook() };
  const file = fleet.store.snapshot().rows.find(({ sk }) => sk === 'config')!.data.file as FleetFile;
  fleet.clock.advance(60_000);
  const findCapabilities = async ({ name }: { readonly name: string }) => fleet.backends[name]!.capabilities;
  await apply({ ...deps, findCapabilities }, file, { takeOver: true });
  const reconcile = { kind: 'recover', backends: names } as const;
  return {
    store,
    recover: (event: Partial<TickEvent> = {}) =>
      runTick(deps, workers.reconciler!, { deadline: fleet.clock.now() + 20_000, reconcile, ...event }),
  };
}

test('an object whose reading takes forty ticks is recovered after its tables were lost, and each copy read once', async () => {
  const fleet = await slowFleet();
  const { egress } = countReads(fleet);
  const { store, recover } = await withTablesLost(fleet);
  let ticks = 0;
  for (; ticks < 200; ticks += 1) {
    if ((await recover()).figures.passComplete === 1) break;
    fleet.clock.advance(60_000);
  }
  expect(ticks).toBeGreaterThan(30);
  expect(ticks).toBeLessThan(100);
  expect(store.snapshot().objects.get('k')).toMatchObject({
    kind: 'object',
    condition: 'sound',
    sha256: fleet.object('k').sha256,
    copies: fleet.object('k').copies,
  });
  // What tells whether they are encrypted is kept from their first bytes.
  for (const name of ['a', 'b']) expect(egress[name]).toBeLessThanOrEqual(1.1 * sizeBytes);
});

test('while the removal limit holds, nothing is read to prove what could not be removed', async () => {
  const fleet = await slowFleet({ env: { REMOVAL_LIMIT_RATIO: '0', REMOVAL_LIMIT_MIN_COUNT: '0' } });
  fleet.backends.a!.deleteNow(`k!${fleet.object('k').copies.a!}`);
  fleet.clock.advance(3 * hourMs);
  const { egress } = countReads(fleet);
  for (let n = 0; n < 10; n += 1) {
    await fleet.tick('reconciler', { deadline: fleet.clock.now() + 20_000 });
    fleet.clock.advance(dayMs);
  }
  expect(egress.b).toBe(0);
  expect(fleet.object('k').copies.a).toBeDefined();
});

test('where the credentials of the other copy cannot be had nothing is quarantined, and the tick keeps its cursor', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { SCRUBBER_BATCH_SIZE: '10' } });
  for (let i = 0; i < 30; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.tick('replicator');
  fleet.backends.a!.deleteNow(`k3!${fleet.object('k3').copies.a}`);
  fleet.clock.advance(2 * hourMs);
  const { openBackend } = fleet.deps;
  const deps = {
    ...fleet.deps,
    openBackend: async (...[config, ...rest]: Parameters<typeof openBackend>) => {
      if (config.name === 'b') throw new BackendError('missing-credentials', 'b', 'Cannot open backend "b"');
      return openBackend(config, ...rest);
    },
  };
  for (const name of ['scrubber', 'reconciler'] as const) {
    const report = await runTick(deps, workers[name]!, { deadline: fleet.clock.now() + 300_000 });
    expect(report.planned).toBeGreaterThan(0);
  }
  expect((await fleet.store.leases('scrubber')).every(({ cursor }) => cursor !== undefined)).toBe(true);
  expect(fleet.object('k3').copies.a).toBeDefined();
});

/** The object has a copy on each of three backends, and one of them is to go. */
async function slowDrain(options: { readonly slow?: readonly string[] } = {}): Promise<TestFleet> {
  const fleet = await createTestFleet({ policies: { default: { factor: 3 } } });
  await fleet.client.put('k', content);
  await fleet.settle(['replicator'], 3);
  expect(Object.keys(fleet.object('k').copies).sort()).toEqual(names);
  Object.assign(fleet.env, { MULTIPART_ABOVE_BYTES: '1000', PART_BYTES: '100' });
  const rateOf = (name: string) => ((options.slow ?? names).includes(name) ? bytesPerSecond : 0);
  await fleet.apply({
    backends: names.map((name) => ({ name, maxBytesPerSecond: rateOf(name) })),
    policies: { default: { factor: 2 } },
  });
  await drain(fleet.deps, 'a');
  return fleet;
}

test('a drain of an object whose reading takes forty ticks ends, and each copy that stays is read once', async () => {
  const fleet = await slowDrain();
  const { egress } = countReads(fleet);
  const ticks = await ticksUntil(fleet, ['over-replication-cleaner'], () => fleet.object('k').copies.a === undefined);
  expect(ticks).toBeGreaterThan(30);
  for (const name of ['b', 'c']) expect(egress[name]).toBeLessThanOrEqual(1.1 * sizeBytes);
  const [item] = fleet.queue();
  expect(item).toMatchObject({ backend: 'a', cause: 'aged-evidence', drainSince: expect.any(Number) });
  // What left on reads of earlier ticks can be taken back for a week.
  expect(item!.dueAt).toBeGreaterThan(fleet.clock.now() + 6 * dayMs);
});

test('a copy that is read at once is not read again in every tick while another takes forty', async () => {
  const fleet = await slowDrain({ slow: ['c'] });
  const { egress } = countReads(fleet);
  await ticksUntil(fleet, ['over-replication-cleaner'], () => fleet.object('k').copies.a === undefined);
  for (const name of ['b', 'c']) expect(egress[name]).toBeLessThanOrEqual(1.1 * sizeBytes);
});

test('a copy that rots while the others are still being read is found when it counts', async () => {
  const fleet = await slowDrain({ slow: ['c'] });
  for (let i = 0; i < 10; i += 1) {
    await fleet.tick('over-replication-cleaner', { deadline: fleet.clock.now() + 20_000 });
    fleet.clock.advance(5 * 60_000);
  }
  const at = `k!${fleet.object('k').copies.b!}`;
  fleet.backends.b!.deleteNow(at);
  for (let i = 0; i < 60; i += 1) {
    await fleet.tick('over-replication-cleaner', { deadline: fleet.clock.now() + 20_000 });
    fleet.clock.advance(5 * 60_000);
  }
  expect(fleet.object('k').copies.a).toBeDefined();
});

test('where one copy that should stay cannot be read, the others are not read again in every tick', async () => {
  const fleet = await slowDrain({ slow: [] });
  const { get } = fleet.backends.c!;
  fleet.backends.c!.get = async (key, ...rest) => {
    if (key.startsWith('k!')) throw new BackendError('rejected', 'c', 'not this one');
    return get(key, ...rest);
  };
  const { egress } = countReads(fleet);
  for (let minute = 0; minute < 24 * 60; minute += 5) {
    await fleet.tick('over-replication-cleaner');
    fleet.clock.advance(5 * 60_000);
  }
  expect(egress.b).toBeLessThanOrEqual(12 * sizeBytes);
  expect(fleet.object('k').copies.a).toBeDefined();
});

test.each([
  ['the drain ends', (fleet: TestFleet) => undrain(fleet.deps, 'a')],
  [
    'the policy asks for another copy',
    (fleet: TestFleet) => fleet.apply({ backends: names, policies: { default: { factor: 3 } } }),
  ],
])('nothing is removed when %s while the copies that stay are read', async (_, change) => {
  const fleet = await slowDrain({ slow: [] });
  let isDone = false;
  const { get } = fleet.backends.c!;
  fleet.backends.c!.get = async (...args) => {
    if (!isDone && args[0].startsWith('k!')) {
      isDone = true;
      await change(fleet);
    }
    return get(...args);
  };
  const report = await fleet.tick('over-replication-cleaner');
  expect(isDone).toBe(true);
  expect(report.reasons).toEqual({ 'changed-meanwhile': 1 });
  expect(Object.keys(fleet.object('k').copies).sort()).toEqual(names);
  expect(fleet.queue()).toEqual([]);
});

/** A put whose process died before its commit, on backends that have become slow since. */
async function slowIntent(): Promise<{ fleet: TestFleet; item: QueueItem }> {
  const fleet = await createTestFleet();
  fleet.before = async ({ port, method, args }) => {
    const changes = args[0] as { kind: string }[];
    if (port === 'store' && method === 'transact' && changes.some((c) => c.kind === 'object'))
      await new Promise(() => {});
  };
  void fleet.client.put('k', content).catch(() => {});
  await vi.waitUntil(() => fleet.queue().length > 0 && fleet.keysOn('a').length > 0);
  fleet.before = undefined;
  Object.assign(fleet.env, { MULTIPART_ABOVE_BYTES: '1000', PART_BYTES: '100' });
  await fleet.apply({ backends: names.map((name) => ({ name, maxBytesPerSecond: bytesPerSecond })) });
  fleet.clock.advance(10 * 60_000);
  return { fleet, item: fleet.queue()[0]! };
}

test('a killed put of an object whose reading takes forty ticks is promoted, and each byte read once', async () => {
  const { fleet } = await slowIntent();
  const { egress } = countReads(fleet);
  const ticks = await ticksUntil(fleet, ['pending-reaper'], () => fleet.entry('k') !== undefined, { everyMs: 60_000 });
  expect(ticks).toBeGreaterThan(30);
  expect(egress.a).toBeLessThanOrEqual(1.1 * sizeBytes);
  expect(fleet.queue()).toEqual([]);
  expect(fleet.object('k').sha256).toBe(createHash('sha256').update(content).digest('hex'));
});

test('a writer that comes back while its bytes are read has its intent for itself', async () => {
  const { fleet, item } = await slowIntent();
  for (let i = 0; i < 5; i += 1) {
    await fleet.tick('pending-reaper', { deadline: fleet.clock.now() + 20_000 });
    fleet.clock.advance(60_000);
  }
  const now = fleet.queue()[0]!;
  const dueAt = fleet.clock.now() + hourMs;
  await fleet.store.write({ kind: 'queue', put: { ...now, dueAt }, expect: { state: 'intent' } });
  await fleet.tick('pending-reaper', { deadline: fleet.clock.now() + 20_000 });
  expect(fleet.queue()).toMatchObject([{ id: item.id, dueAt }]);
});

test.each(['"no MD5"', '"0123456789abcdef0123456789abcdef-3"'])(
  'promoted bytes whose hash the put did not know, under an ETag of %s, are hashed by two reads that agree',
  async (etag) => {
    const { fleet, item } = await slowIntent();
    const { sha256: _, ...unknown } = item;
    await fleet.store.write({ kind: 'queue', put: unknown, expect: { state: 'intent' } });
    const bytes = fleet.backends.a!.peek(item.storageKey)!;
    fleet.backends.a!.putNow(item.storageKey, bytes.bytes, { metadata: bytes.metadata, headers: bytes.headers, etag });
    // One bit of one answer.
    const { get } = fleet.backends.a!;
    let left = 1;
    fleet.backends.a!.get = async (key, ...rest) => {
      const found = await get(key, ...rest);
      if (left === 0 || key !== item.storageKey) return found;
      left -= 1;
      const flipped = async function* () {
        for await (const chunk of found.body) yield Buffer.from(chunk.map((byte, i) => (i === 0 ? byte ^ 1 : byte)));
      };
      return { ...found, body: flipped() };
    };
    await ticksUntil(fleet, ['pending-reaper'], () => fleet.entry('k') !== undefined);
    expect(fleet.object('k').sha256).toBe(createHash('sha256').update(content).digest('hex'));
  },
);

/** Runs a pass to its end, as a person does, while somebody writes some bytes again before each stretch of its work. */
async function passBeside(fleet: TestFleet, kind: 'import' | 'recover', run: Rewriting): Promise<PassProgress> {
  let stretches = 0;
  const request = { kind, backends: run.backends };
  const deps = { store: run.store, clock: fleet.clock };
  const ran = await runPass(
    {
      ...deps,
      tick: (event) => {
        stretches += 1;
        if (stretches > 100) throw new Error('it does not end');
        run.writeAgain(stretches);
        return run.tick(event);
      },
    },
    request,
  );
  if (ran.outcome !== 'ended') throw new Error(`the pass ${ran.outcome}`);
  return ran.progress;
}

interface Rewriting {
  readonly store: MemoryStore;
  readonly backends: readonly string[];
  writeAgain(time: number): void;
  tick(event: TickEvent): Promise<TickReport>;
}

test('an import ends beside a file that is written again each time before it was read to its end, and names it', async () => {
  const scale = 20;
  const film = Buffer.alloc(scale * sizeBytes, content);
  const backends = ['a', 'b'].map((name) => ({ name, maxBytesPerSecond: scale * bytesPerSecond }));
  const fleet = await createTestFleet({ backends, env: { PART_BYTES: String(100 * scale) } });
  countReads(fleet);
  for (const name of ['a', 'b']) fleet.backends[name]!.putNow('film', film, { etag: '"one-2"' });
  fleet.backends.a!.putNow('note', Buffer.from('a note'));
  const progress = await passBeside(fleet, 'import', {
    store: fleet.store,
    backends: ['a', 'b'],
    writeAgain: (time) => fleet.backends.b!.putNow('film', film, { etag: `"${time}-2"` }),
    tick: (event) => fleet.tick('reconciler', event),
  });
  expect(progress).toMatchObject({ isComplete: true, named: [{ what: 'unreadable', key: 'film' }] });
  expect(fleet.object('note').copies).toEqual({ a: '' });
});

test('a recovery ends beside bytes that are written again each time before they were read to their end, and names them', async () => {
  const scale = 20;
  const fleet = await slowFleet({ scale });
  countReads(fleet);
  const { copies } = fleet.object('k');
  const { store, recover } = await withTablesLost(fleet);
  const progress = await passBeside(fleet, 'recover', {
    store,
    backends: names,
    writeAgain(time) {
      for (const [name, copyId] of Object.entries(copies)) {
        const stored = fleet.backends[name]!.peek(`k!${copyId}`)!;
        fleet.backends[name]!.putNow(`k!${copyId}`, stored.bytes, { ...stored, etag: `"${time}-2"` });
      }
    },
    tick: (event) => recover(event),
  });
  expect(progress).toMatchObject({ isComplete: true, named: [{ what: 'undecided-unreadable' }] });
  expect(store.snapshot().objects.get('k')).toMatchObject({ condition: 'damaged', copies });
});
