import { defined } from '../base/defined.ts';
import { forEachConcurrently } from '../base/pool.ts';
import { count, type Verdict } from '../base/tally.ts';
import { policyOf } from '../config/fleet-file.ts';
import { BackendError, type StoredObject } from '../fleet/backend.ts';
import { copyIdOf } from '../store/keys.ts';
import type { Entry, ObjectRecord, QueueCause, QueueItem } from '../store/model.ts';
import { bytesOf, enqueuedForDeletion } from '../store/queue-items.ts';
import { newRecord } from '../store/records.ts';
import { namesBytes, type Swap } from '../store/swap.ts';
import type { Budget } from '../tick/budget.ts';
import { findDue } from '../tick/due-items.ts';
import { isUsable } from '../tick/health.ts';
import type { Round, Tick, Worker } from '../tick/tick.ts';
import { readCopy } from '../transfer/read-copy.ts';

/**
 * The pending reaper settles puts whose writer has fallen silent (P1–P3): bytes that arrived whole, over an object that
 * nothing has changed since, are recorded as the put would have done; everything else is queued for deletion. It never
 * records bytes over a newer write or a delete, and never touches a put that is still being written.
 */
export const pendingReaper: Worker = { name: 'pending-reaper', hasWork, begin };

const hourMs = 3_600_000;
/** An intent this old is never promoted. */
const oldestMs = 5 * 24 * hourMs;

async function hasWork(tick: Tick): Promise<boolean> {
  return (await findDue(tick, 'intent', undefined, 1)).items.length > 0;
}

async function begin(tick: Tick): Promise<Round> {
  const budget = await tick.budget();
  const seen = new Set<string>();
  return async () => {
    const due = await findDue(tick, 'intent', tick.cursor, tick.tuning.batchSize);
    const fresh = due.items.filter(({ id }) => !seen.has(id));
    for (const { id } of fresh) seen.add(id);
    await forEachConcurrently(fresh, tick.tuning.concurrency, (item) => settleIntent(tick, budget, item));
    tick.cursor = due.cursor;
    return due.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
  };
}

async function settleIntent(tick: Tick, budget: Budget, item: QueueItem): Promise<void> {
  if (tick.dryRun) return count(tick.tally, 'skipped', 'dry-run');
  if (tick.outOfTime()) return count(tick.tally, 'deferred', 'out-of-time');
  if (!(await isUsable(tick, item.backend))) return count(tick.tally, 'skipped', 'parked');
  let found: StoredObject | null;
  try {
    found = await (await tick.backend(item.backend)).head(item.storageKey, tick.signal);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return later(tick, item, 'failed', `head-${error.kind}`);
  }
  // Read after the HEAD: whatever the record says now, the bytes were seen before it.
  const entry = (await tick.deps.store.objects([item.key])).get(item.key) ?? null;
  const decision = decide(tick, item, found, entry);
  const checked =
    decision.after === undefined ? decision : await verified(tick, budget, item, decision, decision.after);
  if ('verdict' in checked) return later(tick, item, checked.verdict, checked.reason);
  const [outcome] = await tick.commit([checked.swap]);
  // `expired`: the writer came back; `lost`: the object moved on, and the next tick sees how.
  if (outcome!.outcome !== 'committed') return count(tick.tally, 'skipped', outcome!.outcome);
  tick.audit('Intent settled', {
    key: item.key,
    backend: item.backend,
    storageKey: item.storageKey,
    reason: checked.reason,
  });
  count(tick.tally, 'succeeded', checked.reason);
}

/** What to do with an intent; `after` is the record it would make. */
interface Decision {
  readonly swap: Swap;
  readonly reason: string;
  readonly after?: ObjectRecord;
}

/**
 * A put compares what was stored before it commits, and so does whoever commits for it: where the hash is known the bytes are
 * read in full. Other bytes are queued for deletion; what cannot be read now waits.
 */
