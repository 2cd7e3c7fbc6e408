import { defined } from '../../base/defined.ts';
import { count } from '../../base/tally.ts';
import { policyOf } from '../../config/fleet-file.ts';
import { BackendError } from '../../fleet/backend.ts';
import { cleanupBackoffMs } from '../../plans/backoff.ts';
import { copyIdOf } from '../../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem, TransferFields } from '../../store/model.ts';
import { enqueuedForDeletion } from '../../store/queue-items.ts';
import type { Swap } from '../../store/swap.ts';
import type { AgesTick } from '../../tick/ages.ts';
import { noteLag } from '../../tick/ages.ts';
import type { FleetAsRead, Tick, TickAccount, TickTime } from '../../tick/tick.ts';
import { abortUploads } from '../../transfer/big/uploads.ts';
import type { FoundContent } from '../../transfer/copy.ts';
import type { CopyTurn } from '../copy-turn.ts';
import { mayMoveTo, missingCopies, wantsCopyOn } from '../missing-copies.ts';
import { type Refusal, withoutRefusals, withRefusals } from '../refusals.ts';
import type { HoldTick } from './hold.ts';
import { giveBack, type Hold } from './hold.ts';

/** What this file asks of a tick. */
export type TransfersSettleTick = Pick<Tick, 'deps' | 'runId' | 'params' | 'backend' | 'commit'> &
  FleetAsRead &
  TickAccount &
  TickTime &
  AgesTick &
  HoldTick;

/** How often a record that keeps changing is tried. */
const tries = 5;

/** How often bytes that no record names are asked for in vain. */
const vainTries = 10;

/** Why nobody wants this copy any more; null while it is wanted. */
export function whyUnwanted(tick: TransfersSettleTick, item: QueueItem, entry: Entry | undefined): string | null {
  if (entry?.kind !== 'object' || entry.generation !== item.generation) return 'superseded';
  if (entry.copies[item.backend] !== undefined) return 'has-copy';
  const { config, isCounted } = tick.standing(item.backend);
  if (config === undefined || !isCounted) return 'target-not-counted';
  const { leaves, sourceKey } = item.transfer!;
  // Good bytes that are in no record are wanted whatever the record holds, while they can be had.
  if (sourceKey !== undefined) return item.attempts < vainTries ? null : 'source-gone';
  if (entry.condition === 'damaged') return 'damaged';
  if (config.maxObjectBytes > 0 && config.maxObjectBytes < item.sizeBytes) return 'target-too-small';
  // An imported copy stays where it is, so one that became plain is not left either.
  if (leaves === undefined) return wantsCopyOn(tick, entry, item.backend) ? null : 'enough-copies';
  if (!entry.copies[leaves]) return 'moved-already';
  return mayMoveTo(tick, entry, leaves, item.backend) ? null : 'place-not-wanted';
}

/** Records a copy that is verified, on whatever the record is now, in one swap that ends its item. */
export async function recordTransfer(
  tick: TransfersSettleTick,
  hold: Hold,
  content: FoundContent,
): Promise<'ended' | 'goes-on'> {
  const { item } = hold;
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const entry = (await tick.deps.store.objects([item.key])).get(item.key);
    const why = whyUnwanted(tick, item, entry);
    if (why !== null) {
      await abandon(tick, hold, why);
      return 'ended';
    }
    const [outcome] = await tick.commit([swapFor(tick, item, entry as ObjectRecord, content)]);
    if (outcome!.outcome === 'lost') continue;
    // Without an answer, the next tick that claims it finds it as it is.
    if (outcome!.outcome !== 'committed') {
      count(tick.tally, outcome!.outcome === 'expired' ? 'skipped' : 'failed', `record-${outcome!.outcome}`);
      return 'goes-on';
    }
    const { key, backend, reason } = item;
    noteLag(tick, entry as ObjectRecord, [backend]);
    tick.audit('Copy recorded', { key, backend, copyId: copyIdOf(item), reason });
    count(tick.tally, 'succeeded', 'transferred');
    return 'ended';
  }
  return pause(tick, hold, 'record-lost');
}

