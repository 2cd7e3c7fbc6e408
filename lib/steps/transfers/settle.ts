import { defined } from '../../base/defined.ts';
import { count } from '../../base/tally.ts';
import { policyOf } from '../../config/fleet-file.ts';
import { BackendError } from '../../fleet/backend.ts';
import { cleanupBackoffMs } from '../../plans/backoff.ts';
import { copyIdOf } from '../../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem, TransferFields } from '../../store/model.ts';
import { enqueuedForDeletion } from '../../store/queue-items.ts';
import type { Swap } from '../../store/swap.ts';
import { noteLag } from '../../tick/ages.ts';
import type { Tick } from '../../tick/tick.ts';
import { abortUploads } from '../../transfer/big/uploads.ts';
import { newTransfer } from './begin.ts';
import { giveBack, type Hold } from './hold.ts';

/** How often a record that keeps changing is tried. */
const tries = 5;

/** Why nobody wants this copy any more; null while it is wanted. */
export function whyUnwanted(tick: Tick, item: QueueItem, entry: Entry | undefined): string | null {
  if (entry?.kind !== 'object' || entry.generation !== item.generation) return 'superseded';
  if (entry.copies[item.backend] !== undefined) return 'has-copy';
  if (entry.condition === 'damaged') return 'damaged';
  const { config, isCounted } = tick.standing(item.backend);
  if (config === undefined || !isCounted) return 'target-not-counted';
  if (config.maxObjectBytes > 0 && config.maxObjectBytes < item.sizeBytes) return 'target-too-small';
  const { leaves } = item.transfer!;
  // An imported copy stays where it is, so one that became plain is not left either.
  if (leaves !== undefined) return entry.copies[leaves] ? null : 'moved-already';
  const counted = Object.keys(entry.copies).filter((name) => tick.standing(name).isCounted);
  return counted.length >= policyOf(tick.config, entry.key).factor ? 'enough-copies' : null;
}

/** Records a copy that is verified, on whatever the record is now, in one swap that ends its item. */
export async function recordTransfer(tick: Tick, hold: Hold, sha256: string): Promise<void> {
  const { item } = hold;
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const entry = (await tick.deps.store.objects([item.key])).get(item.key);
    const why = whyUnwanted(tick, item, entry);
    if (why !== null) return abandon(tick, hold, why);
    const [outcome] = await tick.commit([swapFor(tick, item, entry as ObjectRecord, sha256)]);
    if (outcome!.outcome === 'lost') continue;
    // Without an answer, the next tick that claims it finds it as it is.
    if (outcome!.outcome !== 'committed') {
      return count(tick.tally, outcome!.outcome === 'expired' ? 'skipped' : 'failed', `record-${outcome!.outcome}`);
    }
    const { key, backend, reason } = item;
    noteLag(tick, entry as ObjectRecord, [backend]);
    tick.audit('Copy recorded', { key, backend, copyId: copyIdOf(item), reason });
    return count(tick.tally, 'succeeded', 'transferred');
  }
  await pause(tick, hold, 'record-lost');
}

function swapFor(tick: Tick, item: QueueItem, before: ObjectRecord, sha256: string): Swap {
  const { leaves } = item.transfer!;
  const copies: Record<string, string> = {
    ...before.copies,
    [item.backend]: copyIdOf(item),
  };
  if (leaves !== undefined) delete copies[leaves];
  const now = tick.now();
  return {
    key: item.key,
    change: { before, after: { ...before, copies, policy: policyOf(tick.config, item.key).name, sha256 } },
    completes: [{ item, expect: { state: 'transfer', claimedBy: tick.runId } }],
    ...(leaves !== undefined && {
      orphans: { cause: 'moved' as const, dueAt: now + tick.params.graceMs, createdAt: now },
    }),
  };
}

/** Nobody reads these bytes, so what there is of them is deleted at once, its uploads with it. */
export async function abandon(tick: Tick, hold: Hold, reason: string): Promise<void> {
  const outcome = await enqueueItem(tick, hold, reason);
  if (outcome === 'committed') count(tick.tally, 'skipped', `abandoned: ${reason}`);
  else count(tick.tally, outcome === 'expired' ? 'skipped' : 'failed', `abandon-${outcome}`);
}

