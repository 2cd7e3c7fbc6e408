import { sourceOrder } from '../fleet/routing.ts';
import type { ObjectRecord } from '../store/model.ts';
import { isWithinRemovalLimit, removalCount } from '../tick/removal-limit.ts';
import type { Tick } from '../tick/tick.ts';
import type { QuarantineOutcome } from '../transfer/quarantine.ts';

/** The copies of an object that may be read now, in the order in which they are tried (R3). */
export function readableCopies(tick: Tick, object: ObjectRecord): string[] {
  const sources = Object.keys(object.copies)
    .map((name) => tick.standing(name))
    .filter((standing) => standing.config !== undefined && standing.isReachable)
    .map(({ name, isReachable, config }) => ({ name, isReachable, egressUsdPerGb: config!.egressUsdPerGb }));
  return sourceOrder(sources).map(({ name }) => name);
}

/** Checks again a copy that seemed missing or wrong, by the record as it is now, and quarantines it on evidence. */
export async function examine(tick: Tick, key: string, backend: string): Promise<QuarantineOutcome> {
  const entry = (await tick.deps.store.objects([key])).get(key);
  if (entry?.kind !== 'object' || entry.copies[backend] === undefined) return 'lost';
  const budget = await tick.budget();
  // Read twice where it speaks against the copy.
  const suspicion = { requests: 2, egressBytes: 2 * entry.sizeBytes };
  const proof = { requests: 1, egressBytes: entry.sizeBytes };
  if (budget.refuses(backend, suspicion) !== null) return 'unreadable';
  const others = readableCopies(tick, entry).filter((name) => name !== backend && budget.refuses(name, proof) === null);
  const giveBack = [budget.reserve(backend, suspicion), ...others.map((name) => budget.reserve(name, proof))];
  const deps = {
    clock: tick.deps.clock,
    sources: () => others,
    backend: (name: string) => tick.backend(name),
    ownership: (name: string) => tick.ownership(name),
    commit: tick.commit,
    isWithinRemovalLimit: (name: string) => isWithinRemovalLimit(tick, name),
    removalCount: (name: string, sizeBytes: number) => removalCount(tick, name, sizeBytes),
    audit: tick.audit,
  };
  // Rarely needed: a cold start does not load it.
  const { quarantine } = await import('../transfer/quarantine.ts');
  const verdict = await quarantine(deps, entry, backend, tick.signal).finally(() => {
    for (const back of giveBack) back();
  });
  if (verdict === 'quarantined') tick.figures.quarantined = (tick.figures.quarantined ?? 0) + 1;
  return verdict;
}
