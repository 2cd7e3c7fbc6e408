import { hash } from 'node:crypto';
import { collect } from '../../lib/base/bytes.ts';
import { defined } from '../../lib/base/defined.ts';
import { idsFrom } from '../../lib/base/ids.ts';
import { silentLog } from '../../lib/base/log.ts';
import { createClient, type Holdfast, type ObjectSummary } from '../../lib/client/client.ts';
import type { GetObject } from '../../lib/client/get.ts';
import type { EncryptionConfig } from '../../lib/config/encryption.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import type { PutEvent } from '../../lib/fleet/s3/event-documents.ts';
import { apply } from '../../lib/operations/apply.ts';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { forget } from '../../lib/operations/forget.ts';
import { recount } from '../../lib/operations/recount.ts';
import { undrain } from '../../lib/operations/undrain.ts';
import { createUsageBook, type UsageBook } from '../../lib/store/usage-book.ts';
import type { MemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import type { MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import type { TickEvent, TickReport, Worker } from '../../lib/tick/tick.ts';
import { createArrivals } from '../../lib/workers/reconciler/arrivals.ts';
import { workers } from '../../lib/workers/workers.ts';
import type { Faults } from './faults.ts';
import type { Plan } from './fleet.ts';
import type { Actor } from './operation.ts';
import type { ClientCall, ReadResult } from './oracle/calls.ts';
import type { Description } from './oracle/content.ts';
import type { Oracle } from './oracle/oracle.ts';
import { storageKeyOf } from './oracle/reading.ts';
import { Violation } from './oracle/violation.ts';
import type { Random } from './random.ts';
import type { Refusals } from './refusals.ts';
import { createSimBackend } from './sim-backend.ts';
import { createSimStore } from './sim-store.ts';
import { createToyKeyring } from './toy-keyring.ts';
import type { World } from './world.ts';

export interface ActorsDeps {
  readonly world: World;
  readonly faults: Faults;
  readonly plan: Plan;
  readonly oracle: Oracle;
  readonly refusals: Refusals;
  readonly store: MemoryStore;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  /** Of the code under test: ids, jitter. */
  readonly ids: Random;
  /** Of the surroundings: contents, faults of bytes. */
  readonly random: Random;
  /** How clients read. */
  readonly streams: Random;
  /** How many copies puts ask for. */
  readonly copiesAsked: Random;
}

export const presentWorkers = Object.keys(workers) as WorkerName[];

/** A tick on its way. */
export interface RunningTick {
  readonly actor: Actor;
  readonly event: TickEvent;
  /** When its runtime ends it, in true time. */
  readonly endsAt: number;
  /** What it said when it ended. */
  report?: TickReport;
}

/** A process of an application, with a few calls on their way. */
export interface ClientProcess {
  readonly actor: Actor;
  readonly holdfast: Holdfast;
  readonly busy: Set<string>;
}

export interface Actors {
  readonly ticks: Set<RunningTick>;
  readonly clients: Set<ClientProcess>;
  /** What the last finished tick of a worker said. */
  startTick(worker: WorkerName, event: Omit<TickEvent, 'deadline'>, timeoutMs: number): RunningTick;
  /** The function that takes what buckets tell of new files. */
  startArrivals(puts: readonly PutEvent[]): RunningTick;
  /** `wholeBytes`: up to this size it sees an object's end before it hands out its first byte [drawn]. */
  startClient(wholeBytes?: number): ClientProcess;
  /** The application ends, with nothing on its way. */
  close(process: ClientProcess): void;
  put(
    process: ClientProcess,
    key: string,
    options?: { timeoutMs?: number; isStreamed?: boolean; copies?: number; sizeBytes?: number },
  ): void;
  remove(process: ClientProcess, key: string): void;
  /** Asks again so often where what came proved wrong at its end [0]. */
  get(process: ClientProcess, key: string, again?: number): void;
  /** Reads as one who can begin again: another copy is given where one proves wrong at its end. */
  read(process: ClientProcess, key: string): void;
  /** Brings back what was deleted or overwritten last. */
  undelete(process: ClientProcess, key: string): void;
  head(process: ClientProcess, key: string): void;
  list(process: ClientProcess, prefix: string): void;
  /** Backends that the file leaves out may keep what they hold. */
  apply(file: FleetFile): void;
  /** Whatever backends that leave the file hold must be elsewhere. */
  applyUnparked(file: FleetFile): void;
  /** Puts a file in force that must be refused. */
  applyRefused(file: FleetFile): void;
  forget(backend: string): void;
  /** Counts the tables, and corrects the ledger where two counts agree that it is wrong. */
  recount(): void;
  areOperatorsBusy(): boolean;
  /** `deletesImported`: files that were imported go with the rest. */
  drain(backend: string, deletesImported: boolean): void;
  /** Ends the drain that began at `since`. */
  undrain(backend: string, since: number): void;
  /** Asks how far a drain has come. */
  askDrain(backend: string): void;
  /** What calls of applications threw so far. */
  readonly failures: readonly string[];
  kill(actor: Actor): void;
}

/** So long at least a call goes on asking before it says that it does not know. */
const leastPatienceMs = 60_000;

export function createActors(deps: ActorsDeps): Actors {
  const { world, faults, plan, oracle, refusals, store, backends, random, streams, copiesAsked } = deps;
  const ticks = new Set<RunningTick>();
  const clients = new Set<ClientProcess>();
  /** Processes of workers that wait for their next tick: each has the usage that it has not written down. */
  const warm = new Map<WorkerName, UsageBook[]>();
  const failures: string[] = [];
  /** Processes that were deployed without the keys of a backend. */
  const lacking = new WeakSet<Actor>();
  let born = 0;
  let contents = 0;

  function processOf(role: string) {
    born += 1;
    const skewMs = faults.isOn('clock skew') ? random.between(-5000, 5000) : 0;
    if (skewMs !== 0) faults.count('clock skew');
    const actor = world.spawn(`${role}-${born}`, role, skewMs);
    const clock = world.clockOf(actor);
    // One of a few processes was deployed without the keys of one backend.
    const lacks = new Set(faults.strikes('credentials missing', 3) ? [random.pick([...backends.keys()])] : []);
    if (lacks.size > 0) {
      actor.hadFault = true;
      lacking.add(actor);
    }
    const shared = {
      store: createSimStore(world, faults, oracle, store, actor),
      clock,
      ids: idsFrom(clock, () => deps.ids.next()),
      log: silentLog,
      env: plan.env,
      openKeyring: async (encryption: EncryptionConfig) => createToyKeyring(encryption),
      openBackend: async ({ name }: { readonly name: string }) => {
        if (lacks.has(name))
          throw new BackendError(
            'missing-credentials',
            name,
            `This process has no credentials for "${name}" (simulated)`,
          );
        const memory = backends.get(name)!;
        return createSimBackend({ world, faults, random, observer: oracle, refusals, memory }, actor);
      },
    };
    return { actor, shared };
  }

  /** What no process may do: throw what nobody declared. */
  function unexpected(actor: Actor, what: string, error: unknown): void {
    const { stack } = error as Error;
    oracle.report(new Violation('unexpected error', `${actor.name}: ${what} threw ${stack ?? String(error)}`));
  }

  function startTick(worker: WorkerName, event: Omit<TickEvent, 'deadline'>, timeoutMs: number): RunningTick {
    return run(worker, workers[worker]!, event, timeoutMs);
  }

  function startArrivals(puts: readonly PutEvent[]): RunningTick {
    world.trace(() => `buckets tell of ${JSON.stringify(puts)}`);
    return run(
      'reconciler',
      createArrivals(puts, () => {}),
      {},
      60_000,
    );
  }

  function run(worker: WorkerName, code: Worker, event: Omit<TickEvent, 'deadline'>, timeoutMs: number): RunningTick {
    const { actor, shared } = processOf(worker);
    const waiting = warm.get(worker) ?? [];
    warm.set(worker, waiting);
    const book = waiting.pop() ?? createUsageBook();
    const full = { ...event, deadline: shared.clock.now() + timeoutMs };
    const tick: RunningTick = { actor, event: full, endsAt: world.now + timeoutMs };
    ticks.add(tick);
    oracle.tickBegan(actor, tick.endsAt);
    oracle.runsIn(actor, book, event.reconcile?.kind === 'recover');
    world.trace(() => `${actor.name} begins ${JSON.stringify(event)}`);
    runTick({ ...shared, unreported: book }, code, full).then(
      (report) => {
        ticks.delete(tick);
        tick.report = report;
        if (report.figures.passComplete === 1) oracle.passEnded(actor);
        const { planned, succeeded, failed, skipped, deferred } = report;
        world.trace(
          () => `${actor.name} ends: ${report.outcome} ${JSON.stringify(report.reasons)} ${report.message ?? ''}`,
        );
        if (planned !== succeeded + failed + skipped + deferred)
          oracle.report(
            new Violation('tick', `${actor.name} planned ${planned} items, and counted their ends otherwise`),
          );
        waiting.push(book);
        if (['success', 'partial', 'failed'].includes(report.outcome)) oracle.flushed(actor);
        const left = world.retire(actor);
        if (left.length > 0)
          oracle.report(
            new Violation('tick', `${actor.name} returned with ${left[0]!.operation} ${left[0]!.subject} in flight`),
          );
      },
      (error) => unexpected(actor, 'a tick', error),
    );
    return tick;
  }

  function startClient(given?: number): ClientProcess {
    const { actor, shared } = processOf('client');
    // Some hand out bytes before they have seen the last ones, as of big objects.
    const wholeBytes = given ?? (streams.chance(0.5) ? 50 : Number.POSITIVE_INFINITY);
    const process = { actor, holdfast: createClient({ ...shared, wholeBytes }), busy: new Set<string>() };
    clients.add(process);
    return process;
  }

  /** One call: what it returns goes to the oracle, what it throws must be declared. */
  function call<T>(
    process: ClientProcess,
    begun: Pick<ClientCall, 'kind' | 'key'> & Partial<ClientCall>,
    run: () => Promise<T>,
    acked: (call: ClientCall, result: T) => void,
    patienceMs = leastPatienceMs,
  ): void {
    const { actor, busy } = process;
    const mine = oracle.calls.begin({ actor, ...begun });
    const begunAt = world.now;
    busy.add(mine.key);
    world.trace(() => `${actor.name} calls ${mine.kind} ${mine.id} of ${mine.key}`);
    run().then(
      (result) => {
        busy.delete(mine.key);
        world.trace(() => `${actor.name} ${mine.kind} ${mine.id} of ${mine.key} returned`);
        acked(mine, result);
      },
      (error: Error) => {
        busy.delete(mine.key);
        world.trace(() => `${actor.name} ${mine.kind} ${mine.id} of ${mine.key} threw ${error.message}`);
        oracle.calls.failed(mine);
        failures.push(error.message);
        const { kind } = error as { kind?: string };
        const elapsedMs = world.now - begunAt;
        // A group of commits is given up at the earliest of its deadlines, which are much the same.
        if (kind === 'undecided' && elapsedMs < 0.8 * patienceMs)
          oracle.report(
            new Violation(
              '5 what callers were told',
              `${actor.name} gave ${mine.kind} ${mine.id} up after ${elapsedMs} ms`,
              mine.key,
            ),
          );
        if (!['HoldfastError', 'StoreError', 'ContentError'].includes(error.name)) unexpected(actor, mine.kind, error);
      },
    );
  }

  /** Copies that whoever asks for them now must be given: good ones, of which nobody says anything false. */
  function plainlyGood(key: string): string[] {
    const entry = oracle.objects.get(key);
    if (entry?.kind !== 'object') return [];
    const storage = (name: string) => storageKeyOf(key, entry.copies[name]!);
    return oracle
      .goodCopies(entry)
      .filter((name) => faults.windowOn(name) === undefined && !refusals.hidesCopy(name, key))
      .filter((name) => faults.lieAbout(name, storage(name)) === undefined)
      .map((name) => `${name}/${storage(name)}`);
  }

  /** A read fails for want of a good copy only if there was none, or if something went wrong while it went on. */
  function watchRead(key: string) {
    const troubles = () => [...faults.counts.values()].reduce((sum, count) => sum + count, 0);
    const [before, good] = [troubles(), plainlyGood(key)];
    return {
      failed(actor: Actor, { name, message }: Error) {
        if (name !== 'HoldfastError' || !message.startsWith('Cannot read') || lacking.has(actor)) return;
        // A client may go by a file of some seconds ago.
        if (faults.isOn('backend dropped')) return;
        const still = plainlyGood(key).filter((place) => good.includes(place));
        if (still.length === 0 || troubles() !== before) return;
        const text = `${actor.name} cannot read "${key}", which is good on ${still.join(', ')}: ${message}`;
        oracle.report(new Violation('5 what callers were told', text, key));
      },
    };
  }

  /** An operator's command, in a process of its own. */
  function operate(what: string, run: (shared: ReturnType<typeof processOf>['shared']) => Promise<unknown>): void {
    const { actor, shared } = processOf('operator');
    world.trace(() => `${actor.name}: ${what}`);
    const ended = () => void world.retire(actor);
    run(shared).then(ended, (error: Error) => {
      ended();
      world.trace(() => `${actor.name} could not ${what}: ${error.message}`);
      if (!['ConfigError', 'StoreError'].includes(error.name)) unexpected(actor, what, error);
    });
  }

  function content(given?: number): Buffer {
    contents += 1;
    const size = given ?? random.spread(12, plan.maxObjectBytes);
    return Buffer.from(`${contents}|`.padEnd(size, String.fromCharCode(97 + (contents % 26))));
  }

  /** Where no type is given, one is stored that says nothing. */
  const asStored = ({ headers, metadata }: Description): Description => ({
    headers: { contentType: 'application/octet-stream', ...headers },
    metadata,
  });

  /** What travels with a content: some of it is never given. */
  function described(): Description {
    return {
      headers: random.chance(0.5) ? { contentType: random.pick(['text/plain', 'image/png']) } : {},
      metadata: random.chance(0.5) ? { note: `note ${contents}` } : {},
    };
  }

  /** The caller's own content, read in chunks, which may fail. */
  async function* streamed(actor: Actor, bytes: Buffer) {
    const half = bytes.length >> 1;
    for (const chunk of [bytes.subarray(0, half), bytes.subarray(half)]) {
      yield await world.ask(actor, { port: 'caller', operation: 'chunk', subject: '', effect: async () => chunk });
      if (!faults.strikes('caller content failed', 2)) continue;
      actor.hadFault = true;
      throw Object.assign(new Error('The file went away'), { name: 'ContentError' });
    }
  }

  async function taken({ body, generation, headers, metadata }: GetObject): Promise<ReadResult> {
    const bytes = await collect(body);
    const sha256 = hash('sha256', bytes);
    return { generation, sizeBytes: bytes.length, sha256, description: { headers, metadata } };
  }

  function read(process: ClientProcess, key: string): void {
    const watch = watchRead(key);
    call(
      process,
      { kind: 'get', key },
      () =>
        process.holdfast.read(key, taken).catch((error: Error) => {
          watch.failed(process.actor, error);
          throw error;
        }),
      (mine, result) => oracle.calls.readAcked(mine, result),
    );
  }

  const findCapabilities = async ({ name }: { readonly name: string }) => backends.get(name)!.capabilities;

  return {
    ticks,
    clients,
    failures,
    startTick,
    startArrivals,
    startClient,
    close(process) {
      const { actor, holdfast, busy } = process;
      busy.add('close');
      const ended = () => {
        clients.delete(process);
        world.retire(actor);
      };
      holdfast.close().then(
        () => {
          oracle.flushed(actor);
          ended();
        },
        (error) => unexpected(actor, 'close', error),
      );
    },
    put(process, key, { timeoutMs, isStreamed = false, copies: asked, sizeBytes } = {}) {
      const bytes = content(sizeBytes);
      const sha256 = hash('sha256', bytes);
      const body = isStreamed ? { sizeBytes: bytes.length, open: () => streamed(process.actor, bytes) } : bytes;
      const description = described();
      const isSeveral = asked === undefined && faults.isOn('puts of several copies') && copiesAsked.chance(0.5);
      if (isSeveral) faults.count('puts of several copies');
      const copies = asked ?? (isSeveral ? copiesAsked.between(2, 3) : 1);
      call(
        process,
        { kind: 'put', key, sha256, sizeBytes: bytes.length, copies, description: asStored(description) },
        () => process.holdfast.put(key, body, { ...description, copies, ...defined({ timeoutMs }) }),
        (mine, result) => oracle.calls.putAcked(mine, result.generation),
        Math.min(leastPatienceMs, timeoutMs ?? leastPatienceMs),
      );
    },
    remove: (process, key) =>
      call(
        process,
        { kind: 'delete', key },
        () => process.holdfast.delete(key),
        (mine) => oracle.calls.deleteAcked(mine),
      ),
    undelete(process, key) {
      faults.count('brought back');
      call(
        process,
        { kind: 'undelete', key },
        () => process.holdfast.undelete(key),
        (mine, result) => oracle.calls.undeleteAcked(mine, result.generation),
      );
    },
    get(process, key, again = 0) {
      // What comes may prove wrong at its end: one who can begin again is given another copy.
      if (streams.chance(0.6)) return read(process, key);
      const getOnce = async (tries = again): Promise<ReadResult | null> => {
        const found = await process.holdfast.get(key);
        if (found === null) return null;
        return taken(found).catch((error) => (tries > 0 ? getOnce(tries - 1) : Promise.reject(error)));
      };
      call(process, { kind: 'get', key }, getOnce, (mine, result) => oracle.calls.readAcked(mine, result));
    },
    read,
    head: (process, key) =>
      call(
        process,
        { kind: 'head', key },
        () => process.holdfast.head(key),
        (mine, found) => oracle.calls.readAcked(mine, found && { ...found, sha256: found.sha256 }),
      ),
    list: (process, prefix) =>
      call(
        process,
        { kind: 'list', key: `list of ${prefix}` },
        async () => {
          const all: ObjectSummary[] = [];
          for await (const one of process.holdfast.list(prefix)) all.push(one);
          return all;
        },
        (mine, all) => {
          for (const one of all) oracle.calls.listed(mine, one.key, { ...one, sha256: one.sha256 });
          oracle.calls.listingEnded(mine);
        },
      ),
    apply(file) {
      oracle.fleetApplied(file);
      operate('apply', (shared) => apply({ ...shared, findCapabilities }, file, { park: 'any' }));
    },
    applyUnparked(file) {
      oracle.fleetApplied(file);
      operate('apply, and park nothing', (shared) => apply({ ...shared, findCapabilities }, file));
    },
    applyRefused(file) {
      operate('apply what must be refused', async (shared) => {
        await apply({ ...shared, findCapabilities }, file, { park: 'any' });
        oracle.report(new Violation('places', 'A backend was moved to another bucket under its name'));
      });
    },
    forget(backend) {
      oracle.forgotten(backend);
      operate(`forget ${backend}`, (shared) => forget(shared, backend));
    },
    recount: () => operate('recount', (shared) => recount(shared, true)),
    areOperatorsBusy: () => world.actors.some(({ role }) => role === 'operator'),
    drain(backend, deletesImported) {
      oracle.drainAsked(backend, deletesImported);
      operate(`drain ${backend}`, (shared) => drain(shared, backend, { deleteImported: deletesImported }));
    },
    undrain: (backend, since) =>
      operate(`undrain ${backend}`, async (shared) => {
        const { outcome } = await undrain(shared, backend);
        if (outcome === 'undrained') oracle.undrained(backend, since);
      }),
    askDrain: (backend) =>
      operate(`ask for the drain of ${backend}`, async (shared) => {
        const status = await drainStatus(shared, backend);
        if (status.outcome === 'drained') oracle.drained(backend, status.since);
      }),
    kill(actor) {
      world.kill(actor);
      oracle.calls.processEnded(actor);
      for (const tick of ticks) if (tick.actor === actor) ticks.delete(tick);
      for (const client of clients) if (client.actor === actor) clients.delete(client);
    },
  };
}
