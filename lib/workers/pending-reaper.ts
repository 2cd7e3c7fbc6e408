import { forEachConcurrently } from '../base/pool.ts';
import { count } from '../base/tally.ts';
import { policyOf } from '../config/fleet-file.ts';
import { BackendError, type StoredObject } from '../fleet/backend.ts';
import type { Entry, ObjectRecord, QueueItem } from '../store/model.ts';
import { namesBytes, type Swap } from '../store/swap.ts';
import { findDue } from './due-items.ts';
import { isUsable } from './health.ts';
import type { Round, Tick, Worker } from './tick.ts';

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
  const seen = new Set<string>();
  return async () => {
    const due = await findDue(tick, 'intent', tick.cursor, tick.tuning.batchSize);
    const fresh = due.items.filter(({ id }) => !seen.has(id));
    for (const { id } of fresh) seen.add(id);
    await forEachConcurrently(fresh, tick.tuning.concurrency, (item) => settleIntent(tick, item));
    tick.cursor = due.cursor;
    return due.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
  };
}

async function settleIntent(tick: Tick, item: QueueItem): Promise<void> {
  if (tick.dryRun) return count(tick.tally, 'skipped', 'dry-run');
  if (tick.outOfTime()) return count(tick.tally, 'deferred', 'out-of-time');
  if (!(await isUsable(tick, item.backend))) return count(tick.tally, 'skipped', 'parked');
  let found: StoredObject | null;
  try {
    found = await (await tick.backend(item.backend)).head(item.storageKey, tick.signal);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return later(tick, item, error);
  }
  // Read after the HEAD: whatever the record says now, the bytes were seen before it.
  const entry = (await tick.deps.store.objects([item.key])).get(item.key) ?? null;
  const { swap, reason } = decide(tick, item, found, entry);
  const [outcome] = await tick.commit([swap]);
  // `expired`: the writer came back; `lost`: the object moved on, and the next tick sees how.
  if (outcome!.outcome !== 'committed') return count(tick.tally, 'skipped', outcome!.outcome);
  tick.audit('Intent settled', { key: item.key, backend: item.backend, storageKey: item.storageKey, reason });
  count(tick.tally, 'succeeded', reason);
}

/** Unsure: left as it is, a little later, so that it does not stand in the way of others. */
async function later(tick: Tick, item: QueueItem, error: BackendError): Promise<void> {
  tick.deps.log.warn('Intent could not be examined', { key: item.key, backend: item.backend, kind: error.kind });
  count(tick.tally, 'failed', `head-${error.kind}`);
  const put = { ...item, dueAt: tick.now() + tick.params.reaperMinAgeMs };
  await tick.deps.store.write({ kind: 'queue', put, expect: { state: 'intent', dueAt: item.dueAt } });
}

/** P1–P3, in the order in which they exclude each other. */
function decide(
  tick: Tick,
  item: QueueItem,
  found: StoredObject | null,
  entry: Entry | null,
): { swap: Swap; reason: string } {
  const held = { item, expect: { state: 'intent', dueAt: item.dueAt } } as const;
  const now = tick.now();
  const cleanup = (reason: string, dueAt: number) => {
    const to: QueueItem = { ...item, state: 'cleanup', reason, dueAt, attempts: 0 };
    return { swap: { key: item.key, moves: [{ from: held, to }] }, reason };
  };
  if (namesBytes(entry, item.backend, item.storageKey))
    return { swap: { key: item.key, ends: [held] }, reason: 'settled' };
  if (entry?.generation !== item.intent?.replaces) return cleanup('superseded', now + tick.params.graceMs);
  if (now - item.createdAt > oldestMs) return cleanup('too-old', now + tick.params.graceMs);
  // A slow PUT may still land.
  if (found === null) return cleanup('never-arrived', now + hourMs);
  if (found.sizeBytes !== item.sizeBytes) return cleanup('wrong-size', now + hourMs);
  const after = promoted(tick, item, entry);
  const orphans = { reason: 'replaced', dueAt: now + tick.params.graceMs, createdAt: now };
  return { swap: { key: item.key, change: { before: entry, after }, ends: [held], orphans }, reason: 'promoted' };
}

/** The record that the put would have made. */
function promoted(tick: Tick, item: QueueItem, before: Entry | null): ObjectRecord {
  const { sha256, encryption } = item.intent ?? {};
  return {
    kind: 'object',
    key: item.key,
    generation: item.generation,
    rev: 0,
    sizeBytes: item.sizeBytes,
    createdAt: item.createdAt,
    copies: { [item.backend]: item.storageKey.slice(item.key.length + 1) },
    policy: policyOf(tick.config, item.key).name,
    isDamaged: false,
    ...(sha256 && { sha256 }),
    ...(encryption && { encryption }),
    ...(before?.plainEtags && { plainEtags: before.plainEtags }),
  };
}
