import { type Deadline, deadlineAt, signalAt } from '../base/deadline.ts';
import { defined } from '../base/defined.ts';
import { newTally, type Tally } from '../base/tally.ts';
import { type Parameters, parseParameters, scheduleMs, type WorkerName } from '../config/parameters.ts';
import { createMeter } from '../fleet/meter.ts';
import { commit } from '../store/commit.ts';
import { type BackendStanding, type FleetView, readFleet, standingOf } from '../store/fleet-view.ts';
import { shardsOfPart } from '../store/keys.ts';
import type { Lease } from '../store/model.ts';
import { StoreError } from '../store/port.ts';
import { isRecoveryPending } from '../store/recovery.ts';
import type { UsageByHour } from '../store/usage-book.ts';
import type { Budget } from '../transfer/budget.ts';
import { createSpending, type SpendingDeps } from '../transfer/spending.ts';
import { createTickBackends } from './backends.ts';
import { probeDueBreakers } from './health.ts';
import { keepHistory } from './history.ts';
import { refresh, refreshForCommit } from './refresh.ts';
import { reportHealth, reportUsage } from './report.ts';
import type { Tick, TickDeps, TickEvent, TickOutcome, TickReport, Worker } from './tick.ts';
import { tidyLedger } from './tidy-ledger.ts';

/**
 * One tick of one worker: reads the fleet, ends as `empty` without a lease when nothing is to do, takes the lease, runs
 * rounds until nothing is left or time is short, saves the cursor, reports health and usage, gives the lease back.
 * Never throws for what can happen in a fleet; `error` says why it could not plan.
 */
