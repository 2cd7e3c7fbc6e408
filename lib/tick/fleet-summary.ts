import { groupsHeld, lacking, type PlacementRule, placementRule } from '../config/placement-rule.ts';
import type { BackendStanding, FleetConfig, FleetView, PlacementTotal } from '../store/fleet-view.ts';
import { type Count, type QueueState, queueStates } from '../store/model.ts';

/** How a fleet stands, in objects; from the ledger alone. */
export interface FleetSummary {
  readonly objects: number;
  readonly bytes: number;
  /** Fewer counted copies than their policy asks for. */
  readonly underReplicated: number;
  /** Of those, the ones with a single counted copy left, or none. */
  readonly atRisk: number;
  /** Enough copies, and fewer places than the policy's label asks for: one failure takes several of them. */
  readonly misplaced: number;
  /** More copies than their policy asks for, one of which could be removed. */
  readonly overReplicated: number;
  readonly damaged: number;
  /** Refused by every backend that they could go to, or come from. */
  readonly stuck: number;
  readonly queue: Readonly<Record<QueueState, Count>>;
}

/** Sums up a fleet's state as one query showed it. */
export function summarize(
  view: FleetView & { readonly config: FleetConfig },
  standing: (backend: string) => BackendStanding,
): FleetSummary {
  const { file } = view.config;
  const ruleOf = ({ policy }: PlacementTotal) => placementRule(file, policy);
  const isCounted = (name: string) => standing(name).isCounted;
  const takers = file.backends.map(({ name }) => name).filter(isCounted);
  const holders = ({ copies }: PlacementTotal) => copies.map(({ backend }) => backend).filter(isCounted);
  const lack = (p: PlacementTotal) => lacking(ruleOf(p), holders(p), takers);
  const objectsOf = (which: (placement: PlacementTotal) => boolean) =>
    view.placements.filter(which).reduce((sum, { count }) => sum + count.objects, 0);
  const short = new Set(shortPlacements(view, standing));
  const isShort = (p: PlacementTotal) => short.has(p);
  const isMisplaced = (p: PlacementTotal) => p.condition !== 'damaged' && lack(p).copies <= 0 && lack(p).groups > 0;
  const isAtRisk = (p: PlacementTotal) => isShort(p) && holders(p).length <= 1 && ruleOf(p).factor > 1;
  const backends = new Set([...view.namedBackends(), ...view.config.file.backends.map(({ name }) => name)]);
  return {
    objects: objectsOf(() => true),
    bytes: view.placements.reduce((sum, { count }) => sum + count.bytes, 0),
    underReplicated: objectsOf(isShort),
    atRisk: objectsOf(isAtRisk),
    misplaced: objectsOf(isMisplaced),
    overReplicated: objectsOf((p) => p.condition !== 'damaged' && hasSurplus(p, ruleOf(p), standing)),
    damaged: objectsOf(({ condition }) => condition === 'damaged'),
    stuck: objectsOf(({ condition }) => condition === 'stuck'),
    queue: Object.fromEntries(
      queueStates.map((state) => [state, addUp([...backends].map((name) => view.queue(state, name)))]),
    ) as Record<QueueState, Count>,
  };
}

/** The placements whose objects have fewer counted copies than their policy asks for. */
export function shortPlacements(
  view: FleetView & { readonly config: FleetConfig },
  standing: (backend: string) => BackendStanding,
): PlacementTotal[] {
  const { file } = view.config;
  const isCounted = (name: string) => standing(name).isCounted;
  const takers = file.backends.map(({ name }) => name).filter(isCounted);
  return view.placements.filter(({ policy, condition, copies }) => {
    const holders = copies.map(({ backend }) => backend).filter(isCounted);
    return condition !== 'damaged' && lacking(placementRule(file, policy), holders, takers).copies > 0;
  });
}

/** A plain copy is surplus only on a draining backend; one without which the others stand in fewer places is none. */
function hasSurplus(
  { copies }: PlacementTotal,
  rule: PlacementRule,
  standing: (backend: string) => BackendStanding,
): boolean {
  if (copies.length <= rule.factor) return false;
  const stays = ({ config, isDraining, isLeaving }: BackendStanding) =>
    config !== undefined && !isDraining && !isLeaving;
  const placed = copies.map(({ backend }) => backend).filter((name) => stays(standing(name)));
  const groups = groupsHeld(rule, placed);
  return copies.some(({ backend, isPlain }) => {
    const rest = placed.filter((name) => name !== backend);
    return (!isPlain || standing(backend).isDraining) && groupsHeld(rule, rest) >= groups;
  });
}

function addUp(counts: readonly Count[]): Count {
  return counts.reduce((a, b) => ({ objects: a.objects + b.objects, bytes: a.bytes + b.bytes }), {
    objects: 0,
    bytes: 0,
  });
}
