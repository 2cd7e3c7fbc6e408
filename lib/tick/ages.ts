import { policyOf } from '../config/fleet-file.ts';
import type { Parameters } from '../config/parameters.ts';
import { placementRule } from '../config/placement-rule.ts';
import type { FleetView } from '../store/fleet-view.ts';
import type { ObjectRecord, QueueItem } from '../store/model.ts';
import type { Tick } from './tick.ts';

/** What this file asks of a tick. */
export type AgesTick = Pick<Tick, 'config' | 'params' | 'figures' | 'view' | 'now' | 'standing'>;

type Waiting = Pick<ObjectRecord, 'createdAt' | 'copies'>;

/**
 * Since when an object has had too few counted copies, in milliseconds since the epoch: the latest of its write and of what
 * took its copies out of the count, a drain or a backend's ill health. A copy that was quarantined, or a factor that was
 * raised, has left no time behind: then it is the object's own age.
 */
export function shortSince(view: FleetView, params: Pick<Parameters, 'unhealthyAfterMs'>, object: Waiting): number {
  const times = Object.keys(object.copies).flatMap((name) => {
    const unhealthySince = view.breaker(name)?.unhealthySince;
    const uncounted = unhealthySince === undefined ? [] : [unhealthySince + params.unhealthyAfterMs];
    const drained = view.drain(name)?.since;
    return [...uncounted, ...(drained === undefined ? [] : [drained])].filter((time) => time <= view.readAt);
  });
  return Math.max(object.createdAt, ...times);
}

/** Notes an object that waits for copies. */
export function noteWaiting(tick: AgesTick, object: Waiting): void {
  note(tick, 'oldestUnderReplicatedSeconds', shortSince(tick.view, tick.params, object));
}

/** Notes, once copies are recorded, how long an object waited for the last one it needed. */
export function noteLag(tick: AgesTick, before: ObjectRecord, newHolders: readonly string[]): void {
  const holders = new Set([...Object.keys(before.copies), ...newHolders]);
  const rule = placementRule(tick.config, policyOf(tick.config, before.key).name);
  const counted = [...holders].filter((name) => tick.standing(name).isCounted && rule.allows(name)).length;
  if (counted < rule.factor) return;
  note(tick, 'replicationLagSeconds', shortSince(tick.view, tick.params, before));
}

/** Notes queue items that are due: how long they have been. */
export function noteOverdue(tick: AgesTick, items: readonly Pick<QueueItem, 'dueAt'>[]): void {
  for (const { dueAt } of items) note(tick, 'queueOldestSeconds', dueAt);
}

/** The greatest age that a tick met. */
function note(tick: AgesTick, figure: string, since: number): void {
  const seconds = Math.max(0, Math.round((tick.now() - since) / 1000));
  tick.figures[figure] = Math.max(tick.figures[figure] ?? 0, seconds);
}
