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

/** The hour (UTC) of a moment, `yyyy-mm-ddThh`. */
export function hourOf(now: number): string {
  if (now < known.from || now >= known.from + hourMs) {
    const from = Math.floor(now / hourMs) * hourMs;
    known = { from, hour: new Date(from).toISOString().slice(0, 13) };
  }
  return known.hour;
}

const hourMs = 3_600_000;
/** The hour that was asked for last: it is asked for with every request. */
let known = { from: Number.POSITIVE_INFINITY, hour: '' };

/** A duration for people: `300 ms`, `1.5 s`. */
export function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${Number((ms / 1000).toFixed(1))} s`;
}
