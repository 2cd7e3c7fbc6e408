import { type Admission, createAdmission } from '../../base/admission.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import { count, type Verdict } from '../../base/tally.ts';
import { enqueueOrphans, type Orphan } from '../../steps/enqueue-orphans.ts';
import { type CopyTurn, isClosedBy, makeCopy, spendOf } from '../../steps/make-copy.ts';
import { beginTransfer, isBig, notePending, pendingTransfers } from '../../steps/transfers/begin.ts';
import { carryOn, type TransferTurn } from '../../steps/transfers/carry-on.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import type { Swap } from '../../store/swap.ts';
import { findByPlacement } from '../../tick/find-work.ts';
import { isUsable } from '../../tick/health.ts';
import type { Round, Tick, Worker } from '../../tick/tick.ts';
import { createPartBuffers } from '../../transfer/big/part-buffers.ts';
import type { CopyOutcome } from '../../transfer/copy.ts';
import { isUneven, movablePlacements, planMoves } from './plan-rebalancing.ts';

/**
 * The rebalancer moves copies between backends with a limit, to pack or to spread them (B1–B5).
 *
 * It moves and never adds: a verified copy at the destination replaces the one at the source in a single swap, on condition
 * that the object is still what it was when it was read. What was written and could not be recorded is enqueued for deletion. Objects
 * that have more or fewer copies than they should are left to the other workers, and plain copies stay where they are.
 */
export const rebalancer: Worker = { name: 'rebalancer', hasWork, begin };

/** B1 from the ledger alone, and some placement that a move may start from. */
async function hasWork(tick: Tick): Promise<boolean> {
  return isUneven(tick) && movablePlacements(tick).length > 0;
}

/** What one tick remembers between its moves. */
interface Turn extends TransferTurn, CopyTurn {
  readonly admission: Admission;
  /** Backends that are ours and answered in this tick, less those that failed a move since. */
  readonly usable: Set<string>;
  readonly seen: Set<string>;
}

async function begin(tick: Tick): Promise<Round> {
  const usable = new Set<string>();
  for (const { name, quotaBytes } of tick.config.backends) {
    if (quotaBytes > 0 && (await isUsable(tick, name))) usable.add(name);
  }
  const admission = createAdmission(tick.params.maxBytesInFlight);
  const turn: Turn = {
    tick,
    budget: await tick.budget(),
    admission,
    buffers: createPartBuffers(admission, tick.params.maxBytesInFlight),
    usable,
    failedTargets: new Set(),
    declined: new Set(),
    pending: await pendingTransfers(tick),
    again: [],
    tried: new Set(),
    seen: new Set(),
  };
  return () => moveBatch(turn);
}

/** One move on its way. */
interface Attempt {
  readonly object: ObjectRecord;
  readonly from: string;
  readonly to: string;
  verdict: Verdict;
  reason?: string;
  /** Gives back what was reserved of the month's usage. */
  release: () => void;
  /** Set once a verified copy stands at the destination. */
  newCopy?: { readonly copyId: string; readonly sha256: string };
  /** Set once a move in parts was named: it ends by itself, and is counted then. */
  begun?: QueueItem;
  readonly orphans: Orphan[];
}

async function moveBatch(turn: Turn): Promise<'more' | 'done'> {
  const { tick } = turn;
  if (!isUneven(tick)) return 'done';
  const labels = movablePlacements(tick);
  const found = await findByPlacement(tick.deps.store, labels, tick.shards, tick.cursor, tick.tuning.batchSize);
  const unseen = found.objects.filter(({ key }) => !turn.seen.has(key));
  for (const { key } of unseen) turn.seen.add(key);
  // What is on its way already is not moved once more.
  const fresh = unseen.filter(({ key }) => !turn.pending.has(key));
  const attempts = planMoves(tick, fresh, turn.usable).map(
    ({ object, from, to }): Attempt => ({ object, from, to, verdict: 'skipped', release: () => {}, orphans: [] }),
  );
  const affordable = attempts.filter((attempt) => reserve(turn, attempt));
  await forEachConcurrently(affordable, tick.tuning.concurrency, async (attempt) => {
    if (tick.dryRun) end(attempt, 'skipped', 'dry-run');
    else if (tick.outOfTime()) end(attempt, 'deferred', 'out-of-time');
    else await moveOne(turn, attempt);
    attempt.release();
  });
  await record(tick, affordable);
  for (const { verdict, reason, begun } of attempts) if (begun === undefined) count(tick.tally, verdict, reason);
  await carryOn(
    turn,
    attempts.flatMap(({ begun }) => begun ?? []),
    Number.POSITIVE_INFINITY,
  );
  tick.figures.admissionRejections = turn.admission.rejections;
  if (!tick.dryRun) tick.cursor = found.cursor;
  return found.cursor === undefined || unseen.length === 0 ? 'done' : 'more';
}

function end(attempt: Attempt, verdict: Verdict, reason: string): void {
  Object.assign(attempt, { verdict, reason });
}

