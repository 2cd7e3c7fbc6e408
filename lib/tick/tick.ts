import type { Clock } from '../base/clock.ts';
import { type Deadline, deadlineAt, signalAt } from '../base/deadline.ts';
import type { Ids } from '../base/ids.ts';
import type { Log, LogFields } from '../base/log.ts';
import { newTally, type Tally } from '../base/tally.ts';
import type { BackendConfig, FleetFile } from '../config/fleet-file.ts';
import {
  type Parameters,
  parseParameters,
  scheduleMs,
  type WorkerName,
  type WorkerParameters,
} from '../config/parameters.ts';
import type { Backend, Capabilities } from '../fleet/backend.ts';
import { createMeter, type Meter } from '../fleet/meter.ts';
import { type Ownership, readOwnership } from '../fleet/owner.ts';
import { throttled } from '../fleet/throttle.ts';
import { type CommitDeps, commit, type Outcome } from '../store/commit.ts';
import { type BackendStanding, type FleetView, readFleet, standingOf } from '../store/fleet-view.ts';
import { shardsOfPart } from '../store/keys.ts';
import type { Lease } from '../store/model.ts';
import { type Store, StoreError } from '../store/port.ts';
import type { Swap } from '../store/swap.ts';
import type { UsageBook } from '../store/usage-book.ts';
import type { Keyring } from '../transfer/keyring.ts';
import { type Budget, readBudget } from './budget.ts';
import { refresh } from './refresh.ts';
import { reportHealth, reportUsage } from './report.ts';
import { tidyLedger } from './tidy-ledger.ts';

/** What a worker needs from the process it runs in. */
export interface TickDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  /** Tuning parameters; live overrides from the table go over them. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * What ticks of this process spent on backends and did not write down: an idle tick writes nothing, so the next one that
   * works reports it.
   */
  readonly unreported: UsageBook;
  /** Opens a backend. Throws `BackendError` of kind `missing-credentials` when this process has none for it. */
  openBackend(config: BackendConfig, can: Capabilities, use: 'read-write' | 'delete'): Promise<Backend>;
  /** The keyring that the fleet file asks for; absent where a worker must not have it. */
  openKeyring?(encryption: NonNullable<FleetFile['encryption']>): Promise<Keyring>;
  /** Told at the end of each tick that read the fleet how it stood when it was read last. */
  sawFleet?(view: FleetView, params: Parameters): void;
}

/** One invocation. */
export interface TickEvent {
  readonly part?: number;
  readonly of?: number;
  /** When it was scheduled, ISO 8601; older than the worker's period: dropped. */
  readonly scheduledTime?: string;
  /** When the invocation is killed, milliseconds since the epoch. */
  readonly deadline: number;
  readonly rounds?: number;
  readonly dryRun?: boolean;
  /** What a person asked of the reconciler beyond its schedule. */
  readonly reconcile?: ReconcileRequest;
}

/** One whole pass over one backend, with what is otherwise off. */
export interface ReconcileRequest {
  readonly backend: string;
  /** Import files without a mark as objects. */
  readonly import?: boolean;
  /** Rebuild records from marks, after the tables were lost. */
  readonly recover?: boolean;
  /** Delete bytes of ours whose object is unknown, which a sweep only reports. */
  readonly apply?: boolean;
}

export type TickOutcome = 'success' | 'partial' | 'failed' | 'empty' | 'busy' | 'error';

export interface TickReport extends Tally {
  readonly worker: WorkerName;
  readonly outcome: TickOutcome;
  readonly durationMs: number;
  readonly runId: string;
  /** Why a tick was `error`, or was dropped or paused. */
  readonly message?: string;
  /** Figures of the worker's own, e.g. scrub cycle progress. */
  readonly figures: Readonly<Record<string, number>>;
}

/** Everything a worker may use during one tick. */
export interface Tick {
  readonly deps: TickDeps;
  readonly runId: string;
  readonly worker: WorkerName;
  readonly config: FleetFile;
  readonly fleetId: string;
  readonly params: Parameters;
  readonly tuning: WorkerParameters;
  readonly deadline: Deadline;
  /** Aborted when running transfers must be given up. */
  readonly signal: AbortSignal;
  readonly part: number;
  readonly of: number;
  readonly shards: readonly string[];
  readonly dryRun: boolean;
  readonly reconcile: ReconcileRequest | undefined;
  readonly tally: Tally;
  readonly figures: Record<string, number>;
  readonly meter: Meter;
  /** Where the last tick stopped; assign to it to move on. Saved with the lease. */
  cursor: string | undefined;
  /** The fleet's state; read again before each round, and where a round takes long. */
  view: FleetView;
  /** When it was asked for last. */
  refreshedAt: number;
  /** Told whenever it was read again. */
  readonly onRefresh: Set<() => void>;
  /** Backends with an open breaker to which this tick is the one probe. */
  readonly probes: Set<string>;
  /** Null until the lease is held. */
  lease: Lease | null;
  now(): number;
  outOfTime(): boolean;
  standing(backend: string): BackendStanding;
  standings(): BackendStanding[];
  /** A counted handle on a configured backend. */
  backend(name: string, use?: 'read-write' | 'delete'): Promise<Backend>;
  /** Whose a bucket is; asked once per tick. */
  ownership(name: string): Promise<Ownership>;
  /** What this tick may still spend of the monthly limits; read once. */
  budget(): Promise<Budget>;
  commit(swaps: readonly Swap[]): Promise<Outcome[]>;
  commitDeps(): CommitDeps;
  /** Says why this tick, whatever else it achieves, ends as `error`. */
  problem(sentence: string): void;
  readonly problems: readonly string[];
  /** One audit line per state change. */
  audit(sentence: string, fields: LogFields): void;
}

