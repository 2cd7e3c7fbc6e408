import { defined } from '../../base/defined.ts';
import { count, note, type Verdict } from '../../base/tally.ts';
import { cleanupBackoffMs } from '../../plans/backoff.ts';
import { afterDrain } from '../../store/after-drain.ts';
import type { Entry, QueueItem } from '../../store/model.ts';
import { quarantineMs } from '../../store/queue-items.ts';
import { withoutPlainFile } from '../../store/records.ts';
import { fleetKey, rowKeys } from '../../store/row-keys.ts';
import type { HeldItem, Swap } from '../../store/swap.ts';
import type { Tick } from '../../tick/tick.ts';
import { isFile } from './decide.ts';
import type { ItemTurn, Turn } from './turn.ts';

/** What this file asks of a tick. */
export type CleanupQueueSettleTick = Pick<Tick, 'deps' | 'runId' | 'params' | 'tally' | 'now' | 'commit' | 'audit'>;

/** Why a deletion waits whose object has too few other copies. */
const stillNeededMs = 3_600_000;

/** When it is asked what became of a copy to a fresh key. */
export const copyWaitMs = 3_600_000;

/** How turns are counted: one verdict and reason each, whatever was written. */
export function countedAs(turn: Turn): { readonly verdict: Verdict; readonly reason: string } {
  switch (turn.outcome) {
    case 'deleted':
      return { verdict: 'succeeded', reason: 'deleted' };
    case 'restored':
      return { verdict: 'succeeded', reason: 'restored' };
    case 'copy-begun':
      return { verdict: 'skipped', reason: 'copied-to-a-fresh-key' };
    case 'file-changed':
      return { verdict: 'skipped', reason: 'plain-file-changed' };
    case 'file-left':
      return { verdict: 'skipped', reason: `plain-file-left-${turn.why}` };
    case 'named':
      return { verdict: 'skipped', reason: 'named-by-record' };
    case 'still-needed':
    case 'drain-over':
      return { verdict: 'skipped', reason: turn.outcome };
    case 'put-off':
      return { verdict: 'skipped', reason: turn.why };
    case 'failed':
      return { verdict: 'failed', reason: 'delete-failed' };
    case 'parked':
      return { verdict: turn.why.startsWith('backend-') ? 'failed' : 'skipped', reason: turn.why };
  }
}

/** Writes what became of items, and counts them. What could not be written runs out with its claim. */
export async function settle(tick: CleanupQueueSettleTick, turns: readonly ItemTurn[]): Promise<void> {
  const written: { readonly it: ItemTurn; readonly swap: Swap }[] = [];
  for (const it of turns) {
    const swap = swapFor(tick, it);
    if (swap !== null) written.push({ it, swap });
    else countTurn(tick, it);
  }
  const outcomes = await tick.commit(written.map(({ swap }) => swap));
  const lost: ItemTurn[] = [];
  for (const [i, { it }] of written.entries()) {
    const { outcome } = outcomes[i]!;
    if (outcome === 'committed') report(tick, it);
    // The record moved on beside the item: it is settled alone, and the entry forgets its file another time.
    else if (outcome === 'lost' && it.turn.outcome !== 'restored') lost.push({ ...it, entry: undefined });
    else {
      // `expired`: another tick took the claim over and settled the item.
      count(tick.tally, outcome === 'expired' ? 'skipped' : 'failed', `settle-${outcome}`);
      note(tick.tally, `not-settled-${countedAs(it.turn).reason}`);
    }
  }
  if (lost.length > 0) await settle(tick, lost);
}

function countTurn(tick: CleanupQueueSettleTick, { turn }: ItemTurn): string {
  const { verdict, reason } = countedAs(turn);
  count(tick.tally, verdict, reason);
  return reason;
}

