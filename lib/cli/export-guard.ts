import type { Log } from '../base/log.ts';
import { type Backend, BackendError } from '../fleet/backend.ts';

/** A way to write, which storage may take a condition on or not. */
type Writing = 'an upload' | 'an upload in parts' | 'a copy within';

export type Guard = <T>(how: Writing, write: (to: Backend) => Promise<T>) => Promise<T>;

/**
 * Writes on a condition. Where the storage refuses that, and takes the same without one, it is asked for none from then on: the
 * look before each write is what guards there.
 */
export function guardOf(log: Log, guarded: Backend, unguarded: Backend): Guard {
  const refused = new Set<Writing>();
  return async (how, write) => {
    if (refused.has(how)) return write(unguarded);
    try {
      return await write(guarded);
    } catch (error) {
      if (!isRefusedCondition(error)) throw error;
    }
    const written = await write(unguarded);
    if (!refused.has(how))
      log.warn('Storage takes no condition on a write: only a look before it guards what is there', { write: how });
    refused.add(how);
    return written;
  };
}

/** What storage says that heeds a condition on one kind of request, and not on another. */
function isRefusedCondition(error: unknown): boolean {
  return error instanceof BackendError && (error.kind === 'unsupported' || error.kind === 'rejected');
}
