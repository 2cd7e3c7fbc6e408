import { AsyncLocalStorage } from 'node:async_hooks';
import type { Body } from '../base/bytes.ts';
import { type Clock, monthOf } from '../base/clock.ts';
import { noUsage, plusUsage, type Usage } from '../base/usage.ts';
import { type Backend, BackendError, type GetResult, isOutage, type PutRequest } from './backend.ts';
import type { Observed } from './breaker.ts';

/** Counts what is spent on backends and how they fare. One per tick, or per client process. */
export interface Meter {
  /** The same backend, counted. */
  watch(backend: Backend): Backend;
  /** Spent so far on a backend and not yet taken. */
  spent(backend: string): Usage;
  /** Everything spent since the last take, by the month in which it was asked for, then by backend; starts again at zero. */
  take(): Record<string, Record<string, Usage>>;
  /** What was seen of a backend; undefined when it was not asked. */
  observed(backend: string): Observed | undefined;
  /** Counts a failure found otherwise, e.g. a 403 whose owner object fails too. */
  fail(backend: string): void;
}

/** What one call of the port led to on the wire, where the adapter says. */
interface OnTheWire {
  requests: number;
  sentBytes: number;
}

const wire = new AsyncLocalStorage<OnTheWire>();

/**
 * For adapters: one physical request is being sent, with a body of so many bytes. It is charged to the call that led to it;
 * a call whose adapter says nothing is one request.
 */
export function noteRequest(_operation: string, sentBytes: number): void {
  const call = wire.getStore();
  if (call === undefined) return;
  call.requests += 1;
  call.sentBytes += sentBytes;
}

export function createMeter(clock: Pick<Clock, 'now'>): Meter {
  let spent = new Map<string, Map<string, Usage>>();
  const seen = new Map<string, Observed>();
  const add = (name: string, more: Partial<Usage>, month = monthOf(clock.now())) => {
    const inMonth = spent.get(month) ?? new Map<string, Usage>();
    spent.set(month, inMonth.set(name, plusUsage(inMonth.get(name) ?? noUsage, more)));
  };
  const ok = (name: string) => seen.set(name, { failuresInARow: 0, succeededAt: clock.now() });
  const fail = (name: string) => {
    const before = seen.get(name) ?? { failuresInARow: 0 };
    seen.set(name, { ...before, failuresInARow: before.failuresInARow + 1 });
  };
  /** Throttling and our own cancellation say nothing about health; an answer, even a refusal, says that it lives. */
  const judge = (name: string, error: unknown) => {
    if (!(error instanceof BackendError) || error.backend !== name) return;
    if (isOutage(error)) fail(name);
    else if (['not-found', 'precondition', 'delete-marker', 'too-large'].includes(error.kind)) ok(name);
  };
  const asked = async <T>(name: string, request: () => Promise<T>, streamed = () => 0): Promise<T> => {
    const call: OnTheWire = { requests: 0, sentBytes: 0 };
    const month = monthOf(clock.now());
    // What was streamed is counted as it goes; a body sent twice went twice.
    const charge = (least: number) => {
      const ingressBytes = Math.max(0, call.sentBytes - streamed());
      add(name, { requests: Math.max(least, call.requests), ingressBytes }, month);
    };
    try {
      const answer = await wire.run(call, request);
      ok(name);
      charge(1);
      return answer;
    } catch (error) {
      judge(name, error);
      // What was cancelled may never have been sent.
      charge(isCancelled(error) ? 0 : 1);
      throw error;
    }
  };
  const counted = (name: string, body: Body, onBytes: (bytes: number) => void): Body => ({
    // Not a generator: one that was never started would not pass `return` on, and a socket would stay open.
    [Symbol.asyncIterator]() {
      const inner = body[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const step = await inner.next();
            if (!step.done) onBytes(step.value.length);
            return step;
          } catch (error) {
            judge(name, error);
            throw error;
          }
        },
        return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
      };
    },
  });
  /** A call that sends a body: its bytes are counted while they go. */
  const sending = <R extends Pick<PutRequest, 'body'>, T>(
    name: string,
    request: R,
    send: (counting: R) => Promise<T>,
  ): Promise<T> => {
    let streamed = 0;
    const body = counted(name, request.body, (bytes) => {
      streamed += bytes;
      add(name, { ingressBytes: bytes });
    });
    return asked(
      name,
      () => send({ ...request, body }),
      () => streamed,
    );
  };
  return {
    watch(backend) {
      const { name } = backend;
      return {
        name,
        checksSha256: backend.checksSha256 === true,
        put: (request, signal) => sending(name, request, (r) => backend.put(r, signal)),
        get: (key, options, signal) =>
          asked(name, async (): Promise<GetResult> => {
            const found = await backend.get(key, options, signal);
            return { ...found, body: counted(name, found.body, (egressBytes) => add(name, { egressBytes })) };
          }),
        head: (key, signal) => asked(name, () => backend.head(key, signal)),
        firstPartBytes: (key, signal) => asked(name, async () => (await backend.firstPartBytes?.(key, signal)) ?? null),
        tags: (key, signal) => asked(name, () => backend.tags(key, signal)),
        copyFrom: (request, signal) => asked(name, () => backend.copyFrom(request, signal)),
        delete: (requests, signal) => asked(name, () => backend.delete(requests, signal)),
        list: (options, signal) => asked(name, () => backend.list(options, signal)),
        createUpload: (request, signal) => asked(name, () => backend.createUpload(request, signal)),
        uploadPart: (request, signal) => sending(name, request, (r) => backend.uploadPart(r, signal)),
        listParts: (key, uploadId, signal) => asked(name, () => backend.listParts(key, uploadId, signal)),
        completeUpload: (request, signal) => asked(name, () => backend.completeUpload(request, signal)),
        abortUpload: (key, uploadId, signal) => asked(name, () => backend.abortUpload(key, uploadId, signal)),
        openUploads: (key, signal) => asked(name, () => backend.openUploads(key, signal)),
      };
    },
    spent: (backend) => {
      const months = [...spent.values()].flatMap((inMonth) => inMonth.get(backend) ?? []);
      return months.reduce<Usage>(plusUsage, noUsage);
    },
    take() {
      const all = [...spent].map(([month, inMonth]) => [month, Object.fromEntries(inMonth)] as const);
      spent = new Map();
      return Object.fromEntries(all);
    },
    observed: (backend) => seen.get(backend),
    fail,
  };
}

function isCancelled(error: unknown): boolean {
  return error instanceof BackendError && error.kind === 'cancelled';
}
