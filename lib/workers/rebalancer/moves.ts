import { forEachConcurrently } from '../../base/pool.ts';
import { count } from '../../base/tally.ts';
import { takePlace } from '../../steps/copy-targets.ts';
import type { CopyTurnTick } from '../../steps/copy-turn.ts';
import { type CopyTurn, createCopyTurn, noteBlame } from '../../steps/copy-turn.ts';
import type { EnqueueOrphansTick } from '../../steps/enqueue-orphans.ts';
import { enqueueOrphans, type Orphan } from '../../steps/enqueue-orphans.ts';
import { type Judgement, judgeCopy } from '../../steps/judge-copy.ts';
import { makeCopy } from '../../steps/make-copy.ts';
import type { NoteRefusalsTick } from '../../steps/note-refusals.ts';
import { withoutRefusals } from '../../steps/refusals.ts';
import type { Place } from '../../steps/target-trust.ts';
import type { BeginTick } from '../../steps/transfers/begin.ts';
import { beginTransfer, isBig } from '../../steps/transfers/begin.ts';
import type { TurnEnd } from '../../steps/turn-end.ts';
import type { WriteCheckTick } from '../../steps/write-check.ts';
import { isLeftAlone } from '../../steps/write-check.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import type { Swap } from '../../store/swap.ts';
import { findByPlacement } from '../../tick/find-work.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Round, Tick, TickAccount, TickRequest, TickTime } from '../../tick/tick.ts';
import { type FoundContent, foundContent } from '../../transfer/copy.ts';
import type { PlanRebalancingTick } from './plan-rebalancing.ts';
import { isUneven, mayMoveTo, movablePlacements, type PlannedMove, planMoves } from './plan-rebalancing.ts';

/** What this file asks of a tick. */
export type MovesTick = Pick<Tick, 'deps' | 'config' | 'params' | 'tuning' | 'cursor' | 'commit'> &
  TickAccount &
  TickRequest &
  TickTime &
  BeginTick &
  CopyTurnTick &
  EnqueueOrphansTick &
  HealthTick &
  NoteRefusalsTick &
  PlanRebalancingTick &
  WriteCheckTick;

/** What one tick remembers between its moves. */
interface Turn extends CopyTurn {
  readonly tick: MovesTick;
  readonly seen: Set<string>;
}

/** Begins a tick's work under the lease. */
export async function beginMoves(tick: MovesTick): Promise<Round> {
  const turn = await beginTurn(tick);
  return () => moveBatch(turn).finally(turn.trust.idle);
}

/** A move that a person planned, as it was told. */
export type AskedMove = Pick<PlannedMove, 'from' | 'to'> & { readonly key: string };

/** Makes moves that were planned before: each only where its object still stands on the one backend, and not on the other. */
export async function beginAskedMoves(tick: MovesTick, asked: readonly AskedMove[]): Promise<Round> {
  const turn = await beginTurn(tick);
  return async () => {
    const entries = await tick.deps.store.objects(asked.map(({ key }) => key));
    const moves = asked.flatMap(({ key, from, to }): PlannedMove[] => {
      const object = entries.get(key);
      const mayMove = object?.kind === 'object' && mayMoveTo(tick, object, from, to);
      if (!mayMove) count(tick.tally, 'skipped', 'not-movable');
      return mayMove ? [{ object, from, to }] : [];
    });
    await executeMoves(turn, moves).finally(turn.trust.idle);
    return 'done';
  };
}

async function beginTurn(tick: MovesTick): Promise<Turn> {
  const usable = new Set<string>();
  for (const { name, quotaBytes } of tick.config.backends) {
    if (quotaBytes > 0 && (await isUsable(tick, name))) usable.add(name);
  }
  return { ...(await createCopyTurn(tick, usable)), tick, seen: new Set() };
}

/**
 * What one move led to: `passed` nothing was written · `begun` a copy in parts, which ends by itself, and is counted then ·
 * `copied` a verified copy stands at the destination · `not-copied` what was met.
 */
