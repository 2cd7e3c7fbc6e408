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
  const policies = view.config.file.policies;
  const factorOf = ({ policy }: PlacementTotal) => (policies[policy] ?? policies.default!).factor;
  const counted = ({ copies }: PlacementTotal) => copies.filter(({ backend }) => standing(backend).isCounted).length;
  const objectsOf = (which: (placement: PlacementTotal) => boolean) =>
    view.placements.filter(which).reduce((sum, { count }) => sum + count.objects, 0);
  const isShort = (p: PlacementTotal) => p.condition !== 'damaged' && counted(p) < factorOf(p);
  const backends = new Set([...view.namedBackends(), ...view.config.file.backends.map(({ name }) => name)]);
  return {
    objects: objectsOf(() => true),
    bytes: view.placements.reduce((sum, { count }) => sum + count.bytes, 0),
    underReplicated: objectsOf(isShort),
    atRisk: objectsOf((p) => isShort(p) && counted(p) <= 1 && factorOf(p) > 1),
    overReplicated: objectsOf((p) => p.condition !== 'damaged' && hasSurplus(p, factorOf(p), standing)),
    damaged: objectsOf(({ condition }) => condition === 'damaged'),
    stuck: objectsOf(({ condition }) => condition === 'stuck'),
    queue: Object.fromEntries(
      queueStates.map((state) => [state, addUp([...backends].map((name) => view.queue(state, name)))]),
    ) as Record<QueueState, Count>,
  };
}

/** A plain copy is surplus only on a draining backend. */
function hasSurplus(
  { copies }: PlacementTotal,
  factor: number,
  standing: (backend: string) => BackendStanding,
): boolean {
  if (copies.length <= factor) return false;
  const removable = copies.filter(({ backend, isPlain }) => !isPlain || standing(backend).isDraining);
  return removable.length > 0;
}

function addUp(counts: readonly Count[]): Count {
  return counts.reduce((a, b) => ({ objects: a.objects + b.objects, bytes: a.bytes + b.bytes }), {
    objects: 0,
    bytes: 0,
  });
}
