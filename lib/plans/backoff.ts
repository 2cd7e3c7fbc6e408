const dayMs = 24 * 3_600_000;

/**
 * How long a failed deletion waits, by the attempts made before this one: min(1 min × 2^attempts, 24 h); 24 h for any
 * number below 0 or above 10. Milliseconds. Source: exponential backoff, capped at a day.
 */
export function cleanupBackoffMs(attempts: number): number {
  if (!(attempts >= 0 && attempts <= 10)) return dayMs;
  return Math.min(60_000 * 2 ** attempts, dayMs);
}

/**
 * How long an object waits before a backend that refused it is asked again, by its refusals in a row before this one:
 * min(5 min × 2^refusals, 6 h). Milliseconds. A refusal may cost a whole reading of the object at its source.
 */
export function refusalBackoffMs(refusals: number): number {
  return Math.min(5 * 60_000 * 2 ** Math.min(refusals, 10), 6 * 3_600_000);
}
