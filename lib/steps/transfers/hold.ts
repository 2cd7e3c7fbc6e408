import { count } from '../../base/tally.ts';
import type { QueueItem, TransferFields } from '../../store/model.ts';
import { StoreError } from '../../store/port.ts';
import type { Tick } from '../../tick/tick.ts';
import type { SaveOutcome } from '../../transfer/saver.ts';

/** What this file asks of a tick. */
export type HoldTick = Pick<Tick, 'deps' | 'runId' | 'deadline' | 'tally' | 'now'>;

/** A transfer that this tick has claimed; nobody else works on it until the claim runs out. */
export interface Hold {
  /** As last written. */
  item: QueueItem;
  /** As it was found. */
  readonly found: QueueItem;
}

/** A claim outlives its tick by as much as a lease does. */
const claimGraceMs = 5_000;

/** Claims a due transfer; null, and counted, when another tick was faster. */
export async function claim(tick: HoldTick, found: QueueItem): Promise<Hold | null> {
  const dueAt = tick.deadline.at + claimGraceMs;
  const item = { ...found, claimedBy: tick.runId, claimedAt: tick.now(), dueAt };
  const expect = { state: 'transfer', dueAt: found.dueAt } as const;
  const outcome = await attempt(tick, () => tick.deps.store.write({ kind: 'queue', put: item, expect }));
  if (outcome === 'saved') return { item, found };
  if (outcome === 'taken') count(tick.tally, 'skipped', 'claimed-elsewhere');
  else count(tick.tally, 'failed', 'claim-unanswered');
  return null;
}

/** Writes progress, while the claim stands. */
export async function save(tick: HoldTick, hold: Hold, transfer: TransferFields): Promise<SaveOutcome> {
  return write(tick, hold, { ...hold.item, transfer });
}

/** Gives a transfer back to whoever comes next, to be due again at a moment. */
export async function giveBack(tick: HoldTick, hold: Hold, change: Partial<QueueItem>): Promise<SaveOutcome> {
  const { claimedBy: _by, claimedAt: _at, ...unclaimed } = hold.item;
  return write(tick, hold, { ...unclaimed, ...change });
}

async function write(tick: HoldTick, hold: Hold, put: QueueItem): Promise<SaveOutcome> {
  const expect = { state: 'transfer', claimedBy: tick.runId } as const;
  const outcome = await attempt(tick, () => tick.deps.store.write({ kind: 'queue', put, expect }));
  if (outcome === 'saved') hold.item = put;
  return outcome;
}

/** An unanswered write may stand. What it would have said is said again, or runs out with the claim. */
async function attempt(tick: HoldTick, send: () => Promise<{ outcome: 'done' | 'refused' }>): Promise<SaveOutcome> {
  try {
    return (await send()).outcome === 'done' ? 'saved' : 'taken';
  } catch (error) {
    if (!(error instanceof StoreError) || !['unanswered', 'throttled', 'unreachable'].includes(error.kind)) throw error;
    tick.deps.log.warn('Progress of a transfer was not saved', { kind: error.kind, message: error.message });
    return 'unknown';
  }
}
