import { defined } from '../base/defined.ts';
import type { Sentence } from '../base/events.ts';
import { deletionDueAt } from '../config/delete-grace.ts';
import { policyOf } from '../config/fleet-file.ts';
import { BackendError, type StoredObject } from '../fleet/backend.ts';
import type { Entry, ObjectRecord } from '../store/model.ts';
import { expectedHeaders, newRecord, newTombstone } from '../store/records.ts';
import type { RemovalLimitTick } from '../tick/removal-limit.ts';
import { inRemovalTurn, isWithinRemovalLimit, removalCount } from '../tick/removal-limit.ts';
import type { Tick } from '../tick/tick.ts';
import { headersDigest } from '../transfer/headers-digest.ts';
import { carriesMark } from '../transfer/mark.ts';
import type { PutOffReason } from '../transfer/reading/reading.ts';
import type { CopyReaderTick } from './copy-reader.ts';
import { copyReader } from './copy-reader.ts';
import type { QuarantineTick } from './quarantine.ts';
import { verifiedCopy } from './quarantine.ts';

/** What this file asks of a tick. */
export type PlainChangeTick = Pick<
  Tick,
  'deps' | 'config' | 'params' | 'signal' | 'now' | 'backend' | 'commit' | 'audit'
> &
  CopyReaderTick &
  QuarantineTick &
  RemovalLimitTick;

/**
 * `renewed` same content under another ETag · `overwritten` the owner's new content is the object now · `reading` the file is
 * being read, over several ticks · `foreign` somebody copied bytes of a fleet there, mark and
 * all: the file is no copy any more · `damaged` and no other copy verifies · else why not.
 */
export type PlainChange =
  | 'renewed'
  | 'overwritten'
  | 'unchanged'
  | 'foreign'
  | 'damaged'
  | 'gone'
  | 'reading'
  | 'unreadable'
  | 'removal-limit'
  | 'lost'
  | PutOffReason;

/** A file as it is now, read to its end. */
interface Seen {
  readonly etag: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly headersSha256: string;
}

type FileReading =
  | { readonly outcome: 'foreign' }
  | { readonly outcome: 'read'; readonly seen: Seen }
  | { readonly outcome: 'not-read'; readonly why: PlainChange };

/**
 * Settles an imported file whose ETag or headers are other than recorded: its owner wrote it again behind our back. The
 * file is read in full: the same hash and headers renew the ETag; anything else, seen with the same ETag before and after,
 * becomes a new generation with that copy alone. The old replicas stay readable until the new content is at its factor. One that
 * carries a mark is no content, whenever it was put there.
 */
export async function settlePlainChange(
  tick: PlainChangeTick,
  object: ObjectRecord,
  name: string,
): Promise<PlainChange> {
  const file = await readFile(tick, object, name);
  if (file.outcome === 'foreign') return leaveForeign(tick, object, name);
  if (file.outcome === 'not-read') return file.why;
  const { seen } = file;
  const { key } = object;
  const plainEtags = { ...object.plainEtags, [name]: seen.etag };
  const expected = expectedHeaders(object, name) ?? seen.headersSha256;
  if (object.sha256 === seen.sha256 && expected === seen.headersSha256) {
    const [outcome] = await tick.commit([{ key, change: { before: object, after: { ...object, plainEtags } } }]);
    return outcome?.outcome === 'committed' ? 'renewed' : 'lost';
  }
  return inRemovalTurn(tick, name, () => overwrite(tick, object, name, seen));
}

/** What its owner wrote in place of a file is its object's content from now on, with that copy alone. */
async function overwrite(
  tick: PlainChangeTick,
  object: ObjectRecord,
  name: string,
  seen: Seen,
): Promise<'overwritten' | 'removal-limit' | 'lost'> {
  if (!(await isWithinRemovalLimit(tick, name))) return 'removal-limit';
  const { key } = object;
  const now = tick.now();
  const after = newRecord({
    key,
    generation: tick.deps.ids.ulid(),
    sizeBytes: seen.sizeBytes,
    createdAt: now,
    sha256: seen.sha256,
    headersSha256: seen.headersSha256,
    copies: { [name]: '' },
    policy: policyOf(tick.config, key).name,
    plainEtags: { ...object.plainEtags, [name]: seen.etag },
  });
  const [outcome] = await tick.commit([
    {
      key,
      change: { before: object, after },
      // The cleanup queue keeps bytes with this cause until the new content is at its factor.
      orphans: {
        cause: 'overwritten',
        dueAt: deletionDueAt(tick.config, key, { now, graceMs: tick.params.graceMs }),
        createdAt: now,
      },
      counters: [removalCount(tick, name, object.sizeBytes)],
      ignoresRoom: true,
    },
  ]);
  if (outcome?.outcome === 'limited') return limitReached(tick, name);
  if (outcome?.outcome !== 'committed') return 'lost';
  tick.audit('Imported file was overwritten by its owner', { key, backend: name, generation: after.generation });
  return 'overwritten';
}

