import { ruleOf } from '../../steps/missing-copies.ts';
import { newTransfer, type TransferTick } from '../../steps/transfers/begin.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import type { Tick } from '../../tick/tick.ts';
import { copyWaitMs } from './settle.ts';
import type { Turn } from './turn.ts';

const dayMs = 24 * 3_600_000;

/**
 * Good bytes that somebody may still be deleting, since they were claimed once, are copied to a fresh key: by whoever copies
 * big objects, on a backend of which the record names no copy; where they are, if that may be. Until that has ended they wait.
 */
export async function copyElsewhere(
  tick: TransferTick & Pick<Tick, 'config' | 'standing' | 'standings'>,
  item: QueueItem,
  object: ObjectRecord,
): Promise<Turn> {
  const names = [item.backend, ...tick.standings().map(({ name }) => name)];
  // Good bytes in no record stand better where the policy would not have them than nowhere.
  const { allows } = ruleOf(tick, object.key);
  const wanted = [...names.filter(allows), ...names];
  const to = wanted.find((name) => object.copies[name] === undefined && takes(tick, name, object));
  if (to === undefined) return { outcome: 'put-off', why: 'no-place-for-a-copy', waitMs: dayMs };
  const request = { object, from: item.backend, to, sourceKey: item.storageKey };
  return { outcome: 'copy-begun', transfer: newTransfer(tick, request) };
}

function takes(tick: Pick<Tick, 'standing'>, name: string, { sizeBytes }: ObjectRecord): boolean {
  const { config, isCounted, takesCopies } = tick.standing(name);
  const { maxObjectBytes = 0 } = config ?? {};
  return isCounted && takesCopies && (maxObjectBytes === 0 || maxObjectBytes >= sizeBytes);
}

/** Whether the transfer that copies an item's bytes is still under way. */
export async function isBeingCopied(
  deps: { readonly store: Pick<Tick['deps']['store'], 'queueItems'> },
  { copiedBy }: QueueItem,
): Promise<boolean> {
  if (copiedBy === undefined) return false;
  return (await deps.store.queueItems([copiedBy])).get(copiedBy)?.state === 'transfer';
}

export const stillCopied: Turn = { outcome: 'put-off', why: 'copy-under-way', waitMs: copyWaitMs };
