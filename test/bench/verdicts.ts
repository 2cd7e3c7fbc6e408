/** A figure that a bench is to show, and the bound that it is held against. */
export interface Target {
  readonly what: string;
  /** Undefined where there is nothing to compare with. */
  readonly seen: number | undefined;
  readonly bound: { readonly atLeast: number } | { readonly atMost: number };
  readonly unit?: string;
}

/** What such a line begins with: `npm run bench:all` gathers them. */
export const verdictLine = /^(holds|does not hold|not compared) {2,}/;

/** `holds          <what>: 1.04 ms, at most 1.0`. */
export function verdictOf({ what, seen, bound, unit = '' }: Target): string {
  const limit = 'atLeast' in bound ? `at least ${bound.atLeast}` : `at most ${bound.atMost}`;
  if (seen === undefined) return `${'not compared'.padEnd(15)}${what}: ${limit}`;
  const holds = 'atLeast' in bound ? seen >= bound.atLeast : seen <= bound.atMost;
  return `${(holds ? 'holds' : 'does not hold').padEnd(15)}${what}: ${rounded(seen)}${unit}, ${limit}`;
}

function rounded(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}
