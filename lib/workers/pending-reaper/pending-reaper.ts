import { defined } from '../../base/defined.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import { count, type Verdict } from '../../base/tally.ts';
import { deletionDueAt } from '../../config/delete-grace.ts';
import { policyOf } from '../../config/fleet-file.ts';
import { BackendError, type StoredObject } from '../../fleet/backend.ts';
import type { CopyReaderTick } from '../../steps/copy-reader.ts';
import { copyReader } from '../../steps/copy-reader.ts';
import { copyIdOf } from '../../store/keys.ts';
import type { Entry, ObjectRecord, QueueCause, QueueItem } from '../../store/model.ts';
import { bytesOf, enqueuedForDeletion } from '../../store/queue-items.ts';
import { newRecord } from '../../store/records.ts';
import { namesBytes, type Swap } from '../../store/swap.ts';
import type { DueItemsTick } from '../../tick/due-items.ts';
import { findDue } from '../../tick/due-items.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Round, Tick, TickAccount, TickTime, Worker } from '../../tick/tick.ts';
import { headersDigest } from '../../transfer/headers-digest.ts';
import type { GoodReading } from '../../transfer/reading/reading.ts';
import { bytesOfItem } from '../../transfer/reading/stored-bytes.ts';

/** What this file asks of a tick. */
export type PendingReaperTick = Pick<
  Tick,
  'deps' | 'config' | 'params' | 'tuning' | 'dryRun' | 'cursor' | 'backend' | 'commit'
> &
  TickAccount &
  TickTime &
  CopyReaderTick &
  DueItemsTick &
  HealthTick;

/**
 * The pending reaper settles puts whose writer has fallen silent: bytes that arrived whole, over an object that nothing has
 * changed since, are recorded as the put would have done; everything else is queued for deletion. Bytes are read in full
 * first, over as many ticks as that takes; the hash of bytes that nobody hashed is proven before it is recorded. It never
 * records bytes over a newer write or a delete, and never touches a put that is still being written.
 *
 * Rules: [reaper-promotes], [reaper-supersedes], [reaper-unsure]
 */
export const pendingReaper: Worker = { name: 'pending-reaper', hasWork, begin };

const hourMs = 3_600_000;
/** An intent this old is never promoted. */
const oldestMs = 5 * 24 * hourMs;

async function hasWork(tick: PendingReaperTick): Promise<boolean> {
  return (await findDue(tick, 'intent', undefined, 1)).items.length > 0;
}

async function begin(tick: PendingReaperTick): Promise<Round> {
  const seen = new Set<string>();
  return async () => {
    const due = await findDue(tick, 'intent', tick.cursor, tick.tuning.batchSize);
    const fresh = due.items.filter(({ id }) => !seen.has(id));
    for (const { id } of fresh) seen.add(id);
    await forEachConcurrently(fresh, tick.tuning.concurrency, async (item) => {
      const { verdict, reason } = await settleIntent(tick, item);
      count(tick.tally, verdict, reason);
    });
    tick.cursor = due.cursor;
    return due.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
  };
}

/** What one intent's turn led to. */
interface Turn {
  readonly verdict: Verdict;
  readonly reason: string;
}

async function settleIntent(tick: PendingReaperTick, item: QueueItem): Promise<Turn> {
  if (tick.dryRun) return { verdict: 'skipped', reason: 'dry-run' };
  if (tick.outOfTime()) return { verdict: 'deferred', reason: 'out-of-time' };
  if (!(await isUsable(tick, item.backend))) return { verdict: 'skipped', reason: 'parked' };
  const found = await lookUp(tick, item);
  if (found.outcome === 'left') return leave(tick, item, found);
  let bytes: Arrived = found;
  for (let losses = 0; ; losses += 1) {
    const examined = await examineIntent(tick, item, bytes);
    if (examined.outcome === 'left') return leave(tick, item, examined);
    const { swap, reason } = examined.decision;
    const [outcome] = await tick.commit([swap]);
    if (outcome!.outcome === 'committed') {
      const { key, backend, storageKey } = item;
      tick.audit('Intent settled', { key, backend, storageKey, reason });
      return { verdict: 'succeeded', reason };
    }
    // `expired`: the writer came back. `lost`: the object moved on, perhaps by the other copies of the same put: what the record
    // says now decides. The bytes are those that were read.
    const maySettle = outcome!.outcome === 'lost' && losses < tick.config.backends.length && !tick.outOfTime();
    if (!maySettle) return { verdict: 'skipped', reason: outcome!.outcome };
    bytes = examined.bytes;
  }
}

/** What stands at the storage key of an intent, and how it was read, once it was. */
interface Arrived {
  readonly found: StoredObject | null;
  readonly reading?: GoodReading;
}

/** What to do with an intent; `after` is the record it would make. */
interface Decision {
  readonly swap: Swap;
  readonly reason: string;
  readonly after?: ObjectRecord;
}

/** Nothing can be said now: when it is looked at again, and how it counts. */
interface Left {
  readonly outcome: 'left';
  readonly verdict: Verdict;
  readonly reason: string;
  readonly waitMs: number;
}

type Examined = { readonly outcome: 'decided'; readonly decision: Decision; readonly bytes: Arrived } | Left;

function unsure(tick: PendingReaperTick, verdict: Verdict, reason: string): Left {
  return { outcome: 'left', verdict, reason, waitMs: tick.params.reaperMinAgeMs };
}

