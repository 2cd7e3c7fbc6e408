import { defined } from '../../base/defined.ts';
import { maxKeyBytes, policyOf } from '../../config/fleet-file.ts';
import type { Listed } from '../../fleet/backend.ts';
import { type ImportPlan, newImportPlan } from '../../plans/import-estimate.ts';
import type { Outcome } from '../../store/commit.ts';
import type { Committer } from '../../store/committer.ts';
import { queueId } from '../../store/keys.ts';
import { type Entry, type ObjectRecord, queueStates } from '../../store/model.ts';
import { newRecord } from '../../store/records.ts';
import type { HealthTick } from '../../tick/health.ts';
import type { FleetAsRead, Tick, TickTime } from '../../tick/tick.ts';
import { headersProblem } from '../../transfer/headers-digest.ts';
import { carriesMark } from '../../transfer/mark.ts';
import type { FileFound, FileResult } from './file-found.ts';
import type { ListedOn } from './joined-feed.ts';
import { type KeyTurn, notReadNow, settled, settledByName } from './key-turn.ts';
import { type FileReading, readFile, sizeAndMd5 } from './read-file.ts';
import type { RecordedTick } from './recorded.ts';

/** What importing asks of a tick. */
export type ImportTick = Pick<Tick, 'tuning'> & FleetAsRead & TickTime & HealthTick & RecordedTick;

/** What importing needs beside the tick. */
export interface ImportDeps {
  readonly tick: ImportTick;
  /** Puts swaps of many files into one transaction. */
  readonly committer: Committer;
  /** When a person asked for it: what was deleted before, or left behind, is asked for again. Absent where nobody did. */
  readonly personAskedAt?: number;
  /** Of a dry run: what would be done is added up here. */
  readonly plan?: ImportPlan;
}

/**
 * Makes an object of files that Holdfast did not write, or further copies of one that is there. They are recorded where
 * they are and never touched. One file alone is recorded from its listing: nothing is asked of its backend.
 */
export async function importFile(deps: ImportDeps, found: FileFound): Promise<readonly FileResult[]> {
  const { tick } = deps;
  const { key, entry, askedAt } = found;
  const all = (turn: KeyTurn) => found.files.map(({ backend }) => ({ backend, turn }));
  if (Buffer.byteLength(key) > maxKeyBytes(tick.config)) return all(settledByName('skipped', 'too-long'));
  // What is younger than the listing may have been made, or deleted, by whoever saw the file as it is now.
  if (entry !== null && changedAt(entry) >= askedAt)
    return all({ outcome: 'refused', what: 'listing-is-older', message: key });
  const seen = await asHeadsSay(tick, found);
  const told = isQueueToldBy(deps, found) ? 'by the ledger' : 'by itself';
  const { files, results: left } = await importable(deps, { ...found, files: seen.files }, told);
  const results = [...seen.results, ...left];
  if (files.length === 0) return results;
  if (tick.dryRun) {
    const { planFiles } = await import('./plan-file.ts');
    return [...results, ...planFiles(tick, deps.plan ?? newImportPlan(), { ...found, files })];
  }
  return [...results, ...(await recordWithRetries(deps, { ...found, files }))];
}

/** Whether a backend's listing names files as its other answers do, so that they can be recorded from it alone. */
export function isToldByListing({ view }: Pick<Tick, 'view'>, backend: string): boolean {
  return view.capabilities(backend).listsHeadEtags !== false;
}

/** The files by the ETags that they are read by: those that a listing names otherwise are asked for one by one. */
async function asHeadsSay(tick: ImportTick, { key, files: listed }: FileFound) {
  const files: ListedOn[] = [];
  const results: FileResult[] = [];
  for (const file of listed) {
    const { backend, item } = file;
    const stored = isToldByListing(tick, backend) ? item : await (await tick.backend(backend)).head(key, tick.signal);
    if (stored === null) results.push({ backend, turn: settled('skipped', 'gone') });
    else if ('metadata' in stored && carriesMark(stored.metadata))
      results.push({ backend, turn: settled('skipped', 'foreign-mark') });
    else files.push({ backend, item: { ...item, sizeBytes: stored.sizeBytes, etag: stored.etag } });
  }
  return { files, results };
}

