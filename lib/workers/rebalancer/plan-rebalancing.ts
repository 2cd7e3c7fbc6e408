import { policyOf } from '../../config/fleet-file.ts';
import { mayMove, type PlacementRule, placementRule } from '../../config/placement-rule.ts';
import { exceedsThreshold } from '../../plans/exceeds-threshold.ts';
import type { PlanBackend, PlanInput, PlanObject } from '../../plans/plan-draft.ts';
import { planPackTight } from '../../plans/plan-pack-tight.ts';
import { planSpreadEven } from '../../plans/plan-spread-even.ts';
import { isWaiting, retryViewOf } from '../../steps/refusals.ts';
import type { PlacedCopy } from '../../store/keys.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { Tick } from '../../tick/tick.ts';

/** What this file asks of a tick. */
export type PlanRebalancingTick = Pick<
  Tick,
  'config' | 'params' | 'tuning' | 'of' | 'view' | 'now' | 'standing' | 'standings'
>;

/** A move with the object it is for, as the plan saw it. */
export interface PlannedMove {
  readonly object: ObjectRecord;
  readonly from: string;
  readonly to: string;
}

/** Which backends take part in this tick. */
export interface UsableBackends {
  has(backend: string): boolean;
  /** Whether it may be a destination. */
  takes(backend: string): boolean;
}

/** Over the limited backends that take part: one that is drained or unreachable is nothing to even out with. */
export function isUneven(tick: PlanRebalancingTick): boolean {
  const uses = usesOf(tick);
  const order = uses.filter(({ draining, reachable }) => reachable && !draining).map(({ name }) => name);
  const stats = Object.fromEntries(uses.map((use) => [use.name, use]));
  return exceedsThreshold(stats, order, tick.params.rebalancerThreshold);
}

/**
 * Ledger placements that a move may start from: at their factor, every copy counted, and with a copy on a backend from
 * which the strategy moves to one that is not in the placement.
 */
export function movablePlacements(tick: PlanRebalancingTick): string[] {
  const uses = usesOf(tick);
  const leadsAway = directionOf(tick, uses);
  const mayBegin = ({ policy, condition, copies }: (typeof tick.view.placements)[number]) => {
    if (condition !== 'sound' || !Object.hasOwn(tick.config.policies, policy)) return false;
    const rule = placementRule(tick.config, policy);
    if (!isSettled(tick, rule, copies)) return false;
    const sources = uses.filter(({ name }) => copies.some((copy) => copy.backend === name && !copy.isPlain));
    const others = uses.filter(({ name }) => !copies.some((copy) => copy.backend === name));
    const holders = copies.map(({ backend }) => backend);
    const mayGo = (from: PlanBackend, to: PlanBackend) => mayMove(rule, holders, from.name, to.name);
    return sources.some((from) => others.some((to) => leadsAway(from, to) && mayGo(from, to)));
  };
  return tick.view.placements.filter(mayBegin).map(({ label }) => label);
}

/** Plans moves of these objects by the strategy in force, for this part's share; backends that are not usable are unreachable. */
export function planMoves(
  tick: PlanRebalancingTick,
  found: readonly ObjectRecord[],
  usable: UsableBackends,
): PlannedMove[] {
  const backends = usesOf(tick).map((use) => ({
    ...use,
    reachable: use.reachable && usable.has(use.name),
    draining: use.draining || !usable.takes(use.name),
  }));
  const byKey = new Map(found.filter((object) => isMovable(tick, object)).map((object) => [object.key, object]));
  const objects: Record<string, PlanObject[]> = {};
  for (const { name } of backends) {
    const held = [...byKey.values()].filter((object) => mayLeave(tick, object, name));
    objects[name] = held.map((object) => planObject(tick, object, name));
  }
  const isPacking = tick.params.rebalancerStrategy === 'pack';
  const input: PlanInput = {
    backends: backends.map((backend) => shareOf(backends, backend, tick.of, isPacking)),
    objects,
    batchSize: tick.tuning.batchSize,
  };
  const moves = isPacking ? planPackTight(input) : planSpreadEven(input);
  return moves.map(({ key, from, to }) => ({ object: byKey.get(key)!, from, to }));
}

/** Whether one object may be moved from one backend to another, as they stand: what a plan would ask of each of its moves. */
export function mayMoveTo(tick: PlanRebalancingTick, object: ObjectRecord, from: string, to: string): boolean {
  if (!isMovable(tick, object) || !mayLeave(tick, object, from)) return false;
  if (planObject(tick, object, from).backends.includes(to)) return false;
  const use = usesOf(tick).find(({ name }) => name === to);
  if (use === undefined || use.draining || !use.reachable) return false;
  return use.limitBytes - use.usedBytes - use.orphanBytes >= object.sizeBytes;
}

