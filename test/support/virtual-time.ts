import type { ManualClock } from './fleet.ts';

/** Waits that overlap, as those of requests do, on a clock that only moves when nothing else is left to do. */
export interface VirtualTime {
  wait(ms: number): Promise<void>;
  /** Runs what waits here to its end. */
  run<T>(work: Promise<T>): Promise<T>;
}

export function createVirtualTime(clock: ManualClock): VirtualTime {
  const waiting: { readonly at: number; readonly wake: () => void }[] = [];
  return {
    wait: (ms) => new Promise((wake) => waiting.push({ at: clock.now() + ms, wake })),
    async run(work) {
      let isRunning = true;
      const done = work.finally(() => {
        isRunning = false;
      });
      done.catch(() => {});
      while (isRunning) {
        // Everything that can go on without time passing goes on first.
        await new Promise(setImmediate);
        if (waiting.length === 0 || !isRunning) continue;
        const first = waiting.reduce((a, b) => (b.at < a.at ? b : a));
        waiting.splice(waiting.indexOf(first), 1);
        clock.advance(Math.max(0, first.at - clock.now()));
        first.wake();
      }
      return done;
    },
  };
}
