import { defined } from '../../base/defined.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import { policyOf } from '../../config/fleet-file.ts';
import type { StoredObject } from '../../fleet/backend.ts';
import { parseStorageKey, queueId, storageKey } from '../../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../../store/model.ts';
import type { PassId } from '../../store/pass-rows.ts';
import { newRecord } from '../../store/records.ts';
import type { Swap } from '../../store/swap.ts';
import { onlyReports } from '../../tick/report-only.ts';
import type { Tick } from '../../tick/tick.ts';
import { readMark } from '../../transfer/mark.ts';
import type { KeyResult } from './compare-page.ts';
import { heldBack, type KeyTurn, nothingToDo, settled, turnOf } from './key-turn.ts';
import type { PassWork } from './pass.ts';
import { readFile } from './read-file.ts';

/** Rebuilds records from marks, after the tables were lost. */
export function recoverWork(tick: Tick, id: PassId): PassWork {
  const recoverAll = async (backend: string, keys: readonly string[]) => {
    const results: KeyResult[] = [];
    await forEachConcurrently(keys, tick.tuning.concurrency, async (key) => {
      const turn = await turnOf(tick, backend, () => recoverListed(tick, backend, key));
      results.push({ backend, storageKey: key, turn });
    });
    return results;
  };
  return {
    id,
    progress: { listed: 0 },
    compare: ({ listed }) =>
      recoverAll(
        id.backends[0]!,
        listed.map(({ item }) => item.storageKey),
      ),
    compareKey: (backend, key) => recoverAll(backend, [key]),
  };
}

/** Bytes of ours, by their mark, and the entry their object has now. */
interface Candidate {
  readonly key: string;
  readonly copyId: string;
  readonly backend: string;
  readonly stored: StoredObject;
  readonly generation: string;
  readonly entry: Entry | null;
  /** The write that made them, as far as restored tables know it. */
  readonly queued?: QueueItem;
}

async function recoverListed(tick: Tick, backend: string, storage: string): Promise<KeyTurn> {
  const name = parseStorageKey(storage);
  if (name === null) return nothingToDo;
  const id = queueId(backend, storage);
  const queued = (await tick.deps.store.queueItems([id])).get(id);
  if (queued !== undefined && !mayBeRecorded(tick, queued)) return settled('skipped', 'queued');
  const entry = (await tick.deps.store.objects([name.key])).get(name.key) ?? null;
  if (entry?.kind === 'object' && entry.copies[backend] === name.copyId) return nothingToDo;
  const stored = await (await tick.backend(backend)).head(storage, tick.signal);
  if (stored === null) return settled('skipped', 'gone-meanwhile');
  const mark = readMark(stored.metadata, tick.fleetId, backend, storage);
  if (mark.outcome !== 'ours') return mark.outcome === 'none' ? nothingToDo : settled('skipped', 'foreign-mark');
  return recoverCopy(tick, { ...name, backend, stored, generation: mark.generation, entry, ...defined({ queued }) });
}

/** A write under way when restored tables were saved: it may have been recorded in the time that they know nothing of. */
function mayBeRecorded(tick: Tick, { backend, intent, transfer, state, claimedBy }: QueueItem): boolean {
  const isWrite = intent !== undefined || transfer !== undefined;
  const mayBeDeleted = state === 'cleanup' && claimedBy !== undefined;
  return onlyReports(tick, backend) && isWrite && !mayBeDeleted;
}

/**
 * Every copy is read in full once: it makes the record of its generation, or joins it when the bytes are equal. Of two
 * generations the newer ULID stays. A tombstone is never overruled.
 */
async function recoverCopy(tick: Tick, it: Candidate): Promise<KeyTurn> {
  const { entry, backend, key, stored } = it;
  const storage = storageKey(key, it.copyId);
  if (entry?.kind === 'tombstone') return settled('skipped', 'deleted');
  if (entry !== null && entry.generation > it.generation) return settled('skipped', 'older-than-record');
  const isSame = entry?.generation === it.generation;
  const recordedId = isSame ? entry.copies[backend] : undefined;
  const recordedKey = recordedId === undefined ? undefined : storageKey(key, recordedId);
  // The record may be older than the bytes: the copy it names here was replaced by this one in the time that was lost.
  if (recordedKey !== undefined && (await (await tick.backend(backend)).head(recordedKey, tick.signal)) !== null)
    return settled('skipped', 'second-copy');
  if (tick.dryRun) return settled('skipped', 'dry-run');
  const reading = await readFile(tick, backend, {
    storageKey: storage,
    sizeBytes: stored.sizeBytes,
    etag: stored.etag,
  });
  if (reading.outcome === 'reading') return { outcome: 'unfinished' };
  if (reading.outcome === 'over-limit') return heldBack(backend, reading.reason);
  if (reading.outcome !== 'read') return { outcome: 'refused', what: 'unreadable', message: storage };
  if (isSame && (entry.sha256 !== reading.sha256 || entry.sizeBytes !== stored.sizeBytes))
    return settled('skipped', 'conflict');
  const completes =
    it.queued === undefined ? [] : [{ item: it.queued, expect: { state: it.queued.state, dueAt: it.queued.dueAt } }];
  const swap = isSame ? joining(tick, it, entry) : making(tick, it, reading.sha256);
  const [outcome] = await tick.commit([{ ...swap, completes }]);
  // Another copy of this object was recovered in the same moment: judge by what is there now.
  if (outcome?.outcome === 'lost') return recoverCopy(tick, { ...it, entry: outcome.seen });
  if (outcome?.outcome !== 'committed') return settled('skipped', `recover-${outcome?.outcome}`);
  tick.audit('Copy recovered by its mark', { key, backend, copyId: it.copyId, generation: it.generation });
  return settled('succeeded', isSame ? 'joined' : 'recovered');
}

function joining(tick: Tick, { backend, copyId, key }: Candidate, entry: ObjectRecord): Swap {
  // It was read just now, and is what is recorded.
  const after: ObjectRecord = { ...entry, condition: 'sound', copies: { ...entry.copies, [backend]: copyId } };
  return { key, change: { before: entry, after }, orphans: superseded(tick), ignoresRoom: true };
}

/** What becomes of bytes that lose their record by a recovery. */
function superseded(tick: Tick): NonNullable<Swap['orphans']> {
  const now = tick.now();
  return { cause: 'superseded', dueAt: now + tick.params.graceMs, createdAt: now };
}

function making(tick: Tick, { key, copyId, backend, generation, stored, entry }: Candidate, sha256: string): Swap {
  const after = newRecord({
    key,
    generation,
    sizeBytes: stored.sizeBytes,
    createdAt: stored.lastModified ?? tick.now(),
    sha256,
    copies: { [backend]: copyId },
    policy: policyOf(tick.config, key).name,
    ...defined({ plainEtags: entry?.plainEtags }),
  });
  return { key, change: { before: entry, after }, orphans: superseded(tick), ignoresRoom: true };
}
