import { createHash } from 'node:crypto';
import { collect } from '../../lib/base/bytes.ts';
import type { Clock } from '../../lib/base/clock.ts';
import { defined } from '../../lib/base/defined.ts';
import { type Ids, idsFrom } from '../../lib/base/ids.ts';
import { type LogFields, silentLog } from '../../lib/base/log.ts';
import { createClient, type Holdfast } from '../../lib/client/client.ts';
import type { ClientDeps } from '../../lib/client/context.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import type { Backend } from '../../lib/fleet/backend.ts';
import type { ApplyOptions } from '../../lib/operations/apply/deps.ts';
import { apply } from '../../lib/operations/apply.ts';
import { type Recounted, recount } from '../../lib/operations/recount.ts';
import { createKeyring } from '../../lib/process/keyring.ts';
import { storageKey } from '../../lib/store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../../lib/store/model.ts';
import type { Store } from '../../lib/store/port.ts';
import { createUsageBook } from '../../lib/store/usage-book.ts';
import { createMemoryBackend, type MemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { createManualClock, type ManualClock } from '../../lib/testing/manual-clock.ts';
import { namedBackend } from '../../lib/testing/named-backend.ts';
import { seeded } from '../../lib/testing/seeded.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import type { TickDeps, TickEvent, TickReport } from '../../lib/tick/tick.ts';
import { workers } from '../../lib/workers/workers.ts';

export { createManualClock, type ManualClock, seeded };

/** A call of a port, before it has its effect. Throwing refuses it; awaiting holds it up; `after` sees its result. */
export type Hook = (call: { port: string; method: string; args: readonly unknown[] }) => unknown;

/** Wraps every method of a port so that tests see, hold up and refuse its calls. */
export function hooked<T extends object>(
  port: string,
  target: T,
  before: () => Hook | undefined,
  after: () => Hook | undefined,
): T {
  return new Proxy(target, {
    get(object, method, receiver) {
      const value = Reflect.get(object, method, receiver);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]) => {
        await before()?.({ port, method: String(method), args });
        const result = await value.apply(object, args);
        await after()?.({ port, method: String(method), args });
        return result;
      };
    },
  });
}

export interface TestFleetOptions {
  readonly backends?: readonly (string | { readonly name: string; readonly [field: string]: unknown })[];
  readonly policies?: Record<string, unknown>;
  readonly routing?: 'pack' | 'spread';
  readonly encryption?: Record<string, string>;
  readonly env?: Record<string, string>;
  readonly seed?: number;
  /** As a backend demands of all parts but the last [5 MiB]. */
  readonly minPartBytes?: number;
  /** Ticks keep the history that the console shows. */
  readonly keepsHistory?: true;
}

type FleetChange = Pick<TestFleetOptions, 'backends' | 'policies' | 'routing' | 'encryption'>;

/** A reason is a code, which filters of logs and figures go by; what is for people is a message. */
function codedReason(where: string, fields: LogFields = {}): LogFields {
  const { reason = '' } = fields;
  if (!/^([a-z0-9]+(-[a-z0-9]+)*)?$/.test(String(reason)))
    throw new Error(`"${reason}", a reason of "${where}", is no code`);
  return fields;
}

/** A whole fleet on in-memory implementations, with its clock, library and workers. */
export interface TestFleet {
  readonly clock: ManualClock;
  readonly ids: Ids;
  readonly store: MemoryStore;
  readonly backends: Readonly<Record<string, MemoryBackend>>;
  readonly logs: (LogFields & { level: string; sentence: string })[];
  readonly client: Holdfast;
  /** Called before and after each port call of workers and client. */
  before: Hook | undefined;
  after: Hook | undefined;
  /** Called when what an operator asked for waits; then the wait is over at once. */
  whileWaiting: (() => unknown) | undefined;
  /** Called while `apply` finds out what a backend can do: in reality dozens of requests. */
  whileFindingCapabilities: ((backend: string) => unknown) | undefined;
  /** A clock for what operators ask for: waits pass at once. */
  readonly operatorClock: Clock;
  readonly env: Record<string, string>;
  readonly deps: TickDeps & ClientDeps;
  tick(worker: WorkerName, event?: Partial<TickEvent>): Promise<TickReport>;
  /** Ticks the named workers in turn until none finds work, moving time on by a minute each. */
  settle(names?: readonly WorkerName[], minutes?: number): Promise<void>;
  /** Puts another file in force; backends may leave it with what they hold, unless the options say otherwise. */
  apply(change: FleetChange, options?: ApplyOptions): Promise<void>;
  newClient(): Holdfast;
  entry(key: string): Entry | undefined;
  object(key: string): ObjectRecord;
  queue(): QueueItem[];
  /** Bytes of each recorded copy, by backend; null where there are none. */
  copiesOf(key: string): Record<string, string | null>;
  read(key: string): Promise<string | null>;
  recount(): Promise<Recounted>;
  /** Storage keys on a backend, owner object aside. */
  keysOn(backend: string): string[];
}

