import { AsyncLocalStorage } from 'node:async_hooks';
import type { Body } from '../base/bytes.ts';
import { type Clock, hourOf } from '../base/clock.ts';
import { noUsage, plusUsage, type Usage } from '../base/usage.ts';
import { type Backend, BackendError, type DeleteOutcome } from './backend.ts';
import type { Observed } from './breaker.ts';
import { errorTable } from './errors.ts';
import { type Asked, type BackendMethod, forward } from './forward.ts';
import { chargeOf, type RequestClasses } from './usage-limits.ts';

/** Counts what is spent on backends and how they fare. One per tick, or per client process. */
export interface Meter {
  /** The same backend, counted, each request as what its provider bills it as. */
  watch(backend: Backend, classes: RequestClasses): Backend;
  /** Spent so far on a backend and not yet taken. */
  spent(backend: string): Usage;
  /** Everything spent since the last take, by the hour (UTC) in which it was asked for, then by backend; starts again at zero. */
  take(): Record<string, Record<string, Usage>>;
  /** What was seen of a backend; undefined when it was not asked. */
  observed(backend: string): Observed | undefined;
  /** Counts a failure that speaks of the backend: what is asked here does not tell those from the others. */
  fail(backend: string, reason: string): void;
  /** Its health check failed: whatever else it answers from now on, a missing key included, shows nothing good. */
  failHealthCheck(backend: string, reason: string): void;
  /** Its health check went well: its answers count again. */
  passHealthCheck(backend: string): void;
}

/** Who is asked before anything is spent that a usage limit may refuse, and told afterwards what was. */
export interface Gate {
  /** What is charged, and never refused. */
  isFree(asked: Asked): boolean;
  /** It is spent, whatever the limits leave: what they may refuse has so much less. */
  charge(backend: string, usage: Usage): void;
  /** Resolves, or is undefined, once it may be spent; throws `BackendError` of kind `over-limit` where a limit refuses it. */
  pay(backend: string, usage: Usage, asked: Asked): Promise<void> | undefined;
  /** What was paid for, or charged, has ended, and this is what it came to. */
  settle(backend: string, paid: Usage, spent: Usage): void;
}

/** What one call of the port led to on the wire, where the adapter says. */
interface OnTheWire {
  /** Names of what was sent, as the S3 API calls it. */
  readonly operations: string[];
  sentBytes: number;
  /** Whether the last that was sent was answered well: what is sent next does not send it again. */
  isAnswered: boolean;
  /** Pays for a request that is sent beyond the one that the call was let in for. */
  payAgain(operation: string, sentBytes: number): Promise<void>;
}

const wire = new AsyncLocalStorage<OnTheWire>();

/**
 * For adapters: one physical request is about to be sent, with a body of so many bytes. It is charged to the call that led to
 * it; a call whose adapter says nothing is one request. What is sent beyond the first of a call is paid for like the first: it
 * is sent once the promise resolves, and not at all when that throws.
 */
export function noteRequest(operation: string, sentBytes: number): Promise<void> | undefined {
  const call = wire.getStore();
  if (call === undefined) return undefined;
  const note = () => {
    call.operations.push(operation);
    call.sentBytes += sentBytes;
    call.isAnswered = false;
  };
  if (call.operations.length > 0) return call.payAgain(operation, sentBytes).then(note);
  note();
  return undefined;
}

/** For adapters: the request that was told last was answered well. */
export function noteAnswer(): void {
  const call = wire.getStore();
  if (call !== undefined) call.isAnswered = true;
}

/** What a call of the port is, where its adapter does not say. */
const usualOperations: Readonly<Record<BackendMethod, string>> = {
  put: 'PutObject',
  get: 'GetObject',
  head: 'HeadObject',
  firstPartBytes: 'HeadObject',
  tags: 'GetObjectTagging',
  copyFrom: 'CopyObject',
  delete: 'DeleteObjects',
  list: 'ListObjectsV2',
  createUpload: 'CreateMultipartUpload',
  uploadPart: 'UploadPart',
  listParts: 'ListParts',
  completeUpload: 'CompleteMultipartUpload',
  abortUpload: 'AbortMultipartUpload',
  openUploads: 'ListMultipartUploads',
};

interface Request {
  readonly name: string;
  readonly classes: RequestClasses;
  readonly usual: string;
  readonly what: Asked;
  /** What is paid for before it is sent. */
  readonly price: Usage;
  /** It is charged, and never refused. */
  readonly isFree: boolean;
}