/**
 * What stands at the key is nobody's content, so the owner's file is gone: its copy leaves the record, as one that is missing
 * would, while another was read in full and is good. What stands there is left alone.
 */
async function leaveForeign(tick: PlainChangeTick, object: ObjectRecord, name: string): Promise<PlainChange> {
  if (!(await isWithinRemovalLimit(tick, name))) return 'removal-limit';
  // Its listing alone made it an object: nobody ever read, or promised, anything else.
  if (object.sha256 === undefined)
    return leaveRecord(tick, object, name, 'Imported file carries the mark of other bytes');
  const proof = await verifiedCopy(tick, object, { except: [name] });
  if (proof.outcome === 'put-off') return proof.reason;
  if (proof.outcome === 'reading' || proof.outcome === 'unreadable') return proof.outcome;
  if (proof.outcome !== 'good') return afterForeign(tick, object, name, { ...object, condition: 'damaged' });
  return leaveRecord(tick, object, name, 'Imported file was replaced by bytes of a fleet');
}

/** The copy on a backend leaves its record; its ETag is remembered, so that it does not come back by itself. */
async function leaveRecord(
  tick: PlainChangeTick,
  object: ObjectRecord,
  name: string,
  sentence: Sentence,
): Promise<PlainChange> {
  const { key, plainEtags } = object;
  const { [name]: _file, ...copies } = object.copies;
  const after: Entry =
    Object.keys(copies).length > 0
      ? { ...object, copies }
      : newTombstone({ key, generation: tick.deps.ids.ulid(), deletedAt: tick.now(), ...defined({ plainEtags }) });
  return inRemovalTurn(tick, name, async () =>
    (await isWithinRemovalLimit(tick, name)) ? afterForeign(tick, object, name, after, sentence) : 'removal-limit',
  );
}

async function afterForeign(
  tick: PlainChangeTick,
  object: ObjectRecord,
  name: string,
  after: Entry,
  sentence: Sentence = 'Imported file was replaced by bytes of a fleet',
): Promise<'foreign' | 'damaged' | 'removal-limit' | 'lost'> {
  const isGone = after.kind === 'tombstone' || after.copies[name] === undefined;
  const counters = isGone ? [removalCount(tick, name, object.sizeBytes)] : [];
  const [outcome] = await tick.commit([{ key: object.key, change: { before: object, after }, counters }]);
  if (outcome?.outcome === 'limited') return limitReached(tick, name);
  if (outcome?.outcome !== 'committed') return 'lost';
  tick.audit(sentence, { key: object.key, backend: name });
  return isGone ? 'foreign' : 'damaged';
}

/** Others have used the limit up since it was asked for: asked once more, it says so. */
async function limitReached(tick: PlainChangeTick, name: string): Promise<'removal-limit'> {
  await isWithinRemovalLimit(tick, name);
  return 'removal-limit';
}

async function readFile(tick: PlainChangeTick, object: ObjectRecord, name: string): Promise<FileReading> {
  const { key, generation } = object;
  const notRead = (why: PlainChange): FileReading => ({ outcome: 'not-read', why });
  try {
    const backend = await tick.backend(name);
    const before = await backend.head(key, tick.signal);
    if (before === null) return notRead('gone');
    // Another fleet's bytes, or ours copied here by somebody: never the owner's new content.
    if (carriesMark(before.metadata)) return { outcome: 'foreign' };
    if (isAsRecorded(object, name, before)) return notRead('unchanged');
    const { sizeBytes, etag } = before;
    const reading = await copyReader(tick).read({ backend: name, storageKey: key, key, generation, sizeBytes, etag });
    if (reading.outcome === 'put-off') return notRead(reading.reason);
    if (reading.outcome === 'missing') return notRead('gone');
    if (reading.outcome === 'reading') return notRead('reading');
    if (reading.outcome !== 'good') return notRead('unreadable');
    const after = await backend.head(key, tick.signal);
    const headersSha256 = headersDigest(before.headers, before.metadata);
    const isStill = after?.etag === etag && headersDigest(after.headers, after.metadata) === headersSha256;
    if (!isStill) return notRead('unreadable');
    return { outcome: 'read', seen: { etag, sizeBytes, sha256: reading.sha256, headersSha256 } };
  } catch (error) {
    if (error instanceof BackendError) return notRead('unreadable');
    throw error;
  }
}

function isAsRecorded(object: ObjectRecord, name: string, found: StoredObject): boolean {
  if (found.etag !== object.plainEtags?.[name]) return false;
  const expected = expectedHeaders(object, name);
  return expected === undefined || headersDigest(found.headers, found.metadata) === expected;
}
