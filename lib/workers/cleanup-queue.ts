import { defined } from '../base/defined.ts';
import { forEachConcurrently } from '../base/pool.ts';
import { count, note } from '../base/tally.ts';
import { policyOf } from '../config/fleet-file.ts';
import { BackendError, type DeleteOutcome } from '../fleet/backend.ts';
import { cleanupBackoffMs } from '../plans/backoff.ts';
import { copyIdOf } from '../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../store/model.ts';
import { StoreError } from '../store/port.ts';
import { namesBytes, type Swap } from '../store/swap.ts';
import { findDue } from '../tick/due-items.ts';
import { isUsable } from '../tick/health.ts';
import type { Round, Tick, Worker } from '../tick/tick.ts';
import { abortUploads } from '../transfer/big/uploads.ts';
import { readCopy } from '../transfer/read-copy.ts';

/**
 * The cleanup queue is the only hand that deletes bytes (Q1–Q5).
 *
 * It deletes what a due item names, under a claim, after a consistent read that no record names the bytes. It never deletes
 * a plain file whose ETag is another than the one recorded, nor where the backend cannot check that. Bytes that were
 * quarantined and turn out good at the end of their wait go back to the record they were taken from.
 */
export const cleanupQueue: Worker = { name: 'cleanup-queue', hasWork, begin };

const postponeMs = 3_600_000;
/** Whatever was configured when it was written, nothing smaller is written in parts. */
const smallestPartBytes = 5 * 2 ** 20;

async function hasWork(tick: Tick): Promise<boolean> {
  return (await findDue(tick, 'cleanup', undefined, 1)).items.length > 0;
}

async function begin(tick: Tick): Promise<Round> {
  const seen = new Set<string>();
  return () => cleanBatch(tick, seen);
}

async function cleanBatch(tick: Tick, seen: Set<string>): Promise<'more' | 'done'> {
  const due = await findDue(tick, 'cleanup', tick.cursor, tick.tuning.batchSize);
  const fresh = due.items.filter(({ id }) => !seen.has(id));
  for (const { id } of fresh) seen.add(id);
  if (tick.dryRun) {
    for (const _ of fresh) count(tick.tally, 'skipped', 'dry-run');
    return 'done';
  }
  const claims = await claimAll(tick, fresh);
  const entries = await tick.deps.store.objects([...new Set(claims.map(({ item }) => item.key))]);
  const deletable: QueueItem[] = [];
  for (const claim of claims) {
    const { item } = claim;
    const entry = entries.get(item.key);
    if (namesBytes(entry, item.backend, item.storageKey)) await dropNamed(tick, item);
    else if (entry?.kind === 'object' && isStillNeeded(tick, item, entry)) await postpone(tick, item);
    else if (entry?.kind === 'object' && (await takeBack(tick, claim, entry))) continue;
    else deletable.push(item);
  }
  const byBackend = Map.groupBy(deletable, ({ backend }) => backend);
  for (const [backend, items] of byBackend) await deleteOn(tick, backend, items);
  tick.cursor = due.cursor;
  return due.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
}

/** A claimed item, and whether anyone had claimed it before: a frozen claimant may still delete what it claimed. */
interface Claim {
  readonly item: QueueItem;
  readonly isFirst: boolean;
}

/** Q1: claims items one by one; what another tick claimed meanwhile is left to it. */
async function claimAll(tick: Tick, items: readonly QueueItem[]): Promise<Claim[]> {
  const claims: Claim[] = [];
  await forEachConcurrently(items, tick.tuning.concurrency, async (before) => {
    const now = tick.now();
    const item = { ...before, claimedBy: tick.runId, claimedAt: now, dueAt: now + tick.params.claimGraceMs };
    try {
      const expect = { state: 'cleanup', dueAt: before.dueAt } as const;
      const answer = await tick.deps.store.write({ kind: 'queue', put: item, expect });
      if (answer.outcome === 'done') claims.push({ item, isFirst: before.claimedBy === undefined });
      else count(tick.tally, 'skipped', 'claimed-elsewhere');
    } catch (error) {
      // An unanswered claim may stand; it runs out by itself.
      if (!(error instanceof StoreError) || (error.kind !== 'unanswered' && error.kind !== 'throttled')) throw error;
      count(tick.tally, 'failed', `claim-${error.kind}`);
    }
  });
  return claims;
}

