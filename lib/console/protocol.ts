/**
 * What the console's server and its page say to each other, as JSON. The page is built from this file, too: it imports nothing. Times
 * are milliseconds since the epoch, sizes are bytes.
 */

export interface CountFigures {
  readonly objects: number;
  readonly bytes: number;
}

export type BreakerFigure = 'closed' | 'open' | 'half-open';

/** What was spent of one thing in its period. */
export interface UsageFigures {
  readonly per: 'month' | 'day';
  readonly what: 'requests' | 'classA' | 'classB' | 'egressBytes' | 'ingressBytes' | 'usd';
  readonly used: number;
  /** 0: no limit. */
  readonly allowed: number;
  /** At the end of the period, if it goes on as it did. */
  readonly forecast: number;
  /** When it is counted anew. */
  readonly resetsAt: number;
}

export interface BackendFigures {
  readonly name: string;
  /** False: it left the fleet file with what it holds. */
  readonly isConfigured: boolean;
  readonly isLeaving: boolean;
  readonly objects: number;
  readonly recordedBytes: number;
  /** Recorded and queued, together. */
  readonly usedBytes: number;
  /** Of `usedBytes`, what waits in the queue: bytes that no record names. */
  readonly queuedBytes: number;
  readonly queuedItems: number;
  /** 0: none. */
  readonly quotaBytes: number;
  readonly breaker: BreakerFigure;
  /** Failures in a row. */
  readonly failures: number;
  readonly unhealthySince?: number;
  /** What failed last before the breaker was opened. */
  readonly reason?: string;
  /** When an open breaker is tried next. */
  readonly probeAfter?: number;
  /** Whether its copies count. */
  readonly isCounted: boolean;
  readonly takesNoWrites?: { readonly since: number; readonly retryAt: number; readonly message: string };
  readonly drain?: DrainFigures;
  /** Of each limit in its period, and of the month; absent until it was read. */
  readonly usage?: readonly UsageFigures[];
  readonly egressUsdPerGb: number;
  readonly pass?: { readonly isRunning: boolean; readonly startedAt: number; readonly completedAt?: number };
  /** Files of ours whose object is unknown, as the last pass found them. */
  readonly unrecorded: number;
}

export interface DrainFigures {
  readonly since: number;
  readonly deletesImported: boolean;
  /** Objects with a copy there, and queue items. */
  readonly left: number;
  readonly leftBytes: number;
  readonly damaged: number;
  /** `settling`: nothing names it any more; what was decided before may still be under way. */
  readonly state: 'draining' | 'settling';
}

export interface WorkerFigures {
  readonly name: string;
  readonly isEnabled: boolean;
  readonly isPaused: boolean;
  readonly isRunning: boolean;
  readonly schedule: string;
  /** Of the last tick that had something to do. */
  readonly last?: {
    readonly at: number;
    readonly outcome: string;
    readonly planned: number;
    readonly succeeded: number;
    readonly failed: number;
    readonly skipped: number;
    readonly deferred: number;
    readonly reasons: Readonly<Record<string, number>>;
    /** How long the oldest item had been due that it met in the queue. */
    readonly queueOldestSeconds?: number;
  };
  /** Counted from the last tick that is known; absent for one that is off or paused. */
  readonly nextDueAt?: number;
}

/** Something that goes on, how fast, and how long it will take. */
export interface WorkFigures {
  readonly id: string;
  readonly what: string;
  readonly doneOf?: { readonly done: number; readonly all: number };
  readonly remaining?: CountFigures;
  readonly objectsPerSecond?: number;
  readonly bytesPerSecond?: number;
  readonly secondsLeft?: number;
  /** Where its list is, in the page. */
  readonly href?: string;
}

export interface ChangeFigures {
  readonly at: number;
  readonly kind: 'good' | 'bad' | 'neutral';
  readonly sentence: string;
}