async function enqueueItem(tick: Tick, { item }: Hold, reason: string, reserves: readonly QueueItem[] = []) {
  const to = enqueuedForDeletion(item, {
    cause: 'copy-abandoned',
    reason: `transfer ${reason}`,
    dueAt: tick.now(),
  });
  const from = { item, expect: { state: 'transfer', claimedBy: tick.runId } } as const;
  const [outcome] = await tick.commit([{ key: item.key, moves: [{ from, to }], reserves }]);
  const { key, backend, storageKey } = item;
  if (outcome!.outcome === 'committed') tick.audit('Transfer abandoned', { key, backend, storageKey, reason });
  return outcome!.outcome;
}

/** There was no time, or no allowance, to go on: nobody's fault. */
export async function pause(tick: Tick, hold: Hold, reason: string, waitMs = 0): Promise<void> {
  const attempts = hasProgress(hold) ? 0 : hold.item.attempts;
  await giveBack(tick, hold, { dueAt: tick.now() + waitMs, attempts });
  count(tick.tally, 'deferred', reason);
}

export interface Failure {
  /** Null when it is nobody's. */
  readonly leg: 'source' | 'target' | null;
  /** For counting. */
  readonly reason: string;
  readonly message: string;
  /** Whether what was sent is of no use: its upload is aborted, and the next attempt begins with the first part. */
  readonly isFresh: boolean;
}

/** The transfer waits, longer with each failure without progress in between. */
export async function failTransfer(tick: Tick, hold: Hold, failure: Failure): Promise<void> {
  const { leg, reason, message, isFresh } = failure;
  const attempts = hasProgress(hold) && !isFresh ? 1 : hold.item.attempts + 1;
  const { failedLeg: _before, ...kept } = isFresh ? fromTheStart(hold.item.transfer!) : hold.item.transfer!;
  const transfer: TransferFields = { ...kept, ...(leg !== null && { failedLeg: leg }) };
  const { key, backend, storageKey } = hold.item;
  if (isFresh) await tryToAbort(tick, hold.item);
  const dueAt = tick.now() + cleanupBackoffMs(attempts - 1);
  await giveBack(tick, hold, { transfer, attempts, dueAt, lastError: `${reason}: ${message}`.slice(0, 500) });
  tick.deps.log.warn('Transfer failed', { key, backend, storageKey, leg, reason, message, attempts });
  count(tick.tally, 'failed', reason);
}

/** Other bytes stand at the target than were sent: they go, and the next attempt waits under a name of its own. */
export async function failStoredWrong(tick: Tick, hold: Hold, object: ObjectRecord, message: string): Promise<void> {
  const { from, leaves } = hold.item.transfer!;
  const plan = { object, from, to: hold.item.backend, ...defined({ leaves }) };
  const attempts = hold.item.attempts + 1;
  const fresh = newTransfer(tick, plan);
  const next: QueueItem = {
    ...fresh,
    attempts,
    dueAt: tick.now() + cleanupBackoffMs(attempts - 1),
    lastError: `stored-wrong: ${message}`.slice(0, 500),
    transfer: { ...fresh.transfer!, failedLeg: 'target' },
  };
  tick.deps.log.error(message, { key: object.key, backend: hold.item.backend });
  const outcome = await enqueueItem(tick, hold, 'stored-wrong', [next]);
  if (outcome === 'no-room') await enqueueItem(tick, hold, 'stored-wrong');
  count(tick.tally, 'failed', 'target-wrong');
}

export function fromTheStart({ from, partSizeBytes, leaves }: TransferFields): TransferFields {
  return { from, uploadId: '', partSizeBytes, partsDone: 0, hashState: '', ...defined({ leaves }) };
}

function hasProgress({ item, found }: Hold): boolean {
  const [now, then] = [item.transfer!, found.transfer!];
  return now.uploadId === then.uploadId && (now.partsDone > then.partsDone || now.sha256 !== then.sha256);
}

/** Whoever goes on aborts what is still open; so does the clean-up. */
async function tryToAbort(tick: Tick, { backend, storageKey }: QueueItem): Promise<void> {
  try {
    await abortUploads(await tick.backend(backend), storageKey, tick.signal);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    tick.deps.log.warn('Upload could not be aborted', { backend, storageKey, kind: error.kind });
  }
}
