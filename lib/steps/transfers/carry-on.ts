import { forEachConcurrently } from '../../base/pool.ts';
import { count, note } from '../../base/tally.ts';
import { BackendError } from '../../fleet/backend.ts';
import type { ObjectRecord, QueueItem, TransferFields } from '../../store/model.ts';
import type { Budget } from '../../tick/budget.ts';
import { findDue, openLanes } from '../../tick/due-items.ts';
import { refreshIfOld } from '../../tick/refresh.ts';
import type { Tick } from '../../tick/tick.ts';
import type { BigCopy, BigCopyOutcome } from '../../transfer/big/job.ts';
import type { PartBuffers } from '../../transfer/big/part-buffers.ts';
import { quarantineOnEvidence, readableCopies } from '../quarantine.ts';
import { claim, type Hold, save } from './hold.ts';
import { abandon, failStoredWrong, failTransfer, fromTheStart, pause, recordTransfer, whyUnwanted } from './settle.ts';

/** What transfers of one tick share. */
export interface TransferTurn {
  readonly tick: Tick;
  readonly budget: Budget;
  readonly buffers: PartBuffers;
  /** Backends that are ours and answered in this tick. */
  readonly usable: ReadonlySet<string>;
  /** R4: targets that failed in this tick. */
  readonly failedTargets: Set<string>;
  /** Big copies under way, by key. */
  readonly pending: Map<string, QueueItem[]>;
  /** Objects whose target failed: another may take them, still in this tick. */
  readonly again: ObjectRecord[];
  /** What was carried on in this tick. */
  readonly tried: Set<string>;
  /** Where the next search begins. */
  lane?: string | undefined;
}

/** Transfers under way at a time: more would only share what one fills. */
const atOnce = 2;
const hourMs = 3_600_000;

/** Whether a transfer waits for somebody to go on with it. */
export async function hasDueTransfers(tick: Tick): Promise<boolean> {
  return (await findDue(tick, 'transfer', undefined, 1)).items.length > 0;
}

