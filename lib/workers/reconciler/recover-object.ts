import { defined } from '../../base/defined.ts';
import { ulidTime } from '../../base/ids.ts';
import { allEnded } from '../../base/pool.ts';
import { policyOf } from '../../config/fleet-file.ts';
import { judgeGeneration, type ReadCandidate } from '../../plans/judge-candidates.ts';
import type { CopyReaderTick } from '../../steps/copy-reader.ts';
import { copyReader } from '../../steps/copy-reader.ts';
import type { Content, Encryption, Entry, ObjectRecord, QueueItem } from '../../store/model.ts';
import { bornAs, newRecord } from '../../store/records.ts';
import { isOfLostTime, isRecoveryPending, recoveryOf, undecidedSha256 } from '../../store/recovery.ts';
import { copiesOf as copiesIn } from '../../store/swap.ts';
import type { FleetAsRead, Tick, TickTime } from '../../tick/tick.ts';
import { headersDigest, headersProblem } from '../../transfer/headers-digest.ts';
import { carriesMark } from '../../transfer/mark.ts';
import type { CandidatesTick } from './candidates.ts';
import { type Gathered, gatherCandidates, type MarkedBytes } from './candidates.ts';
import { type KeyTurn, settled, settledByName } from './key-turn.ts';
import type { CandidateFound, ReadCandidateTick } from './read-candidate.ts';
import { readCandidate } from './read-candidate.ts';

/** What this file asks of a tick. */
export type RecoverObjectTick = Pick<Tick, 'deps' | 'dryRun' | 'commit' | 'audit'> &
  FleetAsRead &
  TickTime &
  CandidatesTick &
  CopyReaderTick &
  ReadCandidateTick;

/** What a person said of a recovery. */
export interface RecoverRules {
  /** Objects for which newer bytes that one backend alone holds are taken. */
  readonly acceptNewer: ReadonlySet<string>;
}

/**
 * Decides what one object is, by everything that the buckets hold of it, and records it. The answer does not depend on which
 * backend was met first. No bytes are lost. What cannot be decided is kept everywhere, and reported by name.
 */
export async function recoverObject(tick: RecoverObjectTick, key: string, rules: RecoverRules): Promise<KeyTurn> {
  const entry = (await tick.deps.store.objects([key])).get(key) ?? null;
  const gathered = await gatherCandidates(tick, key);
  const marked = gathered.marked.filter((one) => mayBeRecorded(tick, one)).map((one) => asRecorded(entry, one));
  // A live record gives way to a mark only by a person's word.
  const isDecided = entry !== null && isLive(tick, entry) && !rules.acceptNewer.has(key);
  if (isDecided) return joinLive(tick, entry, marked);
  if (entry?.kind === 'tombstone') {
    const newer = marked.filter(({ generation }) => generation > entry.generation);
    return newer.length === 0
      ? settled('skipped', 'deleted')
      : decide(tick, { key, entry, gathered, marked: newer }, rules);
  }
  return decide(tick, { key, entry, gathered, marked }, rules);
}

interface Case {
  readonly key: string;
  readonly entry: Entry | null;
  readonly gathered: Gathered;
  readonly marked: readonly MarkedBytes[];
}

/** A write under way, or a deletion that may be, keeps bytes to itself; what restored tables say of it is of the lost time. */
function mayBeRecorded(tick: RecoverObjectTick, { queued }: MarkedBytes): boolean {
  return queued === undefined || (isRecoveryPending(tick.view) && isOfLostTime(tick.view, queued));
}

/**
 * Whether somebody was about to delete bytes when the tables were saved. Of these tables nobody is any more, and a process of
 * the former ones hardly: they are taken where no others of their content are good, for nowhere else would be worse.
 */
function wasClaimed({ queued }: MarkedBytes): boolean {
  return queued?.state === 'cleanup' && queued.claimedBy !== undefined;
}