/** What this console was asked to do, and how far it has come. */
export interface JobFigures {
  readonly id: string;
  readonly what: string;
  readonly startedAt: number;
  readonly state: 'running' | 'done' | 'failed' | 'stopped';
  readonly endedAt?: number;
  readonly progress?: {
    readonly listed: number;
    readonly bytes: number;
    /** Of all keys, about; in [0, 1]. Absent until it is known. */
    readonly share?: number;
    readonly keysPerSecond: number;
    readonly secondsLeft?: number;
  };
  /** What it led to, line by line. */
  readonly result?: readonly string[];
}

export const attentionNames = [
  'under-replicated',
  'at-risk',
  'damaged',
  'stuck',
  'misplaced',
  'over-replicated',
] as const;
export type AttentionName = (typeof attentionNames)[number];

export interface AttentionFigures {
  readonly name: AttentionName;
  readonly objects: number;
  /** Why, as far as the ledger tells. */
  readonly reasons: readonly string[];
}

/** Something that is not of objects and needs a look, and where more of it is. */
export interface ConcernFigures {
  readonly tone: 'bad' | 'warn';
  readonly sentence: string;
  readonly why?: string;
  readonly href: string;
}

export interface ScrubFigures {
  /** Of the cycle, in [0, 1]. */
  readonly share: number;
  /** Every copy was read, or written, after this moment. */
  readonly oldestVerifiedAt: number;
  /** Copies that are come back to. */
  readonly owed: readonly { readonly key: string; readonly backend: string }[];
}

export interface Overview {
  /** When the fleet was read last. */
  readonly readAt: number;
  readonly now: number;
  readonly isReadOnly: boolean;
  /** Why the tables could not be read just now; the figures are older then. */
  readonly problem?: string;
  readonly fleetId: string;
  readonly version: number;
  readonly objects: number;
  readonly bytes: number;
  /** By number of counted copies, from 0 upwards; the last one stands for all above, too. */
  readonly byCopies: readonly number[];
  readonly attention: readonly AttentionFigures[];
  readonly concerns: readonly ConcernFigures[];
  readonly backends: readonly BackendFigures[];
  /** The largest ones. */
  readonly placements: readonly PlacementFigures[];
  /** Those that are not among them. */
  readonly otherPlacements: { readonly placements: number } & CountFigures;
  readonly queue: readonly ({ readonly state: string } & CountFigures)[];
  readonly workers: readonly WorkerFigures[];
  readonly scrub?: ScrubFigures;
  readonly recovery?: { readonly since: number };
  readonly work: readonly WorkFigures[];
  readonly jobs: readonly JobFigures[];
  readonly changes: readonly ChangeFigures[];
  readonly overrides: Readonly<Record<string, string>>;
}

export interface PlacementFigures extends CountFigures {
  readonly label: string;
  readonly policy: string;
  readonly condition: string;
  readonly backends: readonly string[];
}

export interface ObjectLine {
  readonly key: string;
  readonly sizeBytes: number;
  readonly createdAt: number;
  readonly policy: string;
  readonly condition: string;
  readonly backends: readonly string[];
  readonly counted: number;
  readonly wanted: number;
  /** Backend: why it refuses the object. */
  readonly reasons: Readonly<Record<string, string>>;
}

export interface ObjectList {
  readonly objects: readonly ObjectLine[];
  /** Give it as `after` for what comes next. */
  readonly next?: string;
}

export interface QueueLine {
  readonly id: string;
  readonly state: string;
  readonly backend: string;
  readonly key: string;
  readonly sizeBytes: number;
  readonly createdAt: number;
  readonly dueAt: number;
  readonly cause: string;
  readonly reason: string;
  readonly attempts: number;
  readonly lastError?: string;
  /** Of a copy in parts. */
  readonly transfer?: {
    readonly from: string;
    readonly doneBytes: number;
    readonly bytesPerSecond?: number;
    readonly secondsLeft?: number;
  };
}

export interface QueueList {
  readonly items: readonly QueueLine[];
  readonly next?: string;
}

