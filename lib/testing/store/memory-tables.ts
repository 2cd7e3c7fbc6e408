import { compareUtf8 } from '../../base/bytes.ts';
import type { Usage } from '../../base/usage.ts';
import type { ControlRow, Count, Entry, Lease, QueueItem } from '../../store/model.ts';
import type { Change, ControlPartition, Refusal } from '../../store/port.ts';
import { frozenCopy } from './frozen.ts';
import { createMemoryIndexes, type MemoryIndexes } from './indexes.ts';
import { createSortedList, type SortedList } from './sorted-list.ts';

/** A row of the Control table that is only ever added to. */
export interface Counter {
  readonly pk: string;
  readonly sk: string;
  readonly count: Count;
}

/** Everything the store holds, at one moment. All values are frozen. */
export interface MemorySnapshot {
  readonly objects: ReadonlyMap<string, Entry>;
  readonly queue: ReadonlyMap<string, QueueItem>;
  readonly counters: readonly Counter[];
  readonly rows: readonly ControlRow[];
  readonly leases: readonly Lease[];
  /** By `<backend>/<yyyy-mm>`. */
  readonly usage: ReadonlyMap<string, Usage>;
}

type Cell = { readonly count: Count; readonly row?: never } | { readonly row: ControlRow; readonly count?: never };

interface Partition {
  readonly cells: Map<string, Cell>;
  readonly order: SortedList<string>;
}

/** The tables of the in-memory store: each change's condition and its effect, and nothing else. */
export interface MemoryTables {
  readonly objects: Map<string, Entry>;
  readonly queue: Map<string, QueueItem>;
  readonly leases: Map<string, Lease>;
  readonly usage: Map<string, Usage>;
  readonly indexes: MemoryIndexes;
  /** Why the change cannot be made now; null when it can. */
  refusalOf(change: Change): Refusal | null;
  effect(change: Change): void;
  /** Removes an object's item altogether, as DynamoDB's TTL does. */
  removeObject(key: string): void;
  control(pk: string): ControlPartition;
  counters(): Counter[];
  rowAt(pk: string, sk: string): ControlRow | undefined;
  snapshot(): MemorySnapshot;
}

