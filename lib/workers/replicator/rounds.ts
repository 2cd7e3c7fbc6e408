import { allEnded, createHandedOver, forEachConcurrently, type HandedOver } from '../../base/pool.ts';
import { count } from '../../base/tally.ts';
import { policyOf } from '../../config/fleet-file.ts';
import type { CopyTurnTick } from '../../steps/copy-turn.ts';
import { type CopyTurn, createCopyTurn } from '../../steps/copy-turn.ts';
import type { EnqueueOrphansTick } from '../../steps/enqueue-orphans.ts';
import { enqueueOrphans } from '../../steps/enqueue-orphans.ts';
import { missingCopies } from '../../steps/missing-copies.ts';
import type { MetObject, NoteRefusalsTick } from '../../steps/note-refusals.ts';
import { underExamination, withoutRefusals } from '../../steps/refusals.ts';
import type { TurnEnd } from '../../steps/turn-end.ts';
import type { WriteCheckTick } from '../../steps/write-check.ts';
import { reportRefusing } from '../../steps/write-check.ts';
import { type Committer, createCommitter } from '../../store/committer.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import type { AgesTick } from '../../tick/ages.ts';
import { noteLag } from '../../tick/ages.ts';
import type { DueItemsTick } from '../../tick/due-items.ts';
import { openLanes } from '../../tick/due-items.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refreshIfOld } from '../../tick/refresh.ts';
import type { Round, Tick, TickAccount, TickTime } from '../../tick/tick.ts';
import type { FindObjectsTick } from './find-objects.ts';
import { createObjectFinder, type ObjectFinder } from './find-objects.ts';
import { type ObjectTurn, replicateObject, type TriedTurn } from './object-turn.ts';

/** What this file asks of a tick. */
export type RoundsTick = Pick<Tick, 'config' | 'tuning' | 'dryRun' | 'commitDeps'> &
  TickAccount &
  TickTime &
  AgesTick &
  CopyTurnTick &
  DueItemsTick &
  EnqueueOrphansTick &
  FindObjectsTick &
  HealthTick &
  NoteRefusalsTick &
  RefreshTick &
  WriteCheckTick;

/** As long as big copies have at least before small ones go on. */
const shortestTurnMs = 2_000;
/** As long as small ones have at most before big ones do: what of a batch has not begun then is put off. */
const longestTurnMs = 30_000;

/** Most that goes into one transaction, with its ledger rows just below the limit of one. */
const groupSize = 80;
/** Copies in one transaction beyond which its ledger rows cost each of them less than half a write unit. */
const worthATransaction = 16;
/** Copies that may wait to be recorded, beside those that are made: one group gathers while another is on its way. */
const mostUnrecorded = 2 * worthATransaction;
/** As long as a copy waits at most for others that are recorded with it. */
const longestWaitMs = 250;

/** What one tick remembers between its objects. */
interface Turn extends CopyTurn {
  readonly tick: RoundsTick;
  readonly finder: ObjectFinder;
  readonly committer: Committer;
  /** How many objects are being copied. */
  readonly copying: { count: number };
}

/** Begins a tick's work under the lease: on what wants copies, or on the objects that are given. */
export async function beginRounds(tick: RoundsTick, finder: ObjectFinder = createObjectFinder(tick)): Promise<Round> {
  const usable = new Set<string>();
  // As this tick's own health check found them: a claimed probe is not sent twice.
  for (const { name } of tick.config.backends) if (await isUsable(tick, name)) usable.add(name);
  reportRefusing(tick);
  const copying = { count: 0 };
  const turn: Turn = {
    ...(await createCopyTurn(tick, usable)),
    tick,
    finder,
    committer: committerOf(tick, copying),
    copying,
  };
  return () => replicateRound(turn).finally(turn.trust.idle);
}

/**
 * Copies are recorded in groups as they come, several at once. Where there is a quota its one row is in every transaction:
 * those go one by one.
 */
