/** Time as Holdfast sees it. Everything under `lib/` takes its time from here, so that a whole fleet can be simulated. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  // Not `node:timers/promises`: what it makes of an abort, an error with a stack, costs more than all the rest.
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', abort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', abort, { once: true });
    }),
};

/** The calendar month (UTC) of a moment, `yyyy-mm`. */
export function monthOf(now: number): string {
  if (now < known.from || now >= known.until) {
    const [year, month] = [new Date(now).getUTCFullYear(), new Date(now).getUTCMonth()];
    known = {
      from: Date.UTC(year, month),
      until: Date.UTC(year, month + 1),
      month: new Date(now).toISOString().slice(0, 7),
    };
  }
  return known.month;
}

/** The month that was asked for last: it is asked for with every request. */
let known = { from: 0, until: 0, month: '' };

/** A duration for people: `300 ms`, `1.5 s`. */
export function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${Number((ms / 1000).toFixed(1))} s`;
}