/** A worker: what it looks for before it takes the lease, and one round of its work. */
export interface Worker {
  readonly name: WorkerName;
  /** The row of the lease, where it is not that of the part: work that a person asked for does not wait for the schedule's. */
  leaseOf?(event: TickEvent): string | undefined;
  /** Whether anything is to do. Decided from the fleet's state, without a lease and without a write. */
  hasWork(tick: Tick): Promise<boolean>;
  /** Begins a tick's work under the lease; each call of the result plans and does at most a batch. */
  begin(tick: Tick): Promise<Round>;
}

/** One round; `done` when nothing is left for this tick. */
export type Round = () => Promise<'more' | 'done'>;

/**
 * One tick of one worker: reads the fleet, ends as `empty` without a lease when nothing is to do, takes the lease, runs
 * rounds until nothing is left or time is short, saves the cursor, reports health and usage, gives the lease back.
 * Never throws for what can happen in a fleet; `error` says why it could not plan.
 */
export async function runTick(deps: TickDeps, worker: Worker, event: TickEvent): Promise<TickReport> {
  const startedAt = deps.clock.now();
  const runId = deps.ids.ulid();
  const tally = newTally();
  const figures: Record<string, number> = {};
  const finish = (outcome: TickOutcome, message?: string): TickReport => {
    const durationMs = deps.clock.now() - startedAt;
    const report = {
      worker: worker.name,
      outcome,
      ...tally,
      durationMs,
      runId,
      figures,
      ...(message === undefined ? {} : { message }),
    };
    deps.log.info('Tick finished', { ...report });
    return report;
  };
  let stop = () => {};
  try {
    const deadline = deadlineAt(event.deadline, startedAt);
    const cancel = signalAt(deps.clock, deadline.cancelAt);
    stop = cancel.stop;
    const view = await readFleet(deps.store, startedAt);
    if (view.config === null) return finish('error', 'The fleet has no configuration: run `holdfast init` first');
    const params = parseParameters(deps.env, view.settings.overrides);
    if (isStale(event, params, worker.name, startedAt))
      return finish('empty', `The event of ${event.scheduledTime} is stale`);
    if (view.settings.paused.includes(worker.name)) return finish('empty', 'The worker is paused');
    const tick = createTick(deps, worker.name, event, {
      runId,
      view,
      params,
      deadline,
      signal: cancel.signal,
      tally,
      figures,
    });
    try {
      const outcome = await runWithLease(tick, worker, event);
      return tick.problems.length > 0 ? finish('error', tick.problems.join('; ')) : finish(outcome);
    } finally {
      deps.sawFleet?.(tick.view, params);
    }
  } catch (error) {
    if (error instanceof StoreError || (error as Error).name === 'ConfigError')
      return finish('error', (error as Error).message);
    throw error;
  } finally {
    stop();
  }
}

async function runWithLease(tick: Tick, worker: Worker, event: TickEvent): Promise<TickOutcome> {
  const { deps } = tick;
  try {
    if (!(await worker.hasWork(tick))) return 'empty';
    const part = worker.leaseOf?.(event) ?? `${tick.part}/${tick.of}`;
    const expiresAt = tick.deadline.at + 5_000;
    tick.lease = await deps.store.acquireLease({
      worker: worker.name,
      part,
      holder: tick.runId,
      now: tick.now(),
      expiresAt,
    });
    if (tick.lease === null) return 'busy';
    tick.cursor = tick.lease.cursor;
    await runRounds(tick, worker, event.rounds ?? tick.tuning.rounds);
    if (!tick.dryRun) await tidyLedger(tick);
  } finally {
    // Each is done whatever becomes of the one before.
    await reportHealth(tick)
      .finally(() => reportUsage(tick))
      .finally(() => tick.lease !== null && releaseLease(tick, tick.lease));
  }
  return outcomeOf(tick.tally);
}

async function runRounds(tick: Tick, worker: Worker, rounds: number): Promise<void> {
  const run = await worker.begin(tick);
  for (let round = 0; rounds === 0 || round < rounds; round += 1) {
    if (round > 0) {
      if (tick.outOfTime()) return;
      await refresh(tick);
    }
    if ((await run()) === 'done') return;
  }
}

