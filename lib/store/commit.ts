import type { Clock } from '../base/clock.ts';
import { defined } from '../base/defined.ts';
import type { Ids } from '../base/ids.ts';
import { newLedgerDelta } from './ledger.ts';
import type { Entry, QueueItem } from './model.ts';
import type { Change, CounterAdd, Refusal, Store } from './port.ts';
import { type PreparedSwap, prepare } from './prepared-swap.ts';
import { backendOfQuotaRow } from './row-keys.ts';
import { isConflictOnly, send } from './send.ts';
import type { Swap } from './swap.ts';

/**
 * What became of one swap:
 * `committed` all of it · `lost` the object is no longer what the swap saw · `no-room` a backend's quota does not allow it
 * · `limited` a counter of the swap would go beyond what the swap allows it (the removal limit)
 * · `not-taking` a backend leaves the fleet file, or was told to be drained: nothing is given to it any more
 * · `expired` a queue item it needed is gone or was taken over · `already-queued` the bytes it wanted to name are queued
 * already · `not-now` time ran out and nothing happened · `undecided` time ran out while an answer was missing: it may
 * have happened and may yet happen, so nothing may be concluded from it.
 */
export type Outcome =
  | { readonly outcome: 'committed'; readonly entry: Entry | null }
  | { readonly outcome: 'lost'; readonly seen: Entry | null }
  | { readonly outcome: 'no-room'; readonly backend: string }
  | { readonly outcome: 'limited' }
  | { readonly outcome: 'not-taking'; readonly backend: string }
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
  /** The stripe for one attempt [any]. */
  readonly stripe?: () => number;
  /** Asked right before anything is given to backends. Absent: all take everything. */
  readonly whoTakes?: () => Promise<Taking>;
}

/** Which backends take copies, by the fleet as it is now. */
export interface Taking {
  takesCopies(backend: string): boolean;
  /** False when the fleet could not be read again, and is that of a while ago. */
  readonly isFresh: boolean;
}

/**
 * What gives backends something is sent only so long after it was asked who takes copies: later its destination might be drained,
 * or out of the file with the only copy. What was not sent by then is asked for again. What is in doubt may happen anyway, and is
 * sent again until it is known; but a move, of which nobody may say that it happened.
 */
const giveWithinMs = 5_000;

/** A transaction holds at most this many changes. Source: DynamoDB quotas, TransactWriteItems. */
const maxChanges = 100;

/** A change with the swap it belongs to; ledger rows belong to all. */
export interface Tagged {
  readonly change: Change;
  readonly owner?: PreparedSwap;
}

/**
 * Proposes changes of objects and queue items: the one door through which records change.
 *
 * Each swap happens entirely or not at all, with its ledger rows, quota charge and orphans in the same transaction. Swaps
 * are packed into as few transactions as fit, in order; one that fails leaves the batch and the rest is tried again.
 * Returns one outcome per swap, in order. Throws `StoreError` for what no retry mends (denied, missing table).
 *
 * Rules: [one-commit], [change-on-version], [unknown-is-not-no], [quota-gate]
 *
 * @param deadline milliseconds since the epoch after which nothing new is sent
 */
export async function commit(deps: CommitDeps, swaps: readonly Swap[], deadline: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = new Array(swaps.length);
  const prepared = swaps.map(prepare);
  // A backend that holds nothing yet may have no gate that could refuse these.
  for (const swap of prepared) {
    const backend = overfilled(new Map(), swap, deps.quotaOf);
    if (backend !== undefined) outcomes[swap.index] = { outcome: 'no-room', backend };
  }
  const fitting = prepared.filter(({ index }) => outcomes[index] === undefined);
  for (const group of pack(fitting, deps.quotaOf)) {
    for (const [index, outcome] of await commitGroup(deps, group, deadline)) outcomes[index] = outcome;
  }
  return outcomes;
}

/**
 * Groups in order, none with two swaps of one object or one queue item, none above the limit of a transaction, and none of
 * several swaps that need more than a whole quota: which of those has room is known only when those before it are settled.
 */