/** Bytes that were brought back carry the mark of the content that they were: whose they are now, their record says. */
function asRecorded(entry: Entry | null, one: MarkedBytes): MarkedBytes {
  const isIts = copiesIn(entry)[one.backend] === one.copyId;
  if (entry?.kind !== 'object' || !isIts || bornAs(entry) !== one.mark.generation) return one;
  return { ...one, generation: entry.generation };
}

/**
 * Whether these tables made an entry themselves. What they held when they were restored, and what a recovery has made, may be
 * older than the buckets.
 */
function isLive(tick: RecoverObjectTick, entry: Entry): boolean {
  const recovery = recoveryOf(tick.view);
  if (recovery === undefined || !isRecoveryPending(tick.view)) return !isUndecided(entry);
  if (entry.kind === 'object' && (entry.condition === 'recovering' || isUndecided(entry))) return false;
  return ulidTime(entry.generation) > recovery.since;
}

function isUndecided(entry: Entry): boolean {
  return entry.kind === 'object' && entry.sha256 === undecidedSha256;
}

/** No mark changes an object that these tables know: more copies of the very content at most are found again. */
async function joinLive(tick: RecoverObjectTick, entry: Entry, marked: readonly MarkedBytes[]): Promise<KeyTurn> {
  if (entry.kind === 'tombstone') return settled('skipped', 'deleted');
  if (marked.some(({ generation }) => generation > entry.generation))
    return settledByName('skipped', 'newer-than-record');
  const isThere = (backend: string) =>
    marked.some((one) => one.backend === backend && entry.copies[backend] === one.copyId);
  const more = marked.filter((one) => one.generation === entry.generation && !isThere(one.backend) && !wasClaimed(one));
  if (more.length === 0 || entry.sha256 === undefined) return settled('skipped', 'older-than-record');
  const readings = await readAll(tick, more, entry);
  if (readings.some(({ reading }) => reading.outcome === 'pending')) return unfinished(readings);
  const good = readings.filter(({ reading }) => 'sha256' in reading && reading.sha256 === entry.sha256);
  if (good.length === 0) return settledByName('skipped', 'wrong-bytes');
  const copies = { ...entry.copies, ...copiesOf(good.map(({ candidate }) => candidate)) };
  return record(
    tick,
    entry,
    { ...entry, condition: 'sound', copies },
    good.map(({ candidate }) => candidate),
    'joined',
  );
}

/** Read on later. What a month's limit holds back is waited for, and said: no recovery is complete without it. */
function unfinished(readings: readonly CandidateRead[]): KeyTurn {
  for (const { candidate, reading } of readings) {
    if (reading.outcome !== 'pending' || reading.heldBy === undefined) continue;
    return {
      outcome: 'unfinished',
      waitsFor: { outcome: 'put-off', backend: candidate.backend, reason: reading.heldBy },
    };
  }
  return { outcome: 'unfinished' };
}

type CandidateRead = ReadCandidate & { readonly candidate: MarkedBytes; readonly reading: CandidateFound };

async function readAll(
  tick: RecoverObjectTick,
  candidates: readonly MarkedBytes[],
  record: ObjectRecord | null,
): Promise<CandidateRead[]> {
  return allEnded(
    candidates.map(async (candidate) => ({ candidate, reading: await readCandidate(tick, candidate, record) })),
  );
}

