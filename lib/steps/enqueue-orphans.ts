import { type Condemnation, condemn } from '../store/enqueue-deletes.ts';
import { queueId, storageKey } from '../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../store/model.ts';
import type { Tick } from '../tick/tick.ts';

/** Bytes that a worker wrote and could not record. */
export interface Stray {
  /** As the swap that should have recorded them saw it. */
  readonly object: ObjectRecord;
  readonly backend: string;
  readonly copyId: string;
  readonly reason: string;
}

/** Queues strays for deletion, unless a record names them after all. Undecided ones are left to the sweep. */
export async function condemnStrays(tick: Tick, strays: readonly Stray[]): Promise<void> {
  const all = strays.map((stray): Condemnation => ({ item: itemFor(tick, stray), expected: stray.object }));
  const outcomes = await condemn(tick.commitDeps(), all, tick.deadline.commitUntil);
  for (const [i, outcome] of outcomes.entries()) {
    const { key, backend, storageKey, reason } = all[i]!.item;
    tick.audit('Bytes condemned', { key, backend, storageKey, reason, outcome });
  }
}

function itemFor(tick: Tick, { object, backend, copyId, reason }: Stray): QueueItem {
  const storage = storageKey(object.key, copyId);
  const now = tick.now();
  return {
    id: queueId(backend, storage),
    state: 'cleanup',
    backend,
    storageKey: storage,
    key: object.key,
    generation: object.generation,
    sizeBytes: object.sizeBytes,
    createdAt: now,
    dueAt: now + tick.params.graceMs,
    reason,
    attempts: 0,
  };
}
