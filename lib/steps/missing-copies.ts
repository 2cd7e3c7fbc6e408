import { policyOf } from '../config/fleet-file.ts';
import {
  isOfUse,
  type Lacking,
  lacking,
  mayMove,
  missingOf,
  type PlacementRule,
  placementRule,
} from '../config/placement-rule.ts';
import type { BackendStanding, PlacementTotal } from '../store/fleet-view.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Tick } from '../tick/tick.ts';

type FleetTick = Pick<Tick, 'config' | 'standing' | 'standings'>;

/** The placement rule of a key, by its policy as it is now. */
export function ruleOf(tick: Pick<Tick, 'config'>, key: string): PlacementRule {
  return placementRule(tick.config, policyOf(tick.config, key).name);
}

/** Backends, of those that hold a copy, whose copies count. */
export function countedOf(tick: Pick<Tick, 'standing'>, holders: readonly string[]): string[] {
  return holders.filter((name) => tick.standing(name).isCounted);
}

/** What an object lacks now, by the policy of its key, besides copies that are coming. */
export function lackOf(
  tick: FleetTick,
  { key, copies }: Pick<ObjectRecord, 'key' | 'copies'>,
  coming: readonly string[] = [],
): Lacking {
  return lackBy(tick, ruleOf(tick, key), [...Object.keys(copies), ...coming]);
}

/** What the objects of a ledger placement lack. */
export function lackOfPlacement(
  tick: FleetTick,
  { policy, copies }: Pick<PlacementTotal, 'policy' | 'copies'>,
): Lacking {
  const holders = copies.map(({ backend }) => backend);
  return lackBy(tick, placementRule(tick.config, policy), holders);
}

function lackBy(tick: FleetTick, rule: PlacementRule, holders: readonly string[]): Lacking {
  return lacking(rule, countedOf(tick, holders), takersOf(tick.standings()));
}

/** By the standings of a moment: they are asked for with every object. */
const takers = new WeakMap<readonly BackendStanding[], readonly string[]>();

function takersOf(standings: readonly BackendStanding[]): readonly string[] {
  const known = takers.get(standings) ?? standings.filter(({ isCounted }) => isCounted).map(({ name }) => name);
  takers.set(standings, known);
  return known;
}

/**
 * How many copies an object lacks now, by the policy of its key. It lacks copies when it has fewer than its factor, or when two
 * that it needs stand where one failure would take both. 0 or less: it has enough.
 */
export function missingCopies(
  tick: FleetTick,
  object: Pick<ObjectRecord, 'key' | 'copies'>,
  coming: readonly string[] = [],
): number {
  return missingOf(lackOf(tick, object, coming));
}

/** Whether a copy may go from one backend to another. */
export function mayMoveTo(
  tick: Pick<Tick, 'config' | 'standing'>,
  { key, copies }: Pick<ObjectRecord, 'key' | 'copies'>,
  from: string,
  to: string,
): boolean {
  return mayMove(ruleOf(tick, key), countedOf(tick, Object.keys(copies)), from, to);
}

/** Whether an object would still lack a copy on this backend once the copies that are coming have arrived. */
export function wantsCopyOn(
  tick: Pick<Tick, 'config' | 'standing'>,
  { key, copies }: Pick<ObjectRecord, 'key' | 'copies'>,
  backend: string,
  coming: readonly string[] = [],
): boolean {
  return isOfUse(ruleOf(tick, key), countedOf(tick, [...Object.keys(copies), ...coming]), backend);
}
