import type { PlacementRule } from '../../config/placement-rule.ts';
import { scoreCopy } from '../../plans/score-copy.ts';
import { surplusOf } from '../../plans/surplus.ts';
import { ruleOf } from '../../steps/missing-copies.ts';
import type { PlacedCopy } from '../../store/keys.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { Tick } from '../../tick/tick.ts';

/** What this file asks of a tick. */
export type SpareTick = Pick<Tick, 'config' | 'view' | 'standing'>;

/** The copies of an object that may go now, by the policy of its key and the fleet as it was read last, and those that must be good then. */
export function spare(
  tick: SpareTick,
  object: ObjectRecord,
): { readonly leaving: readonly string[]; readonly staying: readonly string[] } {
  const rule = ruleOf(tick, object.key);
  const copies = Object.entries(object.copies).map(([backend, id]) => ({ backend, isPlain: id === '' }));
  const leaving = surplus(tick, copies, rule);
  const staying = Object.keys(object.copies).filter((backend) => {
    const { isCounted, isReachable } = tick.standing(backend);
    return !leaving.includes(backend) && isCounted && isReachable && rule.allows(backend);
  });
  return { leaving, staying };
}

/** The backends whose copies may go, of an object or of all under one placement. */
export function surplus(tick: SpareTick, copies: readonly PlacedCopy[], rule: PlacementRule): string[] {
  const placed = copies.map(({ backend, isPlain }) => {
    const { config, breaker, isDraining, isLeaving, isCounted, isReachable } = tick.standing(backend);
    const isPlaced = config !== undefined && !isDraining && !isLeaving && rule.allows(backend);
    const score = scoreCopy({
      configured: config !== undefined && rule.allows(backend),
      draining: isDraining,
      breaker,
      usedBytes: tick.view.usedBytes(backend),
      limitBytes: config?.quotaBytes ?? 0,
    });
    return { backend, score, mayGo: !isPlain || isDraining, isPlaced, isSafe: isPlaced && isCounted && isReachable };
  });
  return surplusOf(placed, rule);
}
