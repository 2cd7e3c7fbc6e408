import type { Admission } from '../../base/admission.ts';
import type { Body } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import type { Deadline } from '../../base/deadline.ts';
import type { Backend, BackendError, StoredObject } from '../../fleet/backend.ts';
import type { ExceededLimit, Spend } from '../../fleet/usage-limits.ts';
import type { ReadRowDeps } from './read-row.ts';
import type { StoredBytes } from './stored-bytes.ts';

/**
 * What reading some bytes to their end showed:
 * `good` they are what was expected, or their first hash was proven · `wrong` other bytes came, completely: one read, never
 * evidence by itself · `missing` NoSuchKey, asked again on a connection of its own · `changed` a plain file with another ETag ·
 * `unreadable` nothing can be said; where that is about these bytes it backs off · `reading` progress is kept, here or by another
 * tick: come back · `put-off` nothing was spent: a usage limit, no time, a failure before that backs off, or another's claim.
 */
export type Reading =
  | GoodReading
  | { readonly outcome: 'wrong'; readonly detail: string; readonly sha256?: string }
  | { readonly outcome: 'missing' }
  | { readonly outcome: 'changed' }
  | { readonly outcome: 'unreadable'; readonly error: BackendError }
  | { readonly outcome: 'reading'; readonly readBytes: number }
  | { readonly outcome: 'put-off'; readonly reason: PutOffReason };

export type NotGood = Exclude<Reading, GoodReading>;

export interface GoodReading {
  readonly outcome: 'good';
  /** Hex. */
  readonly sha256: string;
  /** Its hash was known, or its ETag says the same; else only a second reading does. */
  readonly provesItself: boolean;
  /** What the backend says of the bytes now. */
  readonly found: StoredObject;
  /** When the last byte was read. Milliseconds since the epoch. */
  readonly readAt: number;
  /** True when some of it was read in an earlier turn. The backend still shows the same size and ETag now. */
  readonly isAged: boolean;
  /** The first bytes, where they were asked for. */
  readonly first?: Uint8Array;
}

export type PutOffReason = NonNullable<ReturnType<ReadBudget['refuses']>> | 'out-of-time' | 'backing-off';

export interface ReadOptions {
  /** A full-object SHA-256 that the backend attests stands for the read, if it is the one expected. */
  readonly trustsAttestation?: boolean;
  /** Reads the same bytes as they pass, e.g. to decrypt them; only where they are read in one go. */
  readonly alongside?: (body: Body) => Body;
  /** How old a good read may be that took longer than a tick [24 h]; 0: none but one of now. */
  readonly agesUpToMs?: number;
  /** Small bytes too keep what was found out: failures back off, and a wrong read is remembered. Costs a read of their row. */
  readonly remembers?: boolean;
  /**
   * So many first bytes are given with a good reading: of this very read, in whatever turn they came. A separate request
   * could be refused by a limit after the whole was read, and the whole would be read again. Not with an attestation.
   */
  readonly firstBytes?: number;
}

/** What a reader may spend of the usage limits. */
export interface ReadBudget {
  refuses(backend: string, spend: Spend): ExceededLimit | null;
  reserve(backend: string, spend: Spend): () => void;
}

export interface CopyReaderDeps extends ReadRowDeps {
  readonly clock: Clock;
  /** When this turn began: what was read before is aged. */
  readonly startedAt: number;
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
  readonly admission: Admission;
  /** Bytes that are asked for at a time. */
  readonly windowBytes: number;
  backend(name: string): Promise<Backend>;
  budget(): Promise<ReadBudget>;
  /** What the fleet file allows on a backend; 0 where it does not say. */
  bytesPerSecond(backend: string): number;
}

/** What reading several copies side by side showed. */
export type AllReadings =
  | { readonly outcome: 'good'; readonly isAged: boolean }
  | { readonly outcome: 'not-good'; readonly of: StoredBytes; readonly reading: NotGood };

/** What earlier reads of some bytes left behind. */
export interface Standing {
  /** A whole read ended wrong, against what is expected now. */
  readonly isSuspect: boolean;
  readonly isBackingOff: boolean;
  /** Spent on the read under way, and on the last that ended well: what may be waited for. */
  readonly readingMs: number;
}

/**
 * Reads bytes to their end, over as many turns as that takes, for whoever needs to know that they are what is recorded.
 *
 * What fits into a turn is read at once. Longer reads go on where the last turn stopped, under the ETag with which they
 * began, whoever goes on with them. Only a good read may age. Never throws for what a backend does.
 */
export interface CopyReader {
  read(bytes: StoredBytes, options?: ReadOptions): Promise<Reading>;
  /** All side by side, as one proof: none is read while another backs off, is over its limit, or is not there. */
  readAll(all: readonly StoredBytes[], options?: ReadOptions): Promise<AllReadings>;
  standing(bytes: StoredBytes): Promise<Standing>;
}
