import { plural } from '../base/amounts.ts';
import { placementRule } from '../config/placement-rule.ts';
import type { BackendStanding, PlacementTotal } from '../store/fleet-view.ts';
import { type FleetSummary, shortPlacements, summarize } from '../tick/fleet-summary.ts';
import type { AttentionFigures, AttentionName } from './protocol.ts';
import type { Fleet } from './readings.ts';

/** What needs a look, and why, as far as the ledger tells. */
export function attentionOf(
  fleet: Fleet,
  standing: (name: string) => BackendStanding,
  summary: FleetSummary,
): AttentionFigures[] {
  const short = shortPlacements(fleet, standing);
  const reasons: Readonly<Record<AttentionName, readonly string[]>> = {
    'under-replicated': whyShort(fleet, standing, short),
    'at-risk': ['They have one counted copy, or none: if that one is lost, the object is.'],
    damaged: [
      'No copy verified when it was read last. All copies are kept. “Verify now” reads an object’s copies again.',
    ],
    stuck: ['Every backend that they could go to, or come from, refuses them: the list says why.'],
    misplaced: ['They have enough copies, in fewer places than their policy spreads them over.'],
    'over-replicated': [
      'They have more copies than their policy asks for. The over-replication-cleaner removes what is too many, once the others count.',
    ],
  };
  const counts: Readonly<Record<AttentionName, number>> = {
    'under-replicated': summary.underReplicated,
    'at-risk': summary.atRisk,
    damaged: summary.damaged,
    stuck: summary.stuck,
    misplaced: summary.misplaced,
    'over-replicated': summary.overReplicated,
  };
  return (Object.keys(counts) as AttentionName[]).map((name) => ({
    name,
    objects: counts[name],
    reasons: counts[name] === 0 ? [] : reasons[name],
  }));
}

/** The placements whose objects a list of this name holds. */
export function placementsOf(
  fleet: Fleet,
  standing: (name: string) => BackendStanding,
  name: AttentionName,
): PlacementTotal[] {
  const isCounted = ({ backend }: PlacementTotal['copies'][number]) => standing(backend).isCounted;
  const factorOf = ({ policy }: PlacementTotal) => placementRule(fleet.config.file, policy).factor;
  switch (name) {
    case 'under-replicated':
      return shortPlacements(fleet, standing);
    case 'at-risk':
      return shortPlacements(fleet, standing).filter(
        (one) => factorOf(one) > 1 && one.copies.filter(isCounted).length <= 1,
      );
    case 'damaged':
    case 'stuck':
      return fleet.placements.filter(({ condition }) => condition === name);
    case 'over-replicated':
      return alone(fleet, standing, ({ overReplicated }) => overReplicated);
    case 'misplaced':
      return alone(fleet, standing, ({ misplaced }) => misplaced);
  }
}

/** Those that the summary counts when it is shown each of them alone: what is so of a placement is said in one place. */
function alone(
  fleet: Fleet,
  standing: (name: string) => BackendStanding,
  countOf: (summary: FleetSummary) => number,
): PlacementTotal[] {
  return fleet.placements.filter((one) => countOf(summarize({ ...fleet, placements: [one] }, standing)) > 0);
}

function whyShort(
  fleet: Fleet,
  standing: (name: string) => BackendStanding,
  short: readonly PlacementTotal[],
): string[] {
  const counts = new Map<string, number>();
  const note = (why: string, objects: number) => counts.set(why, (counts.get(why) ?? 0) + objects);
  for (const placement of short) {
    const uncounted = placement.copies.map(({ backend }) => standing(backend)).filter(({ isCounted }) => !isCounted);
    for (const one of uncounted) note(whyUncounted(one), placement.count.objects);
    if (uncounted.length === 0) note(whyMissing(fleet, standing, placement), placement.count.objects);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([why, objects]) => `${plural(objects, 'object')}: ${why}`);
}

function whyUncounted({ name, config, isDraining, isLeaving }: BackendStanding): string {
  if (config === undefined) return `the copy on ${name} does not count: it has left the fleet file`;
  if (isDraining) return `the copy on ${name} does not count: it drains`;
  if (isLeaving) return `the copy on ${name} does not count: it is about to leave the fleet file`;
  return `the copy on ${name} does not count: it has not answered for too long`;
}

function whyMissing(fleet: Fleet, standing: (name: string) => BackendStanding, { policy, copies }: PlacementTotal) {
  const { allows } = placementRule(fleet.config.file, policy);
  const holders = copies.map(({ backend }) => backend);
  const takers = fleet.config.file.backends
    .map(({ name }) => standing(name))
    .filter(({ name, isCounted, isReachable }) => isCounted && isReachable && allows(name) && !holders.includes(name));
  if (takers.length === 0) return `no backend of policy "${policy}" is left that answers and does not have it`;
  return 'the replicator has not copied them yet';
}
