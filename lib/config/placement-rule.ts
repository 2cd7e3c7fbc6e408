import type { FleetFile } from './fleet-file.ts';

/** Where the copies of an object may be by its policy, and how they are to be spread. */
export interface PlacementRule {
  /** Copies that an object needs. */
  readonly factor: number;
  /** Whether a copy on this backend counts for the policy. */
  allows(backend: string): boolean;
  /** Backends of one group fail together: those with the same value of the policy's label; each by itself, where it names none. */
  groupOf(backend: string): string;
}

/** By file and policy: a rule is asked for with every object. */
const rules = new WeakMap<FleetFile, Map<string, PlacementRule>>();

/** The rule of a policy. A name that the file does not know has that of the default policy. */
export function placementRule(file: FleetFile, policyName: string): PlacementRule {
  const ofFile = rules.get(file) ?? new Map<string, PlacementRule>();
  rules.set(file, ofFile);
  const rule = ofFile.get(policyName) ?? newRule(file, policyName);
  ofFile.set(policyName, rule);
  return rule;
}

function newRule({ backends, policies }: FleetFile, policyName: string): PlacementRule {
  const policy = Object.hasOwn(policies, policyName) ? policies[policyName]! : policies.default!;
  const { factor, backends: only, excludeBackends = [], spreadOver } = policy;
  const groups = new Map(
    spreadOver === undefined ? [] : backends.map(({ name, labels }) => [name, labels?.[spreadOver] ?? name]),
  );
  return {
    factor,
    allows: (backend) => (only?.includes(backend) ?? true) && !excludeBackends.includes(backend),
    groupOf: (backend) => groups.get(backend) ?? backend,
  };
}

/** In how many groups an object has copies that count, at most as many as it needs copies. */
export function groupsHeld(rule: PlacementRule, holders: readonly string[]): number {
  const groups = new Set<string>();
  for (const name of holders) if (rule.allows(name)) groups.add(rule.groupOf(name));
  return Math.min(rule.factor, groups.size);
}

/** What an object lacks. Negative `copies`: it has more than it needs. */
export interface Lacking {
  readonly copies: number;
  /** Copies in groups that hold none, of those that could: the others stand where one failure takes several. */
  readonly groups: number;
}

/**
 * What an object lacks by its rule. Pure.
 *
 * @param holders backends whose copies count
 * @param takers backends whose copies would count
 */
export function lacking(rule: PlacementRule, holders: readonly string[], takers: readonly string[]): Lacking {
  const reachable = groupsHeld(rule, [...holders, ...takers]);
  return {
    copies: rule.factor - holders.filter(rule.allows).length,
    groups: reachable - groupsHeld(rule, holders),
  };
}

/** How many copies an object lacks: what stands together needs one elsewhere. 0 or less: it has enough. */
export function missingOf({ copies, groups }: Lacking): number {
  return Math.max(copies, groups);
}

/** Whether a copy there would give an object one of the copies that it lacks. */
export function isOfUse(rule: PlacementRule, holders: readonly string[], backend: string): boolean {
  if (!rule.allows(backend)) return false;
  const copies = rule.factor - holders.filter(rule.allows).length;
  return copies > 0 || groupsHeld(rule, [...holders, backend]) > groupsHeld(rule, holders);
}

/** Whether a copy may go from one backend to another: where the policy allows it, and the copies stand in as many groups then. */
export function mayMove(rule: PlacementRule, holders: readonly string[], from: string, to: string): boolean {
  const after = [...holders.filter((name) => name !== from), to];
  return rule.allows(to) && groupsHeld(rule, after) >= groupsHeld(rule, holders);
}

/**
 * Backends in the order in which they are to be given copies, one after the other: each time the first one whose group holds
 * none yet; when there is none, the first. Pure; keeps the given order otherwise.
 */
export function spreadOrder<T extends { readonly name: string }>(
  rule: PlacementRule,
  holders: readonly string[],
  targets: readonly T[],
): T[] {
  const held = new Set(holders.filter(rule.allows).map(rule.groupOf));
  const left = [...targets];
  const order: T[] = [];
  while (left.length > 0) {
    const at = Math.max(
      0,
      left.findIndex(({ name }) => !held.has(rule.groupOf(name))),
    );
    const [next] = left.splice(at, 1);
    held.add(rule.groupOf(next!.name));
    order.push(next!);
  }
  return order;
}
