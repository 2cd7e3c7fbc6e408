import type { Clock } from '../../base/clock.ts';

/** How many requests a backend is asked at once. First come, first served. */
export interface Turns {
  take(): Promise<void>;
  giveBack(): void;
  /** The backend said SlowDown. */
  slowDown(): void;
}

/** One more at once after each such time without a complaint. */
const growingMs = 1_000;

/**
 * As many as allowed, until the backend complains: then half as many as are under way, and one more in each second of quiet.
 * Complaints that come within a second of one are about requests that were on their way already.
 */
export function createTurns(clock: Pick<Clock, 'now'>, most: number): Turns {
  const waiting: (() => void)[] = [];
  let taken = 0;
  let complaint: { readonly left: number; readonly at: number } | undefined;
  const allowed = () => {
    if (complaint === undefined) return most;
    return Math.min(most, complaint.left + Math.floor((clock.now() - complaint.at) / growingMs));
  };
  return {
    async take() {
      if (waiting.length > 0 || taken >= allowed()) await new Promise<void>((resolve) => waiting.push(resolve));
      else taken += 1;
    },
    giveBack() {
      taken -= 1;
      // As many as there is room for: it grows while all of them wait.
      while (waiting.length > 0 && taken < allowed()) {
        taken += 1;
        waiting.shift()!();
      }
    },
    slowDown() {
      const at = clock.now();
      if (complaint !== undefined && at - complaint.at < growingMs) return;
      complaint = { left: Math.max(1, Math.floor(Math.min(taken, allowed()) / 2)), at };
    },
  };
}