export function pack(swaps: readonly PreparedSwap[], quotaOf: (backend: string) => number): PreparedSwap[][] {
  const groups: PreparedSwap[][] = [];
  let group: PreparedSwap[] = [];
  let changes = 0;
  let ledger = newLedgerDelta();
  let touched = new Set<string>();
  let needs = new Map<string, number>();
  for (const next of swaps) {
    const own = next.changes.length + next.counters.length;
    next.account(ledger);
    const isFull = changes + own + ledger.maxRows() > maxChanges || overfilled(needs, next, quotaOf) !== undefined;
    if (group.length > 0 && (isFull || next.touches.some((name) => touched.has(name)))) {
      groups.push(group);
      group = [];
      changes = 0;
      ledger = newLedgerDelta();
      next.account(ledger);
      touched = new Set();
      needs = new Map();
    }
    group.push(next);
    changes += own;
    for (const [backend, bytes] of next.needs) needs.set(backend, (needs.get(backend) ?? 0) + bytes);
    for (const name of next.touches) touched.add(name);
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

/** A backend whose whole quota is less than what is needed of it and the next swap needs. */
function overfilled(
  needs: ReadonlyMap<string, number>,
  next: PreparedSwap,
  quotaOf: (backend: string) => number,
): string | undefined {
  return [...next.needs].find(([backend, bytes]) => {
    const quota = quotaOf(backend);
    return quota > 0 && (needs.get(backend) ?? 0) + bytes > quota;
  })?.[0];
}

/** What became of some swaps, by their index. */
type Settled = readonly (readonly [number, Outcome])[];

/** Sends a group until each of its swaps is settled: those in the way leave it, and the rest is sent again. */
async function commitGroup(deps: CommitDeps, group: readonly PreparedSwap[], deadline: number): Promise<Settled> {
  const settled: (readonly [number, Outcome])[] = [];
  let live = group;
  let attempt = 0;
  while (live.length > 0) {
    const admitted = await admit(deps, live);
    settled.push(...admitted.settled);
    live = admitted.live;
    if (live.length === 0) break;
    const until = admitted.isMove ? Math.min(deadline, admitted.until) : deadline;
    const tagged = encode(deps, live);
    const changes = tagged.map(({ change }) => change);
    const answer = await send(deps, changes, until, attempt, admitted.until);
    if (answer.outcome === 'not-now' && admitted.until < deadline && deps.clock.now() < deadline) {
      attempt = 0;
      continue;
    }
    if (answer.outcome === 'done') {
      return [...settled, ...live.map(({ index, entry }) => [index, { outcome: 'committed', entry }] as const)];
    }
    if (answer.outcome !== 'refused') {
      return [...settled, ...live.map(({ index }) => [index, { outcome: answer.outcome }] as const)];
    }
    attempt = isConflictOnly(answer.refusals) ? attempt + 1 : 0;
    const next = settleRefused(live, tagged, answer.refusals, deps.quotaOf);
    settled.push(...next.settled);
    live = next.live;
    // What was learnt of orphans moves further ledger rows: what fitted into one transaction may need two now.
    const groups = pack(live, deps.quotaOf);
    if (groups.length <= 1) continue;
    for (const smaller of groups) settled.push(...(await commitGroup(deps, smaller, deadline)));
    return settled;
  }
  return settled;
}

/** Leaves out what is for backends that take nothing any more, and says until when the rest may be sent. */
async function admit(
  deps: CommitDeps,
  group: readonly PreparedSwap[],
): Promise<AfterRefusal & { readonly until: number; readonly isMove: boolean }> {
  const { whoTakes, clock } = deps;
  const all = { settled: [], live: group, until: Number.POSITIVE_INFINITY, isMove: false };
  if (whoTakes === undefined || group.every(({ gives }) => gives.length === 0)) return all;
  const askedAt = clock.now();
  const taking = await whoTakes();
  const refusals = group.map((swap): readonly [PreparedSwap, Outcome | null] => [swap, refusalBy(taking, swap)]);
  return {
    settled: refusals.flatMap(([{ index }, outcome]) => (outcome === null ? [] : [[index, outcome] as const])),
    live: refusals.flatMap(([swap, outcome]) => (outcome === null ? [swap] : [])),
    // Where nobody could say anything new, what was known counts from now: else nothing would ever be sent.
    until: (taking.isFresh ? askedAt : clock.now()) + giveWithinMs,
    isMove: group.some(({ isMove, gives }) => isMove && gives.length > 0),
  };
}

function refusalBy({ takesCopies, isFresh }: Taking, { gives, isMove }: PreparedSwap): Outcome | null {
  const backend = gives.find((name) => !takesCopies(name));
  if (backend !== undefined) return { outcome: 'not-taking', backend };
  return isMove && gives.length > 0 && !isFresh ? { outcome: 'not-now' } : null;
}

/** Swaps that leave a group with their outcome, and those that are sent again. */
export interface AfterRefusal {
  readonly settled: Settled;
  readonly live: readonly PreparedSwap[];
}

/**
 * What a refused transaction says of each of its swaps: those in the way have their outcome, those that learnt of an orphan's
 * item go on knowing it, and room is granted in order from what the gates hold now. Pure.
 */
export function settleRefused(
  live: readonly PreparedSwap[],
  tagged: readonly Tagged[],
  refusals: readonly (Refusal | null)[],
  quotaOf: (backend: string) => number,
): AfterRefusal {
  const standings = new Map<number, Standing>(live.map((swap) => [swap.index, { swap }]));
  const rooms = new Map<string, number>();
  const counts = new Map<string, number>();
  for (const [i, refusal] of refusals.entries()) {
    const { change, owner } = tagged[i]!;
    if (refusal === null) continue;
    if (owner !== undefined) standings.set(owner.index, afterRefusal(standings.get(owner.index)!, change, refusal));
    const backend = change.kind === 'add' && refusal.cause === 'counter' ? backendOfQuotaRow(change.sk) : undefined;
    if (backend !== undefined && refusal.cause === 'counter')
      rooms.set(backend, quotaOf(backend) - (refusal.seen?.bytes ?? 0));
    if (change.kind === 'add' && change.atMostObjects !== undefined && refusal.cause === 'counter')
      counts.set(change.sk, refusal.seen?.objects ?? 0);
  }
  return grantRoom(withinLimits([...standings.values()], counts), rooms);
}

/** Where a swap stands: settled once it has an outcome. */
interface Standing {
  readonly swap: PreparedSwap;
  readonly outcome?: Outcome;
}

function afterRefusal(standing: Standing, change: Change, refusal: Refusal): Standing {
  const { swap, outcome } = standing;
  if (outcome !== undefined) return standing;
  if (refusal.cause === 'object') return { swap, outcome: { outcome: 'lost', seen: refusal.seen } };
  if (refusal.cause !== 'queue') return standing;
  const id = change.kind === 'queue-end' ? change.id : (change as { put: QueueItem }).put.id;
  const { seen } = refusal;
  // An orphan whose item exists already, or has gone since, is not in the way: the next attempt rewrites that item, or makes it.
  if (change.kind === 'queue' && swap.orphanIds.has(id)) return { swap: swap.knowing(id, seen) };
  const isNew = change.kind === 'queue' && change.expect === 'absent';
  if (isNew && seen !== null) return { swap, outcome: { outcome: 'already-queued', id, seen } };
  return { swap, outcome: { outcome: 'expired', id, seen } };
}

/** Lets swaps add to the counters that refused, in order, by what they hold now; only what goes beyond a limit is `limited`. */
function withinLimits(standings: readonly Standing[], counts: ReadonlyMap<string, number>): Standing[] {
  const now = new Map(counts);
  return standings.map((standing) => {
    const { swap, outcome } = standing;
    const own = swap.counters.filter(({ sk }) => now.has(sk));
    if (outcome !== undefined || own.length === 0) return standing;
    if (own.some(({ sk, atMostObjects }) => atMostObjects !== undefined && now.get(sk)! > atMostObjects))
      return { swap, outcome: { outcome: 'limited' } };
    for (const { sk, add } of own) now.set(sk, now.get(sk)! + add.objects);
    return standing;
  });
}

/** Grants room in order; only what exceeds it has none. */
function grantRoom(standings: readonly Standing[], rooms: ReadonlyMap<string, number>): AfterRefusal {
  const left = new Map(rooms);
  const settled: [number, Outcome][] = [];
  const live: PreparedSwap[] = [];
  for (const { swap, outcome } of standings) {
    const lacking = [...left].find(([backend, room]) => (swap.needs.get(backend) ?? Number.NEGATIVE_INFINITY) > room);
    if (outcome !== undefined) settled.push([swap.index, outcome]);
    else if (lacking !== undefined) settled.push([swap.index, { outcome: 'no-room', backend: lacking[0] }]);
    else {
      live.push(swap);
      for (const [backend, room] of left) left.set(backend, room - (swap.needs.get(backend) ?? 0));
    }
  }
  return { settled, live };
}

function encode(deps: CommitDeps, live: readonly PreparedSwap[]): Tagged[] {
  const stripe = deps.stripe?.() ?? Math.floor(deps.ids.random() * deps.stripes);
  const tagged: Tagged[] = [];
  const ledger = newLedgerDelta();
  const needs = new Map<string, number>();
  const counters = new Map<string, CounterAdd>();
  for (const owner of live) {
    for (const change of owner.changes) tagged.push({ change, owner });
    owner.account(ledger);
    for (const [backend, bytes] of owner.needs) needs.set(backend, (needs.get(backend) ?? 0) + bytes);
    for (const counter of owner.counters) counters.set(counter.sk, sum(counters.get(counter.sk), counter));
  }
  for (const change of ledger.rows(stripe, deps.quotaOf, needs)) tagged.push({ change });
  for (const change of counters.values()) tagged.push({ change });
  return tagged;
}

function sum(a: CounterAdd | undefined, b: CounterAdd): CounterAdd {
  if (a === undefined) return b;
  const add = { objects: a.add.objects + b.add.objects, bytes: a.add.bytes + b.add.bytes };
  return { ...a, add, ...defined({ atMostObjects: mostBefore(a, b, add.objects) }) };
}

/** What a counter may hold before both add to it: the narrower limit, less what they add. */
function mostBefore(a: CounterAdd, b: CounterAdd, adds: number): number | undefined {
  const after = [a, b].flatMap(({ atMostObjects, add }) =>
    atMostObjects === undefined ? [] : [atMostObjects + add.objects],
  );
  return after.length === 0 ? undefined : Math.min(...after) - adds;
}
