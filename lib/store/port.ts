import type { Usage } from '../base/usage.ts';
import type { ControlRow, Count, Entry, Lease, ObjectRecord, QueueItem, QueueState, Version } from './model.ts';

/** What must be so for a queue item to change: every field given is compared. */
export interface QueueExpectation {
  readonly state: QueueState;
  readonly dueAt?: number;
  readonly claimedBy?: string;
}

/** Writes an object's record or tombstone, on condition of the generation and rev seen. */
export interface ObjectChange {
  readonly kind: 'object';
  readonly put: Entry;
  readonly expect: Version | 'absent';
}

/** Writes a queue item: a new one (`absent`), or the next state of one. */
export interface QueueChange {
  readonly kind: 'queue';
  readonly put: QueueItem;
  readonly expect: QueueExpectation | 'absent';
}

/** Ends a queue item. */
export interface QueueEnd {
  readonly kind: 'queue-end';
  readonly id: string;
  readonly expect: QueueExpectation;
}

/**
 * Adds to a counter of the fleet, creating it at zero. With `atMostBytes` only if its bytes before that are no more, or
 * it is absent. With `atMostObjects` only if its objects before that are no more; an absent one has 0. Not both.
 */
export interface CounterAdd {
  readonly kind: 'add';
  readonly pk: string;
  readonly sk: string;
  readonly add: Count;
  readonly atMostBytes?: number;
  readonly atMostObjects?: number;
}

/** Removes a counter on condition that it still holds exactly these values. */
export interface CounterEnd {
  readonly kind: 'add-end';
  readonly pk: string;
  readonly sk: string;
  readonly expect: Count;
}

/** Writes a control row, on condition of its version (or absence). `put.version` must be the expected version + 1, or 1. */
export interface RowChange {
  readonly kind: 'row';
  readonly put: ControlRow;
  readonly expect: number | 'absent';
}

/** Removes a control row on condition of its version. */
export interface RowEnd {
  readonly kind: 'row-end';
  readonly pk: string;
  readonly sk: string;
  readonly expect: number;
}

export type Change = ObjectChange | QueueChange | QueueEnd | CounterAdd | CounterEnd | RowChange | RowEnd;

/** Why one change of a refused transaction was in the way; `seen` is what the table holds there now. */
export type Refusal =
  | { readonly cause: 'object'; readonly seen: Entry | null }
  | { readonly cause: 'queue'; readonly seen: QueueItem | null }
  | { readonly cause: 'counter'; readonly seen: Count | null }
  | { readonly cause: 'row'; readonly seen: ControlRow | null }
  | { readonly cause: 'conflict' };

/** The answer to a transaction: all of it, or none of it with a refusal (or null) per change, in order. */
export type TransactAnswer =
  | { readonly outcome: 'done'; readonly writeUnits: number }
  | { readonly outcome: 'refused'; readonly refusals: readonly (Refusal | null)[] };

export type WriteAnswer = { readonly outcome: 'done' } | { readonly outcome: 'refused'; readonly refusal: Refusal };

/** One page of an index query: entries in key order, and where to go on (absent at the end). */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next?: string;
}

/** All counters and rows under one partition of the Control table. */
export interface ControlPartition {
  readonly counters: readonly { readonly sk: string; readonly count: Count }[];
  readonly rows: readonly ControlRow[];
}

/**
 * Metadata storage: three tables behind typed changes and typed reads.
 *
 * Every call either answers, or throws a `StoreError` whose `kind` says what is known: `unanswered` means that a write
 * may have happened, may happen later, or may never happen.
 */
export interface Store {
  /**
   * What tells these very tables from a copy of them: ARN and creation time of the Objects table. Asked for whenever a
   * bucket's owner is; a table restored from a backup, or cloned, has another identity.
   */
  identity(): Promise<string>;
  /** All or nothing, at most 100 changes. Sent again with the same token within 10 minutes, it takes effect once. */
  transact(changes: readonly Change[], token: string): Promise<TransactAnswer>;
  /** One conditional write at half a transaction's price; not protected by a token. */
  write(change: QueueChange | RowChange | RowEnd): Promise<WriteAnswer>;

  /** Consistent reads. Absent keys are absent from the map. */
  objects(keys: readonly string[]): Promise<Map<string, Entry>>;
  queueItems(ids: readonly string[]): Promise<Map<string, QueueItem>>;
  /** Consistent; every row and counter with this partition key, in order of `sk`, paged internally. */
  control(pk: string): Promise<ControlPartition>;

  /**
   * Consistent; every item of a table, in no order that means anything, for recounts alone: nothing else may look for work
   * this way. `next` of the page continues.
   */
  everyEntry(after: string | undefined, limit: number): Promise<Page<Entry>>;
  everyQueueItem(after: string | undefined, limit: number): Promise<Page<QueueItem>>;

  /** Eventually consistent. `label` = `<policy>/<shard>/<b1+b2>`; keys after `afterKey`, in UTF-8 byte order. */
  byPlacement(label: string, afterKey: string | undefined, limit: number): Promise<Page<ObjectRecord>>;
  /** Eventually consistent. Keys of objects (not tombstones) of one shard, in UTF-8 byte order. */
  byKey(shard: string, afterKey: string | undefined, limit: number): Promise<Page<string>>;
  /** Eventually consistent. Items of a lane whose `dueAt` ≤ `dueBefore`, oldest first, whole items. `next` of the page continues. */
  due(lane: string, dueBefore: number, limit: number, after?: string): Promise<Page<QueueItem>>;
  /**
   * Eventually consistent. Ids of the items of one object in a lane, whenever they are due. Everything in the lane is read for
   * them, and charged: a page may be empty and go on.
   */
  queuedOf(lane: string, key: string, after?: string): Promise<Page<string>>;

  /**
   * Takes the lease when it is free, expired by `now`, or held by this very holder; its epoch is one higher.
   * Null when another holder has it.
   */
  acquireLease(request: {
    worker: string;
    part: string;
    holder: string;
    now: number;
    expiresAt: number;
  }): Promise<Lease | null>;
  /** Updates a lease, on condition of its epoch. False when a later epoch exists. */
  updateLease(
    lease: Lease,
    change: {
      readonly expiresAt?: number;
      readonly cursor?: string;
      readonly last?: Readonly<Record<string, unknown>>;
    },
  ): Promise<boolean>;
  /** The leases of one worker, as last written. */
  leases(worker: string): Promise<readonly Lease[]>;
  /** Adds to the usage of backends in an hour (UTC, `yyyy-mm-ddThh`) in one transaction; `token` makes a retry harmless. */
  addUsage(hour: string, usage: Readonly<Record<string, Usage>>, token: string): Promise<void>;
  /** Usage of the given backends in all hours from the one to the other, both included; no entry where there was none. */
  usage(hours: Hours, backends: readonly string[]): Promise<Map<string, Usage>>;
}

/** A stretch of hours (UTC, `yyyy-mm-ddThh`), both ends included. */
export interface Hours {
  readonly from: string;
  readonly to: string;
}

export type StoreErrorKind =
  | 'unanswered'
  | 'throttled'
  | 'denied'
  | 'missing-table'
  | 'unreachable'
  | 'malformed'
  | 'rejected';

/**
 * What should not happen in the metadata store. `unanswered`: the effect is unknown. `unreachable`: refused before it was
 * sent. `throttled`, `denied`, `missing-table`, `rejected`: certainly without effect. `malformed`: an item does not read
 * as what this version writes; the message names table, key and attribute.
 */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly kind: StoreErrorKind;
  constructor(kind: StoreErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}
