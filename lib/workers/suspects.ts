import { sourceOrder } from '../fleet/routing.ts';
import { readFleet } from '../store/fleet-view.ts';
import type { ObjectRecord } from '../store/model.ts';
import { type Dismissal, dayOf, dismiss } from '../transfer/dismiss.ts';
import type { Tick } from './tick.ts';

/** The copies of an object that may be read now, in the order in which they are tried (R3). */
export function readableCopies(tick: Tick, object: ObjectRecord): string[] {
  const sources = Object.keys(object.copies)
    .map((name) => tick.standing(name))
    .filter((standing) => standing.config !== undefined && standing.isReachable)
    .map(({ name, isReachable, config }) => ({ name, isReachable, egressUsdPerGb: config!.egressUsdPerGb }));
  return sourceOrder(sources).map(({ name }) => name);
}

/** Looks again at a copy that seemed missing or wrong, by the record as it is now, and dismisses it on evidence. */
export async function examine(tick: Tick, key: string, backend: string): Promise<Dismissal> {
  const entry = (await tick.deps.store.objects([key])).get(key);
  if (entry?.kind !== 'object' || entry.copies[backend] === undefined) return 'lost';
  // Removals on evidence are rare: the brake is judged by the state of this moment.
  tick.view = await readFleet(tick.deps.store, tick.now());
  const deps = {
    clock: tick.deps.clock,
    sources: (object: ObjectRecord) => readableCopies(tick, object),
    backend: (name: string) => tick.backend(name),
    ownership: (name: string) => tick.ownership(name),
    commit: tick.commit,
    brakeAllows: (name: string) => brakeAllows(tick, name),
    audit: tick.audit,
  };
  const verdict = await dismiss(deps, entry, backend, tick.signal);
  if (verdict === 'dismissed') tick.figures.dismissals = (tick.figures.dismissals ?? 0) + 1;
  if (verdict === 'braked') tick.figures.braked = (tick.figures.braked ?? 0) + 1;
  return verdict;
}

/** Whether one more removal on evidence is within the day's brake for a backend. */
function brakeAllows(tick: Tick, backend: string): boolean {
  const copies = tick.view.placements
    .filter((p) => p.copies.some((c) => c.backend === backend))
    .reduce((sum, p) => sum + p.count.objects, 0);
  return (
    tick.view.brake(backend, dayOf(tick.now())) <
    Math.max(tick.params.brakeMinCount, Math.floor(copies * tick.params.brakeRatio))
  );
}
