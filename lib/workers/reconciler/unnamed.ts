import { ulidTime } from '../../base/ids.ts';
import type { Listed, StoredObject } from '../../fleet/backend.ts';
import type { QuarantineTick } from '../../steps/quarantine.ts';
import { verifiedCopy } from '../../steps/quarantine.ts';
import { type DeleteRequest, enqueueDeletes } from '../../store/enqueue-deletes.ts';
import { parseStorageKey, queueId, storageKey } from '../../store/keys.ts';
import type { Entry, ObjectRecord } from '../../store/model.ts';
import { newQueueItem, quarantineMs } from '../../store/queue-items.ts';
import { bornAs } from '../../store/records.ts';
import { clockSkewMs, isRecoveryPending, recoveryOf } from '../../store/recovery.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { RemovalLimitTick } from '../../tick/removal-limit.ts';
import { inRemovalTurn, removalCount, removalsLeft } from '../../tick/removal-limit.ts';
import type { FleetAsRead, Tick, TickTime } from '../../tick/tick.ts';
import { readMark } from '../../transfer/mark.ts';
import { type KeyTurn, nothingToDo, notReadNow, settled, settledByName } from './key-turn.ts';

/** What this file asks of a tick. */
export type UnnamedTick = Pick<Tick, 'deps' | 'params' | 'dryRun' | 'backend' | 'commitDeps' | 'audit'> &
  FleetAsRead &
  TickTime &
  HealthTick &
  QuarantineTick &
  RemovalLimitTick;

/** Bytes of ours, by their mark, that neither a queue item nor a record names. */
export interface Orphan {
  readonly key: string;
  readonly backend: string;
  readonly copyId: string;
  readonly generation: string;
  readonly stored: StoredObject;
  readonly entry: Entry | null;
}

/** What a person has said beside what a sweep does by itself. */
export interface OrphanRules {
  /** Bytes of ours whose object is unknown go too. */
  readonly deletesUnrecorded: boolean;
  /** Bytes that a recovery passed over go too, where they are older than their object's record. */
  readonly deletesSuperseded: boolean;
  /** Keys listed so far in the pass. */
  listedSoFar(): number;
}

/** A key's turn; or bytes that may go together with others of their page; or a file that is not ours. */
export type UnnamedTurn =
  | KeyTurn
  | { readonly outcome: 'orphan'; readonly orphan: Orphan }
  | { readonly outcome: 'not-ours' };

/**
 * Judges a listed key that looks like one of ours and that no record named when the page was compared. Bytes of ours that
 * lost their record may go, under everything that speaks against a mistake; all else is only reported: the metadata may be
 * what was lost. The queue is asked first, then the records: what moves from the one to the other meanwhile is seen there.
 */
export async function judgeUnnamed(
  tick: UnnamedTick,
  backend: string,
  { storageKey: storage }: Listed,
  rules: OrphanRules,
): Promise<UnnamedTurn> {
  const { key, copyId } = parseStorageKey(storage)!;
  const id = queueId(backend, storage);
  if ((await tick.deps.store.queueItems([id])).has(id)) return nothingToDo;
  const entry = (await tick.deps.store.objects([key])).get(key) ?? null;
  if (entry?.kind === 'object' && entry.copies[backend] === copyId) return nothingToDo;
  const stored = await (await tick.backend(backend)).head(storage, tick.signal);
  if (stored === null) return settled('skipped', 'gone-meanwhile');
  const mark = readMark(stored.metadata, tick.fleetId, backend, storage);
  if (mark.outcome === 'none') return { outcome: 'not-ours' };
  if (mark.outcome === 'foreign') return settled('skipped', 'foreign-mark');
  const orphan: Orphan = { key, copyId, backend, generation: mark.generation, stored, entry };
  const kept = await whyKept(tick, orphan, rules);
  if (kept !== null) return kept;
  return tick.dryRun ? settled('skipped', 'dry-run') : { outcome: 'orphan', orphan };
}