/** The files that may be recorded, and what became of the others. */
async function importable(deps: ImportDeps, { files: all, entry }: FileFound, told: QueueTold) {
  const results: FileResult[] = [];
  const files: ListedOn[] = [];
  for (const file of all) {
    const turn = await whyNotImported(deps, file, entry, told);
    if (turn === null) files.push(file);
    else results.push({ backend: file.backend, turn });
  }
  return { files, results };
}

/** The same file, or others of its key, may be imported in the same moment: then it is tried again by what is there now. */
async function recordWithRetries(deps: ImportDeps, found: FileFound): Promise<readonly FileResult[]> {
  const results: FileResult[] = [];
  let { files, entry } = found;
  for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
    const turns = await recordFiles(deps, { ...found, files, entry });
    const lost = turns.filter(({ turn }) => turn.outcome === 'refused' && turn.what === lostTurn);
    results.push(...turns.filter((result) => !lost.includes(result)));
    files = files.filter(({ backend }) => lost.some((result) => result.backend === backend));
    if (files.length === 0) return results;
    entry = (await deps.tick.deps.store.objects([found.key])).get(found.key) ?? null;
    // Whoever was faster may have recorded the file, and another have queued it since.
    const left = await importable(deps, { ...found, files, entry }, 'by itself');
    results.push(...left.results);
    files = left.files;
    if (files.length === 0) return results;
    if (entry !== null && changedAt(entry) >= found.askedAt) break;
  }
  const turn: KeyTurn = { outcome: 'refused', what: lostTurn, message: found.key };
  return [...results, ...files.map(({ backend }) => ({ backend, turn }))];
}

const mostAttempts = 5;
const lostTurn = 'import-lost';

function changedAt(entry: Entry): number {
  return entry.kind === 'tombstone' ? entry.deletedAt : entry.createdAt;
}

/** What says that no queue item names a file, where none does. */
type QueueTold = 'by the ledger' | 'by itself';

/**
 * The ledger is that of when the fleet was read. What was queued since was taken out of an entry that is still there; and where
 * the fleet was read just now, the grace keeps it in its place until a commit by this listing can only be too late.
 */
function isQueueToldBy({ tick }: ImportDeps, { entry, askedAt }: FileFound): boolean {
  return entry === null || tick.view.readAt + tick.params.graceMs > askedAt + beliefMs(tick);
}

/** Null where a file may be recorded. */
async function whyNotImported(
  deps: ImportDeps,
  { backend, item }: ListedOn,
  entry: Entry | null,
  told: QueueTold,
): Promise<KeyTurn | null> {
  const { tick } = deps;
  const isAsked = isAskedFor(deps, entry);
  const { storageKey: key, etag } = item;
  const copyId = entry?.kind === 'object' ? entry.copies[backend] : undefined;
  // An object of this key has another copy here: the file is what was left of an earlier one.
  if (copyId !== undefined)
    return copyId === '' ? settled('skipped', 'known') : leftAlone(deps, entry as ObjectRecord, item);
  if (!isAsked && entry?.plainEtags?.[backend] === etag) return settled('skipped', 'left-behind');
  if (!isAsked && entry?.kind === 'tombstone' && item.lastModified <= entry.deletedAt)
    return settled('skipped', 'left-behind');
  // It left the records before: for its mark, perhaps, which no listing shows.
  const isRemembered = entry?.plainEtags?.[backend] === etag;
  if (isRemembered && (await isMarked(tick, backend, key))) return settled('skipped', 'foreign-mark');
  // Whoever empties a backend does not fill it: its copies would leave again, and this one is not ours.
  if (tick.standing(backend).isDraining) return settled('skipped', 'draining');
  return (await isQueued(tick, backend, key, etag, told)) ? settled('skipped', 'queued') : null;
}

