import { shards as allShards } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Store } from '../store/port.ts';

/** A place in the walk over all objects: within a shard, behind a key. */
export interface Place {
  readonly shard: string;
  /** Absent at the beginning of the shard. */
  readonly key?: string;
}

/** Objects of one shard in key order, and the place behind them; `next` is undefined behind the last shard. */
export interface Stretch {
  readonly objects: readonly ObjectRecord[];
  readonly next: Place | undefined;
}

/** Reads up to `limit` objects from a place on, within one shard. Records are read consistently; only keys may lag. */
export async function readStretch(store: Store, shards: readonly string[], at: Place, limit: number): Promise<Stretch> {
  const page = await store.byKey(at.shard, at.key, limit);
  const entries = await store.objects(page.items);
  const objects = page.items.flatMap((key) => {
    const entry = entries.get(key);
    return entry?.kind === 'object' ? [entry] : [];
  });
  const last = page.items.at(-1);
  if (page.next !== undefined && last !== undefined) return { objects, next: { shard: at.shard, key: last } };
  const following = shards.find((shard) => shard > at.shard);
  return { objects, next: following === undefined ? undefined : { shard: following } };
}

/** The first place of a walk over some shards. */
export function firstPlace(shards: readonly string[] = allShards): Place {
  return { shard: shards[0]! };
}
