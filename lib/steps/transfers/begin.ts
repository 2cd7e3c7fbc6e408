import { defined } from '../../base/defined.ts';
import type { Capabilities } from '../../fleet/backend.ts';
import type { Outcome } from '../../store/commit.ts';
import { newCopyId, storageKey } from '../../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import { bytesOf, newQueueItem } from '../../store/queue-items.ts';
import type { Tick } from '../../tick/tick.ts';
import type { Spent } from '../../transfer/budget.ts';
import { partSizeFor } from '../../transfer/parts.ts';
import type { CopyTurn } from '../copy-turn.ts';
import { claimsOf } from './pending.ts';

/** What this file asks of a tick. */
export type BeginTick = Pick<Tick, 'deps' | 'params' | 'view' | 'now' | 'commit' | 'audit'>;

/** Whether an object is copied in parts, over as many ticks as that takes. */
export function isBig(tick: BeginTick, object: ObjectRecord): boolean {
  return object.sizeBytes > tick.params.multipartAboveBytes;
}

/** A copy to begin. */
export interface TransferPlan {
  readonly object: ObjectRecord;
  readonly from: string;
  readonly to: string;
  /** The backend whose copy it replaces, in a move. */
  readonly leaves?: string;
  /** Where the bytes are on `from`, if no record names them. */
  readonly sourceKey?: string;
}

/** What naming a copy needs. */
export type TransferTick = Pick<Tick, 'now' | 'params' | 'view'> & { readonly deps: Pick<Tick['deps'], 'ids'> };

/** The item of a copy that is about to begin: at a fresh storage key, due at once. */
export function newTransfer(tick: TransferTick, { object, from, to, leaves, sourceKey }: TransferPlan): QueueItem {
  const now = tick.now();
  const { maxParts } = tick.view.capabilities(to) as Capabilities;
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
      partSizeBytes: partSizeFor(object.sizeBytes, tick.params.partBytes, maxParts),
      partsDone: 0,
      hashState: '',
      ...defined({ leaves, sourceKey }),
    },
  });
}

/** What came of beginning a copy: it is named and charged; or a usage limit, or why it could not be named. */
export type BeginOutcome =
  | { readonly outcome: 'begun'; readonly item: QueueItem }
  | Extract<Spent<never>, { outcome: 'over-limit' }>
  | { readonly outcome: Exclude<Outcome['outcome'], 'committed'> };

/**
 * Names and charges a copy before a byte of it is written, and sets aside what it is to move of the month: what the limits of
 * one end hold back is not begun there.
 */
export async function beginTransfer(
  { tick, budget, pending, planned }: Pick<CopyTurn, 'tick' | 'budget' | 'pending' | 'planned'>,
  request: TransferPlan,
): Promise<BeginOutcome> {
  const item = newTransfer(tick, request);
  const spent = await budget.spend(claimsOf(item), async () => {
    const [named] = await tick.commit([{ key: item.key, reserves: [item] }]);
    if (named!.outcome === 'committed') pending.note(item);
    return named!.outcome;
  });
  if (spent.outcome === 'over-limit') return spent;
  if (spent.value !== 'committed') return { outcome: spent.value };
  const { key, backend, storageKey: at, sizeBytes, reason } = item;
  planned.set(backend, (planned.get(backend) ?? 0) + sizeBytes);
  tick.audit('Transfer begun', { key, backend, storageKey: at, sizeBytes, reason, from: request.from });
  return { outcome: 'begun', item };
}