/** Who deletes an object after somebody asked for an import does not want it back from that. */
function isAskedFor({ personAskedAt }: ImportDeps, entry: Entry | null): boolean {
  if (personAskedAt === undefined) return false;
  return entry?.kind !== 'tombstone' || entry.deletedAt < personAskedAt;
}

/** A file beside another copy of its object: other bytes than a file that was imported, or what a put has left. */
function leftAlone(
  { personAskedAt }: ImportDeps,
  { copies, plainEtags = {}, sizeBytes }: ObjectRecord,
  item: Listed,
): KeyTurn {
  const imported = Object.keys(copies).filter((name) => copies[name] === '');
  const isOther = imported.some((name) => {
    const [one, other] = [sizeAndMd5({ sizeBytes, etag: plainEtags[name] ?? '' }), sizeAndMd5(item)];
    return sizeBytes !== item.sizeBytes || (one !== null && other !== null && one !== other);
  });
  if (!isOther) return settled('skipped', 'left-behind');
  // It was said when it was found. Who asks is told again.
  return personAskedAt === undefined ? settled('skipped', 'conflict') : settledByName('skipped', 'conflict');
}

async function isMarked(tick: ImportTick, backend: string, key: string): Promise<boolean> {
  const stored = await (await tick.backend(backend)).head(key, tick.signal);
  return stored !== null && carriesMark(stored.metadata);
}

/** Whether a queue item names the very bytes. */
async function isQueued(
  tick: ImportTick,
  backend: string,
  key: string,
  etag: string,
  told: QueueTold,
): Promise<boolean> {
  const isEmpty = queueStates.every((state) => tick.view.queue(state, backend).objects === 0);
  if (isEmpty && told === 'by the ledger') return false;
  const ids = [queueId(backend, key), queueId(backend, key, etag)];
  return (await tick.deps.store.queueItems(ids)).size > 0;
}

async function recordFiles(deps: ImportDeps, found: FileFound): Promise<readonly FileResult[]> {
  const { entry, files } = found;
  if (entry?.kind === 'object') {
    const results: FileResult[] = [];
    let object = entry;
    for (const file of files) {
      const { turn, after } = await joinFile(deps, object, file, found.askedAt);
      results.push({ backend: file.backend, turn });
      object = after ?? object;
    }
    return results;
  }
  return makeObject(deps, found, entry);
}

/** A new object of one file, or of several with the same bytes; others of the same key are a conflict. */
async function makeObject(deps: ImportDeps, found: FileFound, entry: Entry | null): Promise<readonly FileResult[]> {
  const { tick } = deps;
  const [first, ...others] = found.files as readonly [ListedOn, ...ListedOn[]];
  const sameByListing = others.filter(({ item }) => isSameByListing(first.item, item));
  const doubtful = others.filter((file) => !sameByListing.includes(file));
  const copies = [first, ...sameByListing];
  const results: FileResult[] = [];
  let sha256: string | undefined;
  if (doubtful.some(({ item }) => item.sizeBytes === first.item.sizeBytes)) {
    const reading = await readFile(tick, first.backend, first.item);
    if (reading.outcome === 'foreign') return makeObjectWithout(deps, found, entry, first);
    if (reading.outcome !== 'read')
      return found.files.map(({ backend }) => ({ backend, turn: turnOfReading(reading) }));
    sha256 = reading.sha256;
  }
  for (const file of doubtful) {
    const reading =
      file.item.sizeBytes === first.item.sizeBytes ? await readFile(tick, file.backend, file.item) : different;
    if (reading.outcome === 'foreign') return makeObjectWithout(deps, found, entry, file);
    if (reading.outcome !== 'read')
      return found.files.map(({ backend }) => ({ backend, turn: turnOfReading(reading) }));
    if (reading.sha256 === sha256) copies.push(file);
    else results.push({ backend: file.backend, turn: settledByName('skipped', 'conflict') });
  }
  const after = newRecord({
    key: found.key,
    generation: tick.deps.ids.ulid(),
    sizeBytes: first.item.sizeBytes,
    // Clocks of backends may be ahead.
    createdAt: Math.min(first.item.lastModified, found.askedAt),
    copies: Object.fromEntries(copies.map(({ backend }) => [backend, ''])),
    policy: policyOf(tick.config, found.key).name,
    plainEtags: {
      ...entry?.plainEtags,
      ...Object.fromEntries(found.files.map(({ backend, item }) => [backend, item.etag])),
    },
    ...defined({ sha256 }),
  });
  const outcome = await commitFile(deps, entry, after, found.askedAt);
  if (outcome.outcome !== 'committed')
    return found.files.map(({ backend }) => ({ backend, turn: notCommitted(outcome) }));
  tick.audit('File imported', { key: found.key, backends: Object.keys(after.copies), generation: after.generation });
  const turns = copies.map(({ backend }, i) => ({
    backend,
    turn: settled('succeeded', i === 0 ? 'imported' : 'joined'),
  }));
  return [...turns, ...results];
}