/**
 * `written`: it was not read since · `read` by the scrub cycle · `owed`: it could not be read then, and is come back to ·
 * `damaged`: it was read, and did not verify.
 */
export interface VerifiedFigures {
  readonly how: 'written' | 'read' | 'owed' | 'damaged';
  readonly after?: number;
}

export interface CopyFigures {
  readonly backend: string;
  readonly bucket: string;
  readonly storageKey: string;
  readonly isImported: boolean;
  readonly isCounted: boolean;
  readonly breaker: BreakerFigure;
  readonly isDraining: boolean;
  /** When its bytes were written, where its name tells. */
  readonly writtenAt?: number;
  /** It was read in full, or written, after `after`, as far as records tell; absent where they tell nothing. */
  readonly verified?: VerifiedFigures;
  readonly refusal?: string;
}

export interface ObjectDetail extends ObjectLine {
  readonly generation: string;
  readonly rev: number;
  readonly sha256?: string;
  readonly keyId?: string;
  readonly copies: readonly CopyFigures[];
}

export type ObjectAnswer =
  | { readonly outcome: 'found'; readonly object: ObjectDetail }
  | { readonly outcome: 'deleted'; readonly deletedAt: number }
  | { readonly outcome: 'absent' };

export interface VerdictLine {
  readonly backend: string;
  readonly verdict: string;
  readonly detail?: string;
  readonly isGood: boolean;
}

export interface ParameterLine {
  readonly name: string;
  readonly value: string;
  readonly source: string;
  readonly default: string;
  readonly about: string;
  readonly mayBeSet: boolean;
}

export interface DrainPlanAnswer {
  readonly holds: CountFigures;
  readonly copies: CountFigures;
  readonly imported: CountFigures;
  readonly egressUsd: number;
  /** What is in the way, or should be known first. */
  readonly warnings: readonly string[];
}

/** Of one hour: what the ticks that ended in it did, and how the fleet stood at the last of them. */
export interface HistoryHour {
  /** Its beginning. */
  readonly at: number;
  readonly copiesMade: number;
  /** Written to backends by workers. */
  readonly bytesMoved: number;
  readonly verified: number;
  readonly deleted: number;
  readonly failed: number;
  readonly requests: number;
  readonly egressBytes: number;
  /** The longest that an object waited for the last copy it needed. */
  readonly lagSeconds?: number;
  readonly objects: number;
  readonly underReplicated: number;
  readonly queued: number;
  readonly usedBytes: number;
}

/** A content that was deleted or overwritten, and can be brought back. */
export interface WaitingLine {
  readonly generation: string;
  readonly sizeBytes: number;
  readonly since: number;
  readonly until: number;
}

/** What every action answers. */
export type ActionAnswer =
  | { readonly outcome: 'done'; readonly sentence: string; readonly verdicts?: readonly VerdictLine[] }
  /** It goes on: its job is among those of the overview. */
  | { readonly outcome: 'begun'; readonly sentence: string; readonly job: string }
  | { readonly outcome: 'refused'; readonly sentence: string };

/** Every action with what it asks for. */
export interface Actions {
  readonly pause: { readonly worker: string };
  readonly resume: { readonly worker: string };
  readonly set: { readonly name: string; readonly value: string };
  readonly unset: { readonly name: string };
  readonly drain: { readonly backend: string; readonly deleteImported?: boolean };
  readonly undrain: { readonly backend: string };
  readonly probe: { readonly backend: string };
  readonly requeue: { readonly ids?: readonly string[] };
  readonly retry: { readonly key: string };
  readonly scrub: { readonly key: string };
  readonly undelete: { readonly key: string; readonly generation: string };
  readonly 'plan-import': { readonly backends: readonly string[]; readonly prefix?: string };
  readonly import: { readonly backends: readonly string[]; readonly prefix?: string };
  readonly stop: { readonly job: string };
}
export type ActionName = keyof Actions;

export interface ErrorAnswer {
  readonly error: string;
}
