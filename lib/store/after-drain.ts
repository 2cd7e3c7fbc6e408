import { copyIdOf } from './keys.ts';
import type { Entry, ObjectRecord, QueueItem } from './model.ts';
import { isSameEtag } from './records.ts';
import type { HeldItem, Swap } from './swap.ts';

/**
 * What becomes of bytes that a drain queued for deletion, once it is over: `rejoined` they are a copy again, where they are ·
 * `left` a file of somebody else's stays, and is no copy · `kept-queued` bytes of ours are surplus, like others.
 */
export interface AfterDrain {
  readonly outcome: 'rejoined' | 'left' | 'kept-queued';
  readonly swap: Swap;
}

/**
 * Settles an item whose drain is over: nothing is deleted for a drain any more. Bytes that nobody ever claimed stand as they
 * were recorded, so they rejoin the object if it still has the generation that they left and no other copy there. Where a
 * deletion may be under way nothing rejoins. Pure.
 *
 * @param held the item, with what must still be so of it
 * @param wasClaimed whether somebody may have begun to delete its bytes
 * @param dueAt when bytes that are surplus may be deleted
 */
export function afterDrain(
  held: HeldItem,
  entry: Entry | undefined,
  { wasClaimed, dueAt }: { readonly wasClaimed: boolean; readonly dueAt: number },
): AfterDrain {
  const { item } = held;
  const { key } = item;
  if (!wasClaimed && entry !== undefined && mayRejoin(item, entry)) {
    const copies = { ...entry.copies, [item.backend]: copyIdOf(item) };
    const change = { before: entry, after: { ...entry, copies } };
    return { outcome: 'rejoined', swap: { key, change, completes: [held], ignoresRoom: true } };
  }
  if (item.storageKey === key) return { outcome: 'left', swap: { key, completes: [held] } };
  const { drainSince: _over, ...rest } = item;
  const cause = item.cause === 'drained' ? 'surplus' : item.cause;
  return {
    outcome: 'kept-queued',
    swap: { key, moves: [{ from: held, to: { ...rest, cause, reason: cause, dueAt } }] },
  };
}

function mayRejoin(item: QueueItem, entry: Entry): entry is ObjectRecord {
  if (entry.kind !== 'object' || entry.generation !== item.generation) return false;
  if (entry.copies[item.backend] !== undefined) return false;
  const remembered = entry.plainEtags?.[item.backend];
  if (item.storageKey !== item.key) return true;
  // The owner may have written the file again, or the object may have forgotten it.
  return item.plainEtag !== undefined && remembered !== undefined && isSameEtag(remembered, item.plainEtag);
}