/** Newest first: the first generation of which there are good bytes is the object. */
async function decide(tick: RecoverObjectTick, it: Case, rules: RecoverRules): Promise<KeyTurn> {
  const { entry } = it;
  const before = entry?.kind === 'object' ? entry : null;
  // What was made, or forged, under a clock that is far ahead is not believed before a person says so.
  const isAccepted = rules.acceptNewer.has(it.key);
  const candidates = it.marked.filter(({ isFromTheFuture }) => !isFromTheFuture || isAccepted);
  const generations = [...new Set(candidates.map(({ generation }) => generation))].sort().reverse();
  let isNewerLeft = candidates.length < it.marked.length;
  for (const generation of generations) {
    const its = candidates.filter((one) => one.generation === generation);
    const { readings, verdict } = await judged(tick, its, before);
    if (verdict.outcome === 'pending') return unfinished(readings);
    if (verdict.outcome === 'good') {
      const copies = verdict.copies as readonly MarkedBytes[];
      if (!(await mayReplace(tick, it, copies, rules))) {
        isNewerLeft = true;
        continue;
      }
      const turn = await recordGood(tick, it, { ...verdict, copies, readings });
      return isNewerLeft ? named(turn) : turn;
    }
    if (verdict.outcome !== 'none-good') return keepUndecided(tick, it, candidates, generation, verdict.outcome);
    isNewerLeft = true;
  }
  const newest = generations[0];
  return newest === undefined ? noneBelieved(tick, it) : keepUndecided(tick, it, candidates, newest, 'none-good');
}

/** Reads and judges the candidates of one generation: first those that nobody was about to delete. */
async function judged(tick: RecoverObjectTick, its: readonly MarkedBytes[], before: ObjectRecord | null) {
  const free = its.filter((one) => !wasClaimed(one));
  const readings = await readAll(tick, free, before);
  const verdict = judgeGeneration(readings);
  const isEnough = verdict.outcome === 'good' || verdict.outcome === 'pending' || verdict.outcome === 'contradiction';
  if (isEnough || free.length === its.length) return { readings, verdict };
  const all = await readAll(tick, its, before);
  return { readings: all, verdict: judgeGeneration(all) };
}

/** Why bytes are kept undecided whose mark says a generation that nobody can have made by then. */
const notBelieved = 'from-the-future';

/** Nothing but bytes whose generation was minted long after they were stored, or bytes that a write under way keeps to itself. */
async function noneBelieved(tick: RecoverObjectTick, it: Case): Promise<KeyTurn> {
  const [newest] = it.marked
    .map(({ generation }) => generation)
    .sort()
    .reverse();
  if (newest === undefined) return settledByName('skipped', 'queued');
  // A delete that is known stays one.
  if (it.entry?.kind === 'tombstone') return settledByName('skipped', notBelieved);
  return keepUndecided(tick, it, it.marked, newest, notBelieved);
}

/**
 * A record of restored tables of which a copy verifies gives way to newer bytes only where two backends hold them: whoever can
 * write to one bucket can make one mark. What one backend alone holds a person may accept, by name.
 */
async function mayReplace(
  tick: RecoverObjectTick,
  it: Case,
  copies: readonly MarkedBytes[],
  rules: RecoverRules,
): Promise<boolean> {
  const { entry } = it;
  if (entry?.kind !== 'object' || entry.condition === 'recovering' || isUndecided(entry)) return true;
  if (copies[0]!.generation <= entry.generation || rules.acceptNewer.has(it.key)) return true;
  // Restored tables know of the write: nobody but us made that.
  if (copies.some(({ queued }) => queued !== undefined)) return true;
  if (new Set(copies.map(({ backend }) => backend)).size > 1) return true;
  const own = it.marked.filter(
    ({ generation, backend, copyId }) => generation === entry.generation && entry.copies[backend] === copyId,
  );
  const readings = await readAll(tick, own, entry);
  return !readings.some(({ reading }) => 'sha256' in reading && reading.sha256 === (entry.sha256 ?? reading.sha256));
}

/** The same turn, said by name: newer bytes stay beside the record. */
function named(turn: KeyTurn): KeyTurn {
  if (turn.outcome !== 'settled') return turn;
  return { ...turn, what: turn.verdict === 'succeeded' ? 'recovered-older' : 'newer-than-record', isNamed: true };
}

interface GoodContent {
  readonly sha256: string;
  readonly copies: readonly MarkedBytes[];
  /** Those of the copies among them. */
  readonly readings: readonly CandidateRead[];
}

