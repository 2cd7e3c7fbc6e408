import type { BreakerPosition } from '../base/health.ts';

/** What the worth of a copy depends on: the standing of the backend that holds it. */
export interface CopyStanding {
  readonly configured: boolean;
  readonly draining: boolean;
  readonly breaker: BreakerPosition;
  readonly usedBytes: number;
  /** 0 = no limit. */
  readonly limitBytes: number;
}

/** Just above a backend that does not answer, however far over its limit a healthy one is. */
const leastHealthy = 1.01;

/**
 * How much a copy is worth keeping; the lowest goes first.
 *
 * Draining or unconfigured 0; breaker not closed 1; else 2 + (1 − used / limit), no limit 2.5. A limit may be exceeded,
 * by orphans or after it was lowered: the score then falls below 2, but never to that of a backend that does not answer.
 * Pure; sizes in bytes. Source: the tiers are our own, the fraction prefers backends with more free space.
 *
 * @example a closed breaker with 25 of 100 bytes used scores 2 + (1 − 0.25) = 2.75
 */
export function scoreCopy({ configured, draining, breaker, usedBytes, limitBytes }: CopyStanding): number {
  if (!configured || draining) return 0;
  if (breaker !== 'closed') return 1;
  if (!(limitBytes > 0)) return 2.5;
  return Math.max(leastHealthy, 2 + (1 - usedBytes / limitBytes));
}