/** Null when the bytes may go; else the turn of what is only reported, or judged later. */
async function whyKept(tick: UnnamedTick, orphan: Orphan, rules: OrphanRules): Promise<KeyTurn | null> {
  const { entry, generation } = orphan;
  const recovery = recoveryOf(tick.view);
  if (isRecoveryPending(tick.view)) return settled('skipped', 'taken-over');
  // The records may be what was lost: a person should know which objects these were.
  if (entry === null) return rules.deletesUnrecorded ? null : settledByName('skipped', 'no-record');
  const isPassedOver = recovery !== undefined && stoodBy(orphan, recovery.completedAt!);
  if (isPassedOver && !rules.deletesSuperseded) return settled('skipped', 'before-recovery');
  if (generation > entry.generation) return settled('skipped', 'newer-than-record');
  if (entry.kind === 'tombstone') return null;
  if (entry.condition === 'damaged' || entry.condition === 'recovering')
    return settled('skipped', `record-is-${entry.condition}`);
  if (!(await answersNow(tick, entry))) return settled('skipped', 'record-does-not-answer');
  // What a recovery passed over was older only as far as clocks can be believed: the record must be proved to be good.
  return generation === bornAs(entry) || isPassedOver ? whyProofIsMissing(tick, entry) : null;
}

/**
 * Whether bytes stood there at some time: they are as old as the younger of their generation and their copy id, or as their
 * backend says, where whoever made them had a clock that was ahead.
 */
function stoodBy({ generation, copyId, stored }: Orphan, time: number): boolean {
  const mintedAt = Math.max(ulidTime(generation), ulidTime(copyId));
  return mintedAt < time + clockSkewMs || (stored.lastModified ?? mintedAt) < time;
}

/** Whether every copy that a record names is there now, with its size. */
export async function answersNow(tick: UnnamedTick, entry: ObjectRecord): Promise<boolean> {
  for (const [name, copyId] of Object.entries(entry.copies)) {
    if (!tick.standing(name).isReachable || !(await isUsable(tick, name))) return false;
    const stored = await (await tick.backend(name)).head(storageKey(entry.key, copyId), tick.signal);
    if (stored?.sizeBytes !== entry.sizeBytes) return false;
  }
  return true;
}

/** Bytes of the very content of a record may be its only good ones: a copy that it names must have been read first. */
async function whyProofIsMissing(tick: UnnamedTick, entry: ObjectRecord): Promise<KeyTurn | null> {
  const proof = await verifiedCopy(tick, entry);
  if (proof.outcome === 'good') return null;
  if (proof.outcome === 'reading') return { outcome: 'unfinished' };
  if (proof.outcome === 'put-off') return notReadNow('proof', proof.reason);
  return settled('skipped', 'record-does-not-verify');
}

/**
 * Enqueues a page's orphans of one backend for deletion, in one group. What the removal limit does not allow today is left;
 * the limit counts by what is listed, where that is more than what is recorded.
 */
export async function enqueueOrphans(
  tick: UnnamedTick,
  orphans: readonly Orphan[],
  rules: OrphanRules,
): Promise<readonly { readonly orphan: Orphan; readonly turn: KeyTurn }[]> {
  if (orphans.length === 0) return [];
  const { backend: name } = orphans[0]!;
  const { allowed, requests, outcomes } = await inRemovalTurn(tick, name, async () => {
    const allowed = orphans.slice(0, await removalsLeft(tick, name, rules.listedSoFar(), orphans.length));
    const requests = allowed.map((orphan) => requestFor(tick, orphan, rules));
    const outcomes = await enqueueDeletes(tick.commitDeps(), requests, tick.deadline.commitUntil);
    // Others have used it up since: asked once more, it says so.
    if (outcomes.includes('limited')) await removalsLeft(tick, name, rules.listedSoFar());
    return { allowed, requests, outcomes };
  });
  return orphans.map((orphan, i) => {
    const outcome = i < allowed.length ? outcomes[i]! : 'limited';
    if (outcome === 'limited') return { orphan, turn: settled('skipped', 'removal-limit') };
    if (outcome !== 'queued') return { orphan, turn: settled('skipped', `orphan-${outcome}`) };
    const { backend, storageKey: storage } = requests[i]!.item;
    tick.audit('Bytes enqueued for deletion', { key: orphan.key, backend, storageKey: storage, reason: 'orphan' });
    return { orphan, turn: settled('succeeded', 'orphan') };
  });
}

function requestFor(
  tick: UnnamedTick,
  { key, backend, copyId, generation, stored, entry }: Orphan,
  { deletesSuperseded, listedSoFar }: OrphanRules,
): DeleteRequest {
  const now = tick.now();
  const item = newQueueItem({
    state: 'cleanup',
    backend,
    storageKey: storageKey(key, copyId),
    key,
    generation,
    sizeBytes: stored.sizeBytes,
    cause: deletesSuperseded ? 'superseded' : 'orphan',
    createdAt: now,
    dueAt: now + (deletesSuperseded ? quarantineMs : tick.params.graceMs),
  });
  return { item, expected: entry, counters: [removalCount(tick, backend, stored.sizeBytes, listedSoFar())] };
}