/** Goes on with a batch of due transfers, those first that have waited longest, until the moment has come. */
export async function carryOnDue(
  turn: TransferTurn,
  begun: readonly QueueItem[],
  until: number,
): Promise<'more' | 'done'> {
  const { tick, tried } = turn;
  const lanes = openLanes(tick, 'transfer');
  // Not always the same lanes first: what stands behind many others has its turn too.
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
export async function carryOn(turn: TransferTurn, items: readonly QueueItem[], until: number): Promise<void> {
  const { tick } = turn;
  await forEachConcurrently(items, atOnce, async (item) => {
    if (tick.dryRun) return count(tick.tally, 'skipped', 'dry-run');
    if (tick.outOfTime()) return count(tick.tally, 'deferred', 'out-of-time');
    if (tick.now() >= until) return;
    if (!turn.usable.has(item.backend) || !tick.standing(item.backend).isReachable)
      return count(tick.tally, 'skipped', 'target-unusable');
    if (turn.failedTargets.has(item.backend)) return count(tick.tally, 'skipped', 'target-failed-before');
    const hold = await claim(tick, item);
    if (hold !== null) await carryOnWith(turn, hold, until);
  });
}

async function carryOnWith(turn: TransferTurn, hold: Hold, until: number): Promise<void> {
  const { tick } = turn;
  const { item } = hold;
  const entry = (await tick.deps.store.objects([item.key])).get(item.key);
  const why = whyUnwanted(tick, item, entry);
  if (why !== null) return abandon(tick, hold, why);
  const object = entry as ObjectRecord;
  if (item.transfer!.sha256 !== undefined) {
    const outcome = await runOnce(turn, hold, object, null, until);
    return settle(turn, hold, object, outcome);
  }
  const { sources, refusal } = sourcesFor(turn, hold.item, object);
  if (refusal !== null) return pause(tick, hold, refusal, hourMs);
  let outcome: BigCopyOutcome | undefined;
  for (const source of sources) {
    outcome = await runOnce(turn, hold, object, source, until);
    // Another copy of the same generation holds the same bytes.
    if (!outcome.outcome.startsWith('source-')) break;
    note(tick.tally, `${outcome.outcome}: ${source}`);
    if (outcome.outcome === 'source-missing' || outcome.outcome === 'source-wrong')
      note(tick.tally, `examined: ${(await quarantineOnEvidence(tick, object.key, source)).outcome}`);
  }
  if (outcome !== undefined) return settle(turn, hold, object, outcome);
  const failure = { leg: 'source', reason: 'no-source', message: 'no copy can be read now', isFresh: false } as const;
  await failTransfer(tick, hold, failure);
}

/** R3: where the bytes may come from, the one they came from first; or the usage limit that stands in the way. */
function sourcesFor(turn: TransferTurn, item: QueueItem, object: ObjectRecord) {
  const { tick, budget, usable } = turn;
  const { from, partsDone, partSizeBytes } = item.transfer!;
  const restBytes = Math.max(0, object.sizeBytes - partsDone * partSizeBytes);
  const refusal = budget.refuses(item.backend, { requests: 1, ingressBytes: restBytes });
  if (refusal !== null) return { sources: [], refusal };
  const readable = readableCopies(tick, object).filter((name) => usable.has(name) && name !== item.backend);
  const refusals = readable.map((name) => budget.refuses(name, { requests: 1, egressBytes: restBytes }));
  const sources = readable.filter((_, i) => refusals[i] === null);
  sources.sort((a, b) => Number(b === from) - Number(a === from));
  return { sources, refusal: sources.length === 0 ? (refusals[0] ?? null) : null };
}

/** One turn at it, from one source. */
async function runOnce(
  turn: TransferTurn,
  hold: Hold,
  object: ObjectRecord,
  source: string | null,
  until: number,
): Promise<BigCopyOutcome> {
  const { tick, budget } = turn;
  const { item } = hold;
  const restBytes =
    object.sizeBytes - Math.min(object.sizeBytes, item.transfer!.partsDone * item.transfer!.partSizeBytes);
  const giveBack = [
    budget.reserve(item.backend, { requests: 1, ingressBytes: restBytes }),
    ...(source === null ? [] : [budget.reserve(source, { requests: 1, egressBytes: restBytes })]),
  ];
  const stop = new AbortController();
  /** Others found that one end has failed: what is left waits until its breaker is closed. */
  const stopIfUnreachable = () => {
    if ([item.backend, source ?? item.backend].some((name) => !tick.standing(name).isReachable)) stop.abort();
  };
  tick.onRefresh.add(stopIfUnreachable);
  stopIfUnreachable();
  try {
    const [from, to] = await Promise.all([source === null ? null : tick.backend(source), tick.backend(item.backend)]);
    const endsInThisTurn = isSureToEnd(tick, hold, source);
    const job: BigCopy = {
      clock: tick.deps.clock,
      object,
      from,
      to,
      storageKey: item.storageKey,
      fleetId: tick.fleetId,
      preservesTags: tick.params.preservesTags,
      progress: progressFrom(item.transfer!, object, source),
      endsInThisTurn,
      width: tick.tuning.concurrency,
      buffers: turn.buffers,
      mayBegin: (expectedMs, isFirst) =>
        mayBegin(tick, endsInThisTurn ? Number.POSITIVE_INFINITY : until, expectedMs, isFirst),
      reserveReadBack: (bytes) => {
        const spend = { requests: 1, egressBytes: bytes };
        const refusal = budget.refuses(item.backend, spend);
        if (refusal === null) giveBack.push(budget.reserve(item.backend, spend));
        return refusal;
      },
      save: async (progress) => {
        await refreshIfOld(tick);
        return save(tick, hold, progress);
      },
    };
    // Most ticks meet no big object: a cold start does not load it.
    const { copyInParts } = await import('../../transfer/big/big-copy.ts');
    const outcome = await copyInParts(job, AbortSignal.any([tick.signal, stop.signal]));
    hold.item = { ...hold.item, transfer: job.progress };
    return outcome;
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return error.backend === source ? { outcome: 'source-failed', error } : { outcome: 'target-failed', error };
  } finally {
    tick.onRefresh.delete(stopIfUnreachable);
    for (const back of giveBack) back();
  }
}

/** Of an object whose hash nobody knows, parts from two copies would prove nothing. */
function progressFrom(transfer: TransferFields, object: ObjectRecord, source: string | null): TransferFields {
  if (source === null || source === transfer.from) return transfer;
  if (object.sha256 === undefined && transfer.partsDone > 0) return { ...fromTheStart(transfer), from: source };
  return { ...transfer, from: source };
}

/** What a link that deserves the name moves in a second. */
const modestBytesPerSecond = 10 * 2 ** 20;
/** What a crash may cost to be read again. */
const maxLostBytes = 2 ** 30;

/** A transfer that was begun before, by a tick that did not end it, is never sure to end. */
function isSureToEnd(tick: Tick, { found }: Hold, source: string | null): boolean {
  if (found.claimedBy !== undefined || found.attempts > 0) return false;
  const rates = [source, found.backend].flatMap((name) => {
    const rate = tick.config.backends.find((backend) => backend.name === name)?.maxBytesPerSecond ?? 0;
    return rate > 0 ? [rate / tick.of / 2] : [];
  });
  const leftMs = Math.max(0, tick.deadline.admitUntil - tick.now());
  const movable = (Math.min(modestBytesPerSecond, ...rates) * leftMs) / 1000;
  return found.sizeBytes <= Math.min(maxLostBytes, movable);
}

function mayBegin(tick: Tick, until: number, expectedMs: number, isFirst: boolean): boolean {
  const now = tick.now();
  if (now >= tick.deadline.admitUntil || (now >= until && !isFirst)) return false;
  return isFirst || now + expectedMs < tick.deadline.cancelAt;
}

async function settle(turn: TransferTurn, hold: Hold, object: ObjectRecord, outcome: BigCopyOutcome): Promise<void> {
  const { tick } = turn;
  const { uploadId, partsDone, sha256 } = hold.item.transfer!;
  /** A hash that was not kept makes what was sent useless. */
  const isUseless = uploadId !== '' && partsDone === 0 && sha256 === undefined;
  // Not sent: others had found the backend unreachable.
  if ('error' in outcome && outcome.error.kind === 'cancelled') return pause(tick, hold, 'transfer-continues');
  switch (outcome.outcome) {
    case 'stored':
      return recordTransfer(tick, hold, outcome.sha256);
    case 'unfinished':
      return pause(tick, hold, 'transfer-continues');
    case 'over-limit':
      return pause(tick, hold, outcome.reason, hourMs);
    case 'taken':
      return count(tick.tally, 'skipped', 'claimed-elsewhere');
    case 'upload-gone':
      return failTransfer(tick, hold, {
        leg: null,
        reason: 'upload-gone',
        message: 'it must begin anew',
        isFresh: true,
      });
    case 'wrong-digest':
      await failTransfer(tick, hold, { leg: 'source', reason: 'wrong-digest', message: outcome.detail, isFresh: true });
      return note(
        tick.tally,
        `examined: ${(await quarantineOnEvidence(tick, object.key, hold.item.transfer!.from)).outcome}`,
      );
    case 'target-wrong':
      failedTarget(turn, hold, object);
      return failStoredWrong(tick, hold, object, outcome.detail);
    case 'target-failed': {
      const { kind, message, speaksOf } = outcome.error;
      const isRefusal = speaksOf === 'object' || speaksOf === 'target';
      if (isRefusal || speaksOf === 'backend') failedTarget(turn, hold, object);
      return failTransfer(tick, hold, {
        leg: 'target',
        reason: `target-${kind}`,
        message,
        isFresh: isRefusal || isUseless,
      });
    }
    default: {
      const message = outcome.outcome === 'source-failed' ? outcome.error.message : outcome.outcome;
      const reason = outcome.outcome === 'source-failed' ? `source-${outcome.error.kind}` : outcome.outcome;
      return failTransfer(tick, hold, { leg: 'source', reason, message, isFresh: isUseless });
    }
  }
}

/** R4; what it should have held another backend may take. */
function failedTarget({ failedTargets, pending, again }: TransferTurn, { item }: Hold, object: ObjectRecord): void {
  failedTargets.add(item.backend);
  const failed: QueueItem = { ...item, transfer: { ...item.transfer!, failedLeg: 'target' } };
  pending.set(item.key, [...(pending.get(item.key) ?? []).filter(({ id }) => id !== item.id), failed]);
  if (item.transfer!.leaves === undefined) again.push(object);
}
