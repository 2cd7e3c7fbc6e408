import { defined } from '../base/defined.ts';
import { type LedgerDelta, newLedgerDelta } from './ledger.ts';
import type { Entry, QueueItem } from './model.ts';
import type { Change, CounterAdd } from './port.ts';
import { copiesOf, type HeldItem, orphansOf, type Swap } from './swap.ts';

/**
 * A swap as `commit` works on it: nothing is optional any more, and what follows from the swap was worked out once. It is
 * never changed; what a refusal teaches makes another one.
 */
export interface PreparedSwap {
  /** Its place in the call. */
  readonly index: number;
  readonly key: string;
  /** The entry as it will be when the swap is committed; null where only queue items change. */
  readonly entry: Entry | null;
  /** What a transaction says of it, counters aside. */
  readonly changes: readonly Change[];
  readonly counters: readonly CounterAdd[];
  /** Ids of the items for bytes that lose their record: such an item may be there already. */
  readonly orphanIds: ReadonlySet<string>;
  /** Backend → bytes that need room there. */
  readonly needs: ReadonlyMap<string, number>;
  /** Backends on which it names bytes that were not named there before: they must take them. */
  readonly gives: readonly string[];
  /** Whether one copy of the same content takes the place of another: the new one may be the only one left. */
  readonly isMove: boolean;
  /** What it touches: no two swaps of one transaction touch the same. */
  readonly touches: readonly string[];
  /** Adds what it changes to a ledger delta. */
  account(ledger: LedgerDelta): void;
  /** The same swap, once it is known that an orphan's item is there, or (null) that it is not. */
  knowing(id: string, seen: QueueItem | null): PreparedSwap;
}

/** A swap with every list there, and with the record as it will be. */
interface WholeSwap {
  readonly key: string;
  readonly before: Entry | null;
  readonly after: Entry | null;
  readonly completes: readonly HeldItem[];
  readonly moves: NonNullable<Swap['moves']>;
  readonly reserves: readonly QueueItem[];
  readonly enqueuesDeletes: readonly QueueItem[];
  readonly orphans: readonly QueueItem[];
  readonly ignoresRoom: boolean;
  readonly counters: readonly CounterAdd[];
}

/** Works a swap out. Throws where it removes a copy without saying why. */
export function prepare(swap: Swap, index: number): PreparedSwap {
  const whole: WholeSwap = {
    key: swap.key,
    before: swap.change?.before ?? null,
    after: swap.change === undefined ? null : recordedBy(swap.change),
    completes: swap.completes ?? [],
    moves: swap.moves ?? [],
    reserves: swap.reserves ?? [],
    enqueuesDeletes: swap.enqueuesDeletes ?? [],
    orphans: orphansOf(swap),
    ignoresRoom: swap.ignoresRoom ?? false,
    counters: swap.counters ?? [],
  };
  return prepared(whole, index, new Map());
}

function prepared(whole: WholeSwap, index: number, known: ReadonlyMap<string, QueueItem>): PreparedSwap {
  const { key, after, counters, orphans } = whole;
  const account = (ledger: LedgerDelta) => accountOf(whole, known, ledger);
  return {
    index,
    key,
    entry: after,
    changes: changesOf(whole, known),
    counters,
    orphanIds: new Set(orphans.map(({ id }) => id)),
    needs: needsOf(whole, account),
    gives: givesOf(whole),
    isMove: isMove(whole),
    touches: [`object ${key}`, ...itemsOf(whole).map(({ id }) => `item ${id}`)],
    account,
    knowing: (id, seen) => {
      const others = [...known].filter(([other]) => other !== id);
      return prepared(whole, index, new Map(seen === null ? others : [...others, [id, seen]]));
    },
  };
}