async function recordGood(tick: RecoverObjectTick, it: Case, good: GoodContent): Promise<KeyTurn> {
  const [first] = good.copies as readonly [MarkedBytes, ...MarkedBytes[]];
  const { entry } = it;
  const same = entry?.kind === 'object' && entry.generation === first.generation ? entry : null;
  const encryption = encryptionIn(good, same);
  const isSaidOtherwise = good.copies.some(
    ({ mark }) => mark.isEncrypted !== undefined && mark.isEncrypted !== (encryption !== null),
  );
  // Neither ciphertext is served as content, nor content taken for ciphertext.
  if (isSaidOtherwise) return keepUndecided(tick, it, good.copies, first.generation, 'not-as-marked');
  const headersSha256 = same?.headersSha256 ?? headersOf(good.copies);
  const files = await equalFiles(tick, it, first, { sha256: good.sha256, ...defined({ headersSha256 }) });
  const copies = {
    ...Object.fromEntries([...files.keys()].map((name) => [name, ''])),
    ...copiesOf(good.copies, entry),
  };
  const plainEtags = { ...entry?.plainEtags, ...Object.fromEntries(files) };
  const after = newRecord({
    key: it.key,
    generation: first.generation,
    sizeBytes: first.sizeBytes,
    createdAt: same?.createdAt ?? oldest(good.copies, tick.now()),
    sha256: good.sha256,
    copies,
    policy: policyOf(tick.config, it.key).name,
    condition: isRecoveryPending(tick.view) && same?.condition !== 'sound' ? 'recovering' : 'sound',
    ...defined({
      headersSha256,
      encryption: same?.encryption ?? encryption ?? undefined,
      writtenAs: same?.writtenAs,
      plainEtags: Object.keys(plainEtags).length > 0 ? plainEtags : undefined,
    }),
  });
  return record(tick, entry, after, good.copies, same === null ? 'recovered' : 'joined');
}

function oldest(copies: readonly MarkedBytes[], now: number): number {
  return Math.min(...copies.map(({ stored }) => stored.lastModified ?? now));
}

/** What marks agree on, or what all copies show where no mark says it. */
function headersOf(copies: readonly MarkedBytes[]): string | undefined {
  const digests = copies.map(
    ({ mark, stored }) => mark.headersSha256 ?? headersDigest(stored.headers, stored.metadata),
  );
  return new Set(digests).size === 1 ? digests[0] : undefined;
}

/** One copy a backend: the one that was recorded, where it is good; else the last that was written. */
function copiesOf(copies: readonly MarkedBytes[], entry: Entry | null = null): Record<string, string> {
  const recorded = copiesIn(entry);
  const byAge = copies.toSorted((a, b) => (a.copyId < b.copyId ? -1 : 1));
  const last = byAge.toSorted(
    (a, b) => Number(recorded[a.backend] === a.copyId) - Number(recorded[b.backend] === b.copyId),
  );
  return Object.fromEntries(last.map(({ backend, copyId }) => [backend, copyId]));
}

/**
 * Files at the object's own key that are the same: they were imported, or are equal to what was. By ETag. Not one that says
 * anything else of its bytes, or that somebody copied there with its mark: neither is the content that was put.
 */
async function equalFiles(
  tick: RecoverObjectTick,
  { key, gathered, entry }: Case,
  { generation, sizeBytes }: MarkedBytes,
  content: Content,
): Promise<Map<string, string>> {
  const equal = new Map<string, string>();
  // What is recorded of this very content its owner may have described otherwise: workers settle that.
  const isRecorded = (backend: string) => entry?.generation === generation && copiesIn(entry)[backend] === '';
  for (const [backend, file] of gathered.files) {
    if (file.sizeBytes !== sizeBytes || carriesMark(file.metadata)) continue;
    if (!isRecorded(backend) && headersProblem(content, file) !== null) continue;
    const { sha256 } = content;
    const bytes = { backend, storageKey: key, key, generation, sizeBytes, ...defined({ sha256 }), etag: file.etag };
    if ((await copyReader(tick).read(bytes)).outcome === 'good') equal.set(backend, file.etag);
  }
  return equal;
}

