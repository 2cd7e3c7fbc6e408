const dayMs = 24 * 3_600_000;

/**
 * How long a failed deletion waits, by the attempts made before this one: min(1 min × 2^attempts, 24 h); 24 h for any
 * number below 0 or above 10. Milliseconds. Source: exponential backoff, capped at a day.
 */
export function cleanupBackoffMs(attempts: number): number {
  if (!(attempts >= 0 && attempts <= 10)) return dayMs;
  return Math.min(60_000 * 2 ** attempts, dayMs);
}
