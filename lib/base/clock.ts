import { setTimeout as delay } from 'node:timers/promises';

/** Time as Holdfast sees it. Everything under `lib/` takes its time from here, so that a whole fleet can be simulated. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(ms, undefined, signal ? { signal } : undefined);
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    }
  },
};

/** The calendar month (UTC) of a moment, `yyyy-mm`. */
export function monthOf(now: number): string {
  return new Date(now).toISOString().slice(0, 7);
}
