import { ulidTime } from '../../base/ids.ts';
import { allEnded } from '../../base/pool.ts';
import { type Backend, BackendError, type StoredObject } from '../../fleet/backend.ts';
import { listAll } from '../../fleet/list-all.ts';
import type { Candidate } from '../../plans/judge-candidates.ts';
import { parseStorageKey, queueId, storageKey } from '../../store/keys.ts';
import type { QueueItem } from '../../store/model.ts';
import { clockSkewMs } from '../../store/recovery.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Tick } from '../../tick/tick.ts';
import { type MarkReading, readMark } from '../../transfer/mark.ts';

/** What this file asks of a tick. */
export type CandidatesTick = Pick<Tick, 'deps' | 'config' | 'fleetId' | 'signal' | 'now' | 'standing' | 'backend'> &
  HealthTick;

/** Bytes of ours, by their mark: what a recovery may make a record of. */
export interface MarkedBytes extends Candidate {
  readonly key: string;
  readonly storageKey: string;
  readonly stored: StoredObject;
  readonly mark: Extract<MarkReading, { outcome: 'ours' }>;
  /** The write, or the deletion, that tables know of them. */
  readonly queued?: QueueItem;
}

/** What buckets hold of one object. */
export interface Gathered {
  readonly marked: readonly MarkedBytes[];
  /** Files at the object's own key, by backend: ours are never there. */
  readonly files: ReadonlyMap<string, StoredObject>;
}

/**
 * Asks every backend that answers for the bytes of one object: by the names that copies of it have, so that nothing depends on
 * which backend is gone through first. Throws `BackendError` where one of them would not say.
 */
export async function gatherCandidates(tick: CandidatesTick, key: string): Promise<Gathered> {
  const names = tick.config.backends.map(({ name }) => name);
  const parts = await allEnded(names.map((name) => gatherOn(tick, name, key)));
  const ids = parts.flatMap(({ marked }) => marked.map(({ backend, storageKey: at }) => queueId(backend, at)));
  const queued = ids.length === 0 ? new Map<string, QueueItem>() : await tick.deps.store.queueItems(ids);
  const marked = parts
    .flatMap((part) => part.marked)
    .map((one): MarkedBytes => {
      const item = queued.get(queueId(one.backend, one.storageKey));
      return item === undefined ? one : { ...one, queued: item };
    });
  const files = parts.flatMap(({ file }, i) => (file === null ? [] : [[names[i]!, file] as const]));
  return { marked, files: new Map(files) };
}

interface FoundOn {
  readonly marked: readonly MarkedBytes[];
  readonly file: StoredObject | null;
}

/** A backend that does not answer at all is gone through later: what it holds is judged then. */
async function gatherOn(tick: CandidatesTick, name: string, key: string): Promise<FoundOn> {
  const nothing: FoundOn = { marked: [], file: null };
  if (!tick.standing(name).isReachable || !(await isUsable(tick, name))) return nothing;
  const backend = await tick.backend(name);
  try {
    const storages = await copiesListed(tick, backend, key);
    const marked = await allEnded(storages.map((storage) => markedAt(tick, backend, key, storage)));
    const file = await backend.head(key, tick.signal);
    return { marked: marked.filter((one) => one !== null), file };
  } catch (error) {
    if (error instanceof BackendError && error.speaksOf === 'backend') return nothing;
    throw error;
  }
}

async function copiesListed(tick: CandidatesTick, backend: Backend, key: string): Promise<string[]> {
  const listed = await listAll(backend, storageKey(key, 'x').slice(0, -1), tick.signal);
  return listed.map((item) => item.storageKey).filter((storage) => parseStorageKey(storage)?.key === key);
}

async function markedAt(
  tick: CandidatesTick,
  backend: Backend,
  key: string,
  storage: string,
): Promise<MarkedBytes | null> {
  const stored = await backend.head(storage, tick.signal);
  if (stored === null) return null;
  const mark = readMark(stored.metadata, tick.fleetId, backend.name, storage);
  if (mark.outcome !== 'ours') return null;
  const writtenAt = stored.lastModified ?? tick.now();
  return {
    key,
    storageKey: storage,
    backend: backend.name,
    copyId: parseStorageKey(storage)!.copyId,
    generation: mark.generation,
    sizeBytes: stored.sizeBytes,
    // Whoever minted it had a clock; whoever forged it may have wanted to be the newest.
    isFromTheFuture: ulidTime(mark.generation) > writtenAt + clockSkewMs,
    stored,
    mark,
  };
}
