import type { Backend } from '../fleet/backend.ts';
import { type Ownership, readOwnership } from '../fleet/owner.ts';
import type { FleetView } from '../store/fleet-view.ts';
import { rowKeys } from '../store/row-keys.ts';
import type { OwnershipStore } from './settle-start.ts';

/**
 * Whose the bucket of a backend is, by the tables that there are. One HEAD, and nothing else where the owner object names the start
 * that the tables noted last. Errors of the backend's HEAD are thrown.
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
  if (found.outcome !== 'ours' || found.start === view.row(rowKeys.start)?.data.id) return found;
  const { settleStart } = await import('./settle-start.ts');
  return settleStart(store, owner, backend, found, signal);
}
