import type { Clock } from '../base/clock.ts';
import { BackendError, type BackendErrorKind } from '../fleet/backend.ts';

const attempts = 3;
const firstWaitMs = 500;

/** Failures of a write that a moment later may go well: the SDK sends no streamed body again. A timeout has been waited for. */
export const unsent: ReadonlySet<BackendErrorKind> = new Set(['unavailable', 'throttled', 'bad-digest']);

/** Failures of a read in its midst: whatever comes before, the SDK has tried again already. */
export const brokenOff: ReadonlySet<BackendErrorKind> = new Set(['truncated']);

/** Does something again that failed in passing: a few times, with growing pauses. Only for what the SDK does not try again. */
export async function retryTransient<T>(
  clock: Clock,
  signal: AbortSignal,
  passing: ReadonlySet<BackendErrorKind>,
  step: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof BackendError) || !passing.has(error.kind)) throw error;
      if (attempt === attempts || signal.aborted) throw error;
      try {
        await clock.sleep(firstWaitMs * 4 ** (attempt - 1), signal);
      } catch {
        throw error;
      }
    }
  }
}
