import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import type { Backend, GetOptions, PutRequest, StoredObject } from './backend.ts';

/** The methods of the port that send requests. */
export type BackendMethod = Exclude<keyof Backend, 'name' | 'checksSha256' | 'altersHeaders' | 'maxParts'>;

/** What one call asks for. */
export interface Asked {
  readonly method: BackendMethod;
  /** Where it is about one key. */
  readonly storageKey?: string;
  /** Of the body that it sends. */
  readonly sizeBytes?: number;
}

/** What a decorator does around one call. */
export interface Around {
  /** `run` sends it. */
  call<T>(run: () => Promise<T>): Promise<T>;
  /** So many bytes are about to be read of an answer. When it throws, none are. */
  arriving?(lengthBytes: number): Promise<void>;
  /** Bytes on their way to the backend. */
  sent?(body: Body): Body;
  /** Bytes that come from it. */
  received?(body: Body): Body;
}

/** The same backend, with something done around every call and every body: the one place that names all methods of the port. */
export function forward(backend: Backend, around: (asked: Asked, signal: AbortSignal | undefined) => Around): Backend {
  const call = <T>(
    method: BackendMethod,
    storageKey: string | undefined,
    signal: AbortSignal | undefined,
    send: () => Promise<T>,
  ): Promise<T> => around({ method, ...defined({ storageKey }) }, signal).call(send);
  const sending = <R extends Pick<PutRequest, 'body' | 'storageKey' | 'sizeBytes'>, T>(
    method: BackendMethod,
    signal: AbortSignal | undefined,
    request: R,
    send: (request: R) => Promise<T>,
  ): Promise<T> => {
    const { storageKey, sizeBytes } = request;
    const { call, sent } = around({ method, storageKey, sizeBytes }, signal);
    return call(() => send(sent === undefined ? request : { ...request, body: sent(request.body) }));
  };
  return {
    name: backend.name,
    checksSha256: backend.checksSha256 === true,
    altersHeaders: backend.altersHeaders === true,
    ...defined({ maxParts: backend.maxParts }),
    put: (request, signal) => sending('put', signal, request, (r) => backend.put(r, signal)),
    get: async (key, options, signal) => {
      const { call, arriving, received } = around({ method: 'get', storageKey: key }, signal);
      const found = await call(() => backend.get(key, options, signal));
      if (arriving !== undefined) await letIn(found, arriving, options);
      return received === undefined ? found : { ...found, body: received(found.body) };
    },
    head: (key, signal) => call('head', key, signal, () => backend.head(key, signal)),
    firstPartBytes: (key, signal) =>
      call('firstPartBytes', key, signal, async () => (await backend.firstPartBytes?.(key, signal)) ?? null),
    tags: (key, signal) => call('tags', key, signal, () => backend.tags(key, signal)),
    copyFrom: (request, signal) =>
      call('copyFrom', request.storageKey, signal, () => backend.copyFrom(request, signal)),
    delete: (requests, signal) => call('delete', undefined, signal, () => backend.delete(requests, signal)),
    list: (options, signal) => call('list', undefined, signal, () => backend.list(options, signal)),
    createUpload: (request, signal) =>
      call('createUpload', request.storageKey, signal, () => backend.createUpload(request, signal)),
    uploadPart: (request, signal) => sending('uploadPart', signal, request, (r) => backend.uploadPart(r, signal)),
    listParts: (key, uploadId, signal) =>
      call('listParts', key, signal, () => backend.listParts(key, uploadId, signal)),
    completeUpload: (request, signal) =>
      call('completeUpload', request.storageKey, signal, () => backend.completeUpload(request, signal)),
    abortUpload: (key, uploadId, signal) =>
      call('abortUpload', key, signal, () => backend.abortUpload(key, uploadId, signal)),
    openUploads: (key, signal) => call('openUploads', key, signal, () => backend.openUploads(key, signal)),
  };
}

/** Lets go of an answer that is not to be read. */
async function letIn(
  { sizeBytes, body }: Pick<StoredObject, 'sizeBytes'> & { readonly body: Body },
  arriving: (lengthBytes: number) => Promise<void>,
  { range }: GetOptions = {},
): Promise<void> {
  try {
    await arriving(range === undefined ? sizeBytes : Math.max(0, Math.min(range[1] + 1, sizeBytes) - range[0]));
  } catch (error) {
    await body[Symbol.asyncIterator]().return?.();
    throw error;
  }
}