function committerOf(tick: RoundsTick, copying: Turn['copying']): Committer {
  const width = tick.config.backends.some(({ quotaBytes }) => quotaBytes > 0) ? 1 : 4;
  const gathering = { enough: worthATransaction, coming: () => copying.count, longestMs: longestWaitMs };
  return createCommitter(() => tick.commitDeps(), { groupSize, width, gathering });
}

/** Small copies and big ones share a tick: while there are more small ones, the big ones have as long as these had. */
async function replicateRound(turn: Turn): Promise<'more' | 'done'> {
  const { tick } = turn;
  const startedAt = tick.now();
  const { next, begun } = await replicateBatch(turn);
  const now = tick.now();
  const isMore = next === 'more' || turn.again.length > 0;
  const until = isMore ? now + Math.max(now - startedAt, shortestTurnMs) : Number.POSITIVE_INFINITY;
  const left = await carryOnBig(turn, begun, until);
  return turn.again.length > 0 || left === 'more' ? 'more' : next;
}

/** Most ticks meet no big object: a cold start does not load what copies them. */
async function carryOnBig(turn: Turn, begun: readonly QueueItem[], until: number): Promise<'more' | 'done'> {
  if (begun.length === 0 && openLanes(turn.tick, 'transfer').length === 0) return 'done';
  const { carryOnDue } = await import('../../steps/transfers/carry-on.ts');
  return carryOnDue(turn, begun, until);
}

/** An object's turn, settled: as it is recorded now. */
interface Settled {
  readonly object: ObjectRecord;
  readonly turn: ObjectTurn;
}

async function replicateBatch(turn: Turn): Promise<{ next: 'more' | 'done'; begun: QueueItem[] }> {
  const { tick, finder } = turn;
  const again = turn.again.splice(0);
  const { wanting, lifted, next } = await finder.find(tick.tuning.batchSize - again.length);
  turn.planned.clear();
  const settled: Settled[] = [];
  const startedAt = tick.now();
  const recording = createHandedOver(mostUnrecorded);
  const copying = forEachConcurrently([...again, ...wanting], tick.tuning.concurrency, async (object) => {
    await settleTurn(turn, object, startedAt, { recording, settled: (one) => void settled.push(one) });
  });
  await allEnded([copying, copying.catch(() => {}).then(() => recording.ended())]);
  for (const { object, turn: objectTurn } of settled) {
    if (objectTurn.outcome === 'put-off') turn.again.push(object);
    else if (objectTurn.outcome !== 'begun') count(tick.tally, objectTurn.end.verdict, objectTurn.end.reason);
  }
  if (!tick.dryRun) await writeDown(turn, lifted, settled.flatMap(metBy(tick)));
  tick.figures.admissionRejections = turn.admission.rejections;
  return { next, begun: settled.flatMap(({ turn: one }) => (one.outcome === 'begun' ? one.items : [])) };
}

/** Most ticks meet no refusal: a cold start does not load what writes them down. */
async function writeDown(turn: Turn, lifted: readonly ObjectRecord[], met: readonly MetObject[]): Promise<void> {
  if (lifted.length === 0 && met.length === 0) return;
  const { liftStuck, noteRefusals } = await import('../../steps/note-refusals.ts');
  await liftStuck(turn, lifted);
  await noteRefusals(turn, met);
}

interface Settling {
  readonly recording: HandedOver;
  readonly settled: (one: Settled) => void;
}

/**
 * An object's turn. What it made is recorded while its place serves the next: a group of others may wait to be recorded with
 * it, and a crash leaves no more unrecorded objects than were in work and may wait.
 */
async function settleTurn(turn: Turn, object: ObjectRecord, startedAt: number, { recording, settled }: Settling) {
  const { copying, committer } = turn;
  copying.count += 1;
  try {
    const objectTurn = await turnOf(turn, object, startedAt);
    if (objectTurn.outcome !== 'tried') return settled({ object, turn: objectTurn });
    // It is with the committer before it is said that nothing more comes of it.
    await recording.begin(async () => settled(await record(turn, object, objectTurn)));
  } finally {
    copying.count -= 1;
    committer.recheck();
  }
}

