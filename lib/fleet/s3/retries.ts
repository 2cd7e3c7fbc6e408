import { systemClock } from '../../base/clock.ts';
import { createIds } from '../../base/ids.ts';

/** Sends again what failed in passing, as the SDK's standard mode does: a backend meets one behaviour. */
export interface Retries {
  begin(): Attempts;
}

/** The attempts at one request. */
export interface Attempts {
  succeeded(): void;
  /** Waits until it may be sent again; throws the error where it may not, and says on it how often it was sent. */
  failed(error: unknown, signal: AbortSignal | undefined): Promise<void>;
}

/** Source of all numbers and lists: the SDK's standard retry mode, as of 2026. */
const baseMs = { throttled: 1_000, transient: 50 };
const mostMs = 20_000;
const mostExtraMs = 5_000;
const costs = { throttled: 5, transient: 14 };
const capacityAtFirst = 500;

const throttlingCodes: ReadonlySet<string> = new Set([
  'BandwidthLimitExceeded',
  'LimitExceededException',
  'PriorRequestNotComplete',
  'RequestLimitExceeded',
  'RequestThrottled',
  'RequestThrottledException',
  'SlowDown',
  'ThrottledException',
  'Throttling',
  'ThrottlingException',
  'TooManyRequestsException',
]);
const transientStatuses: ReadonlySet<number> = new Set([500, 502, 503, 504]);
const transientNames: ReadonlySet<string> = new Set(['TimeoutError', 'RequestTimeout', 'RequestTimeoutException']);
const transientCodes: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

export function createRetries(mostAttempts: number): Retries {
  const { random } = createIds(systemClock);
  /** Shared by all requests, so that a backend in trouble is not asked three times as often by everyone. */
  let capacity = capacityAtFirst;
  return {
    begin() {
      let attempts = 1;
      let lastCost = 0;
      return {
        succeeded() {
          capacity = Math.min(capacityAtFirst, capacity + (lastCost || 1));
        },
        async failed(error, signal) {
          const cause = causeOf(error as Failure);
          if (cause === 'final' || attempts >= mostAttempts || capacity < costs[cause])
            throw withAttempts(error, attempts);
          lastCost = costs[cause];
          capacity -= lastCost;
          await systemClock.sleep(
            waitMs(error as Failure, Math.min(mostMs, 2 ** (attempts - 1) * baseMs[cause]) * random()),
            signal,
          );
          attempts += 1;
        },
      };
    },
  };
}

/** What the backend asks for is heeded, within bounds. */
function waitMs({ $response }: Failure, backoffMs: number): number {
  const asked = $response?.headers?.['retry-after'];
  if (asked === undefined) return Math.floor(backoffMs);
  const askedMs = /^\d+(\.\d+)?$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - systemClock.now();
  return Math.floor(
    Number.isNaN(askedMs) ? backoffMs : Math.max(backoffMs, Math.min(askedMs, backoffMs + mostExtraMs)),
  );
}

interface Failure {
  readonly name?: string;
  readonly code?: string;
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
  $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean; attempts?: number };
}

function causeOf({ name = '', code = '', $metadata = {} }: Failure): 'throttled' | 'transient' | 'final' {
  const { httpStatusCode: status = 0, clockSkewCorrected = false } = $metadata;
  if (status === 429 || throttlingCodes.has(name)) return 'throttled';
  const isTransient =
    clockSkewCorrected || transientNames.has(name) || transientCodes.has(code) || transientStatuses.has(status);
  return isTransient ? 'transient' : 'final';
}

function withAttempts(error: unknown, attempts: number): unknown {
  if (error instanceof Error) (error as Failure).$metadata = { ...(error as Failure).$metadata, attempts };
  return error;
}
