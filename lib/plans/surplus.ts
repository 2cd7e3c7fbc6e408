import { groupsHeld, type PlacementRule } from '../config/placement-rule.ts';

/** One copy of an object, as its removal is weighed. */
export interface WeighedCopy {
  readonly backend: string;
  /** Worth keeping: the lowest goes first. */
  readonly score: number;
  /** False for a plain copy, except on a draining backend. */
  readonly mayGo: boolean;
  /** Where the policy allows it, on a backend that stays in the fleet, in whatever health. */
  readonly isPlaced: boolean;
  /** Placed, counted and reachable. */
  readonly isSafe: boolean;
}

/**
 * The backends whose copies an object can spare, in the order in which they go: the lowest score first, of equals the later
 * name. Each only while there are more copies than the factor, at least that many safe ones would remain, and these would
 * stand in as many groups as those that are placed do now: a provider that is down is no reason to give up its copy. Pure.
 */
export function surplusOf(copies: readonly WeighedCopy[], rule: PlacementRule): string[] {
  const laterFirst = (a: string, b: string) => (a < b ? 1 : a > b ? -1 : 0);
  const order = copies
    .filter(({ mayGo }) => mayGo)
    .sort((a, b) => a.score - b.score || laterFirst(a.backend, b.backend));
  const groups = groupsHeld(rule, namesOf(copies.filter(({ isPlaced }) => isPlaced)));
  let left = copies;
  const leaving: string[] = [];
  for (const next of order) {
    const rest = left.filter((copy) => copy !== next);
    const safe = namesOf(rest.filter(({ isSafe }) => isSafe));
    if (left.length <= rule.factor || safe.length < rule.factor || groupsHeld(rule, safe) < groups) continue;
    left = rest;
    leaving.push(next.backend);
  }
  return leaving;
}

function namesOf(copies: readonly WeighedCopy[]): string[] {
  return copies.map(({ backend }) => backend);
}