/** One of them is no content: the others are what there is of the object. */
async function makeObjectWithout(
  deps: ImportDeps,
  found: FileFound,
  entry: Entry | null,
  foreign: ListedOn,
): Promise<readonly FileResult[]> {
  const files = found.files.filter((file) => file !== foreign);
  const result = { backend: foreign.backend, turn: settled('skipped', 'foreign-mark') };
  return [result, ...(await makeObject(deps, { ...found, files }, entry))];
}

/** Bytes of another length need not be read to be told apart. */
const different: FileReading = { outcome: 'read', sha256: 'another length', found: { headers: {}, metadata: {} } };

function isSameByListing(a: Listed, b: Listed): boolean {
  const one = sizeAndMd5(a);
  return one !== null && one === sizeAndMd5(b);
}

/** A further copy of an object, if it is the same; else a conflict, remembered so as not to be read again. */
async function joinFile(
  deps: ImportDeps,
  object: ObjectRecord,
  { backend, item }: ListedOn,
  askedAt: number,
): Promise<{ readonly turn: KeyTurn; readonly after?: ObjectRecord }> {
  const { tick } = deps;
  const plainEtags = { ...object.plainEtags, [backend]: item.etag };
  const comparison = await compareFile(tick, object, backend, item);
  if (comparison.outcome === 'unknown') return { turn: comparison.turn };
  const { difference, sha256 } = comparison;
  const isSame = difference === 'none';
  if (!isSame && object.plainEtags?.[backend] === item.etag) return { turn: leftAlone(deps, object, item) };
  const known = sha256 === undefined ? {} : { sha256 };
  const after: ObjectRecord = isSame
    ? { ...object, ...known, plainEtags, copies: { ...object.copies, [backend]: '' } }
    : { ...object, ...known, plainEtags };
  const outcome = await commitFile(deps, object, after, askedAt);
  if (outcome.outcome !== 'committed') return { turn: notCommitted(outcome) };
  const committed = outcome.entry as ObjectRecord;
  if (!isSame) return { turn: settledByName('skipped', difference), after: committed };
  tick.audit('File joined an object', { key: object.key, backend });
  return { turn: settled('succeeded', 'joined'), after: committed };
}

/** `conflict` other bytes, or other headers beside them · `foreign-mark` bytes of a fleet, which somebody copied there. */
type Comparison =
  | {
      readonly outcome: 'compared';
      readonly difference: 'none' | 'conflict' | 'foreign-mark';
      readonly sha256?: string;
    }
  | { readonly outcome: 'unknown'; readonly turn: KeyTurn };

