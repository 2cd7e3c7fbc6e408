import { forEachConcurrently } from '../../base/pool.ts';
import { count, note } from '../../base/tally.ts';
import { copyIdOf } from '../../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import { findDue, openLanes } from '../../tick/due-items.ts';
import type { BigCopyOutcome } from '../../transfer/big/job.ts';
import { foundContent } from '../../transfer/copy.ts';
import { isOpen, takePlace } from '../copy-targets.ts';
import { type CopyTurn, noteBlame } from '../copy-turn.ts';
import { type Blame, judgeCopy } from '../judge-copy.ts';
import { noteRefusals } from '../note-refusals.ts';
import { readableCopies } from '../quarantine.ts';
import { isWaiting, retryViewOf } from '../refusals.ts';
import type { Place, PlaceEnd } from '../target-trust.ts';
import { isLeftAlone } from '../write-check.ts';
import { claim, type Hold } from './hold.ts';
import { runTransfer } from './run-transfer.ts';
import { abandon, type Failure, failTransfer, pause, recordTransfer, refuseTransfer, whyUnwanted } from './settle.ts';

/** Transfers under way at a time: more would only share what one fills. */
const atOnce = 2;
const hourMs = 3_600_000;

/** Goes on with a batch of due transfers until its time is up. Those that have waited longest come first. */
export async function carryOnDue(turn: CopyTurn, begun: readonly QueueItem[], until: number): Promise<'more' | 'done'> {
  const { tick, tried } = turn;
  const lanes = openLanes(tick, 'transfer');
  // The lanes come in another order each time, so that a transfer behind many others has its turn too.
  turn.lane ??= lanes[Math.floor(tick.deps.ids.random() * lanes.length)];
  const due = await findDue(tick, 'transfer', turn.lane, tick.tuning.batchSize);
  turn.lane = due.cursor;
  const isNews = due.items.some(({ id }) => !tried.has(id));
  const all = new Map([...due.items, ...begun].map((item) => [item.id, item]));
  const items = [...all.values()].sort((a, b) => a.dueAt - b.dueAt);
  for (const { id } of items) tried.add(id);
  await carryOn(turn, items, until);
  return due.cursor !== undefined && isNews ? 'more' : 'done';
}

/** Goes on with these transfers, a few at a time. */
export async function carryOn(turn: CopyTurn, items: readonly QueueItem[], until: number): Promise<void> {
  const { tick } = turn;
  await forEachConcurrently(items, atOnce, async (item) => {
    if (tick.dryRun) return count(tick.tally, 'skipped', 'dry-run');
    if (tick.outOfTime()) return count(tick.tally, 'deferred', 'out-of-time');
    if (tick.now() >= until) return;
    if (!turn.usable.has(item.backend) || !tick.standing(item.backend).isReachable)
      return count(tick.tally, 'skipped', 'target-unusable');
    // It can only be abandoned: whether its target takes writes is not tried out where it drains.
    if (!tick.standing(item.backend).isCounted) return carryOnAt(turn, item, null, until);
    // Sent again, it would only be asked once more whether it takes anything.
    if (isLeftAlone(tick, item.backend)) return count(tick.tally, 'skipped', 'target-left-alone');
    if (!isOpen(turn, item.backend)) return count(tick.tally, 'skipped', 'target-failed-before');
    const at = await takePlace(turn, [item.backend]);
    if (at === null) return count(tick.tally, 'skipped', 'target-in-doubt');
    try {
      await carryOnAt(turn, item, at.place, until);
    } finally {
      at.place.end('nothing');
    }
  });
}

/** `place` null: nothing may be sent. */
async function carryOnAt(turn: CopyTurn, item: QueueItem, place: Place | null, until: number): Promise<void> {
  const { tick, pending } = turn;
  const hold = await claim(tick, item);
  if (hold === null) return;
  pending.release(item);
  const entry = (await tick.deps.store.objects([item.key])).get(item.key);
  const why = whyUnwanted(tick, item, entry);
  if (why !== null) {
    pending.forget(item);
    return abandon(tick, hold, why);
  }
  if (place === null) {
    // The target has come back to the fleet since.
    await pause(tick, hold, 'target-in-doubt');
    return pending.note(hold.item);
  }
  const object = entry as ObjectRecord;
  const outcome = await runFromAny(turn, hold, object, until);
  place.end(placeEndOf(outcome, hold));
  const after = await settle(turn, hold, object, outcome);
  if (after === 'ended') pending.forget(item);
  else pending.note(hold.item);
}

/** Whether the target took something: a part of it says as much as the whole. */
function placeEndOf(outcome: TransferOutcome, { item, found }: Hold): PlaceEnd {
  if (outcome.outcome === 'stored' || item.transfer!.partsDone > found.transfer!.partsDone) return 'stored';
  if (outcome.outcome === 'target-wrong') return 'refused';
  return outcome.outcome === 'target-failed' && outcome.error.speaksOf === 'object' ? 'refused' : 'nothing';
}

