import { defined } from '../../base/defined.ts';
import { policyOf } from '../../config/fleet-file.ts';
import type { StoredObject } from '../../fleet/backend.ts';
import { storageKey } from '../../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../../store/model.ts';
import { newRecord } from '../../store/records.ts';
import type { Swap } from '../../store/swap.ts';
import { readingOf } from '../../tick/budget.ts';
import { learnDigest } from '../../transfer/verify.ts';
import { found, type Pass } from './pass.ts';

/** Bytes of ours, by their mark, and the entry their object has now. */
export interface Candidate {
  readonly key: string;
  readonly copyId: string;
  readonly storage: string;
  readonly stored: StoredObject;
  readonly generation: string;
  readonly entry: Entry | null;
  /** The write that made them, as far as restored tables know it. */
  readonly queued?: QueueItem;
}

/**
 * Rebuilds records from marks, after the tables were lost. Every copy is read in full once: it makes the record of its
 * generation, or joins it when the bytes are equal. Of two generations the newer ULID stays, which is the best that marks can
 * tell; the older bytes are left to the sweeps that follow. A tombstone is never overruled.
 */
export async function recover(pass: Pass, it: Candidate): Promise<void> {
  const { tick, backend } = pass;
  const { entry, storage } = it;
  if (entry?.kind === 'tombstone') return found(pass, 'skipped', 'deleted', storage);
  if (entry !== null && entry.generation > it.generation) return found(pass, 'skipped', 'older-than-record', storage);
  const isSame = entry?.generation === it.generation;
  const recordedId = isSame ? entry.copies[backend.name] : undefined;
  // The record may be older than the bytes: the copy it names here was replaced by this one in the time that was lost.
  if (recordedId !== undefined && (await backend.head(storageKey(it.key, recordedId), tick.signal)) !== null)
    return found(pass, 'skipped', 'second-copy', storage);
  const spend = readingOf({ sizeBytes: it.stored.sizeBytes });
  const refusal = pass.budget.refuses(backend.name, spend);
  if (refusal !== null) return found(pass, 'deferred', refusal, storage);
  if (tick.dryRun) return found(pass, 'skipped', 'dry-run', storage);
  const giveBack = pass.budget.reserve(backend.name, spend);
  const open = () => backend.get(storage, { ifMatch: it.stored.etag, reusesBuffers: true }, tick.signal);
  const digest = await learnDigest(open).finally(giveBack);
  if (digest === null) return found(pass, 'failed', 'unreadable', storage);
  const { sha256, sizeBytes } = digest;
  if (isSame && (entry.sha256 !== sha256 || entry.sizeBytes !== sizeBytes))
    return found(pass, 'skipped', 'conflict', storage);
  const ends =
    it.queued === undefined ? [] : [{ item: it.queued, expect: { state: it.queued.state, dueAt: it.queued.dueAt } }];
  const swap = isSame ? joining(pass, it, entry) : making(pass, it, sha256);
  const [outcome] = await tick.commit([{ ...swap, completes: ends }]);
  // Another copy of this object was recovered in the same moment: judge by what is there now.
  if (outcome?.outcome === 'lost') return recover(pass, { ...it, entry: outcome.seen });
  if (outcome?.outcome !== 'committed') return found(pass, 'skipped', `recover-${outcome?.outcome}`, storage);
  tick.audit('Copy recovered by its mark', {
    key: it.key,
    backend: backend.name,
    copyId: it.copyId,
    generation: it.generation,
  });
  return found(pass, 'succeeded', isSame ? 'joined' : 'recovered', storage);
}

function joining(pass: Pass, it: Candidate, entry: ObjectRecord): Swap {
  // It was read just now, and is what is recorded.
  const after: ObjectRecord = {
    ...entry,
    condition: 'sound',
    copies: { ...entry.copies, [pass.backend.name]: it.copyId },
  };
  return { key: it.key, change: { before: entry, after }, orphans: superseded(pass), ignoresRoom: true };
}

/** What becomes of bytes that lose their record by a recovery. */
function superseded({ tick }: Pass): NonNullable<Swap['orphans']> {
  const now = tick.now();
  return { cause: 'superseded', dueAt: now + tick.params.graceMs, createdAt: now };
}

function making(pass: Pass, it: Candidate, sha256: string): Swap {
  const { tick, backend } = pass;
  const now = tick.now();
  const after = newRecord({
    key: it.key,
    generation: it.generation,
    sizeBytes: it.stored.sizeBytes,
    createdAt: it.stored.lastModified ?? now,
    sha256,
    copies: { [backend.name]: it.copyId },
    policy: policyOf(tick.config, it.key).name,
    ...defined({ plainEtags: it.entry?.plainEtags }),
  });
  return { key: it.key, change: { before: it.entry, after }, orphans: superseded(pass), ignoresRoom: true };
}
