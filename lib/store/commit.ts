import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { newLedgerDelta } from './ledger.ts';
import type { Entry, QueueItem, Version } from './model.ts';
import type { Change, CounterAdd, QueueExpectation, Refusal, Store } from './port.ts';
import { StoreError } from './port.ts';
import { backendOfQuotaRow } from './row-keys.ts';
import { orphansOf, type Swap } from './swap.ts';

/**
 * What became of one swap:
 * `committed` all of it · `lost` the object is no longer what the swap saw · `no-room` a backend's quota does not allow it
 * · `expired` a queue item it needed is gone or was taken over · `already-queued` the bytes it wanted to name are queued
 * already · `not-now` time ran out and nothing happened · `undecided` time ran out while an answer was missing: it may
 * have happened and may yet happen, so nothing may be concluded from it.
 */
export type Outcome =
  | { readonly outcome: 'committed'; readonly entry: Entry | null }
  | { readonly outcome: 'lost'; readonly seen: Entry | null }
  | { readonly outcome: 'no-room'; readonly backend: string }
  | { readonly outcome: 'expired'; readonly id: string; readonly seen: QueueItem | null }
  | { readonly outcome: 'already-queued'; readonly id: string; readonly seen: QueueItem }
  | { readonly outcome: 'not-now' }
  | { readonly outcome: 'undecided' };

export interface CommitDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Quota of a backend in bytes, 0 = none. */
  readonly quotaOf: (backend: string) => number;
  readonly stripes: number;
}

/** A transaction holds at most this many changes. Source: DynamoDB quotas, TransactWriteItems. */
const maxChanges = 100;
/** A send is repeated under its token only this long: DynamoDB forgets tokens after 10 minutes. */
const tokenLifeMs = 8 * 60_000;

/** A swap on its way, with what earlier refusals taught about it. */
interface Pending {
  readonly swap: Swap;
  readonly index: number;
  /** Orphans whose queue item was found to exist already. */
  readonly known: Map<string, QueueItem>;
}

/** A change with the swap it belongs to; ledger rows belong to all. */
interface Tagged {
  readonly change: Change;
  readonly owner?: Pending;
}

/**
 * Proposes changes of objects and queue items: the one door through which records change.
 *
 * Each swap happens entirely or not at all, with its ledger rows, quota charge and orphans in the same transaction. Swaps
 * are packed into as few transactions as fit, in order; one that fails leaves the batch and the rest is tried again.
 * Returns one outcome per swap, in order. Throws `StoreError` for what no retry mends (denied, missing table).
 *
 * @param deadline milliseconds since the epoch after which nothing new is sent
 */
export async function commit(deps: CommitDeps, swaps: readonly Swap[], deadline: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = new Array(swaps.length);
  for (const group of pack(swaps.map((swap, index) => ({ swap, index, known: new Map() })))) {
    await commitGroup(deps, group, deadline, outcomes);
  }
  return outcomes;
}

