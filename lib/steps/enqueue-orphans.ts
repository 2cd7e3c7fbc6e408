import { type DeleteRequest, enqueueDeletes } from '../store/enqueue-deletes.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../store/model.ts';
import { bytesOf, newQueueItem } from '../store/queue-items.ts';
import type { Tick } from '../tick/tick.ts';

/** What this file asks of a tick. */
export type EnqueueOrphansTick = Pick<Tick, 'params' | 'deadline' | 'now' | 'commitDeps' | 'audit'>;

/** Bytes that a worker wrote and could not record. */
export interface Orphan {
  /** As the swap that should have recorded them saw it. */
  readonly object: ObjectRecord;
  readonly backend: string;
  readonly copyId: string;
  readonly reason: string;
}

/** Queues orphans for deletion, unless a record names them after all. Undecided ones are left to the sweep. */
export async function enqueueOrphans(tick: EnqueueOrphansTick, orphans: readonly Orphan[]): Promise<void> {
  const all = orphans.map((orphan): DeleteRequest => ({ item: itemFor(tick, orphan), expected: orphan.object }));
  const outcomes = await enqueueDeletes(tick.commitDeps(), all, tick.deadline.commitUntil);
  for (const [i, outcome] of outcomes.entries()) {
    const { key, backend, storageKey, reason } = all[i]!.item;
    tick.audit('Bytes enqueued for deletion', { key, backend, storageKey, reason, outcome });
  }
}

function itemFor(tick: EnqueueOrphansTick, { object, backend, copyId, reason }: Orphan): QueueItem {
  const now = tick.now();
  return newQueueItem({
    ...bytesOf(object),
    state: 'cleanup',
    backend,
    storageKey: storageKey(object.key, copyId),
    createdAt: now,
    dueAt: now + tick.params.graceMs,
    cause: 'unrecorded',
    reason,
  });
}
