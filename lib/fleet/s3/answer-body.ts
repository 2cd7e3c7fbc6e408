import type { Body } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { seconds } from '../../base/clock.ts';
import type { ArrivingBody } from './arriving-body.ts';
import { SilenceError } from './errors.ts';

/** Slower than this, over as long as a silence may last, a body does not arrive. */
const leastBytesPerSecond = 1024;

/**
 * The bytes of an answer as they arrive. Throws `SilenceError` when none come for `stallMs` while somebody waits for
 * them, or when hardly any do: a consumer that takes its time is not a silent backend, so that only the time in which it
 * waits counts. Leaving early, even before the first byte, destroys the socket.
 */
export function watchedBody(answer: ArrivingBody, clock: Clock, stallMs: number): Body {
  const chunks: AsyncIterator<Uint8Array> = answer[Symbol.asyncIterator]();
  let waitingSince: number | undefined;
  /** Ends the watch. What has arrived at once is never watched. */
  let over: AbortController | undefined;
  const end = () => over?.abort('ended');

  const watch = async (signal: AbortSignal) => {
    for (;;) {
      const dueMs = waitingSince === undefined ? stallMs : waitingSince + stallMs - clock.now();
      if (dueMs <= 0) break;
      await clock.sleep(dueMs, signal);
    }
    answer.destroy(new SilenceError(`no bytes came for ${seconds(stallMs)}`));
  };

  /** Of the window that is being measured. */
  let waitedMs = 0;
  let arrivedBytes = 0;
  const arrived = (bytes: number) => {
    waitedMs += clock.now() - (waitingSince ?? clock.now());
    arrivedBytes += bytes;
    waitingSince = undefined;
    if (waitedMs < stallMs) return;
    const leastBytes = (leastBytesPerSecond * waitedMs) / 1000;
    if (arrivedBytes < leastBytes) {
      const silence = new SilenceError(`only ${arrivedBytes} bytes came in ${seconds(waitedMs)} of waiting`);
      answer.destroy(silence);
      throw silence;
    }
    waitedMs = 0;
    arrivedBytes = 0;
  };

  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    waitingSince = clock.now();
    if (over === undefined && !answer.hasArrived()) {
      over = new AbortController();
      watch(over.signal).catch(() => {}); // ended by `end`
    }
    try {
      const step = await chunks.next();
      if (step.done) end();
      else arrived(step.value.length);
      return step;
    } catch (error) {
      end();
      throw error;
    }
  };

  const leave = async (): Promise<IteratorResult<Uint8Array>> => {
    end();
    answer.destroy();
    return { done: true, value: undefined };
  };

  return { [Symbol.asyncIterator]: () => ({ next, return: leave }) };
}