/**
 * What became of one turn; as of a big copy, and: `backing-off` every copy refused to be read, and none is to be asked yet ·
 * `no-source` no copy can be read now.
 */
type TransferOutcome =
  | Exclude<BigCopyOutcome, { outcome: 'unproven' }>
  | { readonly outcome: 'backing-off'; readonly waitMs: number }
  | { readonly outcome: 'no-source' };

/** One turn, from the sources in order: another copy of the same generation holds the same bytes. */
async function runFromAny(turn: CopyTurn, hold: Hold, object: ObjectRecord, until: number): Promise<TransferOutcome> {
  if (hold.item.transfer!.sha256 !== undefined) return runProving(turn, hold, object, null, until);
  const { sources, waitMs } = sourcesFor(turn, hold.item, object);
  let outcome: TransferOutcome = waitMs === null ? { outcome: 'no-source' } : { outcome: 'backing-off', waitMs };
  const blames: Blame[] = [];
  for (const source of sources) {
    outcome = await runProving(turn, hold, asHeld(hold.item, object), source, until);
    const isSources = outcome.outcome === 'over-limit' && outcome.backend === source;
    if (!isSources && !isOfSource(outcome)) break;
    note(turn.tick.tally, `${outcome.outcome}-on-${source}`);
    if (!isOfSource(outcome)) continue;
    const { blame } = judgeCopy(outcome, { source, target: hold.item.backend });
    noteBlame(turn, blame);
    blames.push(blame);
  }
  if (blames.length > 0)
    await noteRefusals(
      turn,
      blames.map((blame) => ({ object, met: [{ blame }] })),
    );
  return outcome;
}

/** The object as its source holds it: good bytes that wait in the queue are in no record. */
function asHeld({ key, transfer }: QueueItem, object: ObjectRecord): ObjectRecord {
  const { from, sourceKey } = transfer!;
  if (sourceKey === undefined) return object;
  return { ...object, copies: { ...object.copies, [from]: copyIdOf({ key, storageKey: sourceKey }) } };
}

/** What nobody had hashed is completed at the target only when its hash is proven. */
async function runProving(
  turn: CopyTurn,
  hold: Hold,
  object: ObjectRecord,
  source: string | null,
  until: number,
): Promise<TransferOutcome> {
  const isSent = source === null && hold.item.transfer!.needsProof === true;
  const outcome = isSent ? ({ outcome: 'unproven' } as const) : await runTransfer(turn, hold, object, source, until);
  if (outcome.outcome !== 'unproven') return outcome;
  const { proveFirstHash } = await import('./prove-first-hash.ts');
  const unproven = await proveFirstHash(turn.tick, hold, object);
  if (unproven !== null) return unproven;
  const completed = await runTransfer(turn, hold, object, null, until);
  return completed.outcome === 'unproven' ? { outcome: 'unfinished' } : completed;
}

type SourceOutcome = Extract<BigCopyOutcome, { outcome: `source-${string}` }>;

function isOfSource(outcome: TransferOutcome): outcome is SourceOutcome {
  return outcome.outcome.startsWith('source-');
}

/** Where the bytes may come from. The source of the parts that are done comes first; sources that sent wrong bytes come last. */
function sourcesFor({ tick, usable }: CopyTurn, item: QueueItem, object: ObjectRecord) {
  const { from, failedSources = [], sourceKey } = item.transfer!;
  if (sourceKey !== undefined) return { sources: usable.has(from) ? [from] : [], waitMs: null };
  const retryView = retryViewOf(tick);
  const readable = readableCopies(tick, object).filter((name) => usable.has(name) && name !== item.backend);
  const sources = readable.filter((name) => !isWaiting(object, name, 'source', retryView));
  const rank = (name: string) => (failedSources.includes(name) ? 2 : name === from ? 0 : 1);
  sources.sort((a, b) => rank(a) - rank(b));
  const waits = readable.flatMap((name) => object.stuck?.[name]?.nextTryAt ?? []);
  const waitMs = sources.length > 0 || waits.length === 0 ? null : Math.max(0, Math.min(...waits) - retryView.now);
  return { sources, waitMs };
}

