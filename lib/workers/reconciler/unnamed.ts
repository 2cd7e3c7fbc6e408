import { defined } from '../../base/defined.ts';
import type { StoredObject } from '../../fleet/backend.ts';
import { enqueueDeletes } from '../../store/enqueue-deletes.ts';
import { parseStorageKey, queueId, storageKey } from '../../store/keys.ts';
import type { Entry, QueueItem } from '../../store/model.ts';
import { newQueueItem } from '../../store/queue-items.ts';
import { isUsable } from '../../tick/health.ts';
import { isWithinRemovalLimit, removalCount } from '../../tick/removal-limit.ts';
import { onlyReports } from '../../tick/report-only.ts';
import { readMark } from '../../transfer/mark.ts';
import { importFile } from './import-file.ts';
import { found, type Pass, type Unnamed } from './pass.ts';
import { recover } from './recover-copy.ts';

/**
 * Settles a listed key that no record named when the page was compared (N2, N3, N5): bytes of ours that lost their record
 * are enqueued for deletion, under everything N2 asks; an external client's file is imported where that is on; everything else is reported.
 */
export async function settleUnnamed(pass: Pass, { listed, atKey }: Unnamed): Promise<void> {
  const { tick, backend } = pass;
  const key = listed.storageKey;
  const refusal = pass.budget.refuses(backend.name, { requests: 1 });
  if (refusal !== null) return found(pass, 'deferred', refusal, key);
  const stored = await backend.head(key, tick.signal);
  if (stored === null) return found(pass, 'skipped', 'gone-meanwhile', key);
  const mark = readMark(stored.metadata, tick.fleetId, backend.name, key);
  if (mark.outcome === 'foreign') return found(pass, 'skipped', 'foreign-mark', key);
  if (mark.outcome === 'none') {
    if (!pass.imports) return found(pass, 'skipped', 'unmarked', key);
    return importFile(pass, stored, key, atKey);
  }
  return settleOurs(pass, key, stored, mark.generation);
}

/** Queue first, then records: what moves from the one to the other meanwhile is seen in the second. */
async function settleOurs(pass: Pass, storage: string, stored: StoredObject, generation: string): Promise<void> {
  const { tick, backend } = pass;
  const name = parseStorageKey(storage);
  if (name === null) return found(pass, 'skipped', 'odd-name', storage);
  const id = queueId(backend.name, storage);
  const queued = (await tick.deps.store.queueItems([id])).get(id);
  if (queued !== undefined && !mayBeRecorded(pass, queued)) return found(pass, 'skipped', 'queued', storage);
  const entry = (await tick.deps.store.objects([name.key])).get(name.key) ?? null;
  if (entry?.kind === 'object' && entry.copies[backend.name] === name.copyId)
    return found(pass, 'skipped', 'recorded-meanwhile', storage);
  if (pass.recovers) return recover(pass, { ...name, storage, stored, generation, entry, ...defined({ queued }) });
  const reason = await whyKept(pass, entry, generation);
  if (reason !== null) return found(pass, 'skipped', reason, storage);
  if (tick.dryRun) return found(pass, 'skipped', 'dry-run', storage);
  if (!(await isWithinRemovalLimit(tick, backend.name, pass.listed)))
    return found(pass, 'skipped', 'removal-limit', storage);
  const now = tick.now();
  const item = newQueueItem({
    state: 'cleanup',
    backend: backend.name,
    storageKey: storage,
    key: name.key,
    generation,
    sizeBytes: stored.sizeBytes,
    createdAt: now,
    dueAt: now + tick.params.graceMs,
    cause: 'orphan',
  });
  const counters = [removalCount(tick, backend.name, stored.sizeBytes)];
  const [outcome] = await enqueueDeletes(
    tick.commitDeps(),
    [{ item, expected: entry, counters }],
    tick.deadline.commitUntil,
  );
  if (outcome === 'queued')
    tick.audit('Bytes enqueued for deletion', {
      key: name.key,
      backend: backend.name,
      storageKey: storage,
      reason: 'orphan',
    });
  return found(
    pass,
    outcome === 'queued' ? 'succeeded' : 'skipped',
    outcome === 'queued' ? 'orphan' : `orphan-${outcome}`,
    storage,
  );
}

/** A write under way when restored tables were saved: it may have been recorded in the time that they know nothing of. */
function mayBeRecorded(pass: Pass, { intent, transfer, state, claimedBy }: QueueItem): boolean {
  const isWrite = intent !== undefined || transfer !== undefined;
  const mayBeDeleted = state === 'cleanup' && claimedBy !== undefined;
  return pass.recovers && onlyReports(pass.tick, pass.backend.name) && isWrite && !mayBeDeleted;
}

/** N2: null when the bytes may go; else why they are only reported: the metadata may be what was lost. */
async function whyKept(pass: Pass, entry: Entry | null, generation: string): Promise<string | null> {
  if (entry === null) return pass.confirms ? null : 'no-record';
  if (onlyReports(pass.tick, pass.backend.name) && !pass.confirms) return 'taken-over';
  if (generation > entry.generation && !pass.confirms) return 'newer-than-record';
  if (entry.kind === 'object' && !(await answersNow(pass, entry))) return 'record-does-not-answer';
  return null;
}

/** Whether every copy that a record names is there now, with its size. */
async function answersNow(pass: Pass, entry: Entry & { kind: 'object' }): Promise<boolean> {
  const { tick } = pass;
  for (const [name, copyId] of Object.entries(entry.copies)) {
    if (tick.standing(name).config === undefined || !(await isUsable(tick, name))) return false;
    const backend = await tick.backend(name);
    const stored = await backend.head(storageKey(entry.key, copyId), tick.signal);
    if (stored?.sizeBytes !== entry.sizeBytes) return false;
  }
  return true;
}
