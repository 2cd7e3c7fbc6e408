import { defined } from '../base/defined.ts';
import { type BreakerState, breakerPosition } from '../base/health.ts';

/** What one process saw of a backend since it last reported. */
export interface Observed {
  /** Failures since the last success, or since the start when there was none. */
  readonly failuresInARow: number;
  /** When it last answered; undefined when it did not. */
  readonly succeededAt?: number | undefined;
  /** What the last failure was, for people. */
  readonly reason?: string;
}

export interface BreakerRules {
  /** Consecutive failures that open the breaker. */
  readonly failures: number;
  /** How long it stays open before one probe; up to a quarter more is added at random. */
  readonly openMs: number;
}

/** How long a probe may take before another process may send one. */
export const probeLifeMs = 60_000;

const reasonLength = 300;

/**
 * The breaker after a tick's observations; null when nothing changes, so that a healthy tick writes nothing.
 * A success closes it, unless that answer is older than the failure that opened it. Failures add up over ticks, and open it.
 * `random` is in [0, 1).
 */
export function observe(
  state: BreakerState | undefined,
  seen: Observed,
  now: number,
  rules: BreakerRules,
  random: number,
): BreakerState | null {
  const before = state ?? { failures: 0 };
  const hadSuccess = seen.succeededAt !== undefined && seen.succeededAt > (before.openedAt ?? Number.NEGATIVE_INFINITY);
  if (seen.failuresInARow === 0) {
    const isClean = before.failures === 0 && before.openedAt === undefined;
    return !hadSuccess || isClean ? null : { failures: 0 };
  }
  const failures = (hadSuccess ? 0 : before.failures) + seen.failuresInARow;
  const isOpen = before.openedAt !== undefined && !hadSuccess;
  if (!isOpen && failures < rules.failures) return { failures };
  const reason = seen.reason?.slice(0, reasonLength) ?? before.reason;
  return {
    failures,
    openedAt: now,
    probeAfter: now + Math.round(rules.openMs * (1 + random / 4)),
    unhealthySince: (hadSuccess ? undefined : before.unhealthySince) ?? now,
    ...defined({ reason }),
  };
}

/** Whether a probe may be sent at `now`: the breaker is open, its time is up and no other probe is out. */
export function mayProbe(state: BreakerState | undefined, now: number): boolean {
  return breakerPosition(state, now) === 'open' && (state?.probeAfter ?? 0) <= now;
}

/** The state that claims the one probe; written on condition of the version seen. */
export function claimProbe(state: BreakerState, now: number): BreakerState {
  return { ...state, probeExpiresAt: now + probeLifeMs };
}