/** The entry as it will be: one rev on. New content was refused by nobody yet, and what gained a copy is not refused by all. */
function recordedBy({ before, after }: NonNullable<Swap['change']>): Entry {
  const next = { ...after, rev: before === null ? 1 : before.rev + 1 };
  if (next.kind !== 'object' || before?.kind !== 'object') return next;
  if (next.generation !== before.generation) {
    const { stuck: _old, ...fresh } = next;
    return fresh.condition === 'stuck' ? { ...fresh, condition: 'sound' } : fresh;
  }
  const hasGained = Object.keys(next.copies).some((name) => before.copies[name] === undefined);
  return hasGained && next.condition === 'stuck' ? { ...next, condition: 'sound' } : next;
}

function itemsOf({ completes, moves, reserves, enqueuesDeletes, orphans }: WholeSwap): QueueItem[] {
  const held = [...completes, ...moves.map(({ from }) => from)].map(({ item }) => item);
  return [...held, ...reserves, ...enqueuesDeletes, ...orphans];
}

function changesOf(whole: WholeSwap, known: ReadonlyMap<string, QueueItem>): Change[] {
  const changes: Change[] = [];
  const { before, after } = whole;
  if (after !== null) {
    const expect = before === null ? 'absent' : { generation: before.generation, rev: before.rev };
    changes.push({ kind: 'object', put: after, expect });
  }
  for (const { item, expect } of whole.completes)
    changes.push({ kind: 'queue-end', id: item.id, expect: expect ?? { state: item.state } });
  for (const { from, to } of whole.moves)
    changes.push({ kind: 'queue', put: to, expect: from.expect ?? { state: from.item.state } });
  for (const put of [...whole.reserves, ...whole.enqueuesDeletes])
    changes.push({ kind: 'queue', put, expect: 'absent' });
  for (const put of whole.orphans) {
    const existing = known.get(put.id);
    const expect = existing === undefined ? 'absent' : { state: existing.state, dueAt: existing.dueAt };
    changes.push({ kind: 'queue', put: { ...put, ...claimOf(existing) }, expect });
  }
  return changes;
}

/** Whoever claimed an item may be deleting its bytes, for whatever reason they are queued now. */
function claimOf({ claimedBy, claimedAt }: Partial<QueueItem> = {}): Pick<QueueItem, 'claimedBy' | 'claimedAt'> {
  return defined({ claimedBy, claimedAt });
}

function accountOf(whole: WholeSwap, known: ReadonlyMap<string, QueueItem>, ledger: LedgerDelta): void {
  if (whole.after !== null) {
    ledger.record(whole.before, -1);
    ledger.record(whole.after, 1);
  }
  for (const { item } of whole.completes) ledger.item(item, -1);
  for (const { from, to } of whole.moves) {
    ledger.item(from.item, -1);
    ledger.item(to, 1);
  }
  for (const item of [...whole.reserves, ...whole.enqueuesDeletes, ...whole.orphans]) ledger.item(item, 1);
  for (const item of known.values()) ledger.item(item, -1);
}

function givesOf({ before, after, reserves }: WholeSwap): string[] {
  const had = copiesOf(before);
  const gained = Object.entries(copiesOf(after)).filter(([backend, copyId]) => had[backend] !== copyId);
  return [...new Set([...gained.map(([backend]) => backend), ...reserves.map(({ backend }) => backend)])];
}

function isMove({ before, after, orphans }: WholeSwap): boolean {
  return before?.generation === after?.generation && after?.kind === 'object' && orphans.length > 0;
}

/** Bytes that are named for the first time, those aside that are there already and are only to be deleted. */
function needsOf(whole: WholeSwap, account: (ledger: LedgerDelta) => void): Map<string, number> {
  const needs = new Map<string, number>();
  if (whole.ignoresRoom) return needs;
  const ledger = newLedgerDelta();
  account(ledger);
  for (const item of whole.enqueuesDeletes) ledger.item(item, -1);
  const copies = whole.after?.kind === 'object' ? Object.keys(whole.after.copies) : [];
  for (const backend of new Set([...copies, ...whole.reserves.map((item) => item.backend)])) {
    const bytes = ledger.usedBytes(backend);
    if (bytes > 0) needs.set(backend, bytes);
  }
  return needs;
}
