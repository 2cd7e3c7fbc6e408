import { defined } from '../base/defined.ts';
import { createPageWatch } from '../base/page-trail.ts';
import { type Backend, BackendError, type Listed, type ListFrom } from './backend.ts';

/**
 * Everything that a backend lists under a prefix, each key once: for prefixes that few keys begin with. Throws `BackendError`, of
 * kind `unavailable` where its pages lead to no end: what was listed until then is not taken for all there is.
 */
export async function listAll(
  backend: Pick<Backend, 'name' | 'list'>,
  prefix: string,
  signal?: AbortSignal,
): Promise<Listed[]> {
  const found = new Map<string, Listed>();
  const watch = createPageWatch();
  for (let from: ListFrom | undefined; ; ) {
    const page = await backend.list({ prefix, ...defined({ from }) }, signal);
    const before = found.size;
    for (const item of page.items) found.set(item.storageKey, item);
    from = page.next;
    if (from === undefined) return [...found.values()];
    if (!watch.comesToAnEnd(JSON.stringify(from), found.size > before)) throw endless(backend.name, prefix);
  }
}

/** It answered every page: what it says of these keys is what makes no sense. */
function endless(backend: string, prefix: string): BackendError {
  const message = `Cannot list "${prefix}" on backend "${backend}": its pages go on without an end`;
  return new BackendError('unavailable', backend, message, undefined, { verdict: 'object' });
}
