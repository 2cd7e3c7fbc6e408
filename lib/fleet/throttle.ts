import type { Body } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { type Backend, BackendError } from './backend.ts';
import { forward } from './forward.ts';

/** How much may be asked of one backend in a second; 0 = no limit. */
export interface Rates {
  readonly bytesPerSecond: number;
  readonly requestsPerSecond: number;
}

/** Chunks are no larger than this, so that a limit is kept within a second, not only over minutes. */
const chunkBytes = 64 * 1024;

/** What one may ask of a backend, looked up anew for each request, so that a change is felt at once. */
export interface Rules {
  rates(): Rates;
  /** False while its breaker keeps this process away. */
  mayAsk(): boolean;
}

/**
 * The same backend, asked no faster than its rates allow: requests, and bytes in both directions together. A body that waits
 * for its turn is not a silent backend, and not a silent source. What may not be asked is not sent: it ends as `cancelled`.
 */
export function throttled(backend: Backend, clock: Clock, rules: Rules): Backend {
  const { name } = backend;
  const requests = createBucket(clock);
  const bytes = createBucket(clock);
  const wait = async (ms: number, signal?: AbortSignal): Promise<void> => {
    if (ms <= 0) return;
    try {
      await clock.sleep(ms, signal);
    } catch (cause) {
      throw new BackendError('cancelled', name, `Cannot wait for "${name}": it was cancelled`, cause);
    }
  };
  async function* paced(body: Body, signal?: AbortSignal): Body {
    for await (const chunk of body) {
      for (let at = 0; at < chunk.length; at += chunkBytes) {
        const piece = chunk.subarray(at, at + chunkBytes);
        await wait(bytes.take(piece.length, rules.rates().bytesPerSecond), signal);
        yield piece;
      }
    }
  }
  return forward(backend, (_asked, signal) => {
    /** What is not limited is not touched. */
    const pace = (body: Body): Body => (rules.rates().bytesPerSecond > 0 ? paced(body, signal) : body);
    return {
      async call(run) {
        await wait(requests.take(1, rules.rates().requestsPerSecond), signal);
        if (!rules.mayAsk())
          throw new BackendError(
            'cancelled',
            name,
            `Cannot ask "${name}": its breaker is open; \`holdfast probe ${name}\` asks it now`,
          );
        return run();
      },
      sent: pace,
      received: pace,
    };
  });
}

interface Bucket {
  /** Takes tokens, on credit if need be; returns after how many milliseconds they may be used. */
  take(tokens: number, perSecond: number): number;
}

/** A token bucket that holds a tenth of a second's worth: first come, first served, each behind those before. */
function createBucket(clock: Clock): Bucket {
  let tokens = 0;
  let at = clock.now();
  return {
    take(wanted, perSecond) {
      if (perSecond <= 0) return 0;
      const now = clock.now();
      tokens = Math.min(perSecond / 10, tokens + ((now - at) * perSecond) / 1000);
      at = now;
      tokens -= wanted;
      return tokens >= 0 ? 0 : Math.ceil((-tokens / perSecond) * 1000);
    },
  };
}