async function compareFile(tick: ImportTick, object: ObjectRecord, backend: string, item: Listed): Promise<Comparison> {
  if (item.sizeBytes !== object.sizeBytes) return { outcome: 'compared', difference: 'conflict' };
  const plain = Object.keys(object.copies).filter((name) => object.copies[name] === '');
  const isSameByEtag = plain.some((name) => {
    const recorded = { sizeBytes: object.sizeBytes, etag: object.plainEtags?.[name] ?? '' };
    const one = sizeAndMd5(recorded);
    return one !== null && one === sizeAndMd5(item);
  });
  if (isSameByEtag) return compareHeaders(tick, object, backend, item);
  let { sha256 } = object;
  for (const name of sha256 === undefined ? plain : []) {
    const etag = object.plainEtags?.[name] ?? '';
    const recorded = await readFile(tick, name, { storageKey: object.key, sizeBytes: object.sizeBytes, etag });
    if (recorded.outcome !== 'read') continue;
    sha256 = recorded.sha256;
    break;
  }
  if (sha256 === undefined)
    return { outcome: 'unknown', turn: { outcome: 'refused', what: 'unreadable', message: object.key } };
  const reading = await readFile(tick, backend, item);
  if (reading.outcome === 'foreign') return { outcome: 'compared', difference: 'foreign-mark', sha256 };
  if (reading.outcome !== 'read') return { outcome: 'unknown', turn: turnOfReading(reading) };
  const isSame = reading.sha256 === sha256 && hasHeadersOf(object, reading.found);
  return { outcome: 'compared', difference: isSame ? 'none' : 'conflict', sha256 };
}

/** Of a file whose ETag says that its bytes are the same: its backend is asked only where something is known to compare with. */
async function compareHeaders(
  tick: ImportTick,
  object: ObjectRecord,
  backend: string,
  { storageKey }: Listed,
): Promise<Comparison> {
  if (object.headersSha256 === undefined) return { outcome: 'compared', difference: 'none' };
  const found = await (await tick.backend(backend)).head(storageKey, tick.signal);
  if (found === null) return { outcome: 'unknown', turn: settled('skipped', 'gone') };
  if (carriesMark(found.metadata)) return { outcome: 'compared', difference: 'foreign-mark' };
  return { outcome: 'compared', difference: hasHeadersOf(object, found) ? 'none' : 'conflict' };
}

/**
 * Whether a file says of its bytes what is known of the object's. One that does not would be served in its place, or be taken for
 * a change of its owner's by whoever reads it next, and replace what was put.
 */
function hasHeadersOf({ headersSha256 }: ObjectRecord, found: Parameters<typeof headersProblem>[1]): boolean {
  return headersProblem({ headersSha256 }, found) === null;
}

function turnOfReading(reading: Exclude<FileReading, { outcome: 'read' | 'foreign' }>): KeyTurn {
  if (reading.outcome === 'reading') return { outcome: 'unfinished' };
  // Nobody else reads a file that is not recorded: three failures in a row end its rests.
  if (reading.outcome === 'put-off' && reading.reason === 'backing-off') return { outcome: 'unfinished' };
  if (reading.outcome === 'put-off') return byName(notReadNow('not-imported', reading.reason));
  if (reading.outcome === 'gone') return settled('skipped', 'gone');
  return { outcome: 'refused', what: 'unreadable', message: reading.message };
}

function byName(turn: KeyTurn): KeyTurn {
  return turn.outcome === 'settled' ? { ...turn, isNamed: true } : turn;
}

/** Also where deleted bytes are not kept at all a page must come to its commit. */
const shortestBeliefMs = 30_000;

/** A listing is believed for half of the time for which deleted bytes are kept: an import that slept undoes no delete. */
function beliefMs({ params }: Pick<ImportTick, 'params'>): number {
  return Math.max(params.graceMs / 2, shortestBeliefMs);
}

function commitFile(deps: ImportDeps, before: Entry | null, after: Entry, askedAt: number): Promise<Outcome> {
  const { tick, committer } = deps;
  const deadline = Math.min(tick.deadline.commitUntil, askedAt + beliefMs(tick));
  return committer.commit({ key: after.key, change: { before, after }, ignoresRoom: true }, deadline);
}

/** Somebody else changed the object: what is there now is asked for by name. Too late for this listing: it is listed anew. */
function notCommitted({ outcome }: Outcome): KeyTurn {
  if (outcome === 'not-now' || outcome === 'undecided') return { outcome: 'too-late' };
  return { outcome: 'refused', what: `import-${outcome}`, message: `the file could not be recorded (${outcome})` };
}
