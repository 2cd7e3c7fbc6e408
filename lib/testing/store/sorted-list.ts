/** Distinct items in the order of `compare`: for the index partitions of the in-memory store. */
export interface SortedList<T> {
  readonly size: number;
  add(item: T): void;
  remove(item: T): void;
  /** Up to `limit` items after a position, which need not be in the list; from the start without one. */
  after(position: T | undefined, limit: number): T[];
}

export function createSortedList<T>(compare: (a: T, b: T) => number): SortedList<T> {
  const items: T[] = [];

  /** Number of items before `item`. */
  function rank(item: T): number {
    let low = 0;
    let high = items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compare(items[middle]!, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function isAt(at: number, item: T): boolean {
    return at < items.length && compare(items[at]!, item) === 0;
  }

  return {
    get size() {
      return items.length;
    },
    add: (item) => {
      const at = rank(item);
      if (isAt(at, item)) items[at] = item;
      else items.splice(at, 0, item);
    },
    remove: (item) => {
      const at = rank(item);
      if (isAt(at, item)) items.splice(at, 1);
    },
    after: (position, limit) => {
      if (position === undefined) return items.slice(0, limit);
      const at = rank(position);
      const from = isAt(at, position) ? at + 1 : at;
      return items.slice(from, from + limit);
    },
  };
}