/** What is written down of a turn, and what another target may do about it. */
async function settle(
  turn: CopyTurn,
  hold: Hold,
  object: ObjectRecord,
  outcome: TransferOutcome,
): Promise<'ended' | 'goes-on'> {
  const { tick } = turn;
  // Not sent: others had found the backend unreachable.
  if ('error' in outcome && outcome.error.kind === 'cancelled') return pause(tick, hold, 'transfer-continues');
  switch (outcome.outcome) {
    case 'stored':
      return recordTransfer(tick, hold, foundContent(outcome));
    case 'unfinished':
      return pause(tick, hold, 'transfer-continues');
    case 'backing-off':
      return pause(tick, hold, 'backing-off', outcome.waitMs);
    case 'over-limit':
      return holdBack(turn, hold, object, outcome);
    case 'taken':
      count(tick.tally, 'skipped', 'claimed-elsewhere');
      return 'goes-on';
    case 'target-wrong': {
      const refusal = {
        backend: hold.item.backend,
        leg: 'target',
        cause: 'stored-wrong',
        message: outcome.detail,
      } as const;
      tick.deps.log.error('Backend stored other bytes than it was sent', {
        key: object.key,
        backend: hold.item.backend,
        message: outcome.detail,
      });
      return refuseTransfer(turn, hold, refusal, 'target-wrong');
    }
    case 'target-failed':
      return settleTargetFailure(turn, hold, object, outcome);
    case 'wrong-digest': {
      const { from } = hold.item.transfer!;
      const message = outcome.detail;
      await failTransfer(tick, hold, { leg: 'source', reason: 'wrong-digest', message, isFresh: true, inVain: from });
      await noteRefusals(turn, [{ object, met: [{ blame: { on: 'bytes', backend: from, seem: 'wrong' } }] }]);
      return 'goes-on';
    }
    default:
      return failFrom(turn, hold, object, outcome);
  }
}

/** Nothing could be sent from any copy, or the target knows the upload no more. */
async function failFrom(
  turn: CopyTurn,
  hold: Hold,
  object: ObjectRecord,
  outcome: SourceOutcome | { readonly outcome: 'upload-gone' | 'no-source' },
): Promise<'goes-on'> {
  const failure = failureOf(hold, outcome);
  await failTransfer(turn.tick, hold, failure);
  if (failure.leg === 'target') letOthersTake(turn, hold, object);
  return 'goes-on';
}

function failureOf(hold: Hold, outcome: SourceOutcome | { readonly outcome: 'upload-gone' | 'no-source' }): Failure {
  if (outcome.outcome === 'no-source')
    return { leg: 'source', reason: 'no-source', message: 'no copy can be read now', isFresh: false };
  if (outcome.outcome === 'upload-gone') {
    // Somebody may have aborted it, once. A target that forgets uploads is not waited for.
    const leg = (hold.item.transfer!.restarts ?? 0) > 0 ? 'target' : null;
    return { leg, reason: 'upload-gone', message: 'it must begin anew', isFresh: true };
  }
  const reason = outcome.outcome === 'source-failed' ? `source-${outcome.error.kind}` : outcome.outcome;
  const message = outcome.outcome === 'source-failed' ? outcome.error.message : outcome.outcome;
  return { leg: 'source', reason, message, isFresh: isUseless(hold) || outcome.outcome === 'source-unproven' };
}

/** A hash that was not kept makes what was sent useless. */
function isUseless({ item }: Hold): boolean {
  const { uploadId, partsDone, sha256 } = item.transfer!;
  return uploadId !== '' && partsDone === 0 && sha256 === undefined;
}

async function settleTargetFailure(
  turn: CopyTurn,
  hold: Hold,
  object: ObjectRecord,
  outcome: Extract<BigCopyOutcome, { outcome: 'target-failed' }>,
): Promise<'ended' | 'goes-on'> {
  const { blame, reason, message } = judgeCopy(outcome, {
    source: hold.item.transfer!.from,
    target: hold.item.backend,
  });
  noteBlame(turn, blame);
  if (blame.on === 'object') return refuseTransfer(turn, hold, blame.refusal, reason);
  const isTargets = blame.on !== 'nobody';
  const isFresh = blame.on === 'target' || isUseless(hold);
  await failTransfer(turn.tick, hold, { leg: isTargets ? 'target' : null, reason, message, isFresh });
  if (isTargets) letOthersTake(turn, hold, object);
  return 'goes-on';
}

/** It waits for the month; what its own target's limit holds back goes to another that is free. */
async function holdBack(
  turn: CopyTurn,
  hold: Hold,
  object: ObjectRecord,
  { backend, reason }: Extract<BigCopyOutcome, { outcome: 'over-limit' }>,
): Promise<'goes-on'> {
  const isTargets = backend === hold.item.backend && hold.item.transfer!.sha256 === undefined;
  await pause(turn.tick, hold, reason, hourMs, isTargets ? 'target' : undefined);
  if (isTargets) letOthersTake(turn, hold, object);
  return 'goes-on';
}

/** What it should have held another backend may take, still in this tick. A move is planned anew by whoever plans moves. */
function letOthersTake({ again, pending }: CopyTurn, { item }: Hold, object: ObjectRecord): void {
  pending.note(item);
  if (item.transfer!.leaves === undefined) again.push(object);
}
