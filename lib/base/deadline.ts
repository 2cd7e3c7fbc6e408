import type { Clock } from './clock.ts';

/** When an invocation must have ended, and the moments derived from it. */
export interface Deadline {
  /** Milliseconds since the epoch at which the invocation is killed. */
  readonly at: number;
  /** No new item is begun after this. */
  readonly admitUntil: number;
  /** Transfers still running are cancelled here, so that what succeeded can be committed. */
  readonly cancelAt: number;
  /** Commits may be sent until here. */
  readonly commitUntil: number;
}

/** Splits the time between `now` and `at`: a fifth, at most 20 s, is reserved for finishing. */
export function deadlineAt(at: number, now: number): Deadline {
  const reserve = Math.min(20_000, Math.max(0, at - now) / 5);
  const before = (part: number) => Math.floor(at - reserve * part);
  return { at, admitUntil: before(1), cancelAt: before(1 / 2), commitUntil: before(1 / 10) };
}

/** Given, so that no error with a stack is made for each wait that ends early. */
const stopped = 'stopped';

/** A signal aborted at a moment; `stop` ends the wait. */
export function signalAt(clock: Clock, at: number): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const timer = new AbortController();
  clock.sleep(Math.max(0, at - clock.now()), timer.signal).then(
    () => controller.abort(new Error('out of time')),
    () => {},
  );
  return { signal: controller.signal, stop: () => timer.abort(stopped) };
}