async function turnOf(turn: Turn, object: ObjectRecord, startedAt: number): Promise<ObjectTurn> {
  const { tick } = turn;
  if (tick.dryRun) return { outcome: 'passed', end: { verdict: 'skipped', reason: 'dry-run' } };
  if (tick.outOfTime()) return { outcome: 'passed', end: { verdict: 'deferred', reason: 'out-of-time' } };
  // The first of a round is never put off, so there are fewer each time.
  if (tick.now() - startedAt >= longestTurnMs) return { outcome: 'put-off' };
  await refreshIfOld(tick);
  return replicateObject(turn, object);
}

/** What is worth writing down of a turn: copies that seemed missing or wrong; and who refuses an object that is short still. */
function metBy(tick: RoundsTick) {
  return ({ object, turn }: Settled): MetObject[] => {
    const met = [...(turn.outcome === 'tried' ? turn.met : []), ...examinedStill(object)];
    const isShort = missingCopies(tick, object) > 0;
    const noted = isShort ? met : met.filter(({ blame }) => blame.on === 'bytes');
    const isBackingOff = turn.outcome === 'passed' && turn.end.reason === 'backing-off';
    return noted.length > 0 || isBackingOff ? [{ object, met: noted }] : [];
  };
}

/** Reading a suspect goes on in every tick until it has ended. */
function examinedStill(object: ObjectRecord): MetObject['met'] {
  return underExamination(object).map((suspect) => ({ blame: { on: 'bytes', ...suspect } }));
}

/**
 * Records an object's copies, together with those of others that are ready in the same moment, and enqueues for deletion what
 * could not be recorded.
 */
async function record(turn: Turn, object: ObjectRecord, tried: TriedTurn): Promise<Settled> {
  const { tick } = turn;
  const recorded = await commitCopies(turn, object, tried);
  const orphans = [...tried.orphans, ...recorded.orphans];
  if (orphans.length > 0)
    await enqueueOrphans(
      tick,
      orphans.map((orphan) => ({ object, ...orphan })),
    );
  return { object: recorded.object, turn: { ...tried, end: recorded.end, met: recorded.isCurrent ? tried.met : [] } };
}

interface Recorded {
  readonly object: ObjectRecord;
  /** Whether that is how it is recorded, as far as we know. */
  readonly isCurrent: boolean;
  readonly orphans: TriedTurn['orphans'];
  readonly end: TurnEnd;
}

async function commitCopies(turn: Turn, object: ObjectRecord, tried: TriedTurn): Promise<Recorded> {
  const { tick } = turn;
  const newCopies = Object.entries(tried.newCopies).map(([backend, copyId]) => ({ backend, copyId }));
  if (newCopies.length === 0) return { object, isCurrent: true, orphans: [], end: tried.end };
  const answer = await turn.committer.commit(swapFor(tick, object, tried), tick.deadline.commitUntil);
  const { outcome } = answer;
  if (outcome === 'committed') {
    noteLag(tick, object, Object.keys(tried.newCopies));
    for (const { backend, copyId } of newCopies)
      tick.audit('Copy recorded', { key: object.key, backend, copyId, reason: 'under-replicated' });
    return { object: answer.entry as ObjectRecord, isCurrent: true, orphans: [], end: tried.end };
  }
  // Without an answer nothing is known, so nothing is queued: the sweep finds what is not recorded.
  const isKnown = outcome === 'lost' || outcome === 'no-room' || outcome === 'not-taking';
  return {
    object,
    isCurrent: outcome === 'no-room' || outcome === 'not-taking',
    orphans: isKnown ? newCopies.map((copy) => ({ ...copy, reason: outcome })) : [],
    end: { verdict: isKnown ? 'skipped' : 'failed', reason: outcome },
  };
}

function swapFor(tick: RoundsTick, object: ObjectRecord, { newCopies, content }: TriedTurn) {
  const after: ObjectRecord = {
    ...content,
    ...object,
    copies: { ...object.copies, ...newCopies },
    policy: policyOf(tick.config, object.key).name,
  };
  return { key: object.key, change: { before: object, after: withoutRefusals(after, missingCopies(tick, after) > 0) } };
}
