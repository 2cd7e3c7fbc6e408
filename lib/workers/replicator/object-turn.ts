import type { Verdict } from '../../base/tally.ts';
import type { BackendConfig } from '../../config/fleet-file.ts';
import { missingOf } from '../../config/placement-rule.ts';
import {
  chooseTargets,
  comingTo,
  hasRoom,
  inSpreadOrder,
  type PlaceAt,
  plan,
  sourcesOf,
  takePlace,
} from '../../steps/copy-targets.ts';
import { type CopyTurn, noteBlame } from '../../steps/copy-turn.ts';
import type { Orphan } from '../../steps/enqueue-orphans.ts';
import { type Judgement, judgeCopy } from '../../steps/judge-copy.ts';
import { makeCopy } from '../../steps/make-copy.ts';
import { lackOf, missingCopies, wantsCopyOn } from '../../steps/missing-copies.ts';
import { isWaiting, retryViewOf } from '../../steps/refusals.ts';
import type { PlaceEnd } from '../../steps/target-trust.ts';
import { beginTransfer, isBig } from '../../steps/transfers/begin.ts';
import type { TurnEnd } from '../../steps/turn-end.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import { noteWaiting } from '../../tick/ages.ts';
import { type FoundContent, foundContent } from '../../transfer/copy.ts';

/** A copy that was not made, and what that means. */
export type Met = Judgement & { readonly source: string; readonly target: string };

/**
 * What one object's turn led to: `passed` nothing was tried · `put-off` it has another turn in this tick, and is counted then ·
 * `begun` copies in parts, which end by themselves, and are counted then · `tried` copies that stand there verified, and what
 * was met on the way.
 */
export type ObjectTurn =
  | { readonly outcome: 'passed'; readonly end: TurnEnd }
  | { readonly outcome: 'put-off' }
  | { readonly outcome: 'begun'; readonly items: readonly QueueItem[] }
  | TriedTurn;

export interface TriedTurn {
  readonly outcome: 'tried';
  /** Copies that want to be recorded: backend → copy id. */
  readonly newCopies: Readonly<Record<string, string>>;
  /** What every copy was read to be; null where none was made. */
  readonly content: FoundContent | null;
  readonly met: readonly Met[];
  /** Bytes that were written and are no copy. */
  readonly orphans: readonly Omit<Orphan, 'object'>[];
  readonly end: TurnEnd;
}

function passed(verdict: Verdict, reason: string): ObjectTurn {
  return { outcome: 'passed', end: { verdict, reason } };
}

/** Makes the copies one object lacks. Records nothing. */
export async function replicateObject(turn: CopyTurn, object: ObjectRecord): Promise<ObjectTurn> {
  const { tick } = turn;
  const lack = lackOf(tick, object);
  if (missingOf(lack) <= 0) return passed('skipped', 'enough-copies');
  if (lack.copies > 0) noteWaiting(tick, object);
  if (missingCopies(tick, object, comingTo(turn, object)) <= 0) return passed('skipped', 'transfer-pending');
  const choice = chooseTargets(turn, object);
  if (choice.outcome === 'crowded-out') return { outcome: 'put-off' };
  if (choice.outcome === 'over-limit') return passed('deferred', choice.reason);
  if (choice.outcome !== 'targets') return passed('skipped', choice.outcome);
  if (sourcesOf(turn, object).length === 0)
    return hasWaitingSource(turn, object) ? passed('skipped', 'backing-off') : passed('failed', 'no-source');
  if (isBig(tick, object)) return beginCopies(turn, object, choice.targets);
  return makeCopies(turn, object, choice.targets);
}

function hasWaitingSource({ tick }: CopyTurn, object: ObjectRecord): boolean {
  const retryView = retryViewOf(tick);
  return Object.keys(object.copies).some((name) => isWaiting(object, name, 'source', retryView));
}

/** Names the copies that a big object lacks, each within the month's limits; others make them. */
async function beginCopies(
  turn: CopyTurn,
  object: ObjectRecord,
  targets: readonly BackendConfig[],
): Promise<ObjectTurn> {
  const items: QueueItem[] = [];
  let end: TurnEnd = { verdict: 'skipped', reason: 'no-target' };
  let left = targets;
  for (;;) {
    const begunOn = items.map(({ backend }) => backend);
    left = targetsOfUse(turn, object, left, begunOn);
    const [target] = left;
    if (target === undefined) break;
    left = left.slice(1);
    const begun = await beginFromAny(turn, object, target.name);
    if (begun.outcome === 'begun') items.push(begun.item);
    else end = begun.end;
  }
  return items.length > 0 ? { outcome: 'begun', items } : { outcome: 'passed', end };
}

/** From the first source whose limit allows it: what one source, or one target, holds back goes another way. */
async function beginFromAny(
  turn: CopyTurn,
  object: ObjectRecord,
  to: string,
): Promise<
  { readonly outcome: 'begun'; readonly item: QueueItem } | { readonly outcome: 'not'; readonly end: TurnEnd }
