import type { BackendError } from '../../fleet/backend.ts';
import type { Entry, ObjectRecord, QueueCause, QueueItem } from '../../store/model.ts';

/**
 * What one item's turn led to; what is written, counted and logged follows from it in one place.
 *
 * `deleted` nothing is there any more · `file-changed` a plain file has another ETag than the one to delete · `file-left` a
 * plain file stays, since it cannot be deleted safely · `named` a record names the bytes · `still-needed` the object has too few
 * other copies yet · `copy-begun` good bytes are copied to a fresh key · `drain-over` the drain that took the bytes has ended · `restored` good bytes are in the record again ·
 * `put-off` nothing can be decided now · `failed` an attempt · `parked` nothing was attempted, and nothing changes.
 */
export type Turn =
  | { readonly outcome: 'deleted' }
  | { readonly outcome: 'file-changed' }
  | { readonly outcome: 'file-left'; readonly why: 'no-conditional-delete' | 'newer-than-item' }
  | { readonly outcome: 'named' }
  | { readonly outcome: 'still-needed' }
  | { readonly outcome: 'drain-over' }
  | { readonly outcome: 'restored'; readonly before: ObjectRecord; readonly after: ObjectRecord }
  | { readonly outcome: 'copy-begun'; readonly transfer: QueueItem }
  /** `cause`: why it is deleted, as it was found meanwhile. */
  | { readonly outcome: 'put-off'; readonly why: string; readonly waitMs: number; readonly cause?: QueueCause }
  | { readonly outcome: 'failed'; readonly error: BackendError }
  | { readonly outcome: 'parked'; readonly why: string };

/** An item at the end of its turn. */
export interface ItemTurn {
  readonly item: QueueItem;
  /** False for what was decided without a claim: then nobody may have claimed it since. */
  readonly isClaimed: boolean;
  readonly turn: Turn;
  /** The entry at the item's key, as it was read last. */
  readonly entry?: Entry | undefined;
}

/** A recorded copy that verified: while it is recorded, the waiting bytes may go. */
export interface Proof {
  readonly backend: string;
  readonly copyId: string;
}

/** An item that may be deleted, as long as its proof holds. */
export interface Deletable {
  readonly item: QueueItem;
  readonly proof?: Proof;
  /** The recovery, by its beginning, that was known when it was found that it may go; absent: none, or nothing was asked. */
  readonly judgedAfter?: number;
}
