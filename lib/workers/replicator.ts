import { type Admission, createAdmission } from '../base/admission.ts';
import { defined } from '../base/defined.ts';
import { allEnded, forEachConcurrently } from '../base/pool.ts';
import { count, note, type Verdict } from '../base/tally.ts';
import { type BackendConfig, policyOf } from '../config/fleet-file.ts';
import { hasRoom, isCrowdedOut, plan, sourcesOf, type TargetsTurn, targetsFor } from '../steps/copy-targets.ts';
import { enqueueOrphans, type Orphan } from '../steps/enqueue-orphans.ts';
import { isClosedBy, makeCopy } from '../steps/make-copy.ts';
import { quarantineOnEvidence } from '../steps/quarantine.ts';
import { beginTransfer, isBig, notePending, pendingTransfers } from '../steps/transfers/begin.ts';
import { carryOnDue, hasDueTransfers, type TransferTurn } from '../steps/transfers/carry-on.ts';
import { type Committer, createCommitter } from '../store/committer.ts';
import type { PlacementTotal } from '../store/fleet-view.ts';
import { importingLabel } from '../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../store/model.ts';
import { noteLag, noteWaiting } from '../tick/ages.ts';
import { findByPlacement } from '../tick/find-work.ts';
import { isUsable } from '../tick/health.ts';
import { refreshIfOld } from '../tick/refresh.ts';
import type { Round, Tick, Worker } from '../tick/tick.ts';
import { createPartBuffers } from '../transfer/big/part-buffers.ts';
import type { CopyOutcome } from '../transfer/copy.ts';

/**
 * The replicator gives every object the number of counted copies that its policy asks for (R1–R6).
 *
 * It writes a copy under a fresh storage key, verifies it, and only then records it, on condition that the object is still
 * what it was when it was read. What was written and could not be recorded is enqueued for deletion. It removes nothing, except that a
 * source found missing or wrong goes to `quarantine`. Big objects are copied by transfers, which are named before their first
 * byte is written and go on over as many ticks as they take. It is also the health check: each tick asks every backend's
 * owner object.
 */
export const replicator: Worker = { name: 'replicator', hasWork, begin };

/** As long as big copies have at least before small ones go on. */
const shortestTurnMs = 2_000;
/** As long as small ones have at most before big ones do: what of a batch has not begun then is put off. */
const longestTurnMs = 30_000;

/** R6, then R1 from the ledger alone. */
async function hasWork(tick: Tick): Promise<boolean> {
  await allEnded(tick.config.backends.map(({ name }) => isUsable(tick, name)));
  return underReplicated(tick).length > 0 || (await hasDueTransfers(tick));
}

/** R1: ledger placements with fewer counted copies than their policy asks for. Damaged objects are not ours to copy. */
export function underReplicated(tick: Tick): PlacementTotal[] {
  return tick.view.placements.filter((placement) => {
    if (placement.condition === 'damaged' || placement.policy === importingLabel) return false;
    const factor = (tick.config.policies[placement.policy] ?? tick.config.policies.default!).factor;
    return placement.copies.filter(({ backend }) => tick.standing(backend).isCounted).length < factor;
  });
}

/** What one tick remembers between its objects. */
interface Turn extends TransferTurn, TargetsTurn {
  readonly admission: Admission;
  /** The rev at which each object was met. */
  readonly seen: Map<string, number>;
  readonly committer: Committer;
}

async function begin(tick: Tick): Promise<Round> {
  const usable = new Set<string>();
  for (const { name } of tick.config.backends) if (await isUsableNow(tick, name)) usable.add(name);
  const admission = createAdmission(tick.params.maxBytesInFlight);
  const turn: Turn = {
    tick,
    budget: await tick.budget(),
    admission,
    buffers: createPartBuffers(admission, tick.params.maxBytesInFlight),
    usable,
    failedTargets: new Set(),
    declined: new Set(),
    again: [],
    tried: new Set(),
    pending: await pendingTransfers(tick),
    planned: new Map(),
    seen: new Map(),
    committer: createCommitter(() => tick.commitDeps(), { groupSize: 80, width: 1 }),
  };
  return () => replicateRound(turn);
}