/** B4: whether a planned move fits what is left of the month at both ends, after the moves planned before it. */
function reserve(turn: Turn, attempt: Attempt): boolean {
  const { budget } = turn;
  const { object, from, to } = attempt;
  const { reading, writing } = spendOf(turn, { object, source: from, target: to });
  const refusal = budget.refuses(from, reading) ?? budget.refuses(to, writing);
  if (refusal !== null) {
    end(attempt, 'deferred', refusal);
    return false;
  }
  const giveBack = [budget.reserve(from, reading), budget.reserve(to, writing)];
  attempt.release = () => {
    for (const back of giveBack) back();
  };
  return true;
}

/** Makes the copy at the destination. Records nothing: `record` does, for the whole batch. */
async function moveOne(turn: Turn, attempt: Attempt): Promise<void> {
  const { tick, usable, admission } = turn;
  const { object, from, to } = attempt;
  if (!usable.has(from) || !usable.has(to)) return end(attempt, 'skipped', 'backend-failed');
  if (isBig(tick, object)) return beginMove(turn, attempt);
  const leave = await admission.enter(object.sizeBytes);
  try {
    // What was reserved for it is reserved anew in the same moment.
    attempt.release();
    attempt.release = () => {};
    const { copyId, outcome, orphans } = await makeCopy(turn, { object, source: from, target: to });
    attempt.orphans.push(...orphans.map((orphan) => ({ object, ...orphan })));
    if (outcome.outcome === 'over-limit') end(attempt, 'deferred', outcome.reason);
    else judge(turn, attempt, copyId, outcome);
  } finally {
    leave();
  }
}

/** A big object is moved by a transfer, which goes on over as many ticks as it takes. */
async function beginMove({ tick, pending }: Turn, attempt: Attempt): Promise<void> {
  const { object, from, to } = attempt;
  const { outcome, item } = await beginTransfer(tick, { object, from, to, leaves: from });
  if (item === undefined) return end(attempt, outcome === 'no-room' ? 'skipped' : 'failed', outcome);
  attempt.begun = item;
  notePending(pending, item);
}

function judge(turn: Turn, attempt: Attempt, copyId: string, outcome: CopyOutcome): void {
  const { object, from, to } = attempt;
  if (outcome.outcome === 'copied') {
    attempt.newCopy = { copyId, sha256: outcome.sha256 };
  } else if (outcome.outcome === 'target-wrong' || outcome.outcome === 'source-unproven') {
    if (outcome.outcome === 'target-wrong') turn.usable.delete(to);
    const reason = outcome.outcome === 'target-wrong' ? 'stored-wrong' : 'unproven';
    attempt.orphans.push({ object, backend: to, copyId, reason });
    fail(turn, attempt, outcome.outcome, outcome.detail);
  } else if (outcome.outcome === 'target-failed') {
    if (isClosedBy(outcome.error)) turn.usable.delete(to);
    fail(turn, attempt, `target-${outcome.error.kind}`, outcome.error.message);
  } else if (outcome.outcome === 'source-failed') {
    if (outcome.error.speaksOf === 'backend') turn.usable.delete(from);
    fail(turn, attempt, `source-${outcome.error.kind}`, outcome.error.message);
  } else {
    // The copy may be damaged: the scrubber says so on evidence; here it is only not moved.
    fail(turn, attempt, outcome.outcome, 'detail' in outcome ? outcome.detail : outcome.outcome);
  }
}

function fail({ tick }: Turn, attempt: Attempt, reason: string, message: string): void {
  const { object, from, to } = attempt;
  tick.deps.log.warn('Copy was not moved', { key: object.key, source: from, target: to, reason, message });
  end(attempt, 'failed', reason);
}

/** B5: one swap per object, source out and destination in; what could not be recorded is enqueued for deletion. */
async function record(tick: Tick, attempts: readonly Attempt[]): Promise<void> {
  const newCopy = attempts.filter((attempt) => attempt.newCopy !== undefined);
  const outcomes = await tick.commit(newCopy.map((attempt) => swapFor(tick, attempt)));
  for (const [i, { outcome }] of outcomes.entries()) {
    const attempt = newCopy[i]!;
    const { object, from, to } = attempt;
    const { copyId } = attempt.newCopy!;
    if (outcome === 'committed') {
      tick.audit('Copy moved', { key: object.key, from, backend: to, copyId, reason: tick.params.rebalancerStrategy });
      end(attempt, 'succeeded', 'moved');
      continue;
    }
    // Without an answer nothing is known, so nothing is queued: the sweep finds what is not recorded.
    const isKnown = outcome === 'lost' || outcome === 'no-room' || outcome === 'not-taking';
    end(attempt, isKnown ? 'skipped' : 'failed', outcome);
    if (isKnown) attempt.orphans.push({ object, backend: to, copyId, reason: outcome });
  }
  await enqueueOrphans(
    tick,
    attempts.flatMap(({ orphans }) => orphans),
  );
}

function swapFor(tick: Tick, { object, from, to, newCopy }: Attempt): Swap {
  const { [from]: _, ...others } = object.copies;
  const { copyId, sha256 } = newCopy!;
  const now = tick.now();
  return {
    key: object.key,
    change: { before: object, after: { ...object, copies: { ...others, [to]: copyId }, sha256 } },
    orphans: { cause: 'moved' as const, dueAt: now + tick.params.graceMs, createdAt: now },
  };
}
