import type { Clock } from '../base/clock.ts';
import { BackendError } from '../fleet/backend.ts';

const attempts = 3;
const firstWaitMs = 500;

/** Does something again that failed in passing: a few times, with growing pauses. What the adapter sent several times is not tried again. */
export async function retryTransient<T>(clock: Clock, signal: AbortSignal, step: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof BackendError) || !error.isWorthRetry) throw error;
      if (attempt === attempts || signal.aborted) throw error;
      try {
        await clock.sleep(firstWaitMs * 4 ** (attempt - 1), signal);
      } catch {
        throw error;
      }
    }
  }
}