/** By the answer of this tick's own health check: a claimed probe is not sent twice. */
async function isUsableNow(tick: Tick, name: string): Promise<boolean> {
  if ((tick.meter.observed(name)?.failuresInARow ?? 1) > 0) return false;
  return (await tick.ownership(name)).outcome === 'ours';
}

/** What one object's turn led to: copies to record, bytes to enqueue for deletion, copies to look at again. */
interface Attempt {
  readonly object: ObjectRecord;
  readonly newCopies: Record<string, string>;
  sha256?: string;
  verdict: Verdict;
  reason?: string;
  /** Big copies that were begun: they end by themselves, and are counted then. */
  readonly begun: QueueItem[];
  readonly orphans: Omit<Orphan, 'object'>[];
  readonly suspects: string[];
  /** It has another turn in this tick, and is counted then. */
  isPutOff?: true;
}

/** Small copies and big ones share a tick: while there are more small ones, the big ones have as long as these had. */
async function replicateRound(turn: Turn): Promise<'more' | 'done'> {
  const { tick } = turn;
  const startedAt = tick.now();
  const { next, begun } = await replicateBatch(turn);
  const now = tick.now();
  const isMore = next === 'more' || turn.again.length > 0;
  const until = isMore ? now + Math.max(now - startedAt, shortestTurnMs) : Number.POSITIVE_INFINITY;
  const left = await carryOnDue(turn, begun, until);
  return turn.again.length > 0 || left === 'more' ? 'more' : next;
}

async function replicateBatch(turn: Turn): Promise<{ next: 'more' | 'done'; begun: QueueItem[] }> {
  const { tick } = turn;
  const again = turn.again.splice(0);
  const { unseen, next } = await findUnseen(turn, tick.tuning.batchSize - again.length);
  const fresh = [...again, ...unseen];
  turn.planned.clear();
  const attempts: Attempt[] = [];
  const startedAt = tick.now();
  await forEachConcurrently(fresh, tick.tuning.concurrency, async (object) => {
    const attempt: Attempt = { object, newCopies: {}, verdict: 'skipped', begun: [], orphans: [], suspects: [] };
    attempts.push(attempt);
    if (tick.dryRun) attempt.reason = 'dry-run';
    else if (tick.outOfTime()) Object.assign(attempt, { verdict: 'deferred', reason: 'out-of-time' });
    else if (tick.now() - startedAt >= longestTurnMs) putOff(turn, attempt);
    else {
      await refreshIfOld(tick);
      await replicateOne(turn, attempt);
    }
    await record(turn, attempt);
  });
  for (const { object, suspects } of attempts) {
    for (const name of suspects)
      note(tick.tally, `examined: ${(await quarantineOnEvidence(tick, object.key, name)).outcome}`);
  }
  for (const { verdict, reason, begun, isPutOff } of attempts)
    if (begun.length === 0 && isPutOff === undefined) count(tick.tally, verdict, reason);
  tick.figures.admissionRejections = turn.admission.rejections;
  return { next, begun: attempts.flatMap(({ begun }) => begun) };
}

/** The next objects that lack copies and were not met in this tick; `done` when nothing new stands behind them. */
async function findUnseen(
  { tick, seen }: Turn,
  limit: number,
): Promise<{ unseen: ObjectRecord[]; next: 'more' | 'done' }> {
  if (limit <= 0) return { unseen: [], next: 'more' };
  const labels = underReplicated(tick).map((p) => p.label);
  const found = await findByPlacement(tick.deps.store, labels, tick.shards, tick.cursor, limit);
  // What was given a copy may be met once more, under its new label; others may stand behind it.
  const isNews = found.objects.some(({ key, rev }) => seen.get(key) !== rev);
  const unseen = found.objects.filter(({ key }) => !seen.has(key));
  for (const { key, rev } of found.objects) seen.set(key, rev);
  if (!tick.dryRun) tick.cursor = found.cursor;
  return { unseen, next: found.cursor === undefined || !isNews ? 'done' : 'more' };
}

