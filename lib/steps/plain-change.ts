import { policyOf } from '../config/fleet-file.ts';
import { BackendError } from '../fleet/backend.ts';
import type { ObjectRecord } from '../store/model.ts';
import { newRecord } from '../store/records.ts';
import { type Budget, readingOf } from '../tick/budget.ts';
import { isWithinRemovalLimit, removalCount } from '../tick/removal-limit.ts';
import type { Tick } from '../tick/tick.ts';
import { learnDigest } from '../transfer/verify.ts';

/** `renewed` same content under another ETag · `overwritten` the owner's new content is the object now · else why not. */
export type PlainChange =
  | 'renewed'
  | 'overwritten'
  | 'unchanged'
  | 'gone'
  | 'unreadable'
  | 'removal-limit'
  | 'lost'
  | NonNullable<ReturnType<Budget['refuses']>>;

/**
 * Settles an imported file whose ETag is another than the one recorded (N6): its owner wrote it again behind our back. The
 * file is read in full: the same hash renews the ETag; other bytes, seen with the same ETag before and after, become a new
 * generation with that copy alone. The old replicas stay readable until the new content is at its factor.
 */
export async function settlePlainChange(tick: Tick, object: ObjectRecord, name: string): Promise<PlainChange> {
  const { key } = object;
  let seen: { etag: string; sizeBytes: number; sha256: string };
  try {
    const backend = await tick.backend(name);
    const before = await backend.head(key, tick.signal);
    if (before === null) return 'gone';
    if (before.etag === object.plainEtags?.[name]) return 'unchanged';
    const budget = await tick.budget();
    const spend = readingOf({ sizeBytes: before.sizeBytes });
    const refusal = budget.refuses(name, spend);
    if (refusal !== null) return refusal;
    const giveBack = budget.reserve(name, spend);
    const open = () => backend.get(key, { ifMatch: before.etag, reusesBuffers: true }, tick.signal);
    const digest = await learnDigest(open).finally(giveBack);
    const after = await backend.head(key, tick.signal);
    if (digest === null || after?.etag !== before.etag) return 'unreadable';
    seen = { etag: before.etag, ...digest };
  } catch (error) {
    if (error instanceof BackendError) return 'unreadable';
    throw error;
  }
  const plainEtags = { ...object.plainEtags, [name]: seen.etag };
  if (object.sha256 === seen.sha256) {
    const [outcome] = await tick.commit([{ key, change: { before: object, after: { ...object, plainEtags } } }]);
    return outcome?.outcome === 'committed' ? 'renewed' : 'lost';
  }
  if (!(await isWithinRemovalLimit(tick, name))) return 'removal-limit';
  const now = tick.now();
  const after = newRecord({
    key,
    generation: tick.deps.ids.ulid(),
    sizeBytes: seen.sizeBytes,
    createdAt: now,
    sha256: seen.sha256,
    copies: { [name]: '' },
    policy: policyOf(tick.config, key).name,
    plainEtags,
  });
  const [outcome] = await tick.commit([
    {
      key,
      change: { before: object, after },
      // The cleanup queue keeps bytes with this cause until the new content is at its factor.
      orphans: { cause: 'overwritten', dueAt: now + tick.params.graceMs, createdAt: now },
      counters: [removalCount(tick, name, object.sizeBytes)],
      ignoresRoom: true,
    },
  ]);
  if (outcome?.outcome !== 'committed') return 'lost';
  tick.audit('Imported file was overwritten by its owner', { key, backend: name, generation: after.generation });
  return 'overwritten';
}
