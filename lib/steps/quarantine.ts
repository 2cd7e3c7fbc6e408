import { sourceOrder } from '../fleet/routing.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { RemovalLimitTick } from '../tick/removal-limit.ts';
import { inRemovalTurn, isWithinRemovalLimit, removalCount } from '../tick/removal-limit.ts';
import type { Tick } from '../tick/tick.ts';
import type { Quarantine } from '../transfer/quarantine.ts';
import type { VerifiedCopy, VerifiedCopyOptions } from '../transfer/verified-copy.ts';
import type { CopyReaderTick } from './copy-reader.ts';
import { copyReader } from './copy-reader.ts';

/** What this file asks of a tick. */
export type QuarantineTick = Pick<Tick, 'deps' | 'figures' | 'standing' | 'ownership' | 'commit' | 'audit'> &
  CopyReaderTick &
  RemovalLimitTick;

/** The copies of an object that may be read now, in the order in which they are tried: reachable, then cheapest to read. */
export function readableCopies(tick: QuarantineTick, object: ObjectRecord): string[] {
  const sources = Object.keys(object.copies)
    .map((name) => tick.standing(name))
    .filter((standing) => standing.config !== undefined && standing.isReachable)
    .map(({ name, isReachable, config }) => ({ name, isReachable, egressUsdPerGb: config!.egressUsdPerGb }));
  return sourceOrder(sources).map(({ name }) => name);
}

function verifying(tick: QuarantineTick) {
  return {
    clock: tick.deps.clock,
    reader: copyReader(tick),
    sources: (object: ObjectRecord) => readableCopies(tick, object),
  };
}

/** A copy of an object that is as recorded, read in full over as many ticks as that takes. */
export async function verifiedCopy(
  tick: QuarantineTick,
  object: ObjectRecord,
  options?: VerifiedCopyOptions,
): Promise<VerifiedCopy> {
  const { findVerifiedCopy } = await import('../transfer/verified-copy.ts');
  return findVerifiedCopy(verifying(tick), object, options);
}

/**
 * Looks again at a copy that seemed missing or wrong, by the record as it is now, and quarantines it on evidence. `reading`:
 * it is to be called again in the next tick.
 */
export async function quarantineOnEvidence(tick: QuarantineTick, key: string, backend: string): Promise<Quarantine> {
  const entry = (await tick.deps.store.objects([key])).get(key);
  if (entry?.kind !== 'object' || entry.copies[backend] === undefined) return { outcome: 'lost' };
  // Rarely needed: a cold start does not load it.
  const { quarantine } = await import('../transfer/quarantine.ts');
  const deps = {
    ...verifying(tick),
    ownership: (name: string) => tick.ownership(name),
    commit: tick.commit,
    isWithinRemovalLimit: (name: string) => isWithinRemovalLimit(tick, name),
    inRemovalTurn: <T>(name: string, remove: () => Promise<T>) => inRemovalTurn(tick, name, remove),
    removalCount: (name: string, sizeBytes: number) => removalCount(tick, name, sizeBytes),
    audit: tick.audit,
  };
  const ended = await quarantine(deps, entry, backend);
  if (ended.outcome === 'quarantined') tick.figures.quarantined = (tick.figures.quarantined ?? 0) + 1;
  return ended;
}