function swapFor(tick: TransfersSettleTick, item: QueueItem, before: ObjectRecord, content: FoundContent): Swap {
  const { leaves, sourceKey } = item.transfer!;
  const copies: Record<string, string> = {
    ...before.copies,
    [item.backend]: copyIdOf(item),
  };
  if (leaves !== undefined) delete copies[leaves];
  const now = tick.now();
  const after: ObjectRecord = {
    ...content,
    ...before,
    copies,
    policy: policyOf(tick.config, item.key).name,
    // It was read in full, and is what is recorded.
    ...(sourceKey !== undefined && { condition: 'sound' }),
  };
  return {
    key: item.key,
    change: { before, after: withoutRefusals(after, missingCopies(tick, after) > 0) },
    completes: [{ item, expect: { state: 'transfer', claimedBy: tick.runId } }],
    ...(leaves !== undefined && {
      orphans: { cause: 'moved' as const, dueAt: now + tick.params.graceMs, createdAt: now },
    }),
  };
}

/** Nobody reads these bytes, so what there is of them is deleted at once, its uploads with it. */
export async function abandon(tick: TransfersSettleTick, hold: Hold, reason: string): Promise<void> {
  const outcome = await enqueueItem(tick, hold, reason);
  if (outcome === 'committed') count(tick.tally, 'skipped', `abandoned-${reason}`);
  else count(tick.tally, outcome === 'expired' ? 'skipped' : 'failed', `abandon-${outcome}`);
}

async function enqueueItem(tick: TransfersSettleTick, { item }: Hold, reason: string) {
  const to = enqueuedForDeletion(item, {
    cause: 'copy-abandoned',
    reason: `transfer ${reason}`,
    dueAt: tick.now(),
  });
  const from = { item, expect: { state: 'transfer', claimedBy: tick.runId } } as const;
  const [outcome] = await tick.commit([{ key: item.key, moves: [{ from, to }] }]);
  const { key, backend, storageKey } = item;
  if (outcome!.outcome === 'committed') tick.audit('Transfer abandoned', { key, backend, storageKey, reason });
  return outcome!.outcome;
}

/**
 * There was no time, or no allowance, to go on: nobody's fault.
 *
 * @param heldBackBy the leg whose limit it waits for, where another target may take the copy meanwhile
 */
export async function pause(
  tick: TransfersSettleTick,
  hold: Hold,
  reason: string,
  waitMs = 0,
  heldBackBy?: 'target',
): Promise<'goes-on'> {
  const attempts = hasProgress(hold) ? 0 : hold.item.attempts;
  const transfer = { ...hold.item.transfer!, ...defined({ failedLeg: heldBackBy }) };
  await giveBack(tick, hold, { transfer, dueAt: tick.now() + waitMs, attempts });
  count(tick.tally, 'deferred', reason);
  return 'goes-on';
}

export interface Failure {
  /** Null when it is nobody's. */
  readonly leg: 'source' | 'target' | null;
  /** For counting. */
  readonly reason: string;
  readonly message: string;
  /** Whether what was sent is of no use: its upload is aborted, and the next attempt begins with the first part. */
  readonly isFresh: boolean;
  /** The source from which all was sent in vain. */
  readonly inVain?: string;
}

/** The transfer waits, longer with each failure without progress in between. */
export async function failTransfer(tick: TransfersSettleTick, hold: Hold, failure: Failure): Promise<void> {
  const { leg, reason, message, isFresh, inVain } = failure;
  const attempts = hasProgress(hold) && !isFresh ? 1 : hold.item.attempts + 1;
  const { failedLeg: _before, ...kept } = isFresh ? fromTheStart(hold.item.transfer!) : hold.item.transfer!;
  const failedSources =
    inVain === undefined ? kept.failedSources : [...new Set([...(kept.failedSources ?? []), inVain])];
  const transfer: TransferFields = { ...kept, ...defined({ failedLeg: leg ?? undefined, failedSources }) };
  const { key, backend, storageKey } = hold.item;
  if (isFresh) await tryToAbort(tick, hold.item);
  const dueAt = tick.now() + Math.min(cleanupBackoffMs(attempts - 1), longestWaitMs);
  await giveBack(tick, hold, { transfer, attempts, dueAt, lastError: `${reason}: ${message}`.slice(0, 500) });
  tick.deps.log.warn('Transfer failed', { key, backend, storageKey, leg, reason, message, attempts });
  count(tick.tally, 'failed', reason);
}