/** How good bytes were encrypted, as their reading showed; null where they are content. What this recovery recorded was read then. */
function encryptionIn({ copies, readings }: GoodContent, same: ObjectRecord | null): Encryption | null {
  const theirReadings = copies.flatMap((copy) => readings.filter(({ candidate }) => candidate === copy));
  for (const { reading } of theirReadings) if (reading.encryption !== undefined) return reading.encryption;
  return same?.encryption ?? null;
}

/** Kept on every backend, given to nobody, and judged again by the next recovery. */
async function keepUndecided(
  tick: RecoverObjectTick,
  it: Case,
  candidates: readonly MarkedBytes[],
  generation: string,
  why: string,
): Promise<KeyTurn> {
  const { entry, key } = it;
  const what = settledByName('failed', `undecided-${why}`);
  const same = candidates.filter((one) => one.generation === generation);
  if (!isRecoveryPending(tick.view) || same.length === 0) return what;
  if (entry?.kind === 'object' && entry.condition === 'damaged') return what;
  const marks = new Set(same.map(({ mark }) => mark.sha256));
  const [only] = [...marks];
  // What is not believed is given to nobody, though it is what its mark says.
  const isAgreed = marks.size === 1 && only !== undefined && why !== notBelieved;
  const after: ObjectRecord =
    entry?.kind === 'object' && !isUndecided(entry) && entry.condition !== 'recovering'
      ? { ...entry, condition: 'damaged' }
      : newRecord({
          key,
          generation,
          sizeBytes: same[0]!.sizeBytes,
          createdAt: oldest(same, tick.now()),
          sha256: isAgreed ? only : undecidedSha256,
          copies: copiesOf(same),
          policy: policyOf(tick.config, key).name,
          condition: 'damaged',
          ...defined({ plainEtags: entry?.plainEtags }),
        });
  const turn = await record(tick, entry, after, same, 'undecided');
  return turn.outcome === 'settled' ? what : turn;
}

async function record(
  tick: RecoverObjectTick,
  before: Entry | null,
  after: ObjectRecord,
  bytes: readonly MarkedBytes[],
  what: string,
): Promise<KeyTurn> {
  if (tick.dryRun) return settled('skipped', 'dry-run');
  if (before !== null && isUnchanged(before, after)) return settled('skipped', 'not-better-than-record');
  const named = bytes.filter(({ backend, copyId }) => after.copies[backend] === copyId);
  const completes = named.flatMap(({ queued }) => (queued === undefined ? [] : [held(queued)]));
  const [outcome] = await tick.commit([
    { key: after.key, change: { before, after }, completes, keepsBytes: true, ignoresRoom: true },
  ]);
  if (outcome?.outcome === 'not-taking') {
    // It is about to leave the file: what is there stays there, and the others are the object.
    const { [outcome.backend]: _leaving, ...copies } = after.copies;
    if (Object.keys(copies).length > 0) return record(tick, before, { ...after, copies }, bytes, what);
  }
  if (outcome?.outcome !== 'committed')
    return {
      outcome: 'refused',
      what: `recover-${outcome?.outcome}`,
      message: `the record could not be changed (${outcome?.outcome})`,
    };
  const { key, generation, copies, condition } = after;
  tick.audit('Object recovered by its marks', { key, generation, copies, condition, reason: what });
  return settled('succeeded', what);
}

function held(item: QueueItem) {
  return { item, expect: { state: item.state, dueAt: item.dueAt } };
}

function isUnchanged(before: Entry, after: ObjectRecord): boolean {
  if (before.kind !== 'object' || before.generation !== after.generation || before.condition !== after.condition)
    return false;
  if (before.sha256 !== after.sha256 || before.headersSha256 !== after.headersSha256) return false;
  const names = new Set([...Object.keys(before.copies), ...Object.keys(after.copies)]);
  return [...names].every((name) => before.copies[name] === after.copies[name]);
}
