import type { FleetFile } from '../../../lib/config/fleet-file.ts';
import type { Entry, QueueItem } from '../../../lib/store/model.ts';
import type { Operation } from '../operation.ts';
import { storageKeyOf } from './reading.ts';
import { namedBy, placeOf, type Sight } from './sight.ts';
import { Violation } from './violation.ts';

/** Nothing but orphans, imports and operators lifts what is used of a backend above its quota. */
export interface QuotasCheck {
  /** Told before the mirror of the tables changes. */
  objectChanging(before: Entry | null, after: Entry | null): void;
  queueChanging(before: QueueItem | null, after: QueueItem | null): void;
  /** Judges the last transaction. */
  settle(): void;
}

/** What one transaction touches: how much was used before it, and which bytes had a name. */
interface Transaction {
  readonly by: Operation | null;
  readonly usedBefore: Map<string, number>;
  readonly places: Map<string, { readonly backend: string; readonly storageKey: string; readonly wasNamed: boolean }>;
}

export function createQuotasCheck(
  sight: Sight,
  files: readonly FleetFile[],
  usedBytes: (backend: string) => number,
): QuotasCheck {
  const { world, queue, report } = sight;
  let open: Transaction | null = null;

  function touch(backend: string, storageKey: string): void {
    if (open !== null && open.by !== world.current) settle();
    open ??= { by: world.current, usedBefore: new Map(), places: new Map() };
    const place = placeOf(backend, storageKey);
    if (!open.usedBefore.has(backend)) open.usedBefore.set(backend, usedBytes(backend));
    if (open.places.has(place)) return;
    const wasNamed = queue.has(place) || namedBy(sight, backend, storageKey) !== undefined;
    open.places.set(place, { backend, storageKey, wasNamed });
  }

  /** The bytes about to be written, or just written, that a transaction named for the first time. */
  function newBytes({ places, by }: Transaction): Map<string, number> {
    const found = new Map<string, number>();
    // It sends no bytes: what its imports and recoveries record stood there before. What it queued to be sent would be new.
    const isReconciler = by?.actor.name.startsWith('reconciler') === true;
    for (const [place, { backend, storageKey, wasNamed }] of places) {
      const item = queue.get(place);
      const entry = namedBy(sight, backend, storageKey);
      // A copy at the key itself was imported where it stood; what is queued for deletion stood there too.
      const isPlain = storageKey === entry?.key;
      const isRecorded = entry !== undefined && !isPlain && !isReconciler;
      const isNew = isRecorded || item?.state === 'intent' || item?.state === 'transfer';
      if (wasNamed || !isNew) continue;
      const sizeBytes = item?.sizeBytes ?? (entry?.kind === 'object' ? entry.sizeBytes : 0);
      found.set(backend, (found.get(backend) ?? 0) + sizeBytes);
    }
    return found;
  }

  /** The highest that was ever in force: a process goes by the file that it read. */
  function quotaOf(backend: string): number {
    const all = files
      .flatMap(({ backends }) => backends.filter(({ name }) => name === backend))
      .map((b) => b.quotaBytes || Infinity);
    return Math.max(...all);
  }

  function settle(): void {
    if (open === null) return;
    const { by, usedBefore } = open;
    for (const [backend, bytes] of newBytes(open)) {
      const used = usedBefore.get(backend)!;
      if (used + bytes <= quotaOf(backend)) continue;
      const message = `${by?.actor.name} names ${bytes} new bytes on ${backend}, where ${used} of ${quotaOf(backend)} are used`;
      report(new Violation('quota', message));
    }
    open = null;
  }

  return {
    objectChanging(before, after) {
      for (const entry of [before, after]) {
        if (entry?.kind !== 'object') continue;
        for (const [backend, copyId] of Object.entries(entry.copies)) touch(backend, storageKeyOf(entry.key, copyId));
      }
    },
    queueChanging(before, after) {
      const item = after ?? before;
      if (item !== null) touch(item.backend, item.storageKey);
    },
    settle,
  };
}
