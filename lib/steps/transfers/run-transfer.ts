import { BackendError } from '../../fleet/backend.ts';
import { readingRequest } from '../../fleet/usage-limits.ts';
import type { ObjectRecord, TransferFields } from '../../store/model.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refreshIfOld } from '../../tick/refresh.ts';
import type { FleetAsRead, Tick, TickTime } from '../../tick/tick.ts';
import type { BigCopy, BigCopyOutcome } from '../../transfer/big/job.ts';
import type { CopyTurn } from '../copy-turn.ts';
import { overLimitOf } from '../make-copy.ts';
import type { HoldTick } from './hold.ts';
import { type Hold, save } from './hold.ts';
import { claimsOf } from './pending.ts';
import { fromTheStart } from './settle.ts';

/** What this file asks of a tick. */
export type RunTransferTick = Pick<Tick, 'deps' | 'params' | 'tuning' | 'of' | 'onRefresh' | 'backend'> &
  FleetAsRead &
  TickTime &
  HoldTick &
  RefreshTick;

/** One turn at a big copy, from one source (null: all is sent), until a moment. Leaves its progress in the hold. */
export async function runTransfer(
  turn: CopyTurn,
  hold: Hold,
  object: ObjectRecord,
  source: string | null,
  until: number,
): Promise<BigCopyOutcome> {
  const { tick, budget } = turn;
  const { item } = hold;
  const stop = new AbortController();
  /** Others found that one end has failed: what is left waits until its breaker is closed. */
  const stopIfUnreachable = () => {
    if ([item.backend, source ?? item.backend].some((name) => !tick.standing(name).isReachable)) stop.abort();
  };
  tick.onRefresh.add(stopIfUnreachable);
  stopIfUnreachable();
  try {
    const spent = await budget.spend(claimsOf(item, source), async () => {
      const job = await jobFor(turn, hold, object, source, until);
      // Most ticks meet no big object: a cold start does not load it.
      const { copyInParts } = await import('../../transfer/big/big-copy.ts');
      const outcome = await copyInParts(job, AbortSignal.any([tick.signal, stop.signal]));
      hold.item = { ...hold.item, transfer: job.progress };
      return outcome;
    });
    return spent.outcome === 'spent' ? (overLimitOf(spent.value) ?? spent.value) : spent;
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    const outcome = overLimitOf({ error });
    if (outcome !== null) return outcome;
    return error.backend === source ? { outcome: 'source-failed', error } : { outcome: 'target-failed', error };
  } finally {
    tick.onRefresh.delete(stopIfUnreachable);
  }
}

async function jobFor(
  turn: CopyTurn,
  hold: Hold,
  object: ObjectRecord,
  source: string | null,
  until: number,
): Promise<BigCopy> {
  const { tick, budget, buffers } = turn;
  const { item } = hold;
  const [from, to] = await Promise.all([source === null ? null : tick.backend(source), tick.backend(item.backend)]);
  const endsInThisTurn = isSureToEnd(tick, hold, source);
  return {
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
    buffers,
    mayBegin: (expectedMs, isFirst) =>
      mayBegin(tick, endsInThisTurn ? Number.POSITIVE_INFINITY : until, expectedMs, isFirst),
    spendReadingBack: (bytes, run) =>
      budget.spend([{ backend: item.backend, ...readingRequest, egressBytes: bytes }], run),
    save: async (progress) => {
      await refreshIfOld(tick);
      return save(tick, hold, progress);
    },
  };
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
function isSureToEnd(tick: RunTransferTick, { found }: Hold, source: string | null): boolean {
  if (found.claimedBy !== undefined || found.attempts > 0) return false;
  const rates = [source, found.backend].flatMap((name) => {
    const rate = tick.config.backends.find((backend) => backend.name === name)?.maxBytesPerSecond ?? 0;
    return rate > 0 ? [rate / tick.of / 2] : [];
  });
  const leftMs = Math.max(0, tick.deadline.admitUntil - tick.now());
  const movable = (Math.min(modestBytesPerSecond, ...rates) * leftMs) / 1000;
  return found.sizeBytes <= Math.min(maxLostBytes, movable);
}

function mayBegin(tick: RunTransferTick, until: number, expectedMs: number, isFirst: boolean): boolean {
  const now = tick.now();
  if (now >= tick.deadline.admitUntil || (now >= until && !isFirst)) return false;
  return isFirst || now + expectedMs < tick.deadline.cancelAt;
}
