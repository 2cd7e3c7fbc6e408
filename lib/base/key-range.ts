import { compareUtf8 } from './bytes.ts';

/** A stretch of storage keys: behind `from` up to and with `upTo`; an absent end is open. */
export interface KeyRange {
  readonly from?: string;
  readonly upTo?: string;
}

/** Whether ranges, in any order, cover every storage key once: without a gap and without an overlap. */
export function coversAll(ranges: readonly KeyRange[]): boolean {
  const sorted = ranges.toSorted((a, b) => compareEnds(a.from, b.from));
  return (
    sorted.length > 0 &&
    sorted[0]!.from === undefined &&
    sorted.at(-1)!.upTo === undefined &&
    sorted.every((range, i) => i === 0 || (range.from !== undefined && range.from === sorted[i - 1]!.upTo))
  );
}

function compareEnds(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return (a === undefined ? 0 : 1) - (b === undefined ? 0 : 1);
  return compareUtf8(a, b);
}
