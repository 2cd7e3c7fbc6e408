/** A range of keys, in byte order, and how far it was gone through. */
export interface RangeReached {
  readonly from?: string | undefined;
  /** Absent: to the last key. */
  readonly upTo?: string | undefined;
  readonly reached?: string | undefined;
  readonly isDone: boolean;
}

/**
 * About what share of the keys of some ranges was gone through, in [0, 1]: ranges are taken for equally large, since they are
 * cut about half way, and keys for evenly spread between the ends of a range. An estimate, for a line of progress.
 */
export function shareReached(ranges: readonly RangeReached[]): number {
  if (ranges.length === 0) return 0;
  return ranges.reduce((sum, range) => sum + shareOf(range), 0) / ranges.length;
}

function shareOf({ from = '', upTo, reached, isDone }: RangeReached): number {
  if (isDone) return 1;
  if (reached === undefined) return 0;
  const [low, here] = [Buffer.from(from), Buffer.from(reached)];
  const high = upTo === undefined ? undefined : Buffer.from(upTo);
  const alike = alikeBytes(here, high ?? low);
  const [a, b] = [valueAt(low, alike), valueAt(here, alike)];
  // Where a range has no end, keys go on as they began: with digits or letters, not with every byte there is.
  const end = high === undefined ? valueAt(Buffer.from('z'), 0) : valueAt(high, alike);
  return end > a ? Math.min(0.99, Math.max(0, (b - a) / (end - a))) : 0.5;
}

function alikeBytes(a: Buffer, b: Buffer): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length += 1;
  return length;
}

/** The four bytes from a place on, as one number. */
function valueAt(key: Buffer, at: number): number {
  let value = 0;
  for (let i = 0; i < 4; i += 1) value = value * 256 + (key[at + i] ?? 0);
  return value;
}
