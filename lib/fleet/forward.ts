import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import type { Backend, PutRequest } from './backend.ts';

/** The methods of the port that send requests. */
export type BackendMethod = Exclude<keyof Backend, 'name' | 'checksSha256' | 'altersHeaders' | 'maxParts'>;

/** What a decorator does around one call. */
export interface Around {
  /** `run` sends it. */
  call<T>(run: () => Promise<T>): Promise<T>;
  /** Bytes on their way to the backend. */
  sent?(body: Body): Body;
  /** Bytes that come from it. */
  received?(body: Body): Body;
}

/** The same backend, with something done around every call and every body: the one place that names all methods of the port. */
export function forward(
  backend: Backend,
  around: (method: BackendMethod, signal: AbortSignal | undefined) => Around,
): Backend {
  const call = <T>(method: BackendMethod, signal: AbortSignal | undefined, send: () => Promise<T>): Promise<T> =>
    around(method, signal).call(send);
  const sending = <R extends Pick<PutRequest, 'body'>, T>(
    method: BackendMethod,
    signal: AbortSignal | undefined,
    request: R,
    send: (request: R) => Promise<T>,
  ): Promise<T> => {
    const { call, sent } = around(method, signal);
    return call(() => send(sent === undefined ? request : { ...request, body: sent(request.body) }));
  };
  return {
    name: backend.name,
    checksSha256: backend.checksSha256 === true,
    altersHeaders: backend.altersHeaders === true,
    ...defined({ maxParts: backend.maxParts }),
    put: (request, signal) => sending('put', signal, request, (r) => backend.put(r, signal)),
    get: (key, options, signal) => {
      const { call, received } = around('get', signal);
      return call(async () => {
        const found = await backend.get(key, options, signal);
        return received === undefined ? found : { ...found, body: received(found.body) };
      });
    },
    head: (key, signal) => call('head', signal, () => backend.head(key, signal)),
    firstPartBytes: (key, signal) =>
      call('firstPartBytes', signal, async () => (await backend.firstPartBytes?.(key, signal)) ?? null),
    tags: (key, signal) => call('tags', signal, () => backend.tags(key, signal)),
    copyFrom: (request, signal) => call('copyFrom', signal, () => backend.copyFrom(request, signal)),
    delete: (requests, signal) => call('delete', signal, () => backend.delete(requests, signal)),
    list: (options, signal) => call('list', signal, () => backend.list(options, signal)),
    createUpload: (request, signal) => call('createUpload', signal, () => backend.createUpload(request, signal)),
    uploadPart: (request, signal) => sending('uploadPart', signal, request, (r) => backend.uploadPart(r, signal)),
    listParts: (key, uploadId, signal) => call('listParts', signal, () => backend.listParts(key, uploadId, signal)),
    completeUpload: (request, signal) => call('completeUpload', signal, () => backend.completeUpload(request, signal)),
    abortUpload: (key, uploadId, signal) =>
      call('abortUpload', signal, () => backend.abortUpload(key, uploadId, signal)),
    openUploads: (key, signal) => call('openUploads', signal, () => backend.openUploads(key, signal)),
  };
}