async function lookUp(tick: PendingReaperTick, item: QueueItem): Promise<(Arrived & { outcome: 'looked-up' }) | Left> {
  try {
    const found = await (await tick.backend(item.backend)).head(item.storageKey, tick.signal);
    return { outcome: 'looked-up', found };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return error.limit === undefined
      ? unsure(tick, 'failed', `head-${error.kind}`)
      : unsure(tick, 'deferred', error.limit);
  }
}

async function examineIntent(tick: PendingReaperTick, item: QueueItem, bytes: Arrived): Promise<Examined> {
  // Read after the bytes were: whatever the record says now, they were seen before it.
  const entry = (await tick.deps.store.objects([item.key])).get(item.key) ?? null;
  const decision = decide(tick, item, bytes.found, entry);
  if (decision.after === undefined) return { outcome: 'decided', decision, bytes };
  const reading = bytes.reading ?? (await copyReader(tick).read(bytesOfItem(item), { remembers: true }));
  switch (reading.outcome) {
    case 'good':
      return {
        outcome: 'decided',
        decision: verified(decision, decision.after, reading),
        bytes: { ...bytes, reading },
      };
    case 'wrong':
      return { outcome: 'decided', decision: toCleanup(item, 'wrong-bytes', tick.now() + hourMs), bytes };
    case 'reading':
      // Due again at once, behind all that is due already.
      return { outcome: 'left', verdict: 'deferred', reason: 'reading', waitMs: 0 };
    case 'put-off':
      return unsure(tick, 'deferred', reading.reason);
    default: {
      const why = reading.outcome === 'unreadable' ? reading.error.kind : reading.outcome;
      return unsure(tick, 'failed', `read-${why}`);
    }
  }
}

/**
 * A put compares what was stored before it commits, and so does whoever commits for it. What the put did not know of its bytes
 * is recorded as it was read.
 */
function verified(decision: Decision, after: ObjectRecord, { sha256, found }: GoodReading): Decision {
  const { headersSha256 = headersDigest(found.headers, found.metadata) } = after;
  const change = { ...decision.swap.change!, after: { ...after, sha256, headersSha256 } };
  return { ...decision, swap: { ...decision.swap, change } };
}

/** Left as it is until later, so that it does not stand in the way of others; unless its writer has spoken since. */
async function leave(tick: PendingReaperTick, item: QueueItem, { verdict, reason, waitMs }: Left): Promise<Turn> {
  const { key, backend } = item;
  if (verdict === 'failed') tick.deps.log.warn('Intent could not be examined', { key, backend, reason });
  const put = { ...item, dueAt: tick.now() + waitMs };
  await tick.deps.store.write({ kind: 'queue', put, expect: { state: 'intent', dueAt: item.dueAt } });
  return { verdict, reason };
}

/** The intent becomes a deletion, unless its writer has spoken since. */
function toCleanup(item: QueueItem, reason: string, dueAt: number, cause: QueueCause = 'put-failed'): Decision {
  const from = { item, expect: { state: 'intent', dueAt: item.dueAt } } as const;
  const to = enqueuedForDeletion(item, { cause, reason, dueAt });
  return { swap: { key: item.key, moves: [{ from, to }] }, reason };
}

/** What is to become of an intent, in the order in which the cases exclude each other. */
function decide(tick: PendingReaperTick, item: QueueItem, found: StoredObject | null, entry: Entry | null): Decision {
  const held = { item, expect: { state: 'intent', dueAt: item.dueAt } } as const;
  const now = tick.now();
  if (namesBytes(entry, item.backend, item.storageKey))
    return { swap: { key: item.key, completes: [held] }, reason: 'settled' };
  const isAwaited = entry?.generation === item.intent?.replaces || isFurtherCopy(item, entry);
  if (!isAwaited || hasOther(item, entry)) {
    return toCleanup(item, 'superseded', now + tick.params.graceMs, 'put-superseded');
  }
  if (now - item.createdAt > oldestMs) return toCleanup(item, 'too-old', now + tick.params.graceMs);
  // A slow PUT may still land.
  if (found === null) return toCleanup(item, 'never-arrived', now + hourMs);
  if (found.sizeBytes !== item.sizeBytes) return toCleanup(item, 'wrong-size', now + hourMs);
  const after = promoted(tick, item, entry);
  const dueAt = deletionDueAt(tick.config, item.key, { now, graceMs: tick.params.graceMs });
  const orphans = { cause: 'replaced' as const, dueAt, createdAt: now };
  return {
    swap: { key: item.key, change: { before: entry, after }, completes: [held], orphans },
    reason: 'promoted',
    after,
  };
}

/** Of a put that makes several copies one is recorded, and by now its object has one there. */
function hasOther(item: QueueItem, entry: Entry | null): boolean {
  return isFurtherCopy(item, entry) && entry.copies[item.backend] !== undefined;
}

/** Whether the bytes are a copy more of what is recorded, not what is to replace it. */
function isFurtherCopy({ generation }: QueueItem, entry: Entry | null): entry is ObjectRecord {
  return entry?.kind === 'object' && entry.generation === generation;
}

/** The record that the put would have made. Copies that others made of its own generation stay. */
function promoted(tick: PendingReaperTick, item: QueueItem, before: Entry | null): ObjectRecord {
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
