import { type FleetView, readFleet } from '../store/fleet-view.ts';
import { parsePlacement } from '../store/keys.ts';
import { type Count, queueStates } from '../store/model.ts';
import type { Store } from '../store/port.ts';
import { placementOfRow, rowKeys } from '../store/row-keys.ts';

/** What names a backend: recorded copies and queue items. */
export interface Holding {
  readonly copies: Count;
  readonly queued: Count;
}

/**
 * The fleet twice, one reading right after the other. A query is not a snapshot: bytes on the move between two rows could be
 * missed by one. Two that agree enclose a moment at which all these rows held what was read.
 */
export async function readTwice(deps: {
  readonly store: Store;
  readonly clock: { now(): number };
}): Promise<readonly [FleetView, FleetView]> {
  const first = await readFleet(deps.store, deps.clock.now());
  return [first, await readFleet(deps.store, deps.clock.now())];
}

/** Whether two readings that agree show that nothing names a backend. */
export function namesNothing([first, second]: readonly [FleetView, FleetView], name: string): boolean {
  const isNamed = [first, second].some((view) => view.namedBackends().includes(name));
  return !isNamed && rowsNaming(first, name) === rowsNaming(second, name);
}

function rowsNaming(view: FleetView, name: string): string {
  const own = new Set([rowKeys.used(name), ...queueStates.map((state) => rowKeys.queue(state, name))]);
  const isNaming = (row: string) => {
    const label = placementOfRow(row);
    if (label === undefined) return own.has(row);
    return parsePlacement(label).copies.some(({ backend }) => backend === name);
  };
  return JSON.stringify(view.totals.filter(({ row }) => isNaming(row)));
}

/** What names a backend, by one reading. */
export function holdingOf(view: FleetView, name: string): Holding {
  const held = view.placements.filter(({ copies }) => copies.some(({ backend }) => backend === name));
  return {
    copies: addUp(held.map(({ count }) => count)),
    queued: addUp(queueStates.map((state) => view.queue(state, name))),
  };
}

export function addUp(counts: readonly Count[]): Count {
  return counts.reduce((sum, { objects, bytes }) => ({ objects: sum.objects + objects, bytes: sum.bytes + bytes }), {
    objects: 0,
    bytes: 0,
  });
}
