import { defined } from '../../base/defined.ts';
import { count } from '../../base/tally.ts';
import { lackOf } from '../../steps/missing-copies.ts';
import { keysThatMayName } from '../../store/keys.ts';
import type { Entry, QueueItem } from '../../store/model.ts';
import { isOfLostTime, isRecoveryPending, recoveryOf, restoredDueAt } from '../../store/recovery.ts';
import type { DueItemsTick } from '../../tick/due-items.ts';
import { findDue } from '../../tick/due-items.ts';
import { isUsable } from '../../tick/health.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refresh } from '../../tick/refresh.ts';
import type { Round, Tick, Worker } from '../../tick/tick.ts';
import { claimAll } from './claim.ts';
import { decide, type FleetNow, isWaiting, stillHolds } from './decide.ts';
import type { DeleteBytesTick } from './delete-bytes.ts';
import { deleteBytes } from './delete-bytes.ts';
import type { JudgeAllTick } from './judge-all.ts';
import type { JudgeRestoredTick } from './judge-restored.ts';
import type { CleanupQueueSettleTick } from './settle.ts';
import { settle } from './settle.ts';
import type { Deletable, ItemTurn } from './turn.ts';

/** What this file asks of a tick. */
export type CleanupQueueTick = Pick<
  Tick,
  'deps' | 'config' | 'tuning' | 'dryRun' | 'tally' | 'cursor' | 'view' | 'standing'
> &
  CleanupQueueSettleTick &
  DeleteBytesTick &
  DueItemsTick &
  JudgeAllTick &
  JudgeRestoredTick &
  RefreshTick;

/**
 * The cleanup queue is the only hand that deletes bytes.
 *
 * It deletes what a due item names, under a claim, after a consistent read that no record names the bytes, whichever object
 * could. What one key is answered costs that item an attempt and holds up nobody else. A plain file is deleted only where
 * the backend compares its ETag, and only if it was not put there again since. Bytes that left their record on evidence are
 * deleted only once a recorded copy verifies, or once they read wrong or missing again; found good, they go back. What restored
 * tables had queued stays until a person says that it may go.
 *
 * Rules: [one-deleter], [cleanup-claims], [cleanup-asks-records], [cleanup-attempts], [cleanup-dead]
 */
export const cleanupQueue: Worker = { name: 'cleanup-queue', hasWork, begin };

async function hasWork(tick: CleanupQueueTick): Promise<boolean> {
  return (await findDue(tick, 'cleanup', undefined, 1)).items.length > 0;
}

async function begin(tick: CleanupQueueTick): Promise<Round> {
  const met: Met = { items: new Set(), unusable: new Set() };
  return () => cleanBatch(tick, met);
}

/** What this tick has met: items by their ids, and backends that do not answer or are not ours. */
interface Met {
  readonly items: Set<string>;
  readonly unusable: Set<string>;
}

async function cleanBatch(tick: CleanupQueueTick, met: Met): Promise<'more' | 'done'> {
  const due = await findDue(tick, 'cleanup', tick.cursor, tick.tuning.batchSize, met.unusable);
  const fresh = due.items.filter(({ id }) => !met.items.has(id));
  for (const { id } of fresh) met.items.add(id);
  if (tick.dryRun) {
    for (const _ of fresh) count(tick.tally, 'skipped', 'dry-run');
    return 'done';
  }
  const usable = await usableOf(tick, fresh, met.unusable);
  const recovery = recoveryOf(tick.view);
  const judgedNow = (all: readonly Deletable[]) =>
    all.map((one) => ({ ...one, ...defined({ judgedAfter: recovery?.since }) }));
  const { plain = [], waiting = [], restored = [] } = Object.groupBy(usable, (item) => wayOf(tick, item));
  await deleteClaimed(
    tick,
    plain.map((item) => ({ item })),
  );
  // What has to be read first comes last: it may take long, and nobody waits for it. Rarely needed: a cold start does not load it.
  if (waiting.length > 0) {
    const { judgeAll } = await import('./judge-all.ts');
    await deleteClaimed(tick, judgedNow(await judgeAll(tick, waiting)));
  }
  if (restored.length > 0) {
    const { judgeRestored } = await import('./judge-restored.ts');
    await deleteClaimed(tick, judgedNow(await judgeRestored(tick, restored)));
  }
  tick.cursor = due.cursor;
  return due.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
}

