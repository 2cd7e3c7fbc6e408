import { ulidTime } from '../../base/ids.ts';
import type { Listed } from '../../fleet/backend.ts';
import { examine } from '../../steps/examine-copy.ts';
import { settlePlainChange } from '../../steps/plain-change.ts';
import { storageKey } from '../../store/keys.ts';
import type { Entry, ObjectRecord } from '../../store/model.ts';
import { withoutPlainFile } from '../../store/records.ts';
import type { Tick } from '../../tick/tick.ts';
import { type KeyTurn, nothingToDo, settled } from './key-turn.ts';

/** Whether a listing shows a recorded copy as it is recorded. Where it does not, it may be the listing that is wrong. */
export function isAsRecorded(object: ObjectRecord, listed: Listed, backend: string): boolean {
  if (object.copies[backend] !== '') return object.sizeBytes === listed.sizeBytes;
  return bare(object.plainEtags?.[backend] ?? '') === bare(listed.etag);
}

/** Some backends quote ETags in one answer and not in another. */
function bare(etag: string): string {
  return etag.replace(/^W\//, '').replaceAll('"', '');
}

/** A copy that is listed otherwise than it is recorded: asked for by name before anything is believed. */
export async function settleChanged(tick: Tick, object: ObjectRecord, backend: string): Promise<KeyTurn> {
  if (tick.dryRun) return settled('skipped', 'listed-otherwise');
  const copyId = object.copies[backend]!;
  const stored = await (await tick.backend(backend)).head(storageKey(object.key, copyId), tick.signal);
  if (stored === null) return quarantineIfProved(tick, object, backend, 'missing');
  if (isAsRecorded(object, { ...stored, storageKey: '', lastModified: 0 }, backend)) return nothingToDo;
  if (copyId !== '') return quarantineIfProved(tick, object, backend, 'wrong-size');
  return settleOverwritten(tick, object, backend);
}

/** The owner of an imported file wrote it again. */
async function settleOverwritten(tick: Tick, object: ObjectRecord, backend: string): Promise<KeyTurn> {
  const change = await settlePlainChange(tick, object, backend);
  if (change === 'unchanged') return nothingToDo;
  const isSettled = change === 'renewed' || change === 'overwritten';
  return settled(isSettled ? 'succeeded' : change.startsWith('over-') ? 'deferred' : 'skipped', `plain-${change}`);
}

/** Recorded and not listed: what is not there either when it is asked for by name goes to quarantine. */
export async function settleMissing(tick: Tick, object: ObjectRecord, backend: string): Promise<KeyTurn> {
  if (tick.dryRun) return settled('skipped', 'not-listed');
  const storage = storageKey(object.key, object.copies[backend]!);
  if ((await (await tick.backend(backend)).head(storage, tick.signal)) !== null)
    return settled('skipped', 'listing-lags');
  return quarantineIfProved(tick, object, backend, 'missing');
}

async function quarantineIfProved(tick: Tick, object: ObjectRecord, backend: string, why: string): Promise<KeyTurn> {
  const outcome = await examine(tick, object.key, backend);
  return settled(outcome === 'quarantined' || outcome === 'damaged' ? 'succeeded' : 'skipped', `${why}-${outcome}`);
}

/** Whether a copy may be too young for a listing that was asked for at this time: it may have begun before the copy was written. */
export function isYoung(tick: Tick, object: ObjectRecord, backend: string, askedAt: number): boolean {
  const copyId = object.copies[backend]!;
  const writtenAt = copyId === '' ? object.createdAt : ulidTime(copyId);
  return askedAt - writtenAt < tick.params.reconcilerMinAgeMs;
}

/** A file that an object or a tombstone remembers, and that is gone: there is nothing left to remember. */
export async function settleForgotten(tick: Tick, entry: Entry, backend: string): Promise<KeyTurn> {
  if (tick.dryRun || (await (await tick.backend(backend)).head(entry.key, tick.signal)) !== null) return nothingToDo;
  const after = withoutPlainFile(entry, backend);
  const [outcome] = await tick.commit([{ key: entry.key, change: { before: entry, after } }]);
  return outcome?.outcome === 'committed' ? settled('succeeded', 'left-behind-gone') : nothingToDo;
}
