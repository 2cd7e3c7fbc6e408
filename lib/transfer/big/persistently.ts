import type { Clock } from '../../base/clock.ts';
import { BackendError, type BackendErrorKind } from '../../fleet/backend.ts';

const attempts = 3;
const firstWaitMs = 500;

/** What a moment later may go well. A timeout has been waited for long enough. */
const passing: ReadonlySet<BackendErrorKind> = new Set(['unavailable', 'truncated', 'throttled', 'bad-digest']);

/** Does something again that failed in passing: a few times, with growing pauses. For what the SDK cannot send again. */
export async function persistently<T>(clock: Clock, signal: AbortSignal, step: () => Promise<T>): Promise<T> {
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