type MoveTurn = { readonly move: PlannedMove; readonly orphans: readonly Orphan[] } & (
  | { readonly outcome: 'passed'; readonly end: TurnEnd }
  | { readonly outcome: 'begun'; readonly item: QueueItem }
  | { readonly outcome: 'copied'; readonly copyId: string; readonly content: FoundContent }
  | { readonly outcome: 'not-copied'; readonly met: Judgement }
);

async function moveBatch(turn: Turn): Promise<'more' | 'done'> {
  const { tick } = turn;
  if (!isUneven(tick)) return 'done';
  const labels = movablePlacements(tick);
  const found = await findByPlacement(tick.deps.store, labels, tick.shards, tick.cursor, tick.tuning.batchSize);
  const unseen = found.objects.filter(({ key }) => !turn.seen.has(key));
  for (const { key } of unseen) turn.seen.add(key);
  // What is on its way already is not moved once more.
  const fresh = unseen.filter(({ key }) => turn.pending.of(key).length === 0);
  const takes = (name: string) => turn.usable.has(name) && !turn.closed.has(name) && !isLeftAlone(tick, name);
  const moves = planMoves(tick, fresh, { has: (name) => turn.usable.has(name), takes });
  await executeMoves(turn, moves);
  if (!tick.dryRun) tick.cursor = found.cursor;
  return found.cursor === undefined || unseen.length === 0 ? 'done' : 'more';
}

/** Makes the copies, and swaps each that stands for the one it came from. */
async function executeMoves(turn: Turn, moves: readonly PlannedMove[]): Promise<void> {
  const { tick } = turn;
  const turns: MoveTurn[] = [];
  await forEachConcurrently(moves, tick.tuning.concurrency, async (move) => {
    turns.push(await moveOne(turn, move));
  });
  await settle(turn, turns);
  await carryOnBig(
    turn,
    turns.flatMap((one) => (one.outcome === 'begun' ? [one.item] : [])),
  );
  tick.figures.admissionRejections = turn.admission.rejections;
}

/** Most ticks move no big object: a cold start does not load what copies them. */
async function carryOnBig(turn: Turn, begun: readonly QueueItem[]): Promise<void> {
  if (begun.length === 0) return;
  const { carryOn } = await import('../../steps/transfers/carry-on.ts');
  await carryOn(turn, begun, Number.POSITIVE_INFINITY);
}

/** Makes the copy at the destination. Records nothing. */
async function moveOne(turn: Turn, move: PlannedMove): Promise<MoveTurn> {
  const { tick, usable } = turn;
  const passed = (end: TurnEnd): MoveTurn => ({ move, orphans: [], outcome: 'passed', end });
  if (tick.dryRun) return passed({ verdict: 'skipped', reason: 'dry-run' });
  if (tick.outOfTime()) return passed({ verdict: 'deferred', reason: 'out-of-time' });
  if (!usable.has(move.from)) return passed({ verdict: 'skipped', reason: 'backend-failed' });
  if (isBig(tick, move.object)) return beginMove(turn, move);
  const at = await takePlace(turn, [move.to]);
  if (at === null) return passed({ verdict: 'skipped', reason: 'backend-failed' });
  const leave = await turn.admission.enter(move.object.sizeBytes);
  try {
    return await copyMove(turn, move, at.place);
  } finally {
    leave();
    at.place.end('nothing');
  }
}

async function copyMove(turn: Turn, move: PlannedMove, place: Place): Promise<MoveTurn> {
  const { object, from, to } = move;
  const copy = await makeCopy(turn, { object, source: from, target: to });
  const { copyId, outcome } = copy;
  const orphans = copy.orphans.map((orphan) => ({ object, ...orphan }));
  if (outcome.outcome === 'over-limit')
    return { move, orphans, outcome: 'passed', end: { verdict: 'deferred', reason: outcome.reason } };
  if (outcome.outcome === 'copied') {
    place.end('stored');
    return { move, orphans, outcome: 'copied', copyId, content: foundContent(outcome) };
  }
  const met = judgeCopy(outcome, { source: from, target: to });
  noteBlame(turn, met.blame);
  place.end(met.blame.on === 'object' && met.blame.refusal.backend === to ? 'refused' : 'nothing');
  if (met.orphanReason !== undefined) orphans.push({ object, backend: to, copyId, reason: met.orphanReason });
  return { move, orphans, outcome: 'not-copied', met };
}

