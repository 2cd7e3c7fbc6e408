import type { Clock } from '../base/clock.ts';
import type { Deadline } from '../base/deadline.ts';
import type { Sentence } from '../base/events.ts';
import type { Ids } from '../base/ids.ts';
import type { Log, LogFields } from '../base/log.ts';
import type { Tally } from '../base/tally.ts';
import type { EncryptionConfig, KeyChecks } from '../config/encryption.ts';
import type { BackendConfig, FleetFile } from '../config/fleet-file.ts';
import type { Parameters, WorkerName, WorkerParameters } from '../config/parameters.ts';
import type { Backend, Capabilities } from '../fleet/backend.ts';
import type { Meter } from '../fleet/meter.ts';
import type { Ownership } from '../fleet/owner.ts';
import type { ImportPlan } from '../plans/import-estimate.ts';
import type { CommitDeps, Outcome } from '../store/commit.ts';
import type { BackendStanding, FleetView } from '../store/fleet-view.ts';
import type { Lease } from '../store/model.ts';
import type { PassId } from '../store/pass-rows.ts';
import type { Store } from '../store/port.ts';
import type { Swap } from '../store/swap.ts';
import type { UsageBook } from '../store/usage-book.ts';
import type { Budget } from '../transfer/budget.ts';
import type { Keyring } from '../transfer/keyring.ts';
import type { Spending } from '../transfer/spending.ts';

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
  openKeyring?(encryption: EncryptionConfig, checks?: KeyChecks): Promise<Keyring>;
  /** Whether its ticks keep the history that the console shows: one more write an hour for each worker that works. */
  readonly keepsHistory?: true;
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
  /** Aborted when nothing more is to be begun; what is in flight ends. */
  readonly stop?: AbortSignal;
  /** What a person asked of the reconciler beyond its schedule. */
  readonly reconcile?: ReconcileRequest;
}

/** What a person asks of the reconciler: whole passes over some backends, of one kind. */
export interface ReconcileRequest extends PassId {
  /** Passes that were complete since then are not begun again. Milliseconds since the epoch. */
  readonly since?: number;
  /** Of a recovery: objects for which newer bytes that one backend alone holds are taken as their content. */
  readonly acceptNewer?: readonly string[];
  /** Of a dry import: what it would do is added up here. */
  readonly plan?: ImportPlan;
  /** Told of what was listed and dealt with, page after page. */
  onListed?(keys: number, bytes: number): void;
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

/** How long a tick may go on. */
export interface TickTime {
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly deadline: Deadline;
  /** Aborted when running transfers must be given up. */
  readonly signal: AbortSignal;
  now(): number;
  /** @param needsMs whether it will be, as long from now [0] */
  outOfTime(needsMs?: number): boolean;
}

/** The fleet, as it was read last. */
export interface FleetAsRead {
  readonly config: FleetFile;
  readonly fleetId: string;
  /** The fleet's state; read again before each round, and where a round takes long. */
  view: FleetView;
  standing(backend: string): BackendStanding;
  standings(): readonly BackendStanding[];
}

/** What was asked of a tick: which part of the work, and how. */
export interface TickRequest {
  readonly part: number;
  readonly of: number;
  readonly shards: readonly string[];
  readonly dryRun: boolean;
  readonly reconcile: ReconcileRequest | undefined;
  /** False where a person asked for the tick: then nothing waits for its time. */
  readonly isScheduled: boolean;
  /** Rounds at most; 0 = no limit. */
  readonly rounds: number;
}

/** What a tick says of its work. */
export interface TickAccount {
  readonly tally: Tally;
  readonly figures: Record<string, number>;
  /** By backend: when the removals on evidence that are being made have ended. */
  readonly removing: Map<string, Promise<void>>;
  /** Says why this tick, whatever else it achieves, ends as `error`. */
  problem(sentence: string): void;
  /** One audit line per state change. */
  audit(sentence: Sentence, fields: LogFields): void;
}

/** Everything a worker may use during one tick. Each file names in a type of its own the members that it uses. */
export interface Tick extends TickTime, FleetAsRead, TickRequest, TickAccount {
  readonly deps: TickDeps;
  readonly runId: string;
  readonly worker: WorkerName;
  readonly params: Parameters;
  readonly tuning: WorkerParameters;
  readonly meter: Meter;
  readonly problems: readonly string[];
  /** Where the last tick stopped; assign to it to move on. Saved with the lease. */
  cursor: string | undefined;
  /** When the fleet's state was asked for last. */
  refreshedAt: number;
  /** Told whenever it was read again. */
  readonly onRefresh: Set<() => void>;
  /** Backends with an open breaker to which this tick is the one probe. */
  readonly probes: Set<string>;
  /** What the health check of each backend showed, and when it was begun. */
  readonly usability: Map<string, { readonly at: number; readonly isUsable: Promise<boolean> }>;
  /** Null until the lease is held. */
  lease: Lease | null;
  /** A counted handle on a configured backend; its errors say what they speak of. */
  backend(name: string, use?: 'read-write' | 'delete'): Promise<Backend>;
  /** Whose a bucket is, as it answers now. */
  ownership(name: string): Promise<Ownership>;
  /** What this tick may still spend of the usage limits; read once. */
  budget(): Promise<Budget>;
  /** What it holds of them. */
  readonly spending: Spending;
  commit(swaps: readonly Swap[]): Promise<Outcome[]>;
  commitDeps(): CommitDeps;
}

/** A worker: how it finds out whether there is work, before it takes the lease, and how it does one round of it. */
export interface Worker {
  readonly name: WorkerName;
  /** The row of the lease, where it is not that of the part: work that a person asked for does not wait for the schedule's. */
  leaseOf?(event: TickEvent): string | undefined;
  /** Any number of its ticks may run side by side: it neither waits for another nor keeps a cursor. */
  readonly holdsNoLease?: true;
  /** Whether anything is to do. Decided from the fleet's state, without a lease and without a write. */
  hasWork(tick: Tick): Promise<boolean>;
  /** Begins a tick's work under the lease; each call of the result plans and does at most a batch. */
  begin(tick: Tick): Promise<Round>;
}

/** One round; `done` when nothing is left for this tick. */
export type Round = () => Promise<'more' | 'done'>;
