/** `holdfast/workers`: the workers as functions, to embed, script and test them. */
import { defined } from './base/defined.ts';
import type { HoldfastConfig } from './client/holdfast.ts';
import { parameterProblem, parameters, parseParameters, type WorkerName } from './config/parameters.ts';
import { ConfigError } from './config/problems.ts';
import { type Drained, type DrainOptions, type DrainStatus, drain, drainStatus } from './operations/drain.ts';
import { runPass } from './operations/run-pass.ts';
import type { Move } from './plans/plan-draft.ts';
import { createProcess } from './process/process.ts';
import { chooseTargets } from './steps/copy-targets.ts';
import { createCopyTurn } from './steps/copy-turn.ts';
import { type FleetConfig, type FleetView, readFleet, type Settings, standingOf } from './store/fleet-view.ts';
import type { Count, ObjectRecord } from './store/model.ts';
import { fleetKey, rowKeys } from './store/row-keys.ts';
import { findByPlacement } from './tick/find-work.ts';
import { type FleetSummary, summarize } from './tick/fleet-summary.ts';
import { isUsable } from './tick/health.ts';
import { runTick } from './tick/run-tick.ts';
import type { ReconcileRequest, Tick, TickDeps, TickEvent, TickReport, Worker } from './tick/tick.ts';
import { beginAskedMoves } from './workers/rebalancer/moves.ts';
import { movablePlacements, planMoves } from './workers/rebalancer/plan-rebalancing.ts';
import { reconciler } from './workers/reconciler/reconciler.ts';
import { beginRounds } from './workers/replicator/rounds.ts';
import { type KeyScrub, scrubKey } from './workers/scrubber/scrub-key.ts';
import { workers } from './workers/workers.ts';

export type { WorkerName } from './config/parameters.ts';
export { parameters, workerNames } from './config/parameters.ts';
export type { Drained, DrainOptions, DrainStatus } from './operations/drain.ts';
export type { Move } from './plans/plan-draft.ts';
export type { FleetSummary } from './tick/fleet-summary.ts';
export type { TickOutcome, TickReport } from './tick/tick.ts';
export type { CopyVerdict } from './workers/scrubber/verdicts.ts';

/** Where workers find their fleet: as the library does, or over ports of one's own (`holdfast/testing` has them in memory). */
export type WorkersConfig = HoldfastConfig | { readonly deps: TickDeps };

/** What one tick is asked for. Everything is optional. */
export interface RunOptions {
  /** Part `part` of `of` that share the work. */
  readonly part?: number;
  readonly of?: number;
  /** Rounds at most [the worker's `_ROUNDS`]. */
  readonly rounds?: number;
  readonly dryRun?: boolean;
  /** How long it may take, in milliseconds [60 000]. */
  readonly timeMs?: number;
  /** Aborted when nothing more is to be begun. */
  readonly stop?: AbortSignal;
}

/** Where the next copy of an object would go: `none` says why there is no such place. */
export type ReplicaTarget =
  | { readonly outcome: 'target'; readonly backend: string; readonly others: readonly string[] }
  | { readonly outcome: 'none'; readonly reason: string };

/** How one backend stands. */
export interface BackendHealth {
  readonly name: string;
  readonly isHealthy: boolean;
  readonly breaker: 'closed' | 'open' | 'half-open';
}

/** What a whole comparison of a bucket with the records found, in keys. */
export interface Reconciled {
  readonly isComplete: boolean;
  readonly listed: number;
  readonly imported: number;
  readonly missing: number;
  readonly orphans: number;
  /** Everything, by what was found. */
  readonly found: Readonly<Record<string, number>>;
  readonly problems: readonly string[];
}

/**
 * The seven workers, and what steers and watches them, as calls. Each does what the same worker does on Lambda: under the same
 * leases, by the same records, with the same limits. Safe to call from any number of processes at once.
 */