/**
 * The target refuses this object: the copy ends, and the refusal is written on the object's record in the same transaction, so
 * that another target takes it, and this one is asked again only after its backoff. Where the target refuses everything, the
 * copy waits for it as after any failure of its own.
 */
export async function refuseTransfer(
  turn: CopyTurn,
  hold: Hold,
  refusal: Refusal,
  reason: string,
): Promise<'ended' | 'goes-on'> {
  const { tick, trust } = turn;
  const verdict = await trust.verdict(refusal.backend);
  const after = verdict === 'objects' ? await endRefused(tick, hold, refusal) : undefined;
  if (after === undefined) {
    await failTransfer(tick, hold, { leg: 'target', reason, message: refusal.message, isFresh: true });
    turn.pending.note(hold.item);
    const entry = (await tick.deps.store.objects([hold.item.key])).get(hold.item.key);
    if (entry?.kind === 'object' && hold.item.transfer!.leaves === undefined) turn.again.push(entry);
    return 'goes-on';
  }
  const { key, backend, storageKey } = hold.item;
  tick.deps.log.warn('Transfer was refused', { key, backend, storageKey, reason, message: refusal.message });
  count(tick.tally, 'failed', reason);
  turn.pending.forget(hold.item);
  if (hold.item.transfer!.leaves === undefined) turn.again.push(after);
  return 'ended';
}

/** The record with the refusal, committed together with the end of the copy; undefined where it could not be. */
async function endRefused(
  tick: TransfersSettleTick,
  { item }: Hold,
  refusal: Refusal,
): Promise<ObjectRecord | undefined> {
  const to = enqueuedForDeletion(item, {
    cause: 'copy-abandoned',
    reason: `transfer refused: ${refusal.cause}`,
    dueAt: tick.now(),
  });
  const from = { item, expect: { state: 'transfer', claimedBy: tick.runId } } as const;
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const before = (await tick.deps.store.objects([item.key])).get(item.key);
    if (before?.kind !== 'object' || before.generation !== item.generation) return undefined;
    const after = withRefusals(tick, before, { refusals: [refusal] });
    const [outcome] = await tick.commit([{ key: item.key, change: { before, after }, moves: [{ from, to }] }]);
    if (outcome!.outcome === 'committed') return outcome!.entry as ObjectRecord;
    if (outcome!.outcome !== 'lost') return undefined;
  }
  return undefined;
}

/** As long as a refused object waits at most. */
const longestWaitMs = 6 * 3_600_000;

/** What is left of a copy that begins anew. */
export function fromTheStart(transfer: TransferFields): TransferFields {
  const { from, uploadId, partSizeBytes, leaves, sourceKey, failedSources, restarts = 0 } = transfer;
  return {
    from,
    uploadId: '',
    partSizeBytes,
    partsDone: 0,
    hashState: '',
    ...defined({ leaves, sourceKey, failedSources }),
    restarts: uploadId === '' ? restarts : restarts + 1,
  };
}

function hasProgress({ item, found }: Hold): boolean {
  const [now, then] = [item.transfer!, found.transfer!];
  return now.uploadId === then.uploadId && (now.partsDone > then.partsDone || now.sha256 !== then.sha256);
}

/** Whoever goes on aborts what is still open; so does the clean-up. */
async function tryToAbort(tick: TransfersSettleTick, { backend, storageKey }: QueueItem): Promise<void> {
  try {
    await abortUploads(await tick.backend(backend), storageKey, tick.signal);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    tick.deps.log.warn('Upload could not be aborted', { backend, storageKey, kind: error.kind });
  }
}
