import { defined } from '../base/defined.ts';
import { storageKey } from './keys.ts';
import type { Entry, ObjectRecord, QueueItem } from './model.ts';
import type { CounterAdd, QueueExpectation } from './port.ts';
import { bytesOf, type Deletion, newQueueItem } from './queue-items.ts';
import { expectedEtag } from './records.ts';

/** An existing queue item and what must still be so for it to change; by default only its state. */
export interface HeldItem {
  readonly item: QueueItem;
  readonly expect?: QueueExpectation;
}

/** A proposed change of one object's record, of queue items, or of both together. */
export interface Swap {
  readonly key: string;
  /** The entry as seen (null: none) and as it shall be; its rev is assigned by `commit`. Absent: only queue items change. */
  readonly change?: { readonly before: Entry | null; readonly after: Entry };
  /** Items that end: their bytes are recorded by `after`, or known to be deleted. */
  readonly completes?: readonly HeldItem[];
  /** Items that change. */
  readonly moves?: readonly { readonly from: HeldItem; readonly to: QueueItem }[];
  /** New items for bytes about to be written (intents, transfers): charged on condition of room. */
  readonly reserves?: readonly QueueItem[];
  /** New items for bytes already there that no record names: charged unconditionally. */
  readonly enqueuesDeletes?: readonly QueueItem[];
  /** How bytes that lose their record by this swap are queued. Required when it removes copies that are not plain. */
  readonly orphans?: Deletion & { readonly createdAt: number };
  /** Of backends whose copies leave the record by a drain: when it began. Their bytes are deleted only while it lasts. */
  readonly drainedSince?: Readonly<Record<string, number>>;
  /** Bytes that lose their record stay, and are queued by nobody: a recovery decides nothing that it cannot take back. */
  readonly keepsBytes?: boolean;
  /** Backends whose plain copy a person asked to delete; others stay where they are. */
  readonly deletesPlain?: readonly string[];
  /** True when new bytes are charged whatever room there is (imports). */
  readonly ignoresRoom?: boolean;
  /** Further counters that must change in the same transaction, each at most to its limit (removals on evidence). */
  readonly counters?: readonly CounterAdd[];
}

/** The copies of an entry; none for a tombstone or nothing. */
export function copiesOf(entry: Entry | null | undefined): Readonly<Record<string, string>> {
  return entry?.kind === 'object' ? entry.copies : {};
}

/** Whether an entry names the bytes at a storage key on a backend. */
export function namesBytes(entry: Entry | null | undefined, backend: string, storage: string): boolean {
  if (entry?.kind !== 'object') return false;
  const copyId = entry.copies[backend];
  return copyId !== undefined && storageKey(entry.key, copyId) === storage;
}

/** The cleanup items for bytes that lose their record by a swap. Plain files are only queued when a person asked. */
export function orphansOf(swap: Swap): QueueItem[] {
  const before = swap.change?.before;
  if (swap.change === undefined || before?.kind !== 'object' || swap.keepsBytes) return [];
  const kept = copiesOf(swap.change.after);
  const items: QueueItem[] = [];
  for (const [backend, copyId] of Object.entries(before.copies)) {
    if (kept[backend] === copyId) continue;
    // Without the ETag it must still have, a file that we did not write is never ours to delete.
    if (copyId === '' && !(swap.deletesPlain?.includes(backend) && before.plainEtags?.[backend] !== undefined))
      continue;
    items.push(orphan(swap, before, backend, copyId));
  }
  return items;
}

function orphan(swap: Swap, before: ObjectRecord, backend: string, copyId: string): QueueItem {
  if (swap.orphans === undefined)
    throw new Error(`A swap of "${swap.key}" removes the copy on "${backend}" without saying why`);
  const plainEtag = expectedEtag(before, backend);
  return newQueueItem({
    ...bytesOf(before),
    ...swap.orphans,
    ...byDrain(swap, backend),
    state: 'cleanup',
    backend,
    storageKey: storageKey(before.key, copyId),
    ...defined({ plainEtag }),
  });
}

/** What of a deletion is due to a drain; evidence that has aged stays the cause, for then there is more to be asked. */
function byDrain({ drainedSince, orphans }: Swap, backend: string): Partial<Pick<QueueItem, 'cause' | 'drainSince'>> {
  const drainSince = drainedSince?.[backend];
  if (drainSince === undefined) return {};
  return { drainSince, ...(orphans?.cause === 'surplus' && { cause: 'drained' }) };
}
