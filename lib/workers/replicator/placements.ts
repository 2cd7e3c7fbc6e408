import type { PlacementTotal } from '../../store/fleet-view.ts';
import type { Tick } from '../../tick/tick.ts';

/** What this file asks of a tick. */
export type PlacementsTick = Pick<Tick, 'config' | 'view' | 'standing'>;

/** Ledger placements with fewer counted copies than their policy asks for. Damaged objects are not ours to copy. */
export function underReplicated(tick: PlacementsTick): PlacementTotal[] {
  return tick.view.placements.filter((placement) => placement.condition === 'sound' && isShort(tick, placement));
}

/** Ledger placements of stuck objects: each is to be tried again, or wants nothing any more. */
export function stuckPlacements(tick: PlacementsTick): PlacementTotal[] {
  return tick.view.placements.filter(({ condition }) => condition === 'stuck');
}

function isShort(tick: PlacementsTick, { policy, copies }: PlacementTotal): boolean {
  const { factor } = tick.config.policies[policy] ?? tick.config.policies.default!;
  return copies.filter(({ backend }) => tick.standing(backend).isCounted).length < factor;
}
