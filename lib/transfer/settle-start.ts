import { defined } from '../base/defined.ts';
import { type Backend, BackendError } from '../fleet/backend.ts';
import { type Owner, type Ownership, readOwnership } from '../fleet/owner.ts';
import { noteStart } from '../fleet/write-owner.ts';
import type { Store } from '../store/port.ts';
import { readStarts } from '../store/starts.ts';

/** What telling whose a bucket is needs of the metadata. */
export type OwnershipStore = Pick<Store, 'identity' | 'control'>;

type Ours = Extract<Ownership, { outcome: 'ours' }>;

/**
 * What an owner object says that names another start than the one noted last. One that names an older start is brought up to date
 * here, before anything else is done in the bucket: until it is, tables restored from before could not be told from these by it.
 */
export async function settleStart(
  store: OwnershipStore,
  owner: Owner,
  backend: Backend,
  found: Ours,
  signal?: AbortSignal,
): Promise<Ownership> {
  // Read after the bucket: what it names, the tables had before.
  const starts = await readStarts(store);
  if (found.start !== undefined && !starts.has(found.start)) return { outcome: 'newer', start: found.start };
  if (found.start === starts.latest) return found;
  try {
    await noteStart(backend, { ...owner, ...defined({ start: starts.latest }) }, found.etag);
  } catch (error) {
    // It is ours all the same; the next one who asks tries again. One that was written meanwhile is looked at anew.
    if (!(error instanceof BackendError)) throw error;
    if (error.kind === 'precondition') return readAgain(store, owner, backend, signal);
  }
  return found;
}

/** After another process wrote the owner object: the tables had its start before, or they are older. */
async function readAgain(
  store: OwnershipStore,
  owner: Owner,
  backend: Backend,
  signal?: AbortSignal,
): Promise<Ownership> {
  const now = await readOwnership(backend, owner, signal);
  if (now.outcome !== 'ours' || now.start === undefined || (await readStarts(store)).has(now.start)) return now;
  return { outcome: 'newer', start: now.start };
}