/** Groups in order, none with two swaps of one object or one queue item, none above the limit of a transaction. */
function pack(pending: readonly Pending[]): Pending[][] {
  const groups: Pending[][] = [];
  let group: Pending[] = [];
  let changes = 0;
  let ledger = newLedgerDelta();
  let touched = new Set<string>();
  for (const next of pending) {
    const names = touches(next.swap);
    const own = changesOf(next).length + (next.swap.counters?.length ?? 0);
    account(ledger, next);
    if (group.length > 0 && (changes + own + ledger.maxRows() > maxChanges || names.some((n) => touched.has(n)))) {
      groups.push(group);
      group = [];
      changes = 0;
      ledger = newLedgerDelta();
      account(ledger, next);
      touched = new Set();
    }
    group.push(next);
    changes += own;
    for (const n of names) touched.add(n);
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

function touches(swap: Swap): string[] {
  const items = [
    ...(swap.completes ?? []).map((held) => held.item),
    ...(swap.moves ?? []).map((move) => move.from.item),
    ...(swap.reserves ?? []),
    ...(swap.enqueuesDeletes ?? []),
    ...orphansOf(swap),
  ];
  return [`object ${swap.key}`, ...items.map((item) => `item ${item.id}`)];
}

async function commitGroup(deps: CommitDeps, group: Pending[], deadline: number, outcomes: Outcome[]): Promise<void> {
  const hopeless = new Set<Pending>();
  for (const backend of new Set(group.flatMap((pending) => [...reservedBy(pending).keys()]))) {
    const quota = deps.quotaOf(backend);
    // The gate may be absent, so what would not even fit an empty backend is told apart here.
    if (quota > 0) grantRoom(group, hopeless, outcomes, backend, quota);
  }
  let live = group.filter((pending) => !hopeless.has(pending));
  let attempt = 0;
  while (live.length > 0) {
    const stripe = Math.floor(deps.ids.random() * deps.stripes);
    const tagged = encode(deps, live, stripe);
    const answer = await send(deps, tagged, deadline, attempt);
    if (answer.outcome === 'done') {
      for (const { swap, index } of live) outcomes[index] = { outcome: 'committed', entry: afterOf(swap) };
      return;
    }
    if (answer.outcome !== 'refused') {
      for (const { index } of live) outcomes[index] = { outcome: answer.outcome };
      return;
    }
    const isConflict = answer.refusals.every((refusal) => refusal === null || refusal.cause === 'conflict');
    attempt = isConflict ? attempt + 1 : 0;
    live = settleRefused(deps, live, tagged, answer.refusals, outcomes);
    // What was learnt of orphans moves further ledger rows: what fitted into one transaction may need two now.
    const groups = pack(live);
    if (groups.length > 1) {
      for (const smaller of groups) await commitGroup(deps, smaller, deadline, outcomes);
      return;
    }
  }
}

/** Names the outcome of every swap that was in the way, and returns the rest. */
function settleRefused(
  deps: CommitDeps,
  live: readonly Pending[],
  tagged: readonly Tagged[],
  refusals: readonly (Refusal | null)[],
  outcomes: Outcome[],
): Pending[] {
  const out = new Set<Pending>();
  for (const [i, refusal] of refusals.entries()) {
    const { change, owner } = tagged[i]!;
    if (refusal === null || refusal.cause === 'conflict' || owner === undefined || out.has(owner)) continue;
    if (refusal.cause === 'object') {
      outcomes[owner.index] = { outcome: 'lost', seen: refusal.seen };
      out.add(owner);
    } else if (refusal.cause === 'queue') {
      if (learnOrphan(owner, change, refusal.seen)) continue;
      const id = change.kind === 'queue-end' ? change.id : (change as { put: QueueItem }).put.id;
      const isNew = change.kind === 'queue' && change.expect === 'absent';
      outcomes[owner.index] =
        isNew && refusal.seen !== null
          ? { outcome: 'already-queued', id, seen: refusal.seen }
          : { outcome: 'expired', id, seen: refusal.seen };
      out.add(owner);
    }
  }
  for (const [i, refusal] of refusals.entries()) {
    const { change } = tagged[i]!;
    if (refusal?.cause !== 'counter' || change.kind !== 'add') continue;
    const backend = backendOfQuotaRow(change.sk);
    if (backend === undefined) continue;
    grantRoom(live, out, outcomes, backend, deps.quotaOf(backend) - (refusal.seen?.bytes ?? 0));
  }
  return live.filter((pending) => !out.has(pending));
}

/** Grants room in order; only what exceeds it has none. */
function grantRoom(
  live: readonly Pending[],
  out: Set<Pending>,
  outcomes: Outcome[],
  backend: string,
  roomBytes: number,
): void {
  let room = roomBytes;
  for (const pending of live) {
    const needed = reservedBy(pending).get(backend) ?? 0;
    if (out.has(pending) || needed === 0) continue;
    if (needed <= room) {
      room -= needed;
    } else {
      outcomes[pending.index] = { outcome: 'no-room', backend };
      out.add(pending);
    }
  }
}

/** An orphan whose item exists already, or has gone since, is not in the way: the next attempt rewrites that item, or makes it. */
function learnOrphan(owner: Pending, change: Change, seen: QueueItem | null): boolean {
  if (change.kind !== 'queue' || !orphansOf(owner.swap).some((item) => item.id === change.put.id)) return false;
  if (seen === null) owner.known.delete(change.put.id);
  else owner.known.set(seen.id, seen);
  return true;
}

type SendAnswer =
  | { readonly outcome: 'done' }
  | { readonly outcome: 'refused'; readonly refusals: readonly (Refusal | null)[] }
  | { readonly outcome: 'not-now' }
  | { readonly outcome: 'undecided' };

/**
 * Sends one transaction until it has an answer that settles it. While a send is unanswered the same bytes go out under
 * the same token, and a refusal counts only if it holds for the unanswered send too, whenever that arrives.
 */
async function send(
  deps: CommitDeps,
  tagged: readonly Tagged[],
  deadline: number,
  attempt: number,
): Promise<SendAnswer> {
  const changes = tagged.map(({ change }) => change);
  const token = deps.ids.ulid();
  const firstSentAt = deps.clock.now();
  let isUnanswered = false;
  for (let resend = attempt; ; resend += 1) {
    if (resend > 0) {
      const pauseMs = Math.ceil(backoffMs(resend) * (0.5 + deps.ids.random()));
      await deps.clock.sleep(Math.max(0, Math.min(pauseMs, deadline - deps.clock.now())));
    }
    // Looked at after the pause: a process may freeze in it.
    const now = deps.clock.now();
    if (now >= deadline || now - firstSentAt >= tokenLifeMs) return { outcome: isUnanswered ? 'undecided' : 'not-now' };
    try {
      const answer = await deps.store.transact(changes, token);
      if (answer.outcome === 'done') return { outcome: 'done' };
      const isConflictOnly = answer.refusals.every((r) => r === null || r.cause === 'conflict');
      if (!isUnanswered) return isConflictOnly && deps.clock.now() >= deadline ? { outcome: 'not-now' } : answer;
      if (answer.refusals.some((refusal, i) => isFinal(changes[i]!, refusal))) return answer;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.kind === 'unanswered') isUnanswered = true;
      else if (error.kind !== 'throttled' && error.kind !== 'unreachable') throw error;
    }
  }
}

/** Whether a refusal would also refuse an earlier send that is still on its way. */
function isFinal(change: Change, refusal: Refusal | null): boolean {
  if (refusal === null) return false;
  // Generation and rev never return to a value they had, and neither does an item that is gone.
  if (refusal.cause === 'object') return true;
  if (refusal.cause !== 'queue' || (change.kind === 'queue' && change.expect === 'absent')) return false;
  if (refusal.seen === null) return true;
  const expected = (change as { expect: QueueExpectation }).expect.state;
  return (expected === 'intent' || expected === 'transfer') && refusal.seen.state !== expected;
}

function backoffMs(attempt: number): number {
  return Math.min(50 * 2 ** (attempt - 1), 5_000);
}

function afterOf(swap: Swap): Entry | null {
  if (swap.change === undefined) return null;
  const { before, after } = swap.change;
  return { ...unstuck(before, after), rev: before === null ? 1 : before.rev + 1 };
}

/** New content was refused by nobody yet, and an object that gained a copy is not refused by all: said here once, for every swap. */
function unstuck(before: Entry | null, after: Entry): Entry {
  if (after.kind !== 'object' || before?.kind !== 'object') return after;
  if (after.generation !== before.generation) {
    const { stuck: _old, ...fresh } = after;
    return fresh.condition === 'stuck' ? { ...fresh, condition: 'sound' } : fresh;
  }
  const hasGained = Object.keys(after.copies).some((name) => before.copies[name] === undefined);
  return hasGained && after.condition === 'stuck' ? { ...after, condition: 'sound' } : after;
}

function encode(deps: CommitDeps, live: readonly Pending[], stripe: number): Tagged[] {
  const tagged: Tagged[] = [];
  const ledger = newLedgerDelta();
  const reserved = new Map<string, number>();
  const counters = new Map<string, CounterAdd>();
  for (const owner of live) {
    for (const change of changesOf(owner)) tagged.push({ change, owner });
    account(ledger, owner);
    for (const [backend, bytes] of reservedBy(owner)) reserved.set(backend, (reserved.get(backend) ?? 0) + bytes);
    for (const counter of owner.swap.counters ?? []) counters.set(counter.sk, sum(counters.get(counter.sk), counter));
  }
  for (const change of ledger.rows(stripe, deps.quotaOf, reserved)) tagged.push({ change });
  for (const change of counters.values()) tagged.push({ change });
  return tagged;
}

function sum(a: CounterAdd | undefined, b: CounterAdd): CounterAdd {
  if (a === undefined) return b;
  return { ...a, add: { objects: a.add.objects + b.add.objects, bytes: a.add.bytes + b.add.bytes } };
}

function changesOf({ swap, known }: Pending): Change[] {
  const changes: Change[] = [];
  if (swap.change !== undefined) {
    const { before } = swap.change;
    changes.push({ kind: 'object', put: afterOf(swap)!, expect: before === null ? 'absent' : versionOf(before) });
  }
  for (const { item, expect } of swap.completes ?? []) {
    changes.push({ kind: 'queue-end', id: item.id, expect: expect ?? { state: item.state } });
  }
  for (const { from, to } of swap.moves ?? []) {
    changes.push({ kind: 'queue', put: to, expect: from.expect ?? { state: from.item.state } });
  }
  for (const put of [...(swap.reserves ?? []), ...(swap.enqueuesDeletes ?? [])])
    changes.push({ kind: 'queue', put, expect: 'absent' });
  for (const put of orphansOf(swap)) {
    const existing = known.get(put.id);
    changes.push({
      kind: 'queue',
      put,
      expect: existing === undefined ? 'absent' : { state: existing.state, dueAt: existing.dueAt },
    });
  }
  return changes;
}

function versionOf(entry: Entry): Version {
  return { generation: entry.generation, rev: entry.rev };
}

function account(ledger: ReturnType<typeof newLedgerDelta>, { swap, known }: Pending): void {
  if (swap.change !== undefined) {
    ledger.record(swap.change.before, -1);
    ledger.record(afterOf(swap), 1);
  }
  for (const { item } of swap.completes ?? []) ledger.item(item, -1);
  for (const { from, to } of swap.moves ?? []) {
    ledger.item(from.item, -1);
    ledger.item(to, 1);
  }
  for (const item of [...(swap.reserves ?? []), ...(swap.enqueuesDeletes ?? []), ...orphansOf(swap)])
    ledger.item(item, 1);
  for (const item of known.values()) ledger.item(item, -1);
}

/** The part of a swap that needs room: bytes it names for the first time, those enqueued for deletion aside. */
function reservedBy(pending: Pending): ReadonlyMap<string, number> {
  const { swap } = pending;
  if (swap.ignoresRoom) return new Map();
  const delta = newLedgerDelta();
  account(delta, pending);
  for (const item of swap.enqueuesDeletes ?? []) delta.item(item, -1);
  const backends = new Set([
    ...Object.keys(swap.change?.after.kind === 'object' ? swap.change.after.copies : {}),
    ...(swap.reserves ?? []).map((item) => item.backend),
  ]);
  const needed = new Map<string, number>();
  for (const backend of backends) {
    const bytes = delta.usedBytes(backend);
    if (bytes > 0) needed.set(backend, bytes);
  }
  return needed;
}
