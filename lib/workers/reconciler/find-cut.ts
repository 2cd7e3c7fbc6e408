import { compareUtf8 } from '../../base/bytes.ts';
import { keyBetween } from '../../plans/key-between.ts';

const mostGuesses = 16;

/** A range that is to be cut, as far as it is known. */
export interface Uncut {
  /** A key of it that was listed, before `reached`. */
  readonly first: string;
  /** The last key that was listed: the cut is behind it. */
  readonly reached: string;
  /** Where the range ends; absent: nowhere. */
  readonly upTo?: string | undefined;
}

/**
 * A listed key about half way through what is left of a range, found without reading it: by listing the first key behind
 * guessed ones. Keys of one range mostly begin alike, so that guesses begin with what its keys have in common. Null when a
 * few guesses find none.
 */
export async function findCut(
  firstKeyAfter: (key: string) => Promise<string | null>,
  { first, reached, upTo }: Uncut,
): Promise<string | null> {
  const alike = `${commonPrefix(first, reached)}\u{10ffff}`;
  let end = upTo === undefined || compareUtf8(alike, upTo) < 0 ? alike : upTo;
  for (let guess = 0; guess < mostGuesses; guess += 1) {
    const middle = keyBetween(reached, end);
    if (middle === null) return null;
    const found = await firstKeyAfter(middle);
    if (found !== null && (upTo === undefined || compareUtf8(found, upTo) < 0)) return found;
    // Nothing stands behind the guess: what there is comes before it.
    end = middle;
  }
  return null;
}

function commonPrefix(a: string, b: string): string {
  const points = [...a];
  const others = [...b];
  const length = points.findIndex((point, i) => point !== others[i]);
  return (length < 0 ? points : points.slice(0, length)).join('');
}