/** Q2: a record names these bytes, so they are not ours to delete. This must not happen: it is an alarm. */
async function dropNamed(tick: Tick, item: QueueItem): Promise<void> {
  await settle(tick, [{ item, swap: ending(tick, item) }], 'skipped', 'named-by-record');
  tick.deps.log.error('Queued bytes are named by a record: not deleted', {
    alarm: true,
    key: item.key,
    backend: item.backend,
    storageKey: item.storageKey,
  });
}

/** Replicas of what an owner overwrote stay until the new content is at its factor. */
function isStillNeeded(tick: Tick, item: QueueItem, entry: ObjectRecord): boolean {
  if (item.cause !== 'overwritten') return false;
  const counted = Object.keys(entry.copies).filter((name) => tick.standing(name).isCounted);
  return counted.length < policyOf(tick.config, entry.key).factor;
}

async function postpone(tick: Tick, item: QueueItem): Promise<void> {
  const to: QueueItem = { ...item, dueAt: tick.now() + postponeMs };
  const swap: Swap = {
    key: item.key,
    moves: [{ from: { item, expect: { state: 'cleanup', claimedBy: tick.runId } }, to }],
  };
  await settle(tick, [{ item, swap }], 'skipped', 'still-needed');
}

/** Quarantined bytes that verify now return to their object, if it is still the same content and lacks a copy there. */
async function takeBack(tick: Tick, { item, isFirst }: Claim, entry: ObjectRecord): Promise<boolean> {
  if (!isFirst || item.cause !== 'quarantined' || entry.generation !== item.generation) return false;
  if (entry.copies[item.backend] !== undefined || entry.sha256 === undefined) return false;
  if (!(await isUsable(tick, item.backend))) return false;
  const copyId = copyIdOf(item);
  const after: ObjectRecord = { ...entry, condition: 'sound', copies: { ...entry.copies, [item.backend]: copyId } };
  const reading = await readCopy(await tick.backend(item.backend), after, tick.signal);
  if (reading.outcome !== 'good') return false;
  await settle(
    tick,
    [{ item, swap: { ...ending(tick, item), change: { before: entry, after } } }],
    'succeeded',
    'taken-back',
  );
  return true;
}

/** Q3, Q4: deletes on one backend and settles each item by the answer about its key. */
async function deleteOn(tick: Tick, backend: string, items: readonly QueueItem[]): Promise<void> {
  const park = (reason: string) => {
    for (const _ of items) count(tick.tally, 'skipped', reason);
  };
  if (tick.outOfTime()) return park('out-of-time');
  if (!(await isUsable(tick, backend))) return park('parked');
  const canMatch = tick.view.capabilities(backend).conditionalDelete === true;
  const forgotten = items.filter((item) => item.storageKey === item.key && !(canMatch && item.plainEtag !== undefined));
  await settle(
    tick,
    forgotten.map((item) => ({ item, swap: ending(tick, item) })),
    'skipped',
    'plain-file-left',
  );
  const rest = items.filter((item) => !forgotten.includes(item));
  let outcomes: readonly DeleteOutcome[];
  try {
    const handle = await tick.backend(backend, 'delete');
    await abortOpenUploads(tick, rest);
    const requests = rest.map(({ storageKey, plainEtag }) => ({
      storageKey,
      ...defined({ ifMatch: plainEtag }),
    }));
    outcomes = await handle.delete(requests, tick.signal);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    // A refused batch or an unreachable backend says nothing about any key: attempts unchanged, the claims run out.
    tick.deps.log.warn('Deletion was not answered', { backend, kind: error.kind, message: error.message });
    for (const _ of rest) count(tick.tally, 'failed', `backend-${error.kind}`);
    return;
  }
  const gone = rest.filter((_, i) => outcomes[i]!.outcome === 'deleted');
  const changed = rest.filter((_, i) => outcomes[i]!.outcome === 'changed');
  const failed = rest.flatMap((item, i) => {
    const outcome = outcomes[i]!;
    return outcome.outcome === 'failed' ? [{ item, error: outcome.error }] : [];
  });
  const end = (all: QueueItem[]) => all.map((item) => ({ item, swap: ending(tick, item) }));
  await settle(tick, end(gone), 'succeeded', 'deleted');
  await settle(tick, end(changed), 'skipped', 'plain-file-changed');
  await settle(
    tick,
    failed.flatMap(({ item, error }) => {
      const swap = retrying(tick, item, error);
      return swap === null ? [] : [{ item, swap }];
    }),
    'failed',
    'delete-failed',
  );
}

