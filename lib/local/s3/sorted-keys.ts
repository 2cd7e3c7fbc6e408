/**
 * The keys of a bucket in UTF-8 byte order, in memory. A plain sorted array:
 * an insertion moves pointers only, which at 100,000 keys is still some tens
 * of microseconds, and a listing page is a binary search and a range.
 */
export interface SortedKeys {
  readonly size: number;
  at(index: number): string | undefined;
  add(key: string): void;
  remove(key: string): void;
  /** Index of the first key at or after `key`. */
  firstFrom(key: string): number;
  /** Index of the first key after every key that begins with `prefix`, searching from `from`. */
  firstBeyondPrefix(prefix: string, from: number): number;
}

export function createSortedKeys(initial: Iterable<string> = []): SortedKeys {
  const keys = [...initial].sort(compareKeys);

  const search = (low: number, isBefore: (key: string) => boolean): number => {
    let high = keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBefore(keys[middle] as string)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const firstFrom = (key: string) => search(0, (other) => compareKeys(other, key) < 0);

  return {
    get size() {
      return keys.length;
    },
    at: (index) => keys[index],
    add(key) {
      const last = keys.at(-1);
      if (last === undefined || compareKeys(last, key) < 0) keys.push(key);
      else {
        const index = firstFrom(key);
        if (keys[index] !== key) keys.splice(index, 0, key);
      }
    },
    remove(key) {
      const index = firstFrom(key);
      if (keys[index] === key) keys.splice(index, 1);
    },
    firstFrom,
    firstBeyondPrefix: (prefix, from) => search(from, (key) => key.startsWith(prefix)),
  };
}

/**
 * UTF-8 byte order of two well-formed strings. UTF-16 order differs from it
 * only where a surrogate meets a unit from U+E000 up.
 */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
