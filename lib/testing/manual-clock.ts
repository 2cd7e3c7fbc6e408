import type { Clock } from '../base/clock.ts';

/** A clock that stands still until a test moves it; waits of up to ten seconds pass at once. */
export interface ManualClock extends Clock {
  advance(ms: number): void;
  /** Resolves when something waits for as long as this, or longer. */
  untilAsleep(ms: number): Promise<void>;
}

/** `shortMs`: waits no longer than this pass at once. */
export function createManualClock(start = Date.UTC(2026, 0, 5), { shortMs = 10_000 } = {}): ManualClock {
  let now = start;
  const sleepers = new Set<{ at: number; wake: () => void }>();
  const watchers = new Set<() => void>();
  const advance = (ms: number) => {
    now += ms;
    for (const sleeper of sleepers) if (sleeper.at <= now) sleeper.wake();
  };
  return {
    now: () => now,
    advance,
    untilAsleep: (ms) =>
      new Promise((resolve) => {
        const check = () => {
          if (![...sleepers].some(({ at }) => at >= now + ms)) return;
          watchers.delete(check);
          resolve();
        };
        watchers.add(check);
        check();
      }),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        if (ms <= shortMs) {
          advance(ms);
          return resolve();
        }
        const sleeper = {
          at: now + ms,
          wake: () => {
            sleepers.delete(sleeper);
            resolve();
          },
        };
        sleepers.add(sleeper);
        for (const check of watchers) check();
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper);
          reject(signal.reason);
        });
      }),
  };
}
