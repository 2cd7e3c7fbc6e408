import type { Round, Worker } from '../../tick/tick.ts';
import type { MovesTick } from './moves.ts';
import type { PlanRebalancingTick } from './plan-rebalancing.ts';
import { isUneven, movablePlacements } from './plan-rebalancing.ts';

/** What this file asks of a tick. */
export type RebalancerTick = MovesTick & PlanRebalancingTick;

/**
 * The rebalancer moves copies between backends with a limit, to pack or to spread them.
 *
 * It moves and never adds: a verified copy at the destination replaces the one at the source in a single swap, on condition
 * that the object is still what it was when it was read. What was written and could not be recorded is enqueued for deletion. Objects
 * that have more or fewer copies than they should are left to the other workers, and plain copies stay where they are. What a
 * destination refuses is written on the object's record, and not moved there again before its backoff.
 *
 * Rules: [rebalancer-threshold], [rebalancer-spread], [rebalancer-pack], [rebalancer-ends], [rebalancer-swap]
 */
export const rebalancer: Worker = { name: 'rebalancer', hasWork, begin };

/** From the ledger alone: backends that are to be evened out, and some placement that a move may start from. */
async function hasWork(tick: RebalancerTick): Promise<boolean> {
  return isUneven(tick) && movablePlacements(tick).length > 0;
}

/** Most ticks find nothing to do: a cold start does not load what does it. */
async function begin(tick: RebalancerTick): Promise<Round> {
  const { beginMoves } = await import('./moves.ts');
  return beginMoves(tick);
}
