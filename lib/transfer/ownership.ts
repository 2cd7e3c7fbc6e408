import { defined } from '../base/defined.ts';
import { type Backend, BackendError } from '../fleet/backend.ts';
import { noteStart, type Ownership, readOwnership } from '../fleet/owner.ts';
import type { FleetView } from '../store/fleet-view.ts';
import type { Store } from '../store/port.ts';
import { latestStart, readStarts } from '../store/starts.ts';

/** What telling whose a bucket is needs of the metadata. */
export type OwnershipStore = Pick<Store, 'identity' | 'control'>;

/**
 * Whose the bucket of a backend is, by the tables that there are. One HEAD, and nothing else where the owner object names the start
 * that the tables noted last. One that names an older start is brought up to date here, before anything else is done in the
 * bucket: until it is, tables restored from before could not be told from these by it. Errors of the backend's HEAD are thrown.
 */
export async function ownershipOf(
  store: OwnershipStore,
  view: Pick<FleetView, 'row'>,
  fleetId: string,
  backend: Backend,
  signal?: AbortSignal,
): Promise<Ownership> {
  const owner = { fleetId, backend: backend.name, tables: await store.identity() };
  const found = await readOwnership(backend, owner, signal);
  if (found.outcome !== 'ours' || found.start === latestStart(view)) return found;
  // Read after the bucket: what it names, the tables had before.
  const starts = await readStarts(store);
  if (found.start !== undefined && !starts.has(found.start)) return { outcome: 'newer', start: found.start };
  if (found.start === starts.latest) return found;
  try {
    await noteStart(backend, { ...owner, ...defined({ start: starts.latest }) }, found.etag);
  } catch (error) {
    // It is ours all the same; the next one who asks tries again. One that was written meanwhile is looked at anew.
    if (!(error instanceof BackendError)) throw error;
    if (error.kind === 'precondition') return readAgain(store, { fleetId, backend, found }, signal);
  }
  return found;
}

/** After another process wrote the owner object: by then its start is known, or it is not ours. */
async function readAgain(
  store: OwnershipStore,
  { fleetId, backend, found }: { readonly fleetId: string; readonly backend: Backend; readonly found: Ownership },
  signal?: AbortSignal,
): Promise<Ownership> {
  const owner = { fleetId, backend: backend.name, tables: await store.identity() };
  const now = await readOwnership(backend, owner, signal);
  if (now.outcome !== 'ours' || now.start === undefined) return now.outcome === 'ours' ? found : now;
  return (await readStarts(store)).has(now.start) ? now : { outcome: 'newer', start: now.start };
}
