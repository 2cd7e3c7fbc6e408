import { allEnded } from '../base/pool.ts';
import { lane } from '../store/keys.ts';
import type { QueueItem, QueueState } from '../store/model.ts';
import { isRecoveryPending, recoveryOf } from '../store/recovery.ts';
import type { AgesTick } from './ages.ts';
import { noteOverdue } from './ages.ts';
import type { Tick } from './tick.ts';

/** What this file asks of a tick. */
export type DueItemsTick = Pick<Tick, 'deps' | 'shards' | 'view' | 'now' | 'standings'> & AgesTick;

/** Due items found, and the lane at which the next search begins; undefined when these are all that were due. */
export interface DueItems {
  readonly items: readonly QueueItem[];
  readonly cursor: string | undefined;
}

/**
 * Lanes of one state that may hold something and are worth asking: configured, breaker not open. Items of other backends
 * are parked: they wait, unchanged. So does every deletion while a recovery is not complete.
 */
export function openLanes(tick: DueItemsTick, state: QueueState, leftOut: ReadonlySet<string> = new Set()): string[] {
  const lanes: string[] = [];
  for (const { name, isReachable } of tick.standings()) {
    if (!isReachable || leftOut.has(name) || tick.view.queue(state, name).objects <= 0) continue;
    if (state === 'cleanup' && isRecoveryPending(tick.view)) continue;
    for (const shard of tick.shards) lanes.push(lane(state, name, shard));
  }
  return lanes.sort();
}

/** What restored tables queue may have been recorded, overwritten or deleted in the time that they know nothing of. */
function isDueNow(tick: DueItemsTick, item: QueueItem, state: QueueState): boolean {
  if (item.state !== state) return false;
  return !isRecoveryPending(tick.view) || item.createdAt > recoveryOf(tick.view)!.since;
}

/** How many lanes are asked at once. */
const width = 16;

/**
 * Collects up to `limit` due items, starting at the cursor's lane and going round, oldest first within each lane. Backends that
 * were found to be of no use in this tick are left out.
 */
export async function findDue(
  tick: DueItemsTick,
  state: QueueState,
  cursor: string | undefined,
  limit: number,
  leftOut?: ReadonlySet<string>,
): Promise<DueItems> {
  const lanes = openLanes(tick, state, leftOut);
  const start = Math.max(
    0,
    lanes.findIndex((name) => name >= (cursor ?? '')),
  );
  const circle = [...lanes.slice(start), ...lanes.slice(0, start)];
  const items: QueueItem[] = [];
  for (let i = 0; i < circle.length; i += width) {
    const asked = circle.slice(i, i + width);
    const pages = await allEnded(asked.map((name) => tick.deps.store.due(name, tick.now(), limit)));
    for (const [n, page] of pages.entries()) {
      noteOverdue(tick, page.items);
      items.push(...page.items.filter((item) => isDueNow(tick, item, state)).slice(0, limit - items.length));
      // Round again behind the last lane: it may hold more than was asked of it.
      if (items.length >= limit) return { items, cursor: asked[n + 1] ?? circle[i + width] ?? circle[0] };
    }
  }
  return { items, cursor: undefined };
}
