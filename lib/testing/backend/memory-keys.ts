/** Keys in one order, for listings of an in-memory bucket. */
export interface SortedKeys {
  add(key: string): void;
  remove(key: string): void;
  /** The first `limit` keys that begin with `prefix` and come after `after`. */
  page(
    prefix: string,
    after: string | undefined,
    limit: number,
  ): { readonly keys: readonly string[]; readonly hasMore: boolean };
}

export type KeyOrder = (a: string, b: string) => number;

/** The order of UTF-16 code units: JavaScript's own, and that of backends which do not list in byte order. */
export const byCodeUnits: KeyOrder = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** The order of UTF-8 bytes, which differs from that of code units only where a surrogate meets U+E000 or above. */
export const byUtf8: KeyOrder = (a, b) => {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return (isSurrogate(x) ? x + 0x10000 : x) - (isSurrogate(y) ? y + 0x10000 : y);
  }
  return a.length - b.length;
};

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xe000;
}

/** A sorted array. Keys that are added wait aside until the next page is asked for, so that runs of writes stay cheap. */
export function createSortedKeys(order: KeyOrder): SortedKeys {
  let sorted: string[] = [];
  let added = new Set<string>();
  let removed = new Set<string>();

  const settle = () => {
    if (removed.size > 0) sorted = sorted.filter((key) => !removed.has(key));
    if (added.size > 0) sorted = merge(sorted, [...added].sort(order), order);
    if (removed.size > 0) removed = new Set();
    if (added.size > 0) added = new Set();
  };
  const firstAt = (isBefore: (key: string) => boolean): number => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBefore(sorted[middle]!)) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  return {
    add(key) {
      if (!removed.delete(key)) added.add(key);
    },
    remove(key) {
      if (!added.delete(key)) removed.add(key);
    },
    page(prefix, after, limit) {
      settle();
      const isBefore = (key: string) => order(key, prefix) < 0 || (after !== undefined && order(key, after) <= 0);
      const from = firstAt(isBefore);
      let to = from;
      while (to < sorted.length && to - from < limit && sorted[to]!.startsWith(prefix)) to += 1;
      return { keys: sorted.slice(from, to), hasMore: sorted[to]?.startsWith(prefix) ?? false };
    },
  };
}

function merge(a: readonly string[], b: readonly string[], order: KeyOrder): string[] {
  const out: string[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) out.push(order(a[i]!, b[j]!) < 0 ? a[i++]! : b[j++]!);
  while (i < a.length) out.push(a[i++]!);
  while (j < b.length) out.push(b[j++]!);
  return out;
}
