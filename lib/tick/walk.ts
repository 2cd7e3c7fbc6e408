import { slices as allSlices } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Store } from '../store/port.ts';

/** A place in the walk over all objects: within a slice, behind a key. */
export interface Place {
  readonly slice: string;
  /** Absent at the beginning of the slice. */
  readonly key?: string;
}

/** Objects of one slice in key order, and the place behind them; `next` is undefined behind the last slice. */
export interface Stretch {
  readonly objects: readonly ObjectRecord[];
  readonly next: Place | undefined;
}

/** Reads up to `limit` objects from a place on, within one slice. Records are read consistently; only keys may lag. */
export async function readStretch(store: Store, slices: readonly string[], at: Place, limit: number): Promise<Stretch> {
  const page = await store.byKey(at.slice, at.key, limit);
  const entries = await store.objects(page.items);
  const objects = page.items.flatMap((key) => {
    const entry = entries.get(key);
    return entry?.kind === 'object' ? [entry] : [];
  });
  const last = page.items.at(-1);
  if (page.next !== undefined && last !== undefined) return { objects, next: { slice: at.slice, key: last } };
  const following = slices.find((slice) => slice > at.slice);
  return { objects, next: following === undefined ? undefined : { slice: following } };
}

/** The first place of a walk over some slices. */
export function firstPlace(slices: readonly string[] = allSlices): Place {
  return { slice: slices[0]! };
}
