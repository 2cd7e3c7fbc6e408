import { labelInShard } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Store } from '../store/port.ts';

/** Objects found from a cursor on, and where the next search begins. */
export interface Found {
  readonly objects: readonly ObjectRecord[];
  /** Behind the last object returned; undefined when the whole circle was walked. */
  readonly cursor: string | undefined;
}

/**
 * Finds up to `limit` objects under the given ledger placements, shard by shard, from the cursor on and around: what
 * cannot succeed is passed and never starves what stands behind it. The cursor is `<label>\n<key>`.
 */
export async function findByPlacement(
  store: Store,
  placements: readonly string[],
  shards: readonly string[],
  cursor: string | undefined,
  limit: number,
): Promise<Found> {
  const labels = shards.flatMap((shard) => placements.map((placement) => labelInShard(placement, shard))).sort();
  const [atLabel, atKey] = splitCursor(cursor);
  // Start behind the cursor and come round to it again, so that keys before it in its own label have their turn too.
  const from = labels.findIndex((label) => label >= atLabel);
  const start = from < 0 ? 0 : from;
  const isInside = labels[start] === atLabel && atKey !== undefined;
  const circle = [...labels.slice(start), ...labels.slice(0, start), ...(isInside ? [atLabel] : [])];
  const objects = new Map<string, ObjectRecord>();
  for (const [turn, label] of circle.entries()) {
    let after = turn === 0 && isInside ? atKey : undefined;
    do {
      const page = await store.byPlacement(label, after, limit - objects.size);
      for (const object of page.items) objects.set(object.key, object);
      after = page.next;
      const last = page.items.at(-1);
      if (objects.size >= limit && last !== undefined)
        return { objects: [...objects.values()], cursor: `${label}\n${last.key}` };
    } while (after !== undefined);
  }
  return { objects: [...objects.values()], cursor: undefined };
}

function splitCursor(cursor: string | undefined): [string, string | undefined] {
  if (cursor === undefined) return ['', undefined];
  const at = cursor.indexOf('\n');
  return at < 0 ? [cursor, undefined] : [cursor.slice(0, at), cursor.slice(at + 1)];
}
