import { ulidTime } from '../../base/ids.ts';
import { BackendError, type Listed, type StoredObject } from '../../fleet/backend.ts';
import type { PlainChangeTick } from '../../steps/plain-change.ts';
import { settlePlainChange } from '../../steps/plain-change.ts';
import type { QuarantineTick } from '../../steps/quarantine.ts';
import { quarantineOnEvidence } from '../../steps/quarantine.ts';
import { storageKey } from '../../store/keys.ts';
import type { Entry, ObjectRecord } from '../../store/model.ts';
import { newTombstone, withoutPlainFile } from '../../store/records.ts';
import type { Tick, TickTime } from '../../tick/tick.ts';
import { type KeyTurn, nothingToDo, notReadNow, settled } from './key-turn.ts';

/** What this file asks of a tick. */
export type RecordedTick = Pick<Tick, 'deps' | 'params' | 'dryRun' | 'backend' | 'ownership' | 'commit' | 'audit'> &
  TickTime &
  PlainChangeTick &
  QuarantineTick;

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
export async function settleChanged(tick: RecordedTick, object: ObjectRecord, backend: string): Promise<KeyTurn> {
  if (tick.dryRun) return settled('skipped', 'listed-otherwise');
  const copyId = object.copies[backend]!;
  const stored = await askFor(tick, object, backend);
  if (stored === null) return quarantineIfProved(tick, object, backend, 'missing');
  if (isAsRecorded(object, { ...stored, storageKey: '', lastModified: 0 }, backend)) return nothingToDo;
  if (copyId !== '') return quarantineIfProved(tick, object, backend, 'wrong-size');
  return settleOverwritten(tick, object, backend);
}

/** The owner of an imported file wrote it again. */
async function settleOverwritten(tick: RecordedTick, object: ObjectRecord, backend: string): Promise<KeyTurn> {
  const change = await settlePlainChange(tick, object, backend);
  if (change === 'unchanged') return nothingToDo;
  const isSettled = change === 'renewed' || change === 'overwritten';
  return settled(isSettled ? 'succeeded' : change.startsWith('over-') ? 'deferred' : 'skipped', `plain-${change}`);
}

/** Recorded and not listed: what is not there either when it is asked for by name goes to quarantine. */
export async function settleMissing(tick: RecordedTick, object: ObjectRecord, backend: string): Promise<KeyTurn> {
  if (tick.dryRun) return settled('skipped', 'not-listed');
  if ((await askFor(tick, object, backend)) !== null) return settled('skipped', 'listing-lags');
  return quarantineIfProved(tick, object, backend, 'missing');
}

/** A HEAD of a copy. What its owner deleted where versions are kept leaves a marker: of a file that was never read it is gone. */
async function askFor(tick: RecordedTick, object: ObjectRecord, backend: string): Promise<StoredObject | null> {
  try {
    return await (await tick.backend(backend)).head(storageKey(object.key, object.copies[backend]!), tick.signal);
  } catch (error) {
    if (error instanceof BackendError && error.kind === 'delete-marker' && isUnreadFile(object, backend)) return null;
    throw error;
  }
}

function isUnreadFile({ copies, sha256 }: ObjectRecord, backend: string): boolean {
  return copies[backend] === '' && sha256 === undefined;
}

async function quarantineIfProved(
  tick: RecordedTick,
  object: ObjectRecord,
  backend: string,
  why: 'missing' | 'wrong-size',
): Promise<KeyTurn> {
  if (why === 'missing' && isUnreadFile(object, backend)) return settleGone(tick, object, backend);
  const ended = await quarantineOnEvidence(tick, object.key, backend);
  if (ended.outcome === 'reading') return { outcome: 'unfinished' };
  if (ended.outcome === 'put-off') return notReadNow(why, ended.reason);
  const isDone = ended.outcome === 'quarantined' || ended.outcome === 'damaged';
  return settled(isDone ? 'succeeded' : 'skipped', `${why}-${ended.outcome}`);
}

/** An imported file that was never read, and that its owner took away: nothing was lost that was ever promised. */
async function settleGone(tick: RecordedTick, object: ObjectRecord, backend: string): Promise<KeyTurn> {
  if ((await tick.ownership(backend)).outcome !== 'ours') return settled('skipped', 'missing-unreadable');
  const { [backend]: _gone, ...copies } = object.copies;
  const { plainEtags: _etags, ...rest } = object;
  const { [backend]: _etag, ...plainEtags } = object.plainEtags ?? {};
  const remembered = Object.keys(plainEtags).length === 0 ? {} : { plainEtags };
  const after: Entry =
    Object.keys(copies).length > 0
      ? { ...rest, copies, ...remembered }
      : newTombstone({ key: object.key, generation: tick.deps.ids.ulid(), deletedAt: tick.now(), ...remembered });
  const [outcome] = await tick.commit([{ key: object.key, change: { before: object, after } }]);
  if (outcome?.outcome !== 'committed')
    return { outcome: 'refused', what: `gone-${outcome?.outcome}`, message: object.key };
  tick.audit('Imported file is gone', { key: object.key, backend });
  return settled('succeeded', 'gone');
}

/** Whether a copy may be too young for a listing that was asked for at this time: it may have begun before the copy was written. */
export function isYoung(tick: RecordedTick, object: ObjectRecord, backend: string, askedAt: number): boolean {
  const copyId = object.copies[backend]!;
  const writtenAt = copyId === '' ? object.createdAt : ulidTime(copyId);
  return askedAt - writtenAt < tick.params.reconcilerMinAgeMs;
}

/** A file that an object or a tombstone remembers, and that is gone: there is nothing left to remember. */
export async function settleForgotten(tick: RecordedTick, entry: Entry, backend: string): Promise<KeyTurn> {
  if (tick.dryRun || (await (await tick.backend(backend)).head(entry.key, tick.signal)) !== null) return nothingToDo;
  const after = withoutPlainFile(entry, backend);
  const [outcome] = await tick.commit([{ key: entry.key, change: { before: entry, after } }]);
  return outcome?.outcome === 'committed' ? settled('succeeded', 'left-behind-gone') : nothingToDo;
}
