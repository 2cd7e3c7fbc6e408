import type { Clock } from '../base/clock.ts';
import type { LogFields } from '../base/log.ts';
import { type Backend, BackendError } from '../fleet/backend.ts';
import type { Ownership } from '../fleet/owner.ts';
import type { Outcome } from '../store/commit.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { CounterAdd } from '../store/port.ts';
import type { Swap } from '../store/swap.ts';
import { type CopyReading, readCopy } from './read-copy.ts';

/** What `quarantine` needs. */
export interface QuarantineDeps {
  readonly clock: Clock;
  /** Backends to look for another good copy on, best first. */
  readonly sources: (object: ObjectRecord) => readonly string[];
  backend(name: string): Promise<Backend>;
  ownership(name: string): Promise<Ownership>;
  commit(swaps: readonly Swap[]): Promise<Outcome[]>;
  /** Whether one more removal on evidence is allowed on this backend today. */
  isWithinRemovalLimit(backend: string): Promise<boolean>;
  /** The counter of such removals, for the same transaction. */
  removalCount(backend: string, sizeBytes: number): CounterAdd;
  audit(sentence: string, fields: LogFields): void;
}

/**
 * `quarantined` the copy left the record · `damaged` no other copy verifies: kept and marked · `good` it verified after all ·
 * `unreadable` nothing can be concluded · `removal-limit` too many removals today · `lost` the record changed meanwhile.
 */
export type QuarantineOutcome = 'quarantined' | 'damaged' | 'good' | 'unreadable' | 'removal-limit' | 'lost';

const dayMs = 24 * 3_600_000;
/** Quarantined bytes wait this long before they are deleted: they may be found good after all. */
export const quarantineMs = 7 * dayMs;

/**
 * The only way a copy is removed because it seems missing or wrong.
 *
 * The evidence is taken here and now: NoSuchKey from a backend whose owner object answers, or two full reads in a row that
 * differ from the record. Then another copy must be read in full and verify; else the object becomes `damaged` and keeps
 * what it has. Anything unreadable is never evidence. A plain copy is never quarantined for other bytes: its owner may have
 * written them.
 */
export async function quarantine(
  deps: QuarantineDeps,
  object: ObjectRecord,
  name: string,
  signal?: AbortSignal,
): Promise<QuarantineOutcome> {
  const suspect = await deps.backend(name);
  const evidence = await takeEvidence(deps, suspect, object, signal);
  if (evidence !== 'missing' && evidence !== 'wrong') return evidence;
  const proof = await findGoodCopy(deps, object, name, signal);
  if (proof === 'unreadable') return 'unreadable';
  if (proof === 'none') return markDamaged(deps, object, name, evidence);
  if (!(await deps.isWithinRemovalLimit(name))) {
    deps.audit('Quarantine held back by the removal limit', { key: object.key, backend: name, reason: evidence });
    return 'removal-limit';
  }
  const { [name]: copyId, ...copies } = object.copies;
  const now = deps.clock.now();
  const [outcome] = await deps.commit([
    {
      key: object.key,
      change: { before: object, after: { ...object, copies } },
      orphans: { cause: 'quarantined', reason: `quarantined: ${evidence}`, dueAt: now + quarantineMs, createdAt: now },
      counters: [deps.removalCount(name, object.sizeBytes)],
    },
  ]);
  if (outcome?.outcome !== 'committed') return outcome?.outcome === 'lost' ? 'lost' : 'unreadable';
  deps.audit('Copy quarantined', { key: object.key, backend: name, copyId, reason: evidence });
  return 'quarantined';
}

async function takeEvidence(
  deps: QuarantineDeps,
  suspect: Backend,
  object: ObjectRecord,
  signal?: AbortSignal,
): Promise<'missing' | 'wrong' | 'good' | 'unreadable'> {
  for (let read = 0; read < 2; read += 1) {
    const reading = await readCopy(suspect, object, signal);
    if (reading.outcome === 'good') return 'good';
    if (reading.outcome === 'missing') return (await ownsItself(deps, suspect.name)) ? 'missing' : 'unreadable';
    if (reading.outcome !== 'wrong' || object.copies[suspect.name] === '') return 'unreadable';
  }
  return (await ownsItself(deps, suspect.name)) ? 'wrong' : 'unreadable';
}

async function ownsItself(deps: QuarantineDeps, name: string): Promise<boolean> {
  try {
    return (await deps.ownership(name)).outcome === 'ours';
  } catch (error) {
    if (error instanceof BackendError) return false;
    throw error;
  }
}

async function findGoodCopy(
  deps: QuarantineDeps,
  object: ObjectRecord,
  suspect: string,
  signal?: AbortSignal,
): Promise<'found' | 'none' | 'unreadable'> {
  const others = Object.keys(object.copies).filter((name) => name !== suspect);
  if (others.length === 0) return 'none';
  // Without a recorded hash nothing can be verified, so nothing may be removed.
  if (object.sha256 === undefined) return 'unreadable';
  const readings: CopyReading['outcome'][] = [];
  for (const name of deps.sources(object)) {
    if (name === suspect) continue;
    const reading = await readCopy(await deps.backend(name), object, signal);
    if (reading.outcome === 'good') return 'found';
    readings.push(reading.outcome);
  }
  const isKnownBad = readings.length === others.length && readings.every((r) => r === 'missing' || r === 'wrong');
  return isKnownBad ? 'none' : 'unreadable';
}

async function markDamaged(
  deps: QuarantineDeps,
  object: ObjectRecord,
  name: string,
  reason: string,
): Promise<QuarantineOutcome> {
  if (object.condition === 'damaged') return 'damaged';
  const [outcome] = await deps.commit([
    { key: object.key, change: { before: object, after: { ...object, condition: 'damaged' } } },
  ]);
  if (outcome?.outcome !== 'committed') return outcome?.outcome === 'lost' ? 'lost' : 'unreadable';
  deps.audit('Object is damaged: no copy verifies', { key: object.key, backend: name, reason });
  return 'damaged';
}