export interface Workers {
  /** One tick of a worker. What can go wrong in a fleet is in the report, and is not thrown. */
  run(worker: WorkerName, options?: RunOptions): Promise<TickReport>;
  replicate(options?: RunOptions): Promise<TickReport>;
  /** Makes the copies that one object lacks, now. Its counts add up to one, unless there is no such object. */
  replicateObject(key: string, options?: RunOptions): Promise<TickReport & { readonly isFound: boolean }>;
  /** Where `replicateObject` would put the next copy; null when there is no such object. */
  findReplicaTarget(key: string): Promise<ReplicaTarget | null>;
  clean(options?: RunOptions): Promise<TickReport>;
  rebalance(options?: RunOptions): Promise<TickReport>;
  /** What the rebalancer would do next, by the strategy in force; changes nothing. */
  planMoves(): Promise<readonly Move[]>;
  /** Makes moves that were planned before. A move is skipped where its object has changed so that it may not be moved any more. */
  executeMoves(moves: readonly Pick<Move, 'key' | 'from' | 'to'>[], options?: RunOptions): Promise<TickReport>;
  processCleanupQueue(options?: RunOptions): Promise<TickReport>;
  processPendingQueue(options?: RunOptions): Promise<TickReport>;
  scrub(options?: RunOptions): Promise<TickReport>;
  /** Reads every copy of one object now; a hash that is not known yet is recorded (`backfilled`). */
  scrubObject(key: string): Promise<KeyScrub>;
  /** A scrub in which only what has no hash yet counts: how many hashes were recorded. */
  backfill(options?: RunOptions): Promise<{ readonly backfilled: number; readonly report: TickReport }>;
  /** One whole pass over a backend; with `import` files that Holdfast did not write become objects. */
  reconcile(backend: string, options?: { readonly import?: boolean; readonly stop?: AbortSignal }): Promise<Reconciled>;
  /** Puts under way, or that died and are not settled yet. */
  countPending(): Promise<Count>;
  countUnderReplicated(): Promise<number>;
  countOverReplicated(): Promise<number>;
  health(): Promise<readonly BackendHealth[]>;
  unhealthyBackends(): Promise<readonly string[]>;
  isBackendHealthy(backend: string): Promise<boolean>;
  drain(backend: string, options?: DrainOptions): Promise<Drained>;
  drainStatus(backend: string): Promise<DrainStatus>;
  /** The whole fleet in figures, from one query. */
  status(): Promise<FleetSummary & { readonly fleetId: string; readonly version: number }>;
  /** Live overrides of tuning parameters, and paused workers. */
  settings(): Promise<Settings>;
  /** Overrides a tuning parameter everywhere; undefined lifts the override. Throws `ConfigError` for a bad name or value. */
  set(name: string, value: string | undefined): Promise<Settings>;
  pause(worker: WorkerName): Promise<Settings>;
  resume(worker: WorkerName): Promise<Settings>;
  /** Writes down what was spent on backends, closes connections. */
  close(): Promise<void>;
}

const usualTimeMs = 60_000;
const scrubTimeMs = 900_000;

