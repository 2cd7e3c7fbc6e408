import { missingOf } from '../../config/placement-rule.ts';
import { lackOfPlacement } from '../../steps/missing-copies.ts';
import type { PlacementTotal } from '../../store/fleet-view.ts';
import type { Tick } from '../../tick/tick.ts';

/** What this file asks of a tick. */
export type PlacementsTick = Pick<Tick, 'config' | 'view' | 'standing' | 'standings'>;

/** Ledger placements that lack copies, or stand where one failure takes several. Damaged objects are not ours to copy. */
export function underReplicated(tick: PlacementsTick): PlacementTotal[] {
  return tick.view.placements.filter(
    (placement) => placement.condition === 'sound' && missingOf(lackOfPlacement(tick, placement)) > 0,
  );
}

/** Ledger placements of stuck objects: each is to be tried again, or wants nothing any more. */
export function stuckPlacements(tick: PlacementsTick): PlacementTotal[] {
  return tick.view.placements.filter(({ condition }) => condition === 'stuck');
}
