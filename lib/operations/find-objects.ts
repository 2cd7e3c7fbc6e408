import type { PlacementTotal } from '../store/fleet-view.ts';
import { labelInShard, lane, shards } from '../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../store/model.ts';
import type { Page, Store } from '../store/port.ts';

/** Where a listing goes on: in which of its partitions, after what. */
export interface ListingCursor {
  readonly partition: string;
  readonly after?: string;
}

/** A page of a listing; `next` is absent at its end. */
export interface Listed<T> {
  readonly items: readonly T[];
  readonly next?: ListingCursor;
}

/** How much one page may be, and what it may cost. */
export interface ListingLimits {
  readonly limit: number;
  /** Most queries: partitions may be empty. The page then ends early. */
  readonly queries: number;
}

/** Objects of some placements, label by label and shard by shard; the index lags a little. */
export function objectsOf(
  store: Pick<Store, 'byPlacement'>,
  placements: readonly Pick<PlacementTotal, 'label'>[],
  limits: ListingLimits,
  from?: ListingCursor,
): Promise<Listed<ObjectRecord>> {
  const partitions = placements.flatMap(({ label }) => shards.map((shard) => labelInShard(label, shard)));
  return listed(partitions, limits, from, (label, after, limit) => store.byPlacement(label, after, limit));
}

/** Queue items of some states on some backends, soonest due first within each of their lanes. */
export function queueItemsOf(
  store: Pick<Store, 'due'>,
  lanes: readonly { readonly state: QueueItem['state']; readonly backend: string }[],
  limits: ListingLimits,
  from?: ListingCursor,
): Promise<Listed<QueueItem>> {
  const partitions = lanes.flatMap(({ state, backend }) => shards.map((shard) => lane(state, backend, shard)));
  return listed(partitions, limits, from, (one, after, limit) => store.due(one, Number.MAX_SAFE_INTEGER, limit, after));
}

async function listed<T>(
  partitions: readonly string[],
  { limit, queries }: ListingLimits,
  from: ListingCursor | undefined,
  read: (partition: string, after: string | undefined, limit: number) => Promise<Page<T>>,
): Promise<Listed<T>> {
  const items: T[] = [];
  // A partition that is there no more has lost its last item meanwhile: what comes after it in order follows.
  const sorted = [...partitions].sort();
  let at = from === undefined ? 0 : sorted.findIndex((partition) => partition >= from.partition);
  if (at < 0) return { items };
  let after = sorted[at] === from?.partition ? from?.after : undefined;
  for (let asked = 0; at < sorted.length; asked += 1) {
    const partition = sorted[at]!;
    if (items.length >= limit || asked >= queries)
      return { items, next: { partition, ...(after !== undefined && { after }) } };
    const page = await read(partition, after, limit - items.length);
    items.push(...page.items);
    after = page.next;
    if (after === undefined) at += 1;
  }
  return { items };
}