export function createMeter(clock: Pick<Clock, 'now'>, gate?: Gate): Meter {
  let spent = new Map<string, Map<string, Usage>>();
  const seen = new Map<string, Observed>();
  const add = (name: string, more: Partial<Usage>, hour = hourOf(clock.now())) => {
    const inHour = spent.get(hour) ?? new Map<string, Usage>();
    spent.set(hour, inHour.set(name, plusUsage(inHour.get(name) ?? noUsage, more)));
  };
  const unhealthy = new Set<string>();
  const ok = (name: string) => {
    if (!unhealthy.has(name)) seen.set(name, { failuresInARow: 0, succeededAt: clock.now() });
  };
  const fail = (name: string, reason: string) => {
    const before = seen.get(name) ?? { failuresInARow: 0 };
    seen.set(name, { ...before, failuresInARow: before.failuresInARow + 1, reason });
  };
  const lived = (name: string, error: unknown) => {
    if (error instanceof BackendError && error.backend === name && errorTable[error.kind].showsLife) ok(name);
  };
  /** Only what has to be waited for is waited for: most backends have no limits. */
  const pay = async (name: string, price: Usage, { what, isFree }: Pick<Request, 'what' | 'isFree'>): Promise<void> => {
    if (isFree) return gate?.charge(name, price);
    const paying = gate?.pay(name, price, what);
    if (paying !== undefined) await paying;
  };
  /** `streamed`: what of the bytes that were sent is charged already; a body sent twice went twice. */
  const send = async <T>(
    { name, classes, usual, price, ...asked }: Request,
    request: () => Promise<T>,
    streamed: () => number,
    showsLife: (answer: T) => boolean,
  ): Promise<T> => {
    await pay(name, price, asked);
    let paid = price;
    const call: OnTheWire = {
      operations: [],
      sentBytes: 0,
      isAnswered: false,
      async payAgain(operation, ingressBytes) {
        const more = { ...noUsage, ...chargeOf(classes, operation), ingressBytes };
        try {
          await pay(name, more, asked);
        } catch (error) {
          throw isReadOn(call) ? error : notAgain(operation, error);
        }
        paid = plusUsage(paid, more);
      },
    };
    const hour = hourOf(clock.now());
    const charge = (least: readonly string[]) => {
      const ingressBytes = Math.max(0, call.sentBytes - streamed());
      const sent = call.operations.length > 0 ? call.operations : least;
      let spent: Usage = { ...noUsage, ingressBytes };
      for (const operation of sent) spent = plusUsage(spent, chargeOf(classes, operation));
      add(name, spent, hour);
      gate?.settle(name, paid, plusUsage(spent, { ingressBytes: streamed() }));
    };
    try {
      const answer = await wire.run(call, request);
      if (showsLife(answer)) ok(name);
      charge([usual]);
      return answer;
    } catch (error) {
      lived(name, error);
      // What was cancelled may never have been sent.
      charge(isCancelled(error) ? [] : [usual]);
      throw error;
    }
  };
  const counted = (body: Body, onBytes: (bytes: number) => void, onEnd = () => {}): Body => ({
    // Not a generator: one that was never started would not pass `return` on, and a socket would stay open.
    [Symbol.asyncIterator]() {
      const inner = body[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const step = await inner.next();
            if (step.done) onEnd();
            else onBytes(step.value.length);
            return step;
          } catch (error) {
            onEnd();
            throw error;
          }
        },
        return: async () => {
          onEnd();
          return (await inner.return?.()) ?? { done: true, value: undefined };
        },
      };
    },
  });
  /** An answer's bytes, paid for before the first is read; where they are free, as they come: nobody may ever read them. */
  const receiving = (name: string, asked: Pick<Request, 'what' | 'isFree'>) => {
    let paid: Usage | undefined;
    let moved = 0;
    return {
      async arriving(egressBytes: number) {
        if (asked.isFree) return;
        const price = { ...noUsage, egressBytes };
        await pay(name, price, asked);
        paid = price;
      },
      received: (body: Body) =>
        counted(
          body,
          (egressBytes) => {
            moved += egressBytes;
            add(name, { egressBytes });
            if (asked.isFree) gate?.settle(name, noUsage, { ...noUsage, egressBytes });
          },
          () => {
            if (paid !== undefined) gate?.settle(name, paid, { ...noUsage, egressBytes: moved });
            paid = undefined;
          },
        ),
    };
  };
  return {
    watch(backend, classes) {
      const { name } = backend;
      return forward(backend, (what) => {
        const { method, sizeBytes = 0 } = what;
        let streamed = 0;
        const isFree = gate === undefined || gate.isFree(what);
        const usual = usualOperations[method];
        const price = { ...noUsage, ...chargeOf(classes, usual), ingressBytes: sizeBytes };
        const showsLife = method === 'delete' ? hasAnswer : () => true;
        return {
          call: (run) => send({ name, classes, usual, what, price, isFree }, run, () => streamed, showsLife),
          ...receiving(name, { what, isFree }),
          sent: (body) =>
            counted(body, (bytes) => {
              streamed += bytes;
              add(name, { ingressBytes: bytes });
            }),
        };
      });
    },
    spent: (backend) => {
      const hours = [...spent.values()].flatMap((inHour) => inHour.get(backend) ?? []);
      return hours.reduce<Usage>(plusUsage, noUsage);
    },
    take() {
      const all = [...spent].map(([hour, inHour]) => [hour, Object.fromEntries(inHour)] as const);
      spent = new Map();
      return Object.fromEntries(all);
    },
    observed: (backend) => seen.get(backend),
    fail,
    failHealthCheck(name, reason) {
      unhealthy.add(name);
      // What it answered before, it answered without being what it should be.
      seen.set(name, { failuresInARow: (seen.get(name)?.failuresInARow ?? 0) + 1, reason });
    },
    passHealthCheck(name) {
      if (unhealthy.delete(name)) ok(name);
    },
  };
}

/** A deletion ends with outcomes whatever happened: at least one of them must be an answer. */
function hasAnswer(outcomes: unknown): boolean {
  return (outcomes as readonly DeleteOutcome[]).some(
    (outcome) => !('error' in outcome) || errorTable[outcome.error.kind].showsLife,
  );
}

/** Nothing failed, and nothing had an effect: a listing of several pages, or the like, came to a page that is not asked for. */
function isReadOn({ operations, isAnswered }: OnTheWire): boolean {
  return isAnswered && operations.every((operation) => /^(Get|Head|List)/.test(operation));
}

/** The first sending of a request has failed, and may have had its effect: what is not sent again is not "not sent". */
function notAgain(operation: string, error: unknown): unknown {
  if (!(error instanceof BackendError)) return error;
  const { backend, message } = error;
  const whatIsSo = `its ${operation} failed, and is not sent again: ${message}`;
  return new BackendError('unavailable', backend, `Cannot go on with "${backend}": ${whatIsSo}`, error, {
    attempts: 2,
  });
}

function isCancelled(error: unknown): boolean {
  return error instanceof BackendError && error.kind === 'cancelled';
}
