import { compareUtf8 } from '../../base/bytes.ts';
import { isInKeyIndex, labelInShard, laneOf, ledgerPlacement, shardOf } from '../../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../../store/model.ts';
import type { Page } from '../../store/port.ts';
import { createSortedList, type SortedList } from './sorted-list.ts';

/**
 * The three indexes of the in-memory store: told of every change of an item, asked for pages. A simulation may hand the
 * store indexes of its own, which pass on what they are told later: reads are then as stale as DynamoDB's can be.
 */
export interface MemoryIndexes {
  /** What the Objects table now holds under a key; null when nothing. */
  noteObject(key: string, entry: Entry | null): void;
  /** What the Queue table now holds under an id; null when nothing. */
  noteQueueItem(id: string, item: QueueItem | null): void;
  byPlacement(label: string, afterKey: string | undefined, limit: number): Page<ObjectRecord>;
  byKey(shard: string, afterKey: string | undefined, limit: number): Page<string>;
  due(lane: string, dueBefore: number, limit: number, after?: string): Page<QueueItem>;
  queuedOf(lane: string, key: string, after?: string): Page<string>;
}

/** Items that one request looks through: in reality some thousands. */
const lookedThrough = 100;

interface IndexedObject {
  readonly record: ObjectRecord;
  readonly label: string;
}

export function createMemoryIndexes(): MemoryIndexes {
  const objects = new Map<string, IndexedObject>();
  /** Key → shard, of what is in the key-ordered index. */
  const indexed = new Map<string, string>();
  const labels = createPartitions<string>(compareUtf8);
  const shards = createPartitions<string>(compareUtf8);
  const queued = new Map<string, { readonly item: QueueItem; readonly lane: string }>();
  const lanes = createPartitions<Position>((a, b) => a.dueAt - b.dueAt || compareUtf8(a.id, b.id));

  function noteKey(key: string, entry: Entry | null): void {
    const before = indexed.get(key);
    const isIn = entry !== null && isInKeyIndex(entry);
    if (isIn === (before !== undefined)) return;
    if (before !== undefined) {
      indexed.delete(key);
      shards.remove(before, key);
      return;
    }
    const shard = shardOf(key);
    indexed.set(key, shard);
    shards.add(shard, key);
  }

  function noteObject(key: string, entry: Entry | null): void {
    noteKey(key, entry);
    const before = objects.get(key);
    if (entry?.kind !== 'object') {
      if (!before) return;
      objects.delete(key);
      labels.remove(before.label, key);
      return;
    }
    const label = labelInShard(ledgerPlacement(entry), indexed.get(key)!);
    objects.set(key, { record: entry, label });
    if (before?.label === label) return;
    if (before) labels.remove(before.label, key);
    labels.add(label, key);
  }

  function noteQueueItem(id: string, item: QueueItem | null): void {
    const before = queued.get(id);
    if (before) lanes.remove(before.lane, before.item);
    if (!item) {
      queued.delete(id);
      return;
    }
    const lane = laneOf(item);
    queued.set(id, { item, lane });
    lanes.add(lane, item);
  }

  function due(lane: string, dueBefore: number, limit: number, after?: string): Page<QueueItem> {
    const page = lanes.page(lane, after === undefined ? undefined : positionOf(after), limit);
    const isDue = ({ dueAt }: Position) => dueAt <= dueBefore;
    const items = page.items.filter(isDue);
    const last = items.at(-1);
    const isLast = page.isLast || items.length < page.items.length;
    return pageOf(
      items.map(({ id }) => queued.get(id)!.item),
      isLast || !last ? undefined : `${last.dueAt}/${last.id}`,
    );
  }

  return {
    noteObject,
    noteQueueItem,
    due,
    queuedOf(lane, key, after) {
      const { items, next } = due(lane, Number.POSITIVE_INFINITY, lookedThrough, after);
      return pageOf(
        items.filter((item) => item.key === key).map(({ id }) => id),
        next,
      );
    },
    byPlacement: (label, afterKey, limit) => {
      const page = labels.page(label, afterKey, limit);
      return pageOf(
        page.items.map((key) => objects.get(key)!.record),
        page.isLast ? undefined : page.items.at(-1),
      );
    },
    byKey: (shard, afterKey, limit) => {
      const page = shards.page(shard, afterKey, limit);
      return pageOf(page.items, page.isLast ? undefined : page.items.at(-1));
    },
  };
}

/** A place in a lane: many items may be due in the same millisecond. */
interface Position {
  readonly dueAt: number;
  readonly id: string;
}

function positionOf(after: string): Position {
  const at = after.indexOf('/');
  return { dueAt: Number(after.slice(0, at)), id: after.slice(at + 1) };
}

function pageOf<T>(items: readonly T[], next: string | undefined): Page<T> {
  return next === undefined ? { items } : { items, next };
}

/** Sorted lists by partition key; empty ones are dropped. */
function createPartitions<T>(compare: (a: T, b: T) => number) {
  const lists = new Map<string, SortedList<T>>();
  return {
    add: (partition: string, item: T) => {
      const list = lists.get(partition) ?? createSortedList(compare);
      lists.set(partition, list);
      list.add(item);
    },
    remove: (partition: string, item: T) => {
      const list = lists.get(partition);
      list?.remove(item);
      if (list?.size === 0) lists.delete(partition);
    },
    page: (partition: string, after: T | undefined, limit: number) => {
      const found = lists.get(partition)?.after(after, limit + 1) ?? [];
      return { items: found.slice(0, limit), isLast: found.length <= limit };
    },
  };
}
