import { queueId } from './keys.ts';
import type { Content, QueueCause, QueueItem } from './model.ts';
import { contentOf } from './records.ts';

/** Everything a new queue item says besides what follows from it. */
export type NewQueueItem = Omit<QueueItem, 'id' | 'reason' | 'attempts'> &
  Partial<Pick<QueueItem, 'reason' | 'attempts'>>;

/** A new queue item. Its reason is the cause where nothing more is to be said. */
export function newQueueItem(fields: NewQueueItem): QueueItem {
  const { backend, storageKey, plainEtag, cause } = fields;
  return { reason: cause, attempts: 0, ...fields, id: queueId(backend, storageKey, plainEtag) };
}

/** What identifies bytes of an object, and what is known of them: a record and the queue say the same. */
export type NamedBytes = Pick<QueueItem, 'key' | 'generation' | 'sizeBytes'> & Content;

/** The bytes that a record or an item names, so that the one can become the other. */
export function bytesOf(named: NamedBytes): NamedBytes {
  const { key, generation, sizeBytes } = named;
  return { key, generation, sizeBytes, ...contentOf(named) };
}

/** Bytes that left a record on evidence wait this long before they are deleted: they may be found good after all. */
export const quarantineMs = 7 * 24 * 3_600_000;

/** Why and when bytes are deleted. */
export interface Deletion {
  readonly cause: QueueCause;
  /** For people. */
  readonly reason?: string;
  readonly dueAt: number;
}

/** An item whose bytes nobody will record: it becomes a deletion, with a fresh start and no claim. */
export function enqueuedForDeletion(item: QueueItem, { cause, reason = cause, dueAt }: Deletion): QueueItem {
  const { claimedBy: _by, claimedAt: _at, lastError: _error, ...rest } = item;
  return { ...rest, state: 'cleanup', cause, reason, dueAt, attempts: 0 };
}
