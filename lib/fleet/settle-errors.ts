import { type Body, collect } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { signalAt } from '../base/deadline.ts';
import { shared } from '../base/shared.ts';
import type { Backend, DeleteOutcome } from './backend.ts';
import { BackendError, errorTable, type SpeaksOf } from './errors.ts';
import { forward } from './forward.ts';
import { ownerKey } from './owner.ts';

/** How the owner object is asked: with or without its bytes. A backend may answer the one and hang on the other. */
export type OwnerQuestion = 'head' | 'get';

/** `unknown`: it asked to be asked less, or the question was given up. */
export type OwnerAnswer = 'answers' | 'fails' | 'unknown';

/** A question that is answered by a request that begins after it was asked; those who wait share one. */
export type AskOwner = (question: OwnerQuestion) => Promise<OwnerAnswer>;

export interface Settling {
  readonly askOwner: AskOwner;
  /** Told of each error that speaks of the backend, once. */
  readonly failed: (error: BackendError) => void;
  /** Told when this process has no credentials for the backend. */
  readonly lacksCredentials?: (error: BackendError) => void;
  /**
   * Keys of their own are used, which the owner object is not asked with: what is wrong with those alone is never the
   * backend's fault.
   */
  readonly hasOwnKeys?: boolean;
}

/**
 * The same backend, whose errors say what they speak of. Where a kind leaves that open, the owner object is asked: if it
 * answers, the error speaks of the object, else of the backend. So one key that is always answered 500, or never, costs
 * itself alone, and a backend that fails is told by the first request that fails. An error stays `unclear` where the
 * question could not be asked: nobody is to blame then.
 */
export function settleErrors(backend: Backend, settling: Settling): Backend {
  const settle = (error: unknown, question: OwnerQuestion) => settleError(backend.name, settling, error, question);
  const settled = forward(backend, ({ method }) => ({
    async call(run) {
      try {
        return await run();
      } catch (error) {
        throw await settle(error, method === 'get' ? 'get' : 'head');
      }
    },
    received: (body) => withErrors(body, (error) => settle(error, 'get')),
  }));
  return {
    ...settled,
    delete: async (requests, signal) =>
      settleOutcomes(await settled.delete(requests, signal), (e) => settle(e, 'head')),
  };
}

/** One request that failed may be the outcome of many keys: it is settled, and counted, once. */
async function settleOutcomes(
  outcomes: readonly DeleteOutcome[],
  settle: (error: BackendError) => Promise<unknown>,
): Promise<DeleteOutcome[]> {
  const settled = new Map<BackendError, Promise<unknown>>();
  for (const outcome of outcomes) {
    if ('error' in outcome && !settled.has(outcome.error)) settled.set(outcome.error, settle(outcome.error));
  }
  return Promise.all(
    outcomes.map(async (outcome) =>
      'error' in outcome ? { ...outcome, error: (await settled.get(outcome.error)) as BackendError } : outcome,
    ),
  );
}

async function settleError(
  name: string,
  settling: Settling,
  error: unknown,
  question: OwnerQuestion,
): Promise<unknown> {
  if (!(error instanceof BackendError) || error.backend !== name || !error.isCertain) return error;
  if (error.kind === 'missing-credentials') settling.lacksCredentials?.(error);
  const settled = isOpen(error, settling) ? error.settled(await verdictOf(settling, question)) : error;
  if (settled.countsForBreaker) settling.failed(settled);
  return settled;
}

function isOpen({ kind }: BackendError, { hasOwnKeys }: Settling): boolean {
  const { speaksOf } = errorTable[kind];
  return speaksOf === 'unclear' || (speaksOf === 'backend' && hasOwnKeys === true);
}

async function verdictOf({ askOwner }: Settling, question: OwnerQuestion): Promise<SpeaksOf> {
  const answer = await askOwner(question);
  return answer === 'answers' ? 'object' : answer === 'fails' ? 'backend' : 'unclear';
}

function withErrors(body: Body, settle: (error: unknown) => Promise<unknown>): Body {
  return {
    // Not a generator: one that was never started would not pass `return` on, and a socket would stay open.
    [Symbol.asyncIterator]() {
      const inner = body[Symbol.asyncIterator]();
      return {
        next: async () => {
          try {
            return await inner.next();
          } catch (error) {
            throw await settle(error);
          }
        },
        return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
      };
    },
  };
}

/** A handle on a backend that could not be opened: every request fails as that did. Other errors are thrown. */
export function refusing(name: string, error: unknown): Backend {
  if (!(error instanceof BackendError)) throw error;
  return forward({ name } as Backend, () => ({ call: () => Promise.reject(error) }));
}

/** A backend that does not tell of its owner object in this time does not answer. */
const patienceMs = 15_000;

/** Asks through a handle whose errors are not settled themselves. */
export function createAskOwner(
  open: () => Promise<Backend>,
  { clock, signal }: { readonly clock: Clock; readonly signal?: AbortSignal },
): AskOwner {
  const ask = async (question: OwnerQuestion): Promise<OwnerAnswer> => {
    const limit = signalAt(clock, clock.now() + patienceMs);
    try {
      return await answerOf(await open(), question, signal ? AbortSignal.any([signal, limit.signal]) : limit.signal);
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      if (limit.signal.aborted && !signal?.aborted) return 'fails';
      const { speaksOf } = error;
      return speaksOf === 'throttling' || speaksOf === 'ourselves' ? 'unknown' : 'fails';
    } finally {
      limit.stop();
    }
  };
  const questions = { head: shared(() => ask('head')), get: shared(() => ask('get')) };
  return (question) => questions[question]();
}

async function answerOf(backend: Backend, question: OwnerQuestion, signal: AbortSignal): Promise<OwnerAnswer> {
  if (question === 'head') return (await backend.head(ownerKey, signal)) === null ? 'fails' : 'answers';
  await collect((await backend.get(ownerKey, {}, signal)).body);
  return 'answers';
}
