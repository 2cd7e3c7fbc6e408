import { createHash } from 'node:crypto';
import { collect } from '../../lib/base/bytes.ts';
import { idsFrom } from '../../lib/base/ids.ts';
import { silentLog } from '../../lib/base/log.ts';
import { createClient } from '../../lib/client/client.ts';
import { type EncryptionConfig, keyIdOf, keysOf } from '../../lib/config/encryption.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import type { Backend } from '../../lib/fleet/backend.ts';
import { apply } from '../../lib/operations/apply.ts';
import type { Entry, ObjectRecord } from '../../lib/store/model.ts';
import { createUsageBook } from '../../lib/store/usage-book.ts';
import type { MemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { createManualClock } from '../../lib/testing/manual-clock.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import type { MemorySnapshot } from '../../lib/testing/store/memory-tables.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import type { TickEvent } from '../../lib/tick/tick.ts';
import { workers } from '../../lib/workers/workers.ts';
import { withoutBackend } from './fleet.ts';
import { summary } from './operation.ts';
import type { Oracle } from './oracle/oracle.ts';
import { keyWithin, storageKeyOf } from './oracle/reading.ts';
import { Violation } from './oracle/violation.ts';
import type { Random } from './random.ts';
import { flipped } from './sim-backend.ts';
import { describeChanges } from './sim-store.ts';
import { createToyKeyring } from './toy-keyring.ts';

export interface RestoreDeps {
  readonly startAt: number;
  /** The tables as they once were. */
  readonly snapshot: MemorySnapshot;
  readonly file: FleetFile;
  /** Knows the tables as they are. */
  readonly oracle: Oracle;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  readonly env: Readonly<Record<string, string>>;
  readonly random: Random;
  /** Nothing is left of the tables. */
  readonly areTablesLost: boolean;
  /** Whether a copy of an object that has others rotted meanwhile; asked once for each. */
  rots(): boolean;
  /** Whether marks say nothing of the bytes: as they once were written. */
  readonly areMarksBare: boolean;
  /** Whether the tables were saved when a drain had ended on a backend that took part again later. */
  readonly wasDrained: boolean;
  /** Leaves the file when the buckets are taken over, with what it holds, and comes back days later. */
  readonly parked: string | undefined;
  /** Whether the backends are recovered one after the other, while the workers tick. */
  readonly recoversSingly: boolean;
  /** Whether the process is killed that takes the buckets over, or recovers what they hold; asked at each beginning. */
  dies(): boolean;
  /** A line of a history that is traced. */
  trace(text: () => string): void;
}

const hourMs = 3_600_000;
const nothing: Pick<MemorySnapshot, 'objects' | 'rows'> = { objects: new Map(), rows: [] };
const everyone = Object.keys(workers) as WorkerName[];

/** What must be readable; `isUndone`: whatever its content, for what brought it back is not promised to stand. */
type Expected = ObjectRecord & { readonly isUndone: boolean };

/** The file in force, with the backends and the keys that have left it since: the restored tables may name what is there. */
function withRestored(file: FleetFile, rows: MemorySnapshot['rows']): FleetFile {
  const then = rows.find(({ sk }) => sk === 'config')?.data.file as FleetFile | undefined;
  const left = (then?.backends ?? []).filter(({ name }) => !file.backends.some((one) => one.name === name));
  const listed = new Set(keysOf(file.encryption).map(keyIdOf));
  const keys = keysOf(then?.encryption).filter((key) => !listed.has(keyIdOf(key)));
  const { encryption } = file;
  return {
    ...file,
    backends: [...file.backends, ...left],
    ...(encryption !== undefined && {
      encryption: { ...encryption, decryptOnly: [...(encryption.decryptOnly ?? []), ...keys] },
    }),
  };
}

/**
 * Operators put the tables of an earlier moment in the place of those that are there, as new tables, take the buckets over and
 * recover what these hold. Until that is done nothing is deleted; afterwards every object that was not deleted
 * before the moment they went back to is there, with the content it had at the end. A backend that is out of the file meanwhile is
 * taken over when it comes back, and what it holds is recovered then.
 */
export async function restore(deps: RestoreDeps): Promise<void> {
  const { oracle, backends, env, random } = deps;
  const isLost = deps.areTablesLost;
  const snapshot = isLost ? nothing : deps.snapshot;
  const clock = createManualClock(deps.startAt);
  /** Half a minute passes while a backend leaves the file. */
  const operatorClock = { now: clock.now, sleep: async (ms: number) => clock.advance(ms) };
  // Whatever was paused then, the operators want to run now.
  const kept = snapshot.rows.filter(({ sk }) => sk !== 'settings');
  const rows = deps.wasDrained ? [...kept, ...drainOfEmpty(snapshot, deps)] : kept;
  const store = createMemoryStore({
    clock,
    ...(!isLost && { from: { ...deps.snapshot, rows } }),
    identity: 'restored',
  });
  const snapshotQueued = new Set(isLost ? [] : deps.snapshot.queue.keys());
  const wanted = [...oracle.objects.values()].filter((entry) => entry.kind === 'object');
  const file = withRestored(deps.file, rows);
  const everywhere = file.backends.map(({ name }) => name);
  let isTakenOver = false;
  let isImported = false;
  /** Places of bytes that stand there when the recovery is complete. */
  const passedOver = new Set<string>();
  /** Places that a record, or the restored queue, has named. */
  const known = new Set([...deps.snapshot.queue.keys()]);
  /** Places that a record of the restored tables has named. */
  const recorded = new Set<string>();
  /** When what the restored tables had queued may go. */
  let releasedFrom = Number.POSITIVE_INFINITY;
  const shared = {
    store: tracedStore(store, deps.trace),
    clock,
    ids: idsFrom(clock, () => random.next()),
    log: silentLog,
    env,
    openKeyring: async (encryption: EncryptionConfig) => createToyKeyring(encryption),
    openBackend: async ({ name }: { readonly name: string }) => watched(backends.get(name)!),
  };
  /** Calls of ports that a process has left before it is killed. */
  const callsLeft = () => random.spread(1, 600);

  /** What no process may do to a bucket that is not its own yet, or whose objects it does not know yet. */
  function watched(memory: MemoryBackend): Backend {
    const refuse = (what: string) => {
      throw new Violation('restored metadata', `${what} on ${memory.name}`);
    };
    return {
      ...memory,
      put: (request, signal) => {
        if (!isTakenOver && !request.storageKey.startsWith('.holdfast/')) refuse(`"${request.storageKey}" is written`);
        deps.trace(() => `restored: ${memory.name} PUT ${request.storageKey}`);
        return memory.put(request, signal);
      },
      delete: (requests, signal) => {
        for (const { storageKey } of requests) {
          if (wasQueued(memory, storageKey))
            refuse(`"${storageKey}" is deleted, which restored tables had queued: it may have been brought back`);
          if (wasPassedOver(memory, storageKey)) refuse(`"${storageKey}" is deleted, which the recovery passed over`);
          if (!isTakenOver) refuse(`"${storageKey}" is deleted before the bucket was taken over`);
          if (!isImported && !storageKey.startsWith('.holdfast/'))
            refuse(`"${storageKey}" is deleted before the recovery was complete`);
          deps.trace(() => `restored: ${memory.name} DELETE ${storageKey}`);
        }
        return memory.delete(requests, signal);
      },
    };
  }

  /** What the recovery left in no record is only reported from then on: nobody said that it may go. */
  function wasPassedOver({ name }: MemoryBackend, storageKey: string): boolean {
    const place = `${name}/${storageKey}`;
    return passedOver.has(place) && !known.has(place);
  }

  /** What became of it in the lost time nobody knows: it stays for a week after a person has said that it may go. */
  function wasQueued({ name, peek }: MemoryBackend, storageKey: string): boolean {
    const place = `${name}/${storageKey}`;
    const isThere = peek(storageKey) !== undefined;
    return isThere && snapshotQueued.has(place) && !recorded.has(place) && clock.now() < releasedFrom;
  }

  /** Notes what is recorded: once it was, it may be replaced, or be surplus. */
  function noteRecorded(): void {
    for (const entry of store.snapshot().objects.values())
      if (entry.kind === 'object')
        for (const [name, copyId] of Object.entries(entry.copies)) {
          known.add(`${name}/${storageKeyOf(entry.key, copyId)}`);
          recorded.add(`${name}/${storageKeyOf(entry.key, copyId)}`);
        }
  }

  /**
   * What must be readable when backends were recovered over what tables held `then`. At the end it had a good copy there; it had
   * not been deleted then, and nothing on these buckets looks newer than it. What was brought back in the lost time looks as old as
   * it was: where what it replaced is still there, that is the object again.
   */
  function expectedOf(then: ReadonlyMap<string, Entry>, names: readonly string[]): Expected[] {
    const isThere = (name: string) => names.includes(name);
    const goodOf = (entry: ObjectRecord) => oracle.goodCopies(entry).filter(isThere).length;
    return wanted.flatMap((entry) => {
      if (entry.condition === 'damaged' || goodOf(entry) === 0) return [];
      const before = then.get(entry.key);
      if (before?.kind === 'tombstone' || oracle.hasForged(entry.key)) return [];
      const stored = names.flatMap((name) => generationsOn(backends.get(name)!, entry.key));
      if ([...stored, before?.generation ?? ''].some((generation) => generation > entry.generation)) return [];
      // What tables name, and what verifies, gives way only to bytes that two backends hold.
      const isSame = before === undefined || before.generation === entry.generation;
      const isNamed = !isSame && goodOf(before) > 0;
      if (isNamed && goodOf(entry) <= 1) return [];
      const { writtenAs = entry.generation } = entry;
      const isKnown = before?.generation === entry.generation;
      const isUndone = !isKnown && (stored.some((generation) => generation > writtenAs) || isNamed);
      return [{ ...entry, isUndone: isUndone && entry.writtenAs !== undefined }];
    });
  }

  async function tick(worker: WorkerName, event: Partial<TickEvent> = {}, process = shared) {
    clock.advance(60_000);
    deps.trace(() => `restored: ${worker} ticks ${JSON.stringify(event)}`);
    return runTick({ ...process, unreported: createUsageBook() }, workers[worker]!, {
      deadline: clock.now() + 900_000,
      ...event,
    });
  }

  /** The same process, which ends at some call, before or after its effect. */
  function mortal(): typeof shared {
    const life = { callsLeft: callsLeft(), isBefore: random.chance(0.5) };
    return {
      ...shared,
      store: dying(shared.store, life),
      openBackend: async (config) => dying(await shared.openBackend(config), life),
    };
  }

  /** Once or more often killed midway, then whole. What a killed process held is given back by time. */
  async function untilWhole<T>(run: (process: typeof shared) => Promise<T>): Promise<T> {
    while (deps.dies()) {
      try {
        return await run(mortal());
      } catch (error) {
        if (!(error instanceof Died)) throw error;
      }
      clock.advance(hourMs / 2);
    }
    return run(shared);
  }

  if (deps.areMarksBare) bareMarks(backends.values());
  for (const entry of expectedOf(snapshot.objects, everywhere)) {
    const good = oracle.goodCopies(entry);
    if (good.length < 2 || !deps.rots()) continue;
    const backend = random.pick(good);
    const storage = storageKeyOf(entry.key, entry.copies[backend]!);
    const existing = backends.get(backend)!.peek(storage)!;
    deps.trace(() => `restored: ${storage} rots on ${backend}`);
    if (existing.bytes.length > 0)
      backends.get(backend)!.putNow(storage, flipped(existing.bytes, random, 'rest'), existing);
  }
  // Without any fleet a worker has nothing to go by.
  if (!isLost) for (const worker of everyone) await tick(worker);
  isTakenOver = true;
  const findCapabilities = async ({ name }: { readonly name: string }) => backends.get(name)!.capabilities;
  if (deps.parked !== undefined) await takeOver(withoutBackend(file, deps.parked));
  const expected = await takeOver(file);
  if (random.chance(0.5)) await release(expected);

  /** A person says that what the recovery passed over may go: what must be readable still is, when it has gone. */
  async function release(expected: readonly Expected[]): Promise<void> {
    const backends = file.backends.map(({ name }) => name);
    await tick('reconciler', { reconcile: { kind: 'delete-superseded', backends } });
    for (const bucket of backends)
      for (const key of deps.backends.get(bucket)!.contents().keys()) known.add(`${bucket}/${key}`);
    releasedFrom = clock.now() + 7 * 24 * hourMs;
    await work(9);
    await expectReadable(expected);
  }

  /** Buckets are taken over and recovered, and the fleet works for some days: then what it must have is looked at. */
  async function takeOver(file: FleetFile): Promise<readonly Expected[]> {
    const names = file.backends.map(({ name }) => name);
    const expected = expectedOf(store.snapshot().objects, names);
    isImported = false;
    const options = { takeOver: true, park: 'any' } as const;
    await untilWhole((process) => apply({ ...process, clock: operatorClock, findCapabilities }, file, options));
    clock.advance(25 * hourMs);
    for (const worker of random.shuffled(everyone)) await tick(worker);
    const queued = new Set(store.snapshot().queue.keys());
    const stood = new Set(
      [...backends].flatMap(([name, one]) => [...one.contents().keys()].map((key) => `${name}/${key}`)),
    );
    if (deps.recoversSingly) await recoverSingly(names);
    await recover(random.shuffled(names));
    expectNothingQueued(queued, stood);
    isImported = true;
    for (const [name, bucket] of backends) for (const key of bucket.contents().keys()) passedOver.add(`${name}/${key}`);
    noteRecorded();
    // Copies that these tables have on their way.
    for (const id of store.snapshot().queue.keys()) known.add(id);
    await work(4);
    await expectReadable(expected);
    return expected;
  }

  async function work(days: number): Promise<void> {
    for (let day = 0; day < days; day += 1) {
      clock.advance(25 * hourMs);
      for (const worker of [...random.shuffled(everyone), 'replicator', 'cleanup-queue', 'scrubber'] as const) {
        await tick(worker);
        noteRecorded();
      }
    }
  }

  async function expectReadable(expected: readonly Expected[]): Promise<void> {
    const client = createClient(shared);
    for (const { key, isUndone, ...stored } of expected) {
      const sha256 = stored.encryption?.plaintextSha256 ?? stored.sha256;
      const bytes = await client.get(key).then(
        (found) => found && collect(found.body),
        (error: Error) => error.message,
      );
      if (bytes === null || typeof bytes === 'string')
        throw new Violation('restored metadata', `"${key}" cannot be read: ${bytes ?? 'it is not there'}`, key);
      if (!isUndone && createHash('sha256').update(bytes).digest('hex') !== sha256)
        throw new Violation('restored metadata', `"${key}" has other content than it had`, key);
    }
  }

  /** A recovery is complete once every backend was gone through: until then workers leave alone what they do not know. */
  async function recoverSingly(backends: readonly string[]): Promise<void> {
    for (const name of backends) {
      const event = { reconcile: { kind: 'recover' as const, backends: [name] } };
      await untilWhole((process) => tick('reconciler', event, process));
      if (name === backends.at(-1)) return;
      for (const ms of [2 * hourMs, hourMs]) {
        clock.advance(ms);
        for (const worker of everyone) await tick(worker);
      }
    }
  }

  /**
   * What is missing or wrong where it is recorded leaves its record as ever; nothing else that stood there is queued before a
   * person says so. A copy that a worker began meanwhile and could not use is the worker's to delete.
   */
  function expectNothingQueued(before: ReadonlySet<string>, stood: ReadonlySet<string>): void {
    const added = [...store.snapshot().queue].find(
      ([id, { state, cause }]) => state === 'cleanup' && cause !== 'quarantined' && !before.has(id) && stood.has(id),
    );
    if (added !== undefined)
      throw new Violation('restored metadata', `The recovery queues ${added[0]} for deletion`, added[1].key);
  }

  async function recover(backends: readonly string[]): Promise<void> {
    for (let pass = 0; pass < 6; pass += 1) {
      const event = { reconcile: { kind: 'recover' as const, backends } };
      const { figures } = await untilWhole((process) => tick('reconciler', event, process));
      if (figures.passComplete === 1) return;
    }
    throw new Violation('restored metadata', 'The recovery does not come to its end');
  }
}

/** A drain that is done, of a backend that these tables do not name; none where there is no such backend. */
function drainOfEmpty({ objects, rows }: typeof nothing, { snapshot, startAt, random }: RestoreDeps) {
  const named = new Set([...snapshot.queue.values()].map(({ backend }) => backend));
  for (const entry of objects.values())
    if (entry.kind === 'object') for (const name of Object.keys(entry.copies)) named.add(name);
  const then = rows.find(({ sk }) => sk === 'config')?.data.file as FleetFile | undefined;
  const drains = (name: string) => rows.some(({ sk }) => sk === `drain/${name}`);
  const empty = (then?.backends ?? []).filter(({ name }) => !named.has(name) && !drains(name));
  if (empty.length === 0) return [];
  const since = startAt - 24 * hourMs;
  const data = { since, isClosed: true, closedSince: since + hourMs };
  return [{ pk: 'fleet', sk: `drain/${random.pick(empty).name}`, version: 2, data }];
}

/** What bytes of an object say of themselves on one backend. */
function generationsOn(bucket: MemoryBackend, key: string): string[] {
  return [...bucket.contents()]
    .filter(([storageKey]) => keyWithin(storageKey) === key)
    .map(([, { metadata }]) => metadata.holdfast?.split(' ')[1] ?? '');
}

/** The store, with every change of it among the lines of a traced history. */
function tracedStore(store: MemoryStore, trace: RestoreDeps['trace']): MemoryStore {
  return {
    ...store,
    async transact(changes, token) {
      const answer = await store.transact(changes, token);
      trace(() => `restored: transact ${describeChanges(changes)} → ${summary(answer)}`);
      return answer;
    },
  };
}

/** Takes the SHA-256 out of every mark whose bytes prove themselves by their ETag. */
function bareMarks(all: Iterable<MemoryBackend>): void {
  for (const bucket of all)
    for (const [storageKey, object] of [...bucket.contents()]) {
      const words = object.metadata.holdfast?.split(' ') ?? [];
      if (words.length < 7 || !/^"[0-9a-f]{32}"$/.test(object.etag)) continue;
      const metadata = { ...object.metadata, holdfast: words.with(4, '-').join(' ') };
      bucket.putNow(storageKey, object.bytes, { ...object, metadata });
    }
}

/** A process is gone: nothing after this happens. */
class Died extends Error {
  override readonly name = 'Died';
}

interface Life {
  callsLeft: number;
  /** Whether the last call has no effect. */
  readonly isBefore: boolean;
}

/** A port of a process that ends. */
function dying<T extends object>(port: T, life: Life): T {
  return new Proxy(port, {
    get(target, name, receiver) {
      const value = Reflect.get(target, name, receiver);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]) => {
        life.callsLeft -= 1;
        const isLast = life.callsLeft === 0;
        if (life.callsLeft < 0 || (isLast && life.isBefore)) throw new Died('killed');
        const result = await value.apply(target, args);
        if (life.callsLeft <= 0) throw new Died('killed');
        return result;
      };
    },
  });
}