/** Makes the copies one object lacks. Records nothing: `record` does. */
async function replicateOne(turn: Turn, attempt: Attempt): Promise<void> {
  const { tick } = turn;
  const { object } = attempt;
  const { factor } = policyOf(tick.config, object.key);
  let needed = factor - Object.keys(object.copies).filter((name) => tick.standing(name).isCounted).length;
  if (needed <= 0) return end(attempt, 'skipped', 'enough-copies');
  noteWaiting(tick, object);
  needed -= comingCopies(turn, object);
  if (needed <= 0) return end(attempt, 'skipped', 'transfer-pending');
  const { targets, deferral } = targetsFor(turn, object);
  if (targets.length === 0 && deferral === null && isCrowdedOut(turn, object)) return putOff(turn, attempt);
  if (targets.length === 0)
    return deferral === null ? end(attempt, 'skipped', 'no-target') : end(attempt, 'deferred', deferral);
  end(attempt, 'skipped', 'no-target');
  if (isBig(tick, object)) return beginCopies(turn, attempt, targets, needed);
  for (const target of targets) {
    if (needed === 0) break;
    if (turn.failedTargets.has(target.name) || !hasRoom(turn, target, object.sizeBytes)) continue;
    plan(turn, target.name, object.sizeBytes);
    const leave = await turn.admission.enter(object.sizeBytes);
    const isMade = await copyTo(turn, attempt, target.name).finally(leave);
    if (isMade) needed -= 1;
    else plan(turn, target.name, -object.sizeBytes);
    if (attempt.reason === 'no-source') return;
  }
  if (Object.keys(attempt.newCopies).length === 0) return;
  attempt.verdict = 'succeeded';
  delete attempt.reason;
}

/** To the next round: the first of a round is never put off, so there are fewer each time. */
function putOff(turn: Turn, attempt: Attempt): void {
  turn.again.push(attempt.object);
  attempt.isPutOff = true;
}

/** Big copies under way that may be counted on: one whose target failed may not. */
function comingCopies({ tick, pending }: Turn, object: ObjectRecord): number {
  const coming = (pending.get(object.key) ?? []).filter(
    ({ generation, backend, transfer }) =>
      generation === object.generation &&
      object.copies[backend] === undefined &&
      transfer?.failedLeg !== 'target' &&
      tick.standing(backend).isCounted,
  );
  return coming.length;
}

/** Names the copies a big object lacks, and charges them; `carryOn` makes them. */
async function beginCopies(turn: Turn, attempt: Attempt, targets: readonly BackendConfig[], needed: number) {
  const { tick } = turn;
  const { object } = attempt;
  const from = sourcesOf(turn, object)[0];
  if (from === undefined) return end(attempt, 'failed', 'no-source');
  for (const target of targets) {
    if (attempt.begun.length === needed) return;
    if (!hasRoom(turn, target, object.sizeBytes)) continue;
    const named = await beginTransfer(tick, { object, from, to: target.name });
    if (named.item === undefined) {
      end(attempt, named.outcome === 'no-room' ? 'skipped' : 'failed', named.outcome);
      continue;
    }
    plan(turn, target.name, object.sizeBytes);
    attempt.begun.push(named.item);
    notePending(turn.pending, named.item);
  }
}

function end(attempt: Attempt, verdict: Verdict, reason: string): void {
  Object.assign(attempt, { verdict, reason });
}