/** What is written in parts may have left an unfinished upload of exactly this key: that is bytes too. */
async function abortOpenUploads(tick: Tick, items: readonly QueueItem[]): Promise<void> {
  const wholeBytes = Math.min(smallestPartBytes, tick.params.multipartAboveBytes);
  for (const { backend, storageKey, transfer, intent, sizeBytes } of items) {
    const mayHaveParts = transfer !== undefined || (intent !== undefined && sizeBytes > wholeBytes);
    if (mayHaveParts) await abortUploads(await tick.backend(backend, 'delete'), storageKey, tick.signal);
  }
}

function ending(tick: Tick, item: QueueItem): Swap {
  return { key: item.key, completes: [{ item, expect: { state: 'cleanup', claimedBy: tick.runId } }] };
}

/** Q4, Q5: the next attempt, or `dead`; null when the answer was not about the key, which is no attempt. */
function retrying(tick: Tick, item: QueueItem, error: BackendError): Swap | null {
  if (error.speaksOf !== 'object') {
    count(tick.tally, 'failed', `backend-${error.kind}`);
    return null;
  }
  const attempts = item.attempts + 1;
  const isDead = attempts >= tick.params.maxAttempts;
  const to: QueueItem = {
    // The claim stays on the item: its holder may be frozen, and `takeBack` must know that there was one.
    ...item,
    state: isDead ? 'dead' : 'cleanup',
    attempts,
    dueAt: tick.now() + cleanupBackoffMs(item.attempts),
    lastError: `${error.kind}: ${error.message}`.slice(0, 500),
  };
  if (isDead)
    tick.audit('Deletion given up', {
      key: item.key,
      backend: item.backend,
      storageKey: item.storageKey,
      reason: to.lastError,
    });
  return { key: item.key, moves: [{ from: { item, expect: { state: 'cleanup', claimedBy: tick.runId } }, to }] };
}

/** Writes what became of items, and counts them. What could not be written runs out with its claim. */
async function settle(
  tick: Tick,
  all: readonly { readonly item: QueueItem; readonly swap: Swap }[],
  verdict: 'succeeded' | 'skipped' | 'failed',
  reason: string,
): Promise<void> {
  const outcomes = await tick.commit(all.map(({ swap }) => swap));
  for (const [i, { item }] of all.entries()) {
    const outcome = outcomes[i]!.outcome;
    if (outcome === 'committed') {
      count(tick.tally, verdict, reason);
      tick.audit('Queue item settled', {
        key: item.key,
        backend: item.backend,
        storageKey: item.storageKey,
        reason,
        queuedFor: item.reason,
      });
    } else {
      // `expired`: another tick took the claim over and settled the item.
      count(tick.tally, outcome === 'expired' ? 'skipped' : 'failed', `settle-${outcome}`);
      note(tick.tally, `not-settled: ${reason}`);
    }
  }
}