> {
  let end: TurnEnd = { verdict: 'failed', reason: 'no-source' };
  for (const from of sourcesOf(turn, object)) {
    const begun = await beginTransfer(turn, { object, from, to });
    if (begun.outcome === 'begun') return begun;
    if (begun.outcome !== 'over-limit')
      return {
        outcome: 'not',
        end: { verdict: begun.outcome === 'no-room' ? 'skipped' : 'failed', reason: begun.outcome },
      };
    end = { verdict: 'deferred', reason: begun.reason };
  }
  return { outcome: 'not', end };
}

/** Targets that have room, and where the object still lacks a copy once its new copies are counted. */
function targetsOfUse(
  turn: CopyTurn,
  object: ObjectRecord,
  targets: readonly BackendConfig[],
  newCopies: readonly string[],
): BackendConfig[] {
  const coming = [...comingTo(turn, object), ...newCopies];
  const useful = targets.filter(
    (target) => hasRoom(turn, target, object.sizeBytes) && wantsCopyOn(turn.tick, object, target.name, coming),
  );
  return inSpreadOrder(turn, object, useful, newCopies);
}

/** Copies a small object to as many targets as it lacks: first where no copy of it stands, then in routing order. */
async function makeCopies(turn: CopyTurn, object: ObjectRecord, targets: readonly BackendConfig[]): Promise<TriedTurn> {
  const newCopies: Record<string, string> = {};
  const met: Met[] = [];
  const orphans: TriedTurn['orphans'][number][] = [];
  let content: FoundContent | null = null;
  let end: TurnEnd = { verdict: 'skipped', reason: 'no-target' };
  let left = targets;
  for (;;) {
    left = targetsOfUse(turn, object, left, Object.keys(newCopies));
    if (left.length === 0) break;
    const at = await takePlace(
      turn,
      left.map(({ name }) => name),
    );
    if (at === null) break;
    left = left.filter(({ name }) => name !== at.target);
    // What the first copy was read to be, the others must be too.
    const attempt = await copyTo(turn, { ...content, ...object }, at, met);
    met.push(...attempt.met);
    orphans.push(...attempt.orphans);
    if (attempt.outcome === 'copied') {
      newCopies[at.target] = attempt.copyId;
      content ??= attempt.content;
      continue;
    }
    end = attempt.end;
    if (attempt.outcome === 'no-source') break;
  }
  if (Object.keys(newCopies).length > 0) end = { verdict: 'succeeded' };
  return { outcome: 'tried', newCopies, content, met, orphans, end };
}

/** What came of one target. */
type CopyTry = Pick<TriedTurn, 'met' | 'orphans'> &
  (
    | { readonly outcome: 'copied'; readonly copyId: string; readonly content: FoundContent }
    | { readonly outcome: 'no-copy' | 'no-source'; readonly end: TurnEnd }
  );

/** Tries the sources in order into one target; what this turn has met speaks against some of them already. */
async function copyTo(
  turn: CopyTurn,
  object: ObjectRecord,
  { target, place }: PlaceAt,
  metBefore: readonly Met[],
): Promise<CopyTry> {
  plan(turn, target, object.sizeBytes);
  const leave = await turn.admission.enter(object.sizeBytes);
  let attempt: CopyTry | undefined;
  try {
    attempt = await tryTarget(turn, object, target, metBefore);
    return attempt;
  } finally {
    leave();
    if (attempt?.outcome !== 'copied') plan(turn, target, -object.sizeBytes);
    place.end(attempt === undefined ? 'nothing' : placeEndOf(attempt, target));
  }
}

function placeEndOf(attempt: CopyTry, target: string): PlaceEnd {
  if (attempt.outcome === 'copied') return 'stored';
  const isRefused = attempt.met.some(({ blame }) => blame.on === 'object' && blame.refusal.backend === target);
  return isRefused ? 'refused' : 'nothing';
}

async function tryTarget(
  turn: CopyTurn,
  object: ObjectRecord,
  target: string,
  metBefore: readonly Met[],
): Promise<CopyTry> {
  const met: Met[] = [];
  const orphans: TriedTurn['orphans'][number][] = [];
  let end: TurnEnd = { verdict: 'failed', reason: 'no-source' };
  for (const source of sourcesOf(turn, object)) {
    if (metBefore.some((one) => one.next === 'another-source' && one.source === source)) continue;
    // Its limits are asked again: others may have taken the room since the targets were chosen.
    const copy = await makeCopy(turn, { object, source, target });
    orphans.push(...copy.orphans);
    const { copyId, outcome } = copy;
    if (outcome.outcome === 'over-limit') {
      end = { verdict: 'deferred', reason: outcome.reason };
      continue;
    }
    if (outcome.outcome === 'copied')
      return { outcome: 'copied', copyId, content: foundContent(outcome), met, orphans };
    const judgement = judgeCopy(outcome, { source, target });
    met.push({ ...judgement, source, target });
    noteBlame(turn, judgement.blame);
    if (judgement.orphanReason !== undefined) orphans.push({ backend: target, copyId, reason: judgement.orphanReason });
    if (judgement.next === 'another-target')
      return { outcome: 'no-copy', met, orphans, end: { verdict: 'failed', reason: judgement.reason } };
  }
  // A limit keeps this target from its copy; another may cost less.
  return { outcome: end.verdict === 'deferred' ? 'no-copy' : 'no-source', met, orphans, end };
}