/** The limited backends of the fleet, as plans see them. */
function usesOf(tick: PlanRebalancingTick): PlanBackend[] {
  return tick.standings().flatMap(({ name, config, isCounted, isReachable }): PlanBackend[] => {
    const limitBytes = config?.quotaBytes ?? 0;
    if (limitBytes === 0) return [];
    const { view } = tick;
    const queuedBytes = view.queue('cleanup', name).bytes + view.queue('dead', name).bytes;
    const usedBytes = view.usedBytes(name) - queuedBytes;
    const orphanBytes = Math.max(view.usedBytes(name), view.quotaBytesUsed(name)) - usedBytes;
    return [{ name, usedBytes, orphanBytes, limitBytes, draining: !isCounted, reachable: isReachable }];
  });
}

/** Whether the strategy would move anything from one backend to another, as they stand. */
function directionOf(
  tick: PlanRebalancingTick,
  uses: readonly PlanBackend[],
): (from: PlanBackend, to: PlanBackend) => boolean {
  const ratio = ({ usedBytes, limitBytes }: PlanBackend) => usedBytes / limitBytes;
  const isPacking = tick.params.rebalancerStrategy === 'pack';
  const target = targetOf(uses);
  return (from, to) => {
    if (!from.reachable || !to.reachable || to.draining) return false;
    if (to.limitBytes - to.usedBytes - to.orphanBytes <= 0) return false;
    return isPacking ? ratio(from) < ratio(to) : ratio(from) > target && ratio(to) < target;
  };
}

function targetOf(uses: readonly PlanBackend[]): number {
  const sum = (of: (use: PlanBackend) => number) => uses.reduce((total, use) => total + of(use), 0);
  return sum(({ usedBytes }) => usedBytes) / sum(({ limitBytes }) => limitBytes);
}

/** As many copies as asked for, all counted, where they should be: nothing for the cleaner or the replicator to do. */
function isSettled(tick: PlanRebalancingTick, rule: PlacementRule, copies: readonly PlacedCopy[]): boolean {
  const counts = ({ backend }: PlacedCopy) => rule.allows(backend) && tick.standing(backend).isCounted;
  return copies.length === rule.factor && copies.every(counts);
}

function isMovable(tick: PlanRebalancingTick, object: ObjectRecord): boolean {
  const { name } = policyOf(tick.config, object.key);
  const copies = Object.entries(object.copies).map(([backend, id]) => ({ backend, isPlain: id === '' }));
  return (
    object.policy === name && object.condition === 'sound' && isSettled(tick, placementRule(tick.config, name), copies)
  );
}

/** Whether an object has a copy on a backend that is ours to move, and may be read now. */
function mayLeave(tick: PlanRebalancingTick, object: ObjectRecord, name: string): boolean {
  if (!Object.hasOwn(object.copies, name) || object.copies[name] === '') return false;
  return !isWaiting(object, name, 'source', retryViewOf(tick));
}

/**
 * A backend that is too small for an object, has refused it lately, or where it would stand worse than it does, is no more a
 * place for it than one that has it.
 */
function planObject(tick: PlanRebalancingTick, object: ObjectRecord, from: string): PlanObject {
  const { key, sizeBytes, copies } = object;
  const rule = placementRule(tick.config, object.policy);
  const holders = Object.keys(copies);
  const retryView = retryViewOf(tick);
  const unfit = tick.config.backends.filter(
    ({ name, maxObjectBytes }) =>
      !mayMove(rule, holders, from, name) ||
      (maxObjectBytes > 0 && maxObjectBytes < sizeBytes) ||
      isWaiting(object, name, 'target', retryView),
  );
  return { key, sizeBytes, backends: [...Object.keys(copies), ...unfit.map(({ name }) => name)] };
}

/** What one of n parallel parts may plan with: a share of the distance to the target, and of the free room. */
function shareOf(all: readonly PlanBackend[], backend: PlanBackend, n: number, isPacking: boolean): PlanBackend {
  if (n === 1) return backend;
  const { usedBytes, orphanBytes, limitBytes } = backend;
  const aimBytes = isPacking ? usedBytes : targetOf(all) * limitBytes;
  const shownBytes = aimBytes + (usedBytes - aimBytes) / n;
  const freeBytes = (limitBytes - usedBytes - orphanBytes) / n;
  return { ...backend, usedBytes: shownBytes, orphanBytes: Math.max(0, limitBytes - shownBytes - freeBytes) };
}
