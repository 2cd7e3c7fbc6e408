/** A backend's health as all processes share it. */
export interface BreakerState {
  /** Failures in a row, over all ticks. */
  readonly failures: number;
  /** When it was opened or re-opened; absent while closed. Milliseconds since the epoch. */
  readonly openedAt?: number;
  /** From when on one probe may be sent. */
  readonly probeAfter?: number;
  /** Set while one probe is out; it expires by itself. */
  readonly probeExpiresAt?: number;
  /** When it was first opened since it was last closed. */
  readonly unhealthySince?: number;
  /** What failed last before it was opened, for people; at most 300 characters. */
  readonly reason?: string;
}

export type BreakerPosition = 'closed' | 'open' | 'half-open';

/** The position a breaker is in at `now`. */
export function breakerPosition(state: BreakerState | undefined, now: number): BreakerPosition {
  if (state?.openedAt === undefined) return 'closed';
  return state.probeExpiresAt !== undefined && state.probeExpiresAt > now ? 'half-open' : 'open';
}