export function createMemoryTables(
  indexes: MemoryIndexes = createMemoryIndexes(),
  from?: MemorySnapshot,
): MemoryTables {
  const objects = new Map<string, Entry>();
  const queue = new Map<string, QueueItem>();
  const partitions = new Map<string, Partition>();
  const leases = new Map<string, Lease>(from?.leases.map((lease) => [`${lease.worker}/${lease.part}`, lease]));
  const usage = new Map<string, Usage>(from?.usage);

  function cellAt(pk: string, sk: string): Cell | undefined {
    return partitions.get(pk)?.cells.get(sk);
  }

  function putCell(pk: string, sk: string, cell: Cell): void {
    const partition = partitions.get(pk) ?? { cells: new Map<string, Cell>(), order: createSortedList(compareUtf8) };
    partitions.set(pk, partition);
    if (!partition.cells.has(sk)) partition.order.add(sk);
    partition.cells.set(sk, cell);
  }

  function removeCell(pk: string, sk: string): void {
    const partition = partitions.get(pk);
    if (partition?.cells.delete(sk)) partition.order.remove(sk);
  }

  function putObject(entry: Entry): void {
    objects.set(entry.key, entry);
    indexes.noteObject(entry.key, entry);
  }

  function putQueueItem(item: QueueItem): void {
    queue.set(item.id, item);
    indexes.noteQueueItem(item.id, item);
  }

  function refusalOf(change: Change): Refusal | null {
    switch (change.kind) {
      case 'object': {
        const seen = objects.get(change.put.key) ?? null;
        return meets(seen, change.expect, ['generation', 'rev']) ? null : { cause: 'object', seen };
      }
      case 'queue':
      case 'queue-end': {
        const seen = queue.get(change.kind === 'queue' ? change.put.id : change.id) ?? null;
        return meets(seen, change.expect, ['state', 'dueAt', 'claimedBy']) ? null : { cause: 'queue', seen };
      }
      case 'add': {
        const seen = cellAt(change.pk, change.sk)?.count ?? null;
        const { atMostBytes = Number.POSITIVE_INFINITY, atMostObjects = Number.POSITIVE_INFINITY } = change;
        const fits = (seen === null || seen.bytes <= atMostBytes) && (seen?.objects ?? 0) <= atMostObjects;
        return fits ? null : { cause: 'counter', seen };
      }
      case 'add-end': {
        const seen = cellAt(change.pk, change.sk)?.count ?? null;
        return meets(seen, change.expect, ['objects', 'bytes']) ? null : { cause: 'counter', seen };
      }
      case 'row':
      case 'row-end': {
        const { pk, sk } = change.kind === 'row' ? change.put : change;
        const seen = cellAt(pk, sk)?.row ?? null;
        const expect = change.expect === 'absent' ? change.expect : { version: change.expect };
        return meets(seen, expect, ['version']) ? null : { cause: 'row', seen };
      }
    }
  }

  function effect(change: Change): void {
    switch (change.kind) {
      case 'object':
        putObject(frozenCopy(change.put));
        break;
      case 'queue':
        putQueueItem(frozenCopy(change.put));
        break;
      case 'queue-end':
        queue.delete(change.id);
        indexes.noteQueueItem(change.id, null);
        break;
      case 'add':
        putCell(change.pk, change.sk, { count: sum(cellAt(change.pk, change.sk)?.count, change.add) });
        break;
      case 'add-end':
      case 'row-end':
        removeCell(change.pk, change.sk);
        break;
      case 'row':
        putCell(change.put.pk, change.put.sk, { row: frozenCopy(change.put) });
    }
  }

  function control(pk: string): ControlPartition {
    const counters: { sk: string; count: Count }[] = [];
    const rows: ControlRow[] = [];
    const partition = partitions.get(pk);
    for (const sk of partition?.order.after(undefined, partition.order.size) ?? []) {
      const { count, row } = partition!.cells.get(sk)!;
      if (count) counters.push({ sk, count });
      else rows.push(row);
    }
    return { counters, rows };
  }

  function counters(): Counter[] {
    const all: Counter[] = [];
    for (const [pk, { cells }] of partitions)
      for (const [sk, { count }] of cells) if (count !== undefined) all.push({ pk, sk, count });
    return all;
  }

  for (const entry of from?.objects.values() ?? []) putObject(entry);
  for (const item of from?.queue.values() ?? []) putQueueItem(item);
  for (const { pk, sk, count } of from?.counters ?? []) putCell(pk, sk, { count });
  for (const row of from?.rows ?? []) putCell(row.pk, row.sk, { row });

  return {
    objects,
    queue,
    leases,
    usage,
    indexes,
    refusalOf,
    effect,
    removeObject: (key) => {
      objects.delete(key);
      indexes.noteObject(key, null);
    },
    control,
    counters,
    rowAt: (pk, sk) => cellAt(pk, sk)?.row,
    snapshot: () => ({
      objects: new Map(objects),
      queue: new Map(queue),
      counters: counters(),
      rows: [...partitions.keys()].flatMap((pk) => control(pk).rows),
      leases: [...leases.values()],
      usage: new Map(usage),
    }),
  };
}

function sum(before: Count | undefined, add: Count): Count {
  return Object.freeze({ objects: (before?.objects ?? 0) + add.objects, bytes: (before?.bytes ?? 0) + add.bytes });
}

/** True when what is there is what was expected: every field given is compared. */
function meets<T extends object, K extends keyof T>(
  seen: T | null,
  expect: { readonly [P in K]?: T[P] } | 'absent',
  fields: readonly K[],
): boolean {
  if (seen === null || expect === 'absent') return seen === null && expect === 'absent';
  return fields.every((field) => expect[field] === undefined || expect[field] === seen[field]);
}
