import { defined } from '../../base/defined.ts';
import type { Outcome } from '../../store/commit.ts';
import { lane, newCopyId, storageKey } from '../../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import { bytesOf, newQueueItem } from '../../store/queue-items.ts';
import type { Tick } from '../../tick/tick.ts';
import { partSizeFor } from '../../transfer/parts.ts';

/** Whether an object is copied in parts, over as many ticks as that takes. */
export function isBig(tick: Tick, object: ObjectRecord): boolean {
  return object.sizeBytes > tick.params.multipartAboveBytes;
}

/** A copy to begin. */
export interface TransferPlan {
  readonly object: ObjectRecord;
  readonly from: string;
  readonly to: string;
  /** The backend whose copy it replaces, in a move. */
  readonly leaves?: string;
}

/** The item of a copy that is about to begin: at a fresh storage key, due at once. */
export function newTransfer(tick: Tick, { object, from, to, leaves }: TransferPlan): QueueItem {
  const now = tick.now();
  return newQueueItem({
    ...bytesOf(object),
    state: 'transfer',
    backend: to,
    storageKey: storageKey(object.key, newCopyId(tick.deps.ids)),
    createdAt: now,
    dueAt: now,
    cause: leaves === undefined ? 'copy' : 'move',
    reason: leaves === undefined ? 'under-replicated' : 'moved',
    transfer: {
      from,
      uploadId: '',
      partSizeBytes: partSizeFor(object.sizeBytes, tick.params.partBytes),
      partsDone: 0,
      hashState: '',
      ...defined({ leaves }),
    },
  });
}

/** Names and charges a copy before a byte of it is written. */
export async function beginTransfer(
  tick: Tick,
  plan: TransferPlan,
): Promise<{ readonly outcome: Outcome['outcome']; readonly item?: QueueItem }> {
  const item = newTransfer(tick, plan);
  const [named] = await tick.commit([{ key: item.key, reserves: [item] }]);
  if (named!.outcome !== 'committed') return { outcome: named!.outcome };
  const { key, backend, storageKey: at, sizeBytes, reason } = item;
  tick.audit('Transfer begun', { key, backend, storageKey: at, sizeBytes, reason, from: plan.from });
  return { outcome: 'committed', item };
}

/** The transfers there are, by the key of their object: so that none is begun twice. */
export async function pendingTransfers(tick: Tick): Promise<Map<string, QueueItem[]>> {
  const pending = new Map<string, QueueItem[]>();
  for (const backend of tick.view.namedBackends()) {
    if (tick.view.queue('transfer', backend).objects <= 0) continue;
    for (const shard of tick.shards) {
      let after: string | undefined;
      do {
        const page = await tick.deps.store.due(lane('transfer', backend, shard), Number.MAX_SAFE_INTEGER, 1000, after);
        for (const item of page.items) notePending(pending, item);
        after = page.next;
      } while (after !== undefined);
    }
  }
  return pending;
}

export function notePending(pending: Map<string, QueueItem[]>, item: QueueItem): void {
  pending.set(item.key, [...(pending.get(item.key) ?? []), item]);
}
