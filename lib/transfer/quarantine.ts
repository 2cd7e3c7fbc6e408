import type { Clock } from '../base/clock.ts';
import type { Sentence } from '../base/events.ts';
import type { LogFields } from '../base/log.ts';
import { BackendError } from '../fleet/backend.ts';
import type { Ownership } from '../fleet/owner.ts';
import type { Outcome } from '../store/commit.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { CounterAdd } from '../store/port.ts';
import { quarantineMs } from '../store/queue-items.ts';
import type { Swap } from '../store/swap.ts';
import type { CopyReader, PutOffReason } from './reading/reading.ts';
import { bytesOfCopy, type StoredBytes } from './reading/stored-bytes.ts';
import { findVerifiedCopy, type VerifiedCopyDeps } from './verified-copy.ts';

/** What taking a copy out of its record on evidence needs. */
export interface QuarantineDeps extends VerifiedCopyDeps {
  readonly clock: Pick<Clock, 'now'>;
  readonly reader: CopyReader;
  ownership(name: string): Promise<Ownership>;
  commit(swaps: readonly Swap[]): Promise<Outcome[]>;
  /** Whether one more removal on evidence is allowed on this backend today. */
  isWithinRemovalLimit(backend: string): Promise<boolean>;
  /** Runs one removal from this backend at a time, with the last question whether it is allowed. */
  inRemovalTurn<T>(backend: string, remove: () => Promise<T>): Promise<T>;
  /** The counter of such removals, for the same transaction: it is refused beyond the limit. */
  removalCount(backend: string, sizeBytes: number): CounterAdd;
  audit(sentence: Sentence, fields: LogFields): void;
}

/**
 * `quarantined` the copy left the record · `damaged` no other copy verifies: kept and marked · `good` it verified after all ·
 * `unreadable` nothing can be concluded · `removal-limit` too many removals today: nothing was read · `lost` the record changed
 * meanwhile · `reading` a copy is being read over several turns: come back · `put-off` nothing was read now.
 */
export type Quarantine =
  | { readonly outcome: 'quarantined' | 'damaged' | 'good' | 'unreadable' | 'removal-limit' | 'lost' | 'reading' }
  | { readonly outcome: 'put-off'; readonly reason: PutOffReason };

/** What speaks against a copy. */
type Evidence = { readonly outcome: 'missing' | 'wrong' };

/**
 * The only way a copy is removed because it seems missing or wrong. It is entered again in every turn until it ends.
 *
 * Another copy must be read in full and verify; else the object becomes `damaged` and keeps what it has. That proof may age
 * while the rest takes its time. The evidence is found last, and anew: NoSuchKey from a backend whose owner object answers, or
 * a second whole read that differs from the record. Anything unreadable is never evidence. A plain copy is never quarantined
 * for other bytes: its owner may have written them.
 */
export async function quarantine(deps: QuarantineDeps, object: ObjectRecord, name: string): Promise<Quarantine> {
  // Asked before anything is read: what cannot lead to a removal today would be read again in every turn.
  if (!(await isAllowed(deps, object, name))) return { outcome: 'removal-limit' };
  const suspect = bytesOfCopy(object, name);
  const standing = await deps.reader.standing(suspect);
  const doubt: Evidence | Quarantine = standing.isSuspect ? { outcome: 'wrong' } : await doubtOf(deps, object, suspect);
  if (!isEvidence(doubt)) return doubt;
  const proof = await findVerifiedCopy(deps, object, { except: [name], mayTakeMs: standing.readingMs });
  if (proof.outcome === 'none') return markDamaged(deps, object, name, doubt);
  if (proof.outcome !== 'good') return proof;
  const evidence = await doubtOf(deps, object, suspect);
  if (!isEvidence(evidence)) return evidence;
  if (!(await ownsItself(deps, name))) return { outcome: 'unreadable' };
  return deps.inRemovalTurn(name, async () =>
    (await isAllowed(deps, object, name)) ? remove(deps, object, name, evidence) : { outcome: 'removal-limit' },
  );
}

function isEvidence(found: Evidence | Quarantine): found is Evidence {
  return found.outcome === 'missing' || found.outcome === 'wrong';
}

async function isAllowed(deps: QuarantineDeps, { key }: ObjectRecord, name: string): Promise<boolean> {
  if (await deps.isWithinRemovalLimit(name)) return true;
  deps.audit('Quarantine held back by the removal limit', { key, backend: name });
  return false;
}

/** What one whole read of a copy says against it now. */
async function doubtOf(
  deps: QuarantineDeps,
  object: ObjectRecord,
  suspect: StoredBytes,
): Promise<Evidence | Quarantine> {
  const reading = await deps.reader.read(suspect, { remembers: true, agesUpToMs: 0 });
  switch (reading.outcome) {
    case 'wrong':
      return object.copies[suspect.backend] === '' ? { outcome: 'unreadable' } : { outcome: 'wrong' };
    case 'changed':
    case 'unreadable':
      return { outcome: 'unreadable' };
    case 'put-off':
      return { outcome: 'put-off', reason: reading.reason };
    default:
      return { outcome: reading.outcome };
  }
}

async function ownsItself(deps: QuarantineDeps, name: string): Promise<boolean> {
  try {
    return (await deps.ownership(name)).outcome === 'ours';
  } catch (error) {
    if (error instanceof BackendError) return false;
    throw error;
  }
}

async function remove(
  deps: QuarantineDeps,
  object: ObjectRecord,
  name: string,
  { outcome: evidence }: Evidence,
): Promise<Quarantine> {
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
  // Others have used it up since it was asked for.
  if (outcome?.outcome === 'limited') {
    await isAllowed(deps, object, name); // says so
    return { outcome: 'removal-limit' };
  }
  if (outcome?.outcome !== 'committed') return { outcome: outcome?.outcome === 'lost' ? 'lost' : 'unreadable' };
  deps.audit('Copy quarantined', { key: object.key, backend: name, copyId, reason: evidence });
  return { outcome: 'quarantined' };
}

async function markDamaged(
  deps: QuarantineDeps,
  object: ObjectRecord,
  name: string,
  { outcome: reason }: Evidence,
): Promise<Quarantine> {
  if (object.condition === 'damaged') return { outcome: 'damaged' };
  const [outcome] = await deps.commit([
    { key: object.key, change: { before: object, after: { ...object, condition: 'damaged' } } },
  ]);
  if (outcome?.outcome !== 'committed') return { outcome: outcome?.outcome === 'lost' ? 'lost' : 'unreadable' };
  deps.audit('Object is damaged: no copy verifies', { key: object.key, backend: name, reason });
  return { outcome: 'damaged' };
}
