/** Use of one backend. */
export interface UseOfBackend {
  readonly usedBytes: number;
  /** 0 = no limit. */
  readonly limitBytes: number;
}

/** Differences of ratios carry an error of a few units in the last place: 0.6 − 0.5 is a little less than 0.1. */
const tolerance = 1e-9;

/**
 * Whether utilisation differs enough for a rebalancing: max − min of used / limit is at least the threshold.
 *
 * Only limited backends count, and it takes two of them. Equality counts as exceeding. Pure; sizes in bytes.
 * Source: the range of the utilisation ratios.
 *
 * @param order the names considered; names without stats are passed over
 * @example { a: 60 of 100, b: 50 of 100, c: 5 without a limit } exceeds 0.1 and does not exceed 0.11
 */
export function exceedsThreshold(
  stats: Readonly<Record<string, UseOfBackend>>,
  order: readonly string[],
  threshold: number,
): boolean {
  const ratios = [...new Set(order)].flatMap((name) => {
    if (!Object.hasOwn(stats, name)) return [];
    const { usedBytes, limitBytes } = stats[name]!;
    return limitBytes > 0 ? [Math.max(0, usedBytes) / limitBytes] : [];
  });
  if (ratios.length < 2) return false;
  return Math.max(...ratios) - Math.min(...ratios) + tolerance >= threshold;
}