/** What is on backends that answer and are ours. The rest is neither claimed nor changed, and waits for another tick. */
async function usableOf(tick: CleanupQueueTick, fresh: readonly QueueItem[], unusable: Set<string>) {
  const parked = { outcome: 'parked', why: 'parked' } as const;
  const usable: QueueItem[] = [];
  for (const [backend, items] of Map.groupBy(fresh, (item) => item.backend)) {
    if (await isUsable(tick, backend)) usable.push(...items);
    else {
      unusable.add(backend);
      await settle(
        tick,
        items.map((item) => ({ item, isClaimed: false, turn: parked })),
      );
    }
  }
  return usable;
}

/** What is asked of an item before it is claimed: nothing, whether its bytes are good, or what a person said of a recovery. */
function wayOf({ view, now }: CleanupQueueTick, item: QueueItem): 'plain' | 'waiting' | 'restored' {
  const isReleased = () => now() >= restoredDueAt(recoveryOf(view)!);
  if (isOfLostTime(view, item) && !(isWaiting(item) && isReleased())) return 'restored';
  return isWaiting(item) ? 'waiting' : 'plain';
}

/** Claims items, asks what is known of them after the claim, deletes what may be deleted, and settles each. */
async function deleteClaimed(tick: CleanupQueueTick, all: readonly Deletable[]): Promise<void> {
  const claimed = await claimCounted(tick, all);
  // Since the fleet was read a drain may have ended, or the buckets may have been taken over. That is noted before a bucket says
  // whose it is now: whoever found it ours, and reads the fleet then, knows of it.
  if (claimed.length > 0) await refresh(tick);
  const entries = await tick.deps.store.objects([...new Set(claimed.flatMap(({ item }) => keysToAsk(item)))]);
  const turns: ItemTurn[] = [];
  const deletable: QueueItem[] = [];
  for (const one of claimed) {
    const decision = decideNow(tick, one, entries);
    if (decision.outcome === 'delete') deletable.push(one.item);
    else turns.push(turnOf(one.item, decision, entries));
  }
  for (const [backend, items] of Map.groupBy(deletable, ({ backend }) => backend)) {
    for (const [item, turn] of await deleteBytes(tick, backend, items)) turns.push(turnOf(item, turn, entries));
  }
  await settle(tick, turns);
}

/** What this tick has claimed; what it has not is counted, and left to whoever has. */
async function claimCounted(tick: CleanupQueueTick, all: readonly Deletable[]): Promise<Deletable[]> {
  const claims = await claimAll(
    tick,
    all.map(({ item }) => item),
  );
  const claimed: Deletable[] = [];
  for (const [i, { outcome, item }] of claims.entries()) {
    if (outcome === 'claimed') claimed.push({ ...all[i], item });
    else if (outcome === 'taken') count(tick.tally, 'skipped', 'claimed-elsewhere');
    else count(tick.tally, 'failed', 'claim-unanswered');
  }
  return claimed;
}

/** The object that the bytes belonged to, and every other that could record them. */
function keysToAsk({ key, storageKey }: QueueItem): string[] {
  return [...new Set([key, ...keysThatMayName(storageKey)])];
}

function decideNow(tick: CleanupQueueTick, one: Deletable, entries: ReadonlyMap<string, Entry>) {
  const { item, proof } = one;
  if (isRecoveryPending(tick.view)) return { outcome: 'parked', why: 'recovery-pending' } as const;
  if (isOfLostTime(tick.view, item) && one.judgedAfter !== recoveryOf(tick.view)?.since)
    return { outcome: 'put-off', why: 'of-lost-time', waitMs: 0 } as const;
  const named = keysToAsk(item).flatMap((key) => entries.get(key) ?? []);
  const decision = decide(item, named, fleetNow(tick));
  if (decision.outcome !== 'delete' || stillHolds(proof, item, entries.get(item.key))) return decision;
  return { outcome: 'put-off', why: 'proof-outdated', waitMs: 0 } as const;
}

function turnOf(item: QueueItem, turn: ItemTurn['turn'], entries: ReadonlyMap<string, Entry>): ItemTurn {
  return { item, isClaimed: true, turn, entry: entries.get(item.key) };
}

function fleetNow(tick: CleanupQueueTick): FleetNow {
  return {
    isAtFactor: (object) => lackOf(tick, object).copies <= 0,
    drainSince: (backend) => tick.view.drain(backend)?.since,
    canMatch: (backend) => tick.view.capabilities(backend).conditionalDelete === true,
  };
}
