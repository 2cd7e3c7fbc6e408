import type { Body } from '../base/bytes.ts';
import { type Backend, BackendError, type GetResult, isOutage, type PutRequest } from './backend.ts';
import type { Observed } from './breaker.ts';

/** Spent on one backend since the last `take`. */
export interface Spent {
  readonly requests: number;
  readonly egressBytes: number;
  readonly ingressBytes: number;
}

/** Counts what is spent on backends and how they fare. One per tick, or per client process. */
export interface Meter {
  /** The same backend, counted. */
  watch(backend: Backend): Backend;
  /** Spent so far on a backend and not yet taken. */
  spent(backend: string): Spent;
  /** Everything spent since the last take, and starts again at zero. */
  take(): Record<string, Spent>;
  /** What was seen of a backend; undefined when it was not asked. */
  observed(backend: string): Observed | undefined;
  /** Counts what an earlier tick of this process spent and did not report. */
  add(backend: string, spent: Spent): void;
  /** Counts a failure found otherwise, e.g. a 403 whose owner object fails too. */
  fail(backend: string): void;
}

const nothing: Spent = { requests: 0, egressBytes: 0, ingressBytes: 0 };

export function createMeter(): Meter {
  let spent = new Map<string, Spent>();
  const seen = new Map<string, Observed>();
  const add = (name: string, more: Partial<Spent>) => {
    const s = spent.get(name) ?? nothing;
    spent.set(name, {
      requests: s.requests + (more.requests ?? 0),
      egressBytes: s.egressBytes + (more.egressBytes ?? 0),
      ingressBytes: s.ingressBytes + (more.ingressBytes ?? 0),
    });
  };
  const ok = (name: string) => seen.set(name, { failuresInARow: 0, hadSuccess: true });
  const fail = (name: string) => {
    const before = seen.get(name) ?? { failuresInARow: 0, hadSuccess: false };
    seen.set(name, { ...before, failuresInARow: before.failuresInARow + 1 });
  };
  /** Throttling and our own cancellation say nothing about health; an answer, even a refusal, says that it lives. */
  const judge = (name: string, error: unknown) => {
    if (!(error instanceof BackendError) || error.backend !== name) return;
    if (isOutage(error)) fail(name);
    else if (['not-found', 'precondition', 'delete-marker', 'too-large'].includes(error.kind)) ok(name);
  };
  const asked = async <T>(name: string, request: () => Promise<T>): Promise<T> => {
    add(name, { requests: 1 });
    try {
      const answer = await request();
      ok(name);
      return answer;
    } catch (error) {
      judge(name, error);
      throw error;
    }
  };
  async function* counted(name: string, body: Body, direction: 'egressBytes' | 'ingressBytes'): Body {
    try {
      for await (const chunk of body) {
        add(name, { [direction]: chunk.length });
        yield chunk;
      }
    } catch (error) {
      judge(name, error);
      throw error;
    }
  }
  const watchPut = <T extends Pick<PutRequest, 'body'>>(name: string, request: T): T => ({
    ...request,
    body: counted(name, request.body, 'ingressBytes'),
  });
  return {
    watch(backend) {
      const { name } = backend;
      return {
        name,
        put: (request, signal) => asked(name, () => backend.put(watchPut(name, request), signal)),
        get: (key, options, signal) =>
          asked(name, async (): Promise<GetResult> => {
            const found = await backend.get(key, options, signal);
            return { ...found, body: counted(name, found.body, 'egressBytes') };
          }),
        head: (key, signal) => asked(name, () => backend.head(key, signal)),
        delete: (requests, signal) => asked(name, () => backend.delete(requests, signal)),
        list: (options, signal) => asked(name, () => backend.list(options, signal)),
        createUpload: (request, signal) => asked(name, () => backend.createUpload(request, signal)),
        uploadPart: (request, signal) => asked(name, () => backend.uploadPart(watchPut(name, request), signal)),
        listParts: (key, uploadId, signal) => asked(name, () => backend.listParts(key, uploadId, signal)),
        completeUpload: (request, signal) => asked(name, () => backend.completeUpload(request, signal)),
        abortUpload: (key, uploadId, signal) => asked(name, () => backend.abortUpload(key, uploadId, signal)),
        openUploads: (key, signal) => asked(name, () => backend.openUploads(key, signal)),
      };
    },
    spent: (backend) => spent.get(backend) ?? nothing,
    take() {
      const all = Object.fromEntries(spent);
      spent = new Map();
      return all;
    },
    add,
    observed: (backend) => seen.get(backend),
    fail,
  };
}