/** R3, R4: tries the sources in order into one target. True when a verified copy stands there. */
async function copyTo(turn: Turn, attempt: Attempt, target: string): Promise<boolean> {
  const { object } = attempt;
  const sources = sourcesOf(turn, object).filter((name) => !attempt.suspects.includes(name));
  let deferral: string | null = null;
  for (const source of sources) {
    // Its limits are asked again: others may have taken the room since the targets were chosen.
    const { copyId, outcome, orphans } = await makeCopy(turn, { object, source, target });
    attempt.orphans.push(...orphans);
    deferral = outcome.outcome === 'over-limit' ? outcome.reason : null;
    if (outcome.outcome === 'over-limit') continue;
    const next = judge(turn, attempt, { source, target, copyId, outcome });
    if (next !== 'next-source') return next === 'made';
  }
  if (deferral === null) end(attempt, 'failed', 'no-source');
  else end(attempt, 'deferred', deferral);
  return false;
}

function judge(
  turn: Turn,
  attempt: Attempt,
  { source, target, copyId, outcome }: { source: string; target: string; copyId: string; outcome: CopyOutcome },
): 'made' | 'next-source' | 'next-target' {
  const fields = { key: attempt.object.key, source, target };
  switch (outcome.outcome) {
    case 'copied':
      attempt.newCopies[target] = copyId;
      attempt.sha256 = outcome.sha256;
      return 'made';
    case 'source-missing':
    case 'source-wrong':
      attempt.suspects.push(source);
      turn.tick.deps.log.warn('Source of a copy is not as recorded', { ...fields, reason: outcome.outcome });
      return 'next-source';
    case 'source-changed':
    case 'source-failed':
      turn.tick.deps.log.warn('Source of a copy failed', {
        ...fields,
        reason: outcome.outcome === 'source-failed' ? outcome.error.kind : 'changed',
      });
      return 'next-source';
    case 'source-unproven':
      attempt.orphans.push({ backend: target, copyId, reason: 'unproven' });
      turn.tick.deps.log.warn(outcome.detail, fields);
      return 'next-source';
    case 'target-failed':
      if (isClosedBy(outcome.error)) turn.failedTargets.add(target);
      end(attempt, 'failed', `target-${outcome.error.kind}`);
      turn.tick.deps.log.warn('Target of a copy failed', { ...fields, message: outcome.error.message });
      return 'next-target';
    case 'target-wrong':
      turn.failedTargets.add(target);
      attempt.orphans.push({ backend: target, copyId, reason: 'stored-wrong' });
      end(attempt, 'failed', 'target-wrong');
      turn.tick.deps.log.error(outcome.detail, fields);
      return 'next-target';
  }
}

/**
 * Records an object's copies, together with those of others that are ready in the same moment, and enqueues for deletion what could not be
 * recorded. Until then the object keeps its place in the pool: a crash leaves no more unrecorded objects than were in work.
 */
async function record(turn: Turn, attempt: Attempt): Promise<void> {
  const { tick } = turn;
  const { object, newCopies, orphans } = attempt;
  if (Object.keys(newCopies).length > 0) {
    const { outcome } = await turn.committer.commit(swapFor(tick, attempt), tick.deadline.commitUntil);
    // Without an answer nothing is known, so nothing is queued: the sweep finds what is not recorded.
    const isKnown = outcome === 'lost' || outcome === 'no-room' || outcome === 'not-taking';
    if (outcome !== 'committed') end(attempt, isKnown ? 'skipped' : 'failed', outcome);
    else noteLag(tick, object, Object.keys(newCopies));
    for (const [backend, copyId] of Object.entries(newCopies)) {
      if (outcome === 'committed')
        tick.audit('Copy recorded', { key: object.key, backend, copyId, reason: 'under-replicated' });
      if (isKnown) orphans.push({ backend, copyId, reason: outcome });
    }
  }
  if (orphans.length > 0)
    await enqueueOrphans(
      tick,
      orphans.map((orphan) => ({ object, ...orphan })),
    );
}

function swapFor(tick: Tick, { object, newCopies, sha256 }: Attempt) {
  const after: ObjectRecord = {
    ...object,
    copies: { ...object.copies, ...newCopies },
    policy: policyOf(tick.config, object.key).name,
    ...defined({ sha256 }),
  };
  return { key: object.key, change: { before: object, after } };
}