export async function createTestFleet(options: TestFleetOptions = {}): Promise<TestFleet> {
  const clock = createManualClock();
  const ids = idsFrom(clock, seeded(options.seed ?? 1));
  const store = createMemoryStore({ clock });
  const backends: Record<string, MemoryBackend> = {};
  const handles: Record<string, Backend> = {};
  const logs: TestFleet['logs'] = [];
  const log = (level: string) => (sentence: string, fields?: LogFields) =>
    void logs.push({ level, sentence, ...codedReason(sentence, fields) });
  const env: Record<string, string> = { ...options.env };
  const before = () => fleet.before;
  const after = () => fleet.after;
  const hookedStore: Store = hooked('store', store, before, after);
  const deps: TickDeps & ClientDeps = {
    store: hookedStore,
    clock,
    ids,
    log: { ...silentLog, info: log('info'), warn: log('warn'), error: log('error') },
    env,
    unreported: createUsageBook(),
    ...defined({ keepsHistory: options.keepsHistory }),
    openBackend: async ({ name }) => handles[name]!,
    openKeyring: async (encryption, checks) => createKeyring(encryption, env, checks),
  };
  const operatorClock: Clock = {
    now: clock.now,
    async sleep(ms) {
      await fleet.whileWaiting?.();
      clock.advance(ms);
    },
  };
  const put = async (change: FleetChange, applyOptions: ApplyOptions = { park: 'any' }) => {
    const list = (change.backends ?? ['a', 'b', 'c']).map((b) => (typeof b === 'string' ? { name: b } : b));
    for (const { name } of list) {
      if (backends[name] !== undefined) continue;
      backends[name] = createMemoryBackend({
        name,
        clock,
        neighbours: backends,
        ...defined({ minPartBytes: options.minPartBytes }),
      });
      handles[name] = hooked(name, backends[name] as Backend, before, after);
    }
    const file = parseFleetFile({
      backends: list.map(namedBackend),
      policies: change.policies ?? { default: { factor: 2 } },
      routing: change.routing ?? 'pack',
      ...defined({ encryption: change.encryption }),
    });
    await apply(
      {
        ...deps,
        store,
        clock: operatorClock,
        openBackend: async ({ name }) => backends[name]!,
        findCapabilities: async ({ name }) => {
          await fleet.whileFindingCapabilities?.(name);
          return backends[name]!.capabilities;
        },
      },
      file,
      applyOptions,
    );
  };
  const fleet: TestFleet = {
    clock,
    ids,
    store,
    backends,
    logs,
    env,
    deps,
    before: undefined,
    after: undefined,
    whileWaiting: undefined,
    whileFindingCapabilities: undefined,
    operatorClock,
    client: createClient(deps),
    newClient: () => createClient(deps),
    apply: put,
    async tick(name, event = {}) {
      const report = await runTick(deps, workers[name]!, { deadline: clock.now() + 300_000, ...event });
      for (const reason of Object.keys(report.reasons)) codedReason(name, { reason });
      return report;
    },
    async settle(names = ['replicator', 'cleanup-queue', 'pending-reaper'], minutes = 30) {
      for (let minute = 0; minute < minutes; minute += 1) {
        for (const name of names) await fleet.tick(name);
        clock.advance(60_000);
      }
    },
    entry: (key) => [...store.allObjects()].find((e) => e.key === key),
    object(key) {
      const entry = fleet.entry(key);
      if (entry?.kind !== 'object') throw new Error(`There is no object "${key}"`);
      return entry;
    },
    queue: () => [...store.allQueueItems()].sort((x, y) => (x.id < y.id ? -1 : 1)),
    copiesOf(key) {
      const { copies } = fleet.object(key);
      const bytesOf = (name: string, copyId: string) => backends[name]!.peek(storageKey(key, copyId))?.bytes;
      return Object.fromEntries(
        Object.entries(copies).map(([name, copyId]) => {
          const bytes = bytesOf(name, copyId);
          return [name, bytes === undefined ? null : Buffer.from(bytes).toString()];
        }),
      );
    },
    async read(key) {
      const found = await fleet.newClient().get(key);
      return found === null ? null : (await collect(found.body)).toString();
    },
    recount: () => recount({ store, clock, ids }, false),
    keysOn: (name) => [...backends[name]!.contents().keys()].filter((key) => !key.startsWith('.holdfast/')).sort(),
  };
  await put(options);
  return fleet;
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