export async function runTick(deps: TickDeps, worker: Worker, event: TickEvent): Promise<TickReport> {
  const startedAt = deps.clock.now();
  const runId = deps.ids.ulid();
  const tally = newTally();
  // Of every worker: how often work waited because too many bytes were in flight.
  const figures: Record<string, number> = { admissionRejections: 0 };
  const finish = (outcome: TickOutcome, message?: string): TickReport => {
    const durationMs = deps.clock.now() - startedAt;
    const report = {
      worker: worker.name,
      outcome,
      ...tally,
      durationMs,
      runId,
      figures,
      ...defined({ message }),
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
    if (isRecoveryPending(view) && waitForRecovery.has(worker.name))
      return finish('empty', 'A recovery is not complete: run `holdfast recover`');
    const tick = createTick(deps, worker.name, event, {
      runId,
      startedAt,
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

/** What only takes away, by records that may be older than the buckets. */
const waitForRecovery: ReadonlySet<WorkerName> = new Set(['over-replication-cleaner', 'rebalancer', 'cleanup-queue']);

async function runWithLease(tick: Tick, worker: Worker, event: TickEvent): Promise<TickOutcome> {
  const { deps } = tick;
  try {
    await probeDueBreakers(tick);
    if (!(await worker.hasWork(tick))) return 'empty';
    // What a person wants to know of an import keeps no other from running.
    if (worker.holdsNoLease || (tick.dryRun && tick.reconcile !== undefined)) {
      await runRounds(tick, worker);
      return outcomeOf(tick.tally);
    }
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
    await runRounds(tick, worker);
    if (!tick.dryRun) await tidyLedger(tick);
  } finally {
    // Each is done whatever becomes of the one before.
    let spent: UsageByHour = {};
    await reportHealth(tick)
      .finally(async () => {
        spent = await reportUsage(tick);
      })
      .finally(() => tick.lease !== null && releaseLease(tick, tick.lease, spent));
  }
  return outcomeOf(tick.tally);
}

async function runRounds(tick: Tick, worker: Worker): Promise<void> {
  const { rounds } = tick;
  const run = await worker.begin(tick);
  for (let round = 0; rounds === 0 || round < rounds; round += 1) {
    if (round > 0) {
      if (tick.outOfTime()) return;
      await refresh(tick);
    }
    if ((await run()) === 'done') return;
  }
}

async function releaseLease(tick: Tick, lease: Lease, spent: UsageByHour): Promise<void> {
  const hour = await keepHistory(tick, lease, spent);
  const last = {
    runId: tick.runId,
    at: tick.now(),
    outcome: outcomeOf(tick.tally),
    ...tick.tally,
    ...defined({ hour, queueOldestSeconds: tick.figures.queueOldestSeconds }),
  };
  const change = { expiresAt: 0, last, ...defined({ cursor: tick.cursor }) };
  const isHeld = await tick.deps.store.updateLease(lease, change);
  if (!isHeld) tick.deps.log.warn('The lease had passed to another tick', { worker: tick.worker, epoch: lease.epoch });
}

/** `failed`: every attempted item failed, whatever was skipped or put off beside them. */
function outcomeOf({ planned, failed, succeeded }: Tally): TickOutcome {
  if (planned === 0) return 'empty';
  if (failed === 0) return 'success';
  return succeeded === 0 ? 'failed' : 'partial';
}

function isStale(event: TickEvent, params: Parameters, worker: WorkerName, now: number): boolean {
  if (event.scheduledTime === undefined) return false;
  const scheduled = Date.parse(event.scheduledTime);
  const period =
    params.staleEventMs > 0 ? params.staleEventMs : (scheduleMs(params.workers[worker].schedule) ?? 60_000);
  return Number.isFinite(scheduled) && now - scheduled > period;
}

/** How backends stand at one moment, by one view. */
interface Standings {
  readonly view: FleetView;
  readonly now: number;
  readonly byName: Map<string, BackendStanding>;
  /** Of all that the file names. */
  all: readonly BackendStanding[] | undefined;
}

/** How backends stand, by the view that the tick has now. Asked several times for every object: at one moment, worked out once. */
function createStandings(
  { clock }: Pick<TickDeps, 'clock'>,
  viewNow: () => FleetView,
  { unhealthyAfterMs }: Parameters,
): Pick<Tick, 'standing' | 'standings'> {
  let known: Standings | undefined;
  const standingsNow = (): Standings => {
    const view = viewNow();
    const now = clock.now();
    if (known?.view !== view || known.now !== now) known = { view, now, byName: new Map(), all: undefined };
    return known;
  };
  const standing = (name: string) => {
    const { view, now, byName } = standingsNow();
    const one = byName.get(name) ?? standingOf(view, name, now, unhealthyAfterMs);
    byName.set(name, one);
    return one;
  };
  return {
    standing,
    standings() {
      const current = standingsNow();
      current.all ??= current.view.config!.file.backends.map(({ name }) => standing(name));
      return current.all;
    },
  };
}

interface TickParts {
  readonly runId: string;
  readonly startedAt: number;
  readonly view: FleetView;
  readonly params: Parameters;
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
  readonly tally: Tally;
  readonly figures: Record<string, number>;
}

function createTick(deps: TickDeps, worker: WorkerName, event: TickEvent, parts: TickParts): Tick {
  const { params } = parts;
  const spending = createSpending({
    store: deps.store,
    clock: deps.clock,
    holder: parts.runId,
    backends: () => fileNow().backends,
    endsBy: () => parts.deadline.at,
    owes: deps.unreported.owes,
    isFree: isFreeIn(worker, event),
  });
  const meter = createMeter(deps.clock, spending);
  const part = event.part ?? 0;
  const of = event.of ?? 1;
  const problems: string[] = [];
  let budget: Promise<Budget> | undefined;
  const fileNow = () => tick.view.config!.file;
  const backends = createTickBackends(() => tick);
  let refreshing: Promise<boolean> | undefined;
  /** All that commit in one moment share one reading. */
  const whoTakes = async () => {
    refreshing ??= refreshForCommit(tick).finally(() => {
      refreshing = undefined;
    });
    const isFresh = await refreshing;
    return { isFresh, takesCopies: (name: string) => tick.standing(name).takesCopies };
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
    isScheduled: event.scheduledTime !== undefined,
    rounds: event.rounds ?? params.workers[worker].rounds,
    meter,
    cursor: undefined,
    refreshedAt: parts.view.readAt,
    onRefresh: new Set(),
    probes: new Set(),
    removing: new Map(),
    usability: new Map(),
    lease: null,
    now: () => deps.clock.now(),
    outOfTime: (needsMs = 0) => event.stop?.aborted === true || deps.clock.now() + needsMs >= parts.deadline.admitUntil,
    ...createStandings(deps, () => tick.view, params),
    backend: (name, use = 'read-write') => backends.backend(name, use),
    ownership: backends.ownership,
    budget: () => {
      budget ??= spending.read();
      return budget;
    },
    spending,
    commitDeps: () => ({
      store: deps.store,
      clock: deps.clock,
      ids: deps.ids,
      stripes: params.ledgerStripes,
      quotaOf: (name) => fileNow().backends.find((b) => b.name === name)?.quotaBytes ?? 0,
      whoTakes,
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

/** What a deletion needs, and what a person asks of a recovery, is charged and never refused. */
function isFreeIn(worker: WorkerName, { reconcile }: TickEvent): NonNullable<SpendingDeps['isFree']> {
  const isRecovery = worker === 'reconciler' && reconcile?.kind === 'recover';
  if (worker !== 'cleanup-queue' && !isRecovery) return () => false;
  return ({ method }) => method === 'list' || method === 'listParts';
}
