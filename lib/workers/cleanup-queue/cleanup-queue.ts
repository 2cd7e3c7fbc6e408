import { count } from '../../base/tally.ts';
import { lackOf } from '../../steps/missing-copies.ts';
import { keysThatMayName } from '../../store/keys.ts';
import type { Entry, QueueItem } from '../../store/model.ts';
import type { DueItemsTick } from '../../tick/due-items.ts';
import { findDue } from '../../tick/due-items.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refresh } from '../../tick/refresh.ts';
import type { Round, Tick, Worker } from '../../tick/tick.ts';
import { claimAll } from './claim.ts';
import { decide, type FleetNow, isWaiting, stillHolds } from './decide.ts';
import type { DeleteBytesTick } from './delete-bytes.ts';
import { deleteBytes } from './delete-bytes.ts';
import type { JudgeAllTick } from './judge-all.ts';
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
  RefreshTick;

/**
 * The cleanup queue is the only hand that deletes bytes.
 *
 * It deletes what a due item names, under a claim, after a consistent read that no record names the bytes, whichever object
 * could. What one key is answered costs that item an attempt and holds up nobody else. A plain file is deleted only where
 * the backend compares its ETag, and only if it was not put there again since. Bytes that left their record on evidence are
 * deleted only once a recorded copy verifies, or once they read wrong or missing again; found good, they go back.
 *
 * Rules: [one-deleter], [cleanup-claims], [cleanup-asks-records], [cleanup-attempts], [cleanup-dead]
 */
export const cleanupQueue: Worker = { name: 'cleanup-queue', hasWork, begin };

async function hasWork(tick: CleanupQueueTick): Promise<boolean> {
  return (await findDue(tick, 'cleanup', undefined, 1)).items.length > 0;
}

async function begin(tick: CleanupQueueTick): Promise<Round> {
  const seen = new Set<string>();
  return () => cleanBatch(tick, seen);
}

async function cleanBatch(tick: CleanupQueueTick, seen: Set<string>): Promise<'more' | 'done'> {
  const due = await findDue(tick, 'cleanup', tick.cursor, tick.tuning.batchSize);
  const fresh = due.items.filter(({ id }) => !seen.has(id));
  for (const { id } of fresh) seen.add(id);
  if (tick.dryRun) {
    for (const _ of fresh) count(tick.tally, 'skipped', 'dry-run');
    return 'done';
  }
  // What has to be read first comes last: it may take long, and nobody waits for it.
  const waiting = fresh.filter(isWaiting);
  await deleteClaimed(
    tick,
    fresh.filter((item) => !isWaiting(item)).map((item) => ({ item })),
  );
  if (waiting.length > 0) {
    // Rarely needed: a cold start does not load it.
    const { judgeAll } = await import('./judge-all.ts');
    await deleteClaimed(tick, await judgeAll(tick, waiting));
  }
  tick.cursor = due.cursor;
  return due.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
}

/** Claims items, asks what is known of them after the claim, deletes what may be deleted, and settles each. */
async function deleteClaimed(tick: CleanupQueueTick, all: readonly Deletable[]): Promise<void> {
  const claimed = await claimCounted(tick, all);
  // A drain may have ended since the fleet was read: what it queued is not deleted any more.
  if (claimed.some(({ item }) => item.drainSince !== undefined)) await refresh(tick);
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

function decideNow(tick: CleanupQueueTick, { item, proof }: Deletable, entries: ReadonlyMap<string, Entry>) {
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
