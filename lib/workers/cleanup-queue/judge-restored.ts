import { defined } from '../../base/defined.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import { BackendError } from '../../fleet/backend.ts';
import type { QuarantineTick } from '../../steps/quarantine.ts';
import { verifiedCopy } from '../../steps/quarantine.ts';
import type { Entry, QueueCause, QueueItem } from '../../store/model.ts';
import { quarantineMs } from '../../store/queue-items.ts';
import { type Recovery, recoveryOf, restoredDueAt } from '../../store/recovery.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Tick } from '../../tick/tick.ts';
import { ifProven, type Judgement, putOff } from './judge-waiting.ts';
import type { CleanupQueueSettleTick } from './settle.ts';
import { settle } from './settle.ts';
import type { Deletable, ItemTurn, Turn } from './turn.ts';

/** What this file asks of a tick. */
export type JudgeRestoredTick = Pick<Tick, 'deps' | 'tuning' | 'signal' | 'outOfTime' | 'backend' | 'view'> &
  CleanupQueueSettleTick &
  HealthTick &
  QuarantineTick;

const dayMs = 24 * 3_600_000;

/**
 * Judges what restored tables had queued for deletion, without a claim. What became of the bytes since they were saved the tables
 * do not know: they may be those of a content that was brought back, and that is nowhere else. So what is there stays until a
 * person says otherwise, and goes then only where a recorded copy verifies, or nothing is recorded. Rule: [restored-queue-waits]
 */
export async function judgeRestored(tick: JudgeRestoredTick, items: readonly QueueItem[]): Promise<Deletable[]> {
  const recovery = recoveryOf(tick.view)!;
  const entries = await tick.deps.store.objects([...new Set(items.map(({ key }) => key))]);
  const deletable: Deletable[] = [];
  const turns: ItemTurn[] = [];
  await forEachConcurrently(items, tick.tuning.concurrency, async (item) => {
    const judgement = await judge(tick, recovery, item, entries.get(item.key));
    if (judgement.outcome === 'deletable') deletable.push({ item, ...defined({ proof: judgement.proof }) });
    else turns.push({ item, isClaimed: false, turn: judgement });
  });
  await settle(tick, turns);
  return deletable;
}

type Judged = Extract<Judgement, { outcome: 'deletable' }> | Turn;

async function judge(
  tick: JudgeRestoredTick,
  recovery: Recovery,
  item: QueueItem,
  entry: Entry | undefined,
): Promise<Judged> {
  if (tick.outOfTime()) return { outcome: 'parked', why: 'out-of-time' };
  if (!(await isUsable(tick, item.backend))) return { outcome: 'parked', why: 'parked' };
  try {
    const found = await (await tick.backend(item.backend)).head(item.storageKey, tick.signal);
    // Most of what was queued then went long ago.
    if (found === null) return { outcome: 'deletable' };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return error.speaksOf === 'object'
      ? putOff('unreadable', dayMs)
      : { outcome: 'parked', why: `backend-${error.kind}` };
  }
  const dueAt = restoredDueAt(recovery);
  if (tick.now() < dueAt) {
    const waits = putOff('of-lost-time', Math.min(quarantineMs, dueAt - tick.now()));
    // The tombstone may be gone by then.
    return entry?.kind === 'tombstone' && contents.has(item.cause) ? { ...waits, cause: 'deleted' } : waits;
  }
  return whenReleased(tick, item, entry);
}

/** What an object was, before something else took its place, or a copy of it was one too many. */
const contents: ReadonlySet<QueueCause> = new Set(['replaced', 'overwritten', 'surplus', 'moved']);

async function whenReleased(tick: JudgeRestoredTick, item: QueueItem, entry: Entry | undefined): Promise<Judged> {
  // That its object was deleted these tables have said themselves; else the records may be what was lost.
  if (entry === undefined)
    return item.cause === 'deleted' ? { outcome: 'deletable' } : putOff('no-record', quarantineMs);
  if (entry.kind === 'tombstone') return { outcome: 'deletable' };
  const proof = await verifiedCopy(tick, entry);
  return ifProven(proof, entry, () => putOff('record-does-not-verify', dayMs)) as Judged;
}
