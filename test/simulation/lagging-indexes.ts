import { createMemoryIndexes, type MemoryIndexes } from '../../lib/testing/store/indexes.ts';

/**
 * Indexes that learn of a change some time after the table: reads are as stale as DynamoDB's can be. Changes of one item
 * arrive in order; those of different items need not.
 */
export function createLaggingIndexes(now: () => number, lagMs: () => number): MemoryIndexes {
  const inner = createMemoryIndexes();
  let waiting: { readonly id: string; readonly at: number; readonly arrive: () => void }[] = [];
  const lastOf = new Map<string, number>();

  function learn(id: string, arrive: () => void): void {
    const at = Math.max(now() + lagMs(), lastOf.get(id) ?? 0);
    if (at <= now() && waiting.length === 0) {
      arrive();
      return;
    }
    lastOf.set(id, at);
    waiting.push({ id, at, arrive });
  }

  function catchUp(): MemoryIndexes {
    if (waiting.length > 0) {
      const time = now();
      const due = waiting.filter(({ at }) => at <= time);
      waiting = waiting.filter(({ at }) => at > time);
      for (const { arrive } of due) arrive();
    }
    return inner;
  }

  return {
    noteObject: (key, entry) => learn(`object ${key}`, () => inner.noteObject(key, entry)),
    noteQueueItem: (id, item) => learn(`item ${id}`, () => inner.noteQueueItem(id, item)),
    byPlacement: (label, afterKey, limit) => catchUp().byPlacement(label, afterKey, limit),
    byKey: (shard, afterKey, limit) => catchUp().byKey(shard, afterKey, limit),
    queuedOf: (lane, key, after) => catchUp().queuedOf(lane, key, after),
    due: (lane, dueBefore, limit, after) => catchUp().due(lane, dueBefore, limit, after),
  };
}