async function releaseLease(tick: Tick, lease: Lease): Promise<void> {
  const last = { runId: tick.runId, at: tick.now(), outcome: outcomeOf(tick.tally), ...tick.tally };
  const change = { expiresAt: 0, last, ...(tick.cursor === undefined ? {} : { cursor: tick.cursor }) };
  const isHeld = await tick.deps.store.updateLease(lease, change);
  if (!isHeld) tick.deps.log.warn('The lease had passed to another tick', { worker: tick.worker, epoch: lease.epoch });
}

function outcomeOf(tally: Tally): TickOutcome {
  if (tally.planned === 0) return 'empty';
  if (tally.failed === 0) return 'success';
  return tally.succeeded === 0 && tally.failed === tally.planned ? 'failed' : 'partial';
}

function isStale(event: TickEvent, params: Parameters, worker: WorkerName, now: number): boolean {
  if (event.scheduledTime === undefined) return false;
  const scheduled = Date.parse(event.scheduledTime);
  const period =
    params.staleEventMs > 0 ? params.staleEventMs : (scheduleMs(params.workers[worker].schedule) ?? 60_000);
  return Number.isFinite(scheduled) && now - scheduled > period;
}

interface TickParts {
  readonly runId: string;
  readonly view: FleetView;
  readonly params: Parameters;
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
  readonly tally: Tally;
  readonly figures: Record<string, number>;
}

function createTick(deps: TickDeps, worker: WorkerName, event: TickEvent, parts: TickParts): Tick {
  const { params } = parts;
  const meter = createMeter(deps.clock);
  const handles = new Map<string, Promise<Backend>>();
  const owners = new Map<string, Promise<Ownership>>();
  const part = event.part ?? 0;
  const of = event.of ?? 1;
  const problems: string[] = [];
  let budget: Promise<Budget> | undefined;
  const fileNow = () => tick.view.config!.file;
  /** By the file as it is now; each of n parts has an nth. */
  const ratesOf = (name: string) => {
    const config = fileNow().backends.find((b) => b.name === name);
    return {
      bytesPerSecond: (config?.maxBytesPerSecond ?? 0) / of,
      requestsPerSecond: (config?.maxRequestsPerSecond ?? 0) / of,
    };
  };
  const open = async (name: string, use: 'read-write' | 'delete') => {
    const config = fileNow().backends.find((b) => b.name === name);
    if (config === undefined) throw new Error(`Backend "${name}" is not in the fleet file`);
    const opened = await deps.openBackend(config, tick.view.capabilities(name) as Capabilities, use);
    const rules = {
      rates: () => ratesOf(name),
      // What was begun before others found it unreachable sends nothing more.
      mayAsk: () => tick.standing(name).breaker === 'closed' || tick.probes.has(name),
    };
    return meter.watch(throttled(opened, deps.clock, rules));
  };
  const tick: Tick = {
    deps,
    worker,
    ...parts,
    get config() {
      return fileNow();
    },
    fleetId: parts.view.config!.fleetId,
    tuning: params.workers[worker],
    part,
    of,
    shards: shardsOfPart(part, of),
    dryRun: event.dryRun ?? params.workers[worker].dryRun,
    reconcile: event.reconcile,
    meter,
    cursor: undefined,
    refreshedAt: parts.view.readAt,
    onRefresh: new Set(),
    probes: new Set(),
    lease: null,
    now: () => deps.clock.now(),
    outOfTime: () => deps.clock.now() >= parts.deadline.admitUntil,
    standing: (name) => standingOf(tick.view, name, deps.clock.now(), params.unhealthyAfterMs),
    standings: () => fileNow().backends.map(({ name }) => tick.standing(name)),
    backend: (name, use = 'read-write') => remember(handles, `${use} ${name}`, () => open(name, use)),
    ownership: (name) =>
      remember(owners, name, async () => {
        const tables = await deps.store.identity();
        return readOwnership(await tick.backend(name), { fleetId: tick.fleetId, backend: name, tables }, parts.signal);
      }),
    budget: () => {
      budget ??= readBudget(tick);
      return budget;
    },
    commitDeps: () => ({
      store: deps.store,
      clock: deps.clock,
      ids: deps.ids,
      stripes: params.ledgerStripes,
      quotaOf: (name) => fileNow().backends.find((b) => b.name === name)?.quotaBytes ?? 0,
    }),
    commit: (swaps) => commit(tick.commitDeps(), swaps, parts.deadline.commitUntil),
    problems,
    problem: (sentence) => {
      if (!problems.includes(sentence)) problems.push(sentence);
    },
    audit: (sentence, fields) =>
      deps.log.info(sentence, { audit: true, worker, runId: parts.runId, epoch: tick.lease?.epoch, ...fields }),
  };
  return tick;
}

/** One answer per key for the life of a tick; a failure is not remembered. */
function remember<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const existing = known.get(key);
  if (existing !== undefined) return existing;
  const created = make();
  known.set(key, created);
  created.catch(() => known.delete(key));
  return created;
}
