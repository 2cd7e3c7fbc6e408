/** Code points in an order that is also that of their UTF-8 bytes. */
const lowest = 0x20;
/** Keys are mostly ASCII: an open end is guessed just behind it, until a key beyond is known. */
const likelyHighest = 0x7f;
const highest = 0x10ffff;

/**
 * A key about half way between two others in byte order, strictly between them: behind `low` (absent: before every key) and
 * before `high` (absent: behind every key). Null when there is none that is easily named.
 */
export function keyBetween(low: string | undefined, high: string | undefined): string | null {
  const from = [...(low ?? '')];
  const to = high === undefined ? undefined : [...high];
  let shared = '';
  for (let i = 0; i < 1024; i += 1) {
    const lowPoint = from[i]?.codePointAt(0) ?? 0;
    const highPoint = to === undefined ? openEnd(lowPoint) : likely(lowPoint, to[i]?.codePointAt(0) ?? -1);
    if (highPoint < lowPoint) return null;
    if (highPoint === lowPoint) {
      shared += from[i] ?? '';
      continue;
    }
    const middle = pointBetween(Math.max(lowPoint, lowest - 1), highPoint);
    if (middle !== null) return shared + String.fromCodePoint(middle);
    // Neighbours: half way between the rest of the lower one and the end of all that begins like it.
    if (from[i] === undefined) return null;
    const rest = keyBetween(from.slice(i + 1).join(''), undefined);
    return rest === null ? null : shared + from[i] + rest;
  }
  return null;
}

/** The end of all that begins alike is where keys are likely to end, until one is known that is not. */
function likely(low: number, high: number): number {
  return high === highest ? openEnd(low) : high;
}

function openEnd(point: number): number {
  return point + 1 < likelyHighest ? likelyHighest : highest;
}

/** A code point strictly between two; surrogates are none. */
function pointBetween(low: number, high: number): number | null {
  const middle = Math.floor((low + high) / 2);
  const valid = middle >= 0xd800 && middle < 0xe000 ? 0xd7ff : middle;
  return valid > low && valid < high ? valid : null;
}