async function verified(
  tick: Tick,
  budget: Budget,
  item: QueueItem,
  decision: Decision,
  after: ObjectRecord,
): Promise<Decision | { readonly verdict: Verdict; readonly reason: string }> {
  if (after.sha256 === undefined) return decision;
  const spend = { requests: 1, egressBytes: item.sizeBytes };
  const refusal = budget.refuses(item.backend, spend);
  if (refusal !== null) return { verdict: 'deferred', reason: refusal };
  const giveBack = budget.reserve(item.backend, spend);
  const reading = await readCopy(await tick.backend(item.backend), after, tick.signal).finally(giveBack);
  if (reading.outcome === 'good') return decision;
  if (reading.outcome === 'wrong') return toCleanup(item, 'wrong-bytes', tick.now() + hourMs);
  return {
    verdict: 'failed',
    reason: `read-${reading.outcome === 'unreadable' ? reading.error.kind : reading.outcome}`,
  };
}

/** Unsure: left as it is, a little later, so that it does not stand in the way of others. */
async function later(tick: Tick, item: QueueItem, verdict: Verdict, reason: string): Promise<void> {
  tick.deps.log.warn('Intent could not be examined', { key: item.key, backend: item.backend, reason });
  count(tick.tally, verdict, reason);
  const put = { ...item, dueAt: tick.now() + tick.params.reaperMinAgeMs };
  await tick.deps.store.write({ kind: 'queue', put, expect: { state: 'intent', dueAt: item.dueAt } });
}

/** The intent becomes a deletion, unless its writer has spoken since. */
function toCleanup(item: QueueItem, reason: string, dueAt: number, cause: QueueCause = 'put-failed'): Decision {
  const from = { item, expect: { state: 'intent', dueAt: item.dueAt } } as const;
  const to = enqueuedForDeletion(item, { cause, reason, dueAt });
  return { swap: { key: item.key, moves: [{ from, to }] }, reason };
}

/** P1–P3, in the order in which they exclude each other. */
function decide(tick: Tick, item: QueueItem, found: StoredObject | null, entry: Entry | null): Decision {
  const held = { item, expect: { state: 'intent', dueAt: item.dueAt } } as const;
  const now = tick.now();
  if (namesBytes(entry, item.backend, item.storageKey))
    return { swap: { key: item.key, completes: [held] }, reason: 'settled' };
  if (entry?.generation !== item.intent?.replaces || hasOther(item, entry)) {
    return toCleanup(item, 'superseded', now + tick.params.graceMs, 'put-superseded');
  }
  if (now - item.createdAt > oldestMs) return toCleanup(item, 'too-old', now + tick.params.graceMs);
  // A slow PUT may still land.
  if (found === null) return toCleanup(item, 'never-arrived', now + hourMs);
  if (found.sizeBytes !== item.sizeBytes) return toCleanup(item, 'wrong-size', now + hourMs);
  const after = promoted(tick, item, entry);
  const orphans = { cause: 'replaced' as const, dueAt: now + tick.params.graceMs, createdAt: now };
  return {
    swap: { key: item.key, change: { before: entry, after }, completes: [held], orphans },
    reason: 'promoted',
    after,
  };
}

/** A put that makes a further copy of what it recorded found that its object has one there by now. */
function hasOther(item: QueueItem, entry: Entry | null): boolean {
  return isFurtherCopy(item, entry) && entry.copies[item.backend] !== undefined;
}

/** Whether the bytes are a copy more of what is recorded, not what is to replace it. */
function isFurtherCopy({ generation }: QueueItem, entry: Entry | null): entry is ObjectRecord {
  return entry?.kind === 'object' && entry.generation === generation;
}

/** The record that the put would have made. Copies that others made of its own generation stay. */
function promoted(tick: Tick, item: QueueItem, before: Entry | null): ObjectRecord {
  if (isFurtherCopy(item, before)) {
    return { ...before, copies: { ...before.copies, [item.backend]: copyIdOf(item) }, condition: 'sound' };
  }
  return newRecord({
    ...bytesOf(item),
    createdAt: item.createdAt,
    copies: { [item.backend]: copyIdOf(item) },
    policy: policyOf(tick.config, item.key).name,
    ...defined({ plainEtags: before?.plainEtags }),
  });
}
