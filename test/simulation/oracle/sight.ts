import type { Entry, QueueItem } from '../../../lib/store/model.ts';
import type { MemoryBackend } from '../../../lib/testing/backend/memory-backend.ts';
import type { Faults } from '../faults.ts';
import type { World } from '../world.ts';
import type { CallsCheck } from './calls.ts';
import type { PlacesCheck } from './places.ts';
import { keyWithin, storageKeyOf } from './reading.ts';
import type { Violation } from './violation.ts';

/** What every part of the oracle sees: the world, the buckets, and its own mirror of the tables. */
export interface Sight {
  readonly world: World;
  readonly faults: Faults;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  readonly objects: ReadonlyMap<string, Entry>;
  readonly queue: ReadonlyMap<string, QueueItem>;
  /** Queue items made by a send that landed after its token was forgotten: the same bytes may be recorded by now. */
  readonly revived: ReadonlySet<string>;
  readonly calls: CallsCheck;
  readonly places: PlacesCheck;
  /** The lowest factor that was ever in force: a process goes by the fleet file it read, and files are few. */
  lowestFactor(key: string): number;
  /** The same, of how long what is deleted or overwritten can be brought back. */
  lowestGraceMs(key: string): number;
  report(violation: Violation): void;
}

/** How bytes are called by the oracle, and by the queue unless they are plain. */
export function placeOf(backend: string, storageKey: string): string {
  return `${backend}/${storageKey}`;
}

/** The backend and the storage key of a place. */
export function partsOf(place: string): [backend: string, storageKey: string] {
  const at = place.indexOf('/');
  return [place.slice(0, at), place.slice(at + 1)];
}

/** The object whose record names the bytes at a storage key. */
export function namedBy(sight: Sight, backend: string, storageKey: string): Entry | undefined {
  const key = keyWithin(storageKey);
  const candidates = [sight.objects.get(storageKey), key === null ? undefined : sight.objects.get(key)];
  return candidates.find(
    (entry) =>
      entry?.kind === 'object' &&
      entry.copies[backend] !== undefined &&
      storageKeyOf(entry.key, entry.copies[backend]) === storageKey,
  );
}