export function createWorkers(config: WorkersConfig = {}): Workers {
  const own = 'deps' in config ? undefined : createProcess({ ...config, env: config.env ?? process.env });
  const deps: TickDeps = 'deps' in config ? config.deps : own!;
  const tick = (worker: Worker, { timeMs = usualTimeMs, ...options }: RunOptions = {}, more: Partial<TickEvent> = {}) =>
    runTick(deps, worker, { ...defined(options), deadline: deps.clock.now() + timeMs, ...more });
  const run = (name: WorkerName, options?: RunOptions) => tick(workers[name]!, options);
  const view = () => fleetOf(deps);
  const summary = async () => {
    const fleet = await view();
    return { fleet, ...summarize(fleet, (name) => standingNow(deps, fleet, name)) };
  };
  const health = async () => {
    const fleet = await view();
    return fleet.config.file.backends.map(({ name }): BackendHealth => {
      const { breaker, isReachable } = standingNow(deps, fleet, name);
      return { name, isHealthy: isReachable, breaker };
    });
  };
  const change = (next: (now: Settings) => Settings) => changeSettings(deps, next);
  return {
    run,
    replicate: (options) => run('replicator', options),
    clean: (options) => run('over-replication-cleaner', options),
    rebalance: (options) => run('rebalancer', options),
    processCleanupQueue: (options) => run('cleanup-queue', options),
    processPendingQueue: (options) => run('pending-reaper', options),
    scrub: (options) => run('scrubber', options),
    scrubObject: (key) => scrubKey(deps, key, scrubTimeMs),
    async replicateObject(key, options) {
      let isFound = false;
      const begin = async (one: Tick) => {
        const entry = (await one.deps.store.objects([key])).get(key);
        isFound = entry?.kind === 'object';
        return beginRounds(one, givenObjects(entry?.kind === 'object' ? [entry] : []));
      };
      const report = await tick(
        { name: 'replicator', leaseOf: () => 'asked', hasWork: async () => true, begin },
        options,
      );
      return { ...report, isFound };
    },
    async findReplicaTarget(key) {
      let target: ReplicaTarget | null = null;
      const begin = async (one: Tick) => async () => {
        target = await targetOf(one, key);
        return 'done' as const;
      };
      const worker: Worker = { name: 'replicator', leaseOf: () => 'asked', hasWork: async () => true, begin };
      const report = await tick(worker, { dryRun: true });
      if (report.outcome === 'error' || report.outcome === 'busy') throw new Error(report.message ?? report.outcome);
      return target;
    },
    async planMoves() {
      const moves: Move[] = [];
      const begin = async (one: Tick) => async () => {
        moves.push(...(await plannedMoves(one)));
        return 'done' as const;
      };
      const worker: Worker = { name: 'rebalancer', leaseOf: () => 'asked', hasWork: async () => true, begin };
      const report = await tick(worker, { dryRun: true });
      if (report.outcome === 'error' || report.outcome === 'busy') throw new Error(report.message ?? report.outcome);
      return moves;
    },
    executeMoves: (moves, options) =>
      tick(
        {
          name: 'rebalancer',
          leaseOf: () => 'asked',
          hasWork: async () => true,
          begin: (one) => beginAskedMoves(one, moves),
        },
        options,
      ),
    async backfill(options) {
      const report = await run('scrubber', options);
      return { backfilled: report.reasons.backfilled ?? 0, report };
    },
    reconcile: (backend, options = {}) => reconcileNow(deps, backend, options),
    async countPending() {
      return (await summary()).queue.intent;
    },
    countUnderReplicated: async () => (await summary()).underReplicated,
    countOverReplicated: async () => (await summary()).overReplicated,
    health,
    unhealthyBackends: async () => (await health()).filter(({ isHealthy }) => !isHealthy).map(({ name }) => name),
    isBackendHealthy: async (name) => (await health()).some((one) => one.name === name && one.isHealthy),
    drain: (name, options) => drain(deps, name, options),
    drainStatus: (name) => drainStatus(deps, name),
    async status() {
      const { fleet, ...figures } = await summary();
      return { fleetId: fleet.config.fleetId, version: fleet.config.version, ...figures };
    },
    settings: async () => (await view()).settings,
    async set(name, value) {
      if (!Object.hasOwn(parameters, name))
        throw new ConfigError('The setting has a problem', [`"${name}" is not a parameter`]);
      const problem = value === undefined ? null : parameterProblem(name, value);
      if (problem !== null) throw new ConfigError('The setting has a problem', [problem]);
      return change(({ overrides, paused }) => {
        const others = Object.fromEntries(Object.entries(overrides).filter(([other]) => other !== name));
        return { overrides: value === undefined ? others : { ...others, [name]: value }, paused };
      });
    },
    pause: (worker) =>
      change(({ overrides, paused }) => ({ overrides, paused: [...new Set([...paused, worker])].sort() })),
    resume: (worker) =>
      change(({ overrides, paused }) => ({ overrides, paused: paused.filter((one) => one !== worker) })),
    async close() {
      try {
        await deps.unreported.flush(deps);
      } finally {
        await own?.close();
      }
    },
  };
}