/** A big object is moved by a transfer, which goes on over as many ticks as it takes. */
async function beginMove(turn: Turn, move: PlannedMove): Promise<MoveTurn> {
  const { object, from, to } = move;
  const begun = await beginTransfer(turn, { object, from, to, leaves: from });
  if (begun.outcome === 'begun') return { move, orphans: [], outcome: 'begun', item: begun.item };
  return { move, orphans: [], outcome: 'passed', end: endOfBegin(begun) };
}

function endOfBegin(begun: Exclude<Awaited<ReturnType<typeof beginTransfer>>, { outcome: 'begun' }>): TurnEnd {
  if (begun.outcome === 'over-limit') return { verdict: 'deferred', reason: begun.reason };
  return { verdict: begun.outcome === 'no-room' ? 'skipped' : 'failed', reason: begun.outcome };
}

/** One swap per object, source out and destination in; what could not be recorded is enqueued for deletion, refusals are noted. */
async function settle(turn: Turn, turns: readonly MoveTurn[]): Promise<void> {
  const { tick } = turn;
  const copied = turns.flatMap((one) => (one.outcome === 'copied' ? [one] : []));
  const outcomes = await tick.commit(copied.map((one) => swapFor(tick, one)));
  const orphans = turns.flatMap((one) => one.orphans);
  for (const [i, { outcome }] of outcomes.entries()) {
    const { move, copyId } = copied[i]!;
    const { object, from, to } = move;
    if (outcome === 'committed') {
      tick.audit('Copy moved', { key: object.key, from, backend: to, copyId, reason: tick.params.rebalancerStrategy });
      count(tick.tally, 'succeeded', 'moved');
      continue;
    }
    // Without an answer nothing is known, so nothing is queued: the sweep finds what is not recorded.
    const isKnown = outcome === 'lost' || outcome === 'no-room' || outcome === 'not-taking';
    count(tick.tally, isKnown ? 'skipped' : 'failed', outcome);
    if (isKnown) orphans.push({ object, backend: to, copyId, reason: outcome });
  }
  for (const one of turns) {
    if (one.outcome === 'passed') count(tick.tally, one.end.verdict, one.end.reason);
    if (one.outcome === 'not-copied') countFailure(tick, one.move, one.met);
  }
  await enqueueOrphans(tick, orphans);
  const refused = turns.flatMap(refusedMove);
  if (refused.length === 0) return;
  const { noteRefusals } = await import('../../steps/note-refusals.ts');
  await noteRefusals(turn, refused);
}

function countFailure(tick: MovesTick, { object, from, to }: PlannedMove, { reason, message }: Judgement): void {
  tick.deps.log.warn('Copy was not moved', { key: object.key, source: from, target: to, reason, message });
  count(tick.tally, 'failed', reason);
}

/** A copy that seems damaged is left to the scrubber, which says so on evidence; here it is only not moved. */
function refusedMove(turn: MoveTurn): { object: ObjectRecord; met: Judgement[] }[] {
  const isRefused = turn.outcome === 'not-copied' && turn.met.blame.on === 'object';
  return isRefused ? [{ object: turn.move.object, met: [turn.met] }] : [];
}

function swapFor(tick: MovesTick, { move, copyId, content }: Extract<MoveTurn, { outcome: 'copied' }>): Swap {
  const { object, from, to } = move;
  const { [from]: _, ...others } = object.copies;
  const now = tick.now();
  return {
    key: object.key,
    change: {
      before: object,
      after: withoutRefusals({ ...content, ...object, copies: { ...others, [to]: copyId } }, true),
    },
    orphans: { cause: 'moved', dueAt: now + tick.params.graceMs, createdAt: now },
  };
}
