import { groupsHeld, type PlacementRule, placementRule } from '../config/placement-rule.ts';
import { type FleetView, type PlacementTotal, standingOf } from '../store/fleet-view.ts';
import type { Count } from '../store/model.ts';
import { addUp } from './naming.ts';

/**
 * What a person should know before a drain, by the ledger. `no-target` objects of a policy have no backend left that may take
 * what they lack · `together` the backends that remain keep copies less far apart than the policy asks · `no-room` what must go
 * to these backends, and to no others, is more than they have room for · `unreachable` of the backends that remain for a policy
 * too few answer now.
 */
export type DrainWarning =
  | { readonly warning: 'no-target'; readonly policy: string; readonly copies: Count }
  | { readonly warning: 'together'; readonly policy: string; readonly label: string; readonly objects: number }
  | {
      readonly warning: 'no-room';
      readonly backends: readonly string[];
      readonly copies: Count;
      readonly freeBytes: number;
    }
  | {
      readonly warning: 'unreachable';
      readonly policy: string;
      readonly factor: number;
      readonly answering: readonly string[];
    };

/** What must be copied elsewhere of one placement, and where it may go. */
interface Demand {
  readonly policy: string;
  readonly copies: Count;
  readonly targets: readonly string[];
}

/** Sets of backends are looked at one by one: of more than these only all together. */
const mostBackends = 12;

/** What a person should know of a drain before it stops half-way. Pure; says nothing of objects that nobody can copy anyway. */
export function warningsOfDrain(
  view: FleetView,
  name: string,
  now: number,
  unhealthyAfterMs: number,
): readonly DrainWarning[] {
  const { file } = view.config!;
  const standings = file.backends
    .filter((backend) => backend.name !== name)
    .map((backend) => standingOf(view, backend.name, now, unhealthyAfterMs));
  const remaining = standings.filter(({ isDraining, isLeaving }) => !isDraining && !isLeaving);
  const names = remaining.map((standing) => standing.name);
  const answering = remaining.filter(({ isReachable }) => isReachable).map((standing) => standing.name);
  const held = view.placements.filter(
    ({ copies, condition }) => condition !== 'damaged' && copies.some(({ backend }) => backend === name),
  );
  const demands = held.flatMap((placement) => demandOf(placement, placementRule(file, placement.policy), names));
  const policies = [...new Set(held.map(({ policy }) => policy))].sort();
  return [
    ...withoutTarget(demands),
    ...policies.flatMap((policy) => together(view, policy, { name, remaining: names })),
    ...withoutRoom(view, demands, names),
    ...policies.flatMap((policy): DrainWarning[] => {
      const { factor, allows } = placementRule(file, policy);
      const able = answering.filter(allows);
      return able.length < factor ? [{ warning: 'unreachable', policy, factor, answering: able }] : [];
    }),
  ];
}

/** Where a policy spreads copies over a label, and no backend that remains has the value that leaves. */
function together(
  { config, placements }: FleetView,
  policy: string,
  { name, remaining }: { readonly name: string; readonly remaining: readonly string[] },
): DrainWarning[] {
  const { file } = config!;
  const { spreadOver } = file.policies[policy] ?? file.policies.default!;
  const rule = placementRule(file, policy);
  if (spreadOver === undefined || groupsHeld(rule, remaining) >= groupsHeld(rule, [...remaining, name])) return [];
  const theirs = placements.filter(
    (one) => one.policy === policy && one.copies.some(({ backend }) => backend === name),
  );
  return [{ warning: 'together', policy, label: spreadOver, objects: addUp(theirs.map(({ count }) => count)).objects }];
}

/** Copies that its objects lack once this backend counts no more. */
function demandOf(
  { policy, copies, count }: PlacementTotal,
  { factor, allows }: PlacementRule,
  remaining: readonly string[],
): Demand[] {
  const holders = copies.map(({ backend }) => backend);
  const counted = remaining.filter((backend) => holders.includes(backend) && allows(backend));
  const lacking = factor - counted.length;
  if (lacking <= 0) return [];
  const targets = remaining.filter((backend) => !holders.includes(backend) && allows(backend));
  const demand = (times: number, where: readonly string[]): Demand => ({
    policy,
    copies: { objects: count.objects * times, bytes: count.bytes * times },
    targets: where,
  });
  const found = Math.min(lacking, targets.length);
  return [...(found > 0 ? [demand(found, targets)] : []), ...(found < lacking ? [demand(lacking - found, [])] : [])];
}

function withoutTarget(demands: readonly Demand[]): DrainWarning[] {
  const none = demands.filter(({ targets }) => targets.length === 0);
  return [...Map.groupBy(none, ({ policy }) => policy)].map(([policy, all]) => ({
    warning: 'no-target',
    policy,
    copies: addUp(all.map(({ copies }) => copies)),
  }));
}

/**
 * Of all sets of backends the one with the least room for what can go nowhere else (Hall's theorem: where no set lacks room,
 * everything finds some).
 */
function withoutRoom(view: FleetView, demands: readonly Demand[], names: readonly string[]): DrainWarning[] {
  let worst: Extract<DrainWarning, { warning: 'no-room' }> | undefined;
  let mostLacking = 0;
  for (const backends of setsOf(names)) {
    const within = demands.filter(
      ({ targets }) => targets.length > 0 && targets.every((target) => backends.includes(target)),
    );
    const copies = addUp(within.map((demand) => demand.copies));
    const freeBytes = backends.reduce((sum, backend) => sum + freeOf(view, backend), 0);
    if (copies.bytes - freeBytes <= mostLacking) continue;
    mostLacking = copies.bytes - freeBytes;
    worst = { warning: 'no-room', backends, copies, freeBytes };
  }
  return worst === undefined ? [] : [worst];
}

function freeOf(view: FleetView, name: string): number {
  const { quotaBytes } = view.config!.file.backends.find((backend) => backend.name === name)!;
  return quotaBytes === 0 ? Number.POSITIVE_INFINITY : Math.max(0, quotaBytes - view.usedBytes(name));
}

/** Every set of names but the empty one; small ones first, so that of equals the smallest is said. */
function setsOf(names: readonly string[]): (readonly string[])[] {
  if (names.length > mostBackends) return [names];
  const sets = Array.from({ length: 2 ** names.length - 1 }, (_, i) =>
    names.filter((_name, at) => ((i + 1) >> at) & 1),
  );
  return sets.sort((a, b) => a.length - b.length);
}