type ConfiguredFleet = FleetView & { readonly config: FleetConfig };

async function fleetOf({ store, clock }: TickDeps): Promise<ConfiguredFleet> {
  const view = await readFleet(store, clock.now());
  if (view.config === null) throw new Error('The fleet has no configuration: run `holdfast init` first');
  return { ...view, config: view.config };
}

function standingNow({ clock, env }: TickDeps, view: ConfiguredFleet, name: string) {
  const { unhealthyAfterMs } = parseParameters(env, view.settings.overrides);
  return standingOf(view, name, clock.now(), unhealthyAfterMs);
}

/** Objects that were named, once. */
function givenObjects(objects: readonly ObjectRecord[]) {
  let left = [...objects];
  return {
    async find() {
      const wanting = left;
      left = [];
      return { wanting, lifted: [], next: 'done' as const };
    },
  };
}

async function targetOf(tick: Tick, key: string): Promise<ReplicaTarget | null> {
  const entry = (await tick.deps.store.objects([key])).get(key);
  if (entry?.kind !== 'object') return null;
  const usable = new Set<string>();
  for (const { name } of tick.config.backends) if (await isUsable(tick, name)) usable.add(name);
  const choice = chooseTargets(await createCopyTurn(tick, usable), entry);
  if (choice.outcome !== 'targets')
    return { outcome: 'none', reason: choice.outcome === 'over-limit' ? choice.reason : choice.outcome };
  const [first, ...others] = choice.targets.map(({ name }) => name);
  return { outcome: 'target', backend: first!, others };
}

/** By the objects that the rebalancer would look at first. */
async function plannedMoves(tick: Tick): Promise<Move[]> {
  const usable = new Set<string>();
  for (const { name, quotaBytes } of tick.config.backends)
    if (quotaBytes > 0 && (await isUsable(tick, name))) usable.add(name);
  const labels = movablePlacements(tick);
  const { objects } = await findByPlacement(tick.deps.store, labels, tick.shards, undefined, tick.tuning.batchSize);
  const has = (name: string) => usable.has(name);
  return planMoves(tick, objects, { has, takes: has }).map(({ object: { key, sizeBytes }, from, to }) => ({
    ...{ key, from, to, sizeBytes },
  }));
}

async function reconcileNow(
  deps: TickDeps,
  backend: string,
  options: { readonly import?: boolean; readonly stop?: AbortSignal },
): Promise<Reconciled> {
  const request: ReconcileRequest = { kind: options.import === true ? 'import' : 'sweep', backends: [backend] };
  const pass = { store: deps.store, clock: deps.clock, tick: (event: TickEvent) => runTick(deps, reconciler, event) };
  const ran = await runPass(pass, request, defined({ stop: options.stop }));
  if (ran.outcome === 'error') throw new Error(ran.message);
  if (ran.outcome === 'busy') throw new Error(`Another pass over "${backend}" is running`);
  const { isComplete, listed, counts, problems } = ran.progress;
  const sum = (...names: string[]) => names.reduce((total, name) => total + (counts[name] ?? 0), 0);
  return {
    ...{ isComplete, listed, found: counts, problems },
    imported: sum('imported', 'joined'),
    missing: sum('missing-quarantined', 'gone'),
    orphans: sum('orphan'),
  };
}

/** How often the row is read again when another process changed it at the same moment. */
const attempts = 5;

async function changeSettings(deps: TickDeps, next: (now: Settings) => Settings): Promise<Settings> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const view = await fleetOf(deps);
    const before = view.row(rowKeys.settings);
    const after = next(view.settings);
    const put = { pk: fleetKey, sk: rowKeys.settings, version: (before?.version ?? 0) + 1, data: { ...after } };
    const answer = await deps.store.write({ kind: 'row', put, expect: before?.version ?? 'absent' });
    if (answer.outcome === 'done') return after;
  }
  throw new Error('Cannot change the settings: other processes keep changing them; try again');
}