/** What a turn writes; null when nothing changes. */
function swapFor(tick: CleanupQueueSettleTick, { item, isClaimed, turn, entry }: ItemTurn): Swap | null {
  const expect = isClaimed
    ? // What was queued anew under this claim waits in its turn.
      ({ state: 'cleanup', claimedBy: tick.runId, dueAt: item.dueAt } as const)
    : ({ state: 'cleanup', dueAt: item.dueAt } as const);
  const from: HeldItem = { item, expect };
  const { key } = item;
  const moved = (change: Partial<QueueItem>): Swap => ({ key, moves: [{ from, to: { ...item, ...change } }] });
  switch (turn.outcome) {
    case 'parked':
      return null;
    case 'put-off':
      return moved({ dueAt: tick.now() + turn.waitMs, ...defined({ cause: turn.cause, reason: turn.cause }) });
    case 'copy-begun':
      return {
        ...moved({ dueAt: tick.now() + copyWaitMs, copiedBy: turn.transfer.id }),
        reserves: [turn.transfer],
      };
    case 'still-needed':
      return moved({ dueAt: tick.now() + stillNeededMs });
    case 'failed':
      return moved(nextAttempt(tick, item, turn.error));
    case 'drain-over':
      // A claim may mean that a deletion was begun before: nothing rejoins from here.
      return afterDrain(from, entry, { wasClaimed: true, dueAt: tick.now() + tick.params.graceMs }).swap;
    case 'restored':
      return { key, completes: [from], change: { before: turn.before, after: turn.after }, ...becauseWrong(tick) };
    case 'deleted':
      return { key, completes: [from], ...forgetting(item, entry), ...countedForDrain(item) };
    case 'file-changed':
      return { key, completes: [from], ...forgetting(item, entry) };
    default:
      return { key, completes: [from] };
  }
}

/** Whoever ends a drain is told how many files of their owners' it deleted. */
function countedForDrain(item: QueueItem): Pick<Swap, 'counters'> {
  const { backend, drainSince, sizeBytes } = item;
  if (drainSince === undefined || !isFile(item)) return {};
  const sk = `${rowKeys.deletedByDrain(backend, drainSince)}#0`;
  return { counters: [{ kind: 'add', pk: fleetKey, sk, add: { objects: 1, bytes: sizeBytes } }] };
}

/** Where good bytes take the place of recorded ones that are not, those wait as the good ones did. */
function becauseWrong(tick: CleanupQueueSettleTick): Pick<Swap, 'orphans'> {
  const now = tick.now();
  const reason = 'quarantined: good bytes took its place';
  return { orphans: { cause: 'quarantined', reason, dueAt: now + quarantineMs, createdAt: now } };
}

/** An entry remembers a file so that it is not imported again: that ends with the file. */
function forgetting(item: QueueItem, entry: Entry | undefined): Pick<Swap, 'change'> {
  if (!isFile(item) || entry === undefined || entry.key !== item.key) return {};
  const isRecorded = entry.kind === 'object' && entry.copies[item.backend] === '';
  const isRemembered = entry.plainEtags?.[item.backend] === item.plainEtag && item.plainEtag !== undefined;
  if (isRecorded || !isRemembered) return {};
  return { change: { before: entry, after: withoutPlainFile(entry, item.backend) } };
}

/** The next attempt, or `dead`. The claim stays on the item: its holder may be frozen in the midst of the deletion. */
function nextAttempt(
  tick: CleanupQueueSettleTick,
  item: QueueItem,
  error: { kind: string; message: string },
): Partial<QueueItem> {
  const attempts = item.attempts + 1;
  return {
    state: attempts >= tick.params.maxAttempts ? 'dead' : 'cleanup',
    attempts,
    dueAt: tick.now() + cleanupBackoffMs(item.attempts),
    lastError: `${error.kind}: ${error.message}`.slice(0, 500),
  };
}

/** One line per state change; an alarm for what must not happen, a report for what a person may want to see to. */
function report(tick: CleanupQueueSettleTick, it: ItemTurn): void {
  const { item, turn } = it;
  const reason = countTurn(tick, it);
  const { key, backend, storageKey, cause } = item;
  const fields = { key, backend, storageKey };
  if (turn.outcome === 'named')
    tick.deps.log.error('Queued bytes are named by a record: not deleted', { alarm: true, ...fields });
  if (turn.outcome === 'file-left')
    tick.deps.log.warn('An imported file was left where it is: it cannot be deleted safely', {
      ...fields,
      why: turn.why,
    });
  if (turn.outcome === 'failed' && item.attempts + 1 >= tick.params.maxAttempts)
    tick.audit('Deletion given up', { ...fields, message: turn.error.message });
  tick.audit('Queue item settled', { ...fields, reason, cause });
}
