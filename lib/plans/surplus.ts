/** One copy of an object, as its removal is weighed. */
export interface WeighedCopy {
  readonly backend: string;
  /** Worth keeping: the lowest goes first. */
  readonly score: number;
  /** False for a plain copy, except on a draining backend. */
  readonly mayGo: boolean;
  /** Counted and reachable. */
  readonly isSafe: boolean;
}

/**
 * The backends whose copies an object can spare, in the order in which they go: the lowest score first, of equals
 * the later name, each only while there are more copies than the factor and at least that many safe ones would remain. Pure.
 */
export function surplusOf(copies: readonly WeighedCopy[], factor: number): string[] {
  const laterFirst = (a: string, b: string) => (a < b ? 1 : a > b ? -1 : 0);
  const order = copies
    .filter(({ mayGo }) => mayGo)
    .sort((a, b) => a.score - b.score || laterFirst(a.backend, b.backend));
  let left = copies;
  const leaving: string[] = [];
  for (const next of order) {
    const rest = left.filter((copy) => copy !== next);
    if (left.length <= factor || rest.filter(({ isSafe }) => isSafe).length < factor) continue;
    left = rest;
    leaving.push(next.backend);
  }
  return leaving;
}
