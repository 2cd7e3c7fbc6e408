import type { Entry, ObjectRecord, QueueItem } from '../../store/model.ts';
import { expectedEtag, isOneWrite, isSameEtag } from '../../store/records.ts';
import { namesBytes } from '../../store/swap.ts';
import type { Proof, Turn } from './turn.ts';

/** What is asked of the fleet to decide about an item. */
export interface FleetNow {
  /** Whether an object has as many counted copies as its policy asks for. */
  isAtFactor(object: ObjectRecord): boolean;
  /** When the drain of a backend began; undefined when it is not draining. */
  drainSince(backend: string): number | undefined;
  /** Whether a backend deletes on condition of an ETag. */
  canMatch(backend: string): boolean;
}

/** Whether an item is about a file that Holdfast did not write. */
export function isFile(item: QueueItem): boolean {
  return item.storageKey === item.key;
}

/**
 * Whether the bytes of a claimed item may be deleted now, by the entries that could name them and by the fleet, both read
 * after the claim; else what becomes of the item.
 */
export function decide(item: QueueItem, entries: readonly Entry[], fleet: FleetNow): { outcome: 'delete' } | Turn {
  const naming = entries.find((entry) => namesBytes(entry, item.backend, item.storageKey));
  if (naming !== undefined) return isAnotherFile(item, naming) ? { outcome: 'file-changed' } : { outcome: 'named' };
  const object = entries.find(({ key }) => key === item.key);
  // Replicas of what an owner overwrote stay until the new content is at its factor.
  if (item.cause === 'overwritten' && object?.kind === 'object' && !fleet.isAtFactor(object))
    return { outcome: 'still-needed' };
  if (item.drainSince !== undefined && item.drainSince !== fleet.drainSince(item.backend))
    return { outcome: 'drain-over' };
  const isUnmatched = item.plainEtag === undefined || !fleet.canMatch(item.backend);
  if (isFile(item) && isUnmatched) return { outcome: 'file-left', why: 'no-conditional-delete' };
  return { outcome: 'delete' };
}

/** Whether the file that a record names is another than the one to be deleted: its owner has put it there since. */
function isAnotherFile(item: QueueItem, naming: Entry): boolean {
  const recorded = naming.kind === 'object' ? expectedEtag(naming, item.backend) : undefined;
  return item.plainEtag !== undefined && recorded !== undefined && !isSameEtag(recorded, item.plainEtag);
}

/** Whether an item's bytes left their record on evidence: they are not deleted before somebody looked again. */
export function isWaiting({ cause }: QueueItem): boolean {
  return cause === 'quarantined' || cause === 'aged-evidence';
}

/** Whether what proved an item deletable is still so, by the entry as it is after the claim. */
export function stillHolds(proof: Proof | undefined, item: QueueItem, entry: Entry | undefined): boolean {
  if (proof === undefined) return true;
  if (entry?.kind !== 'object' || !isOneWrite(entry, item)) return true;
  return entry.copies[proof.backend] === proof.copyId;
}
