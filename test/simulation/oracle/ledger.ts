import type { Entry, ObjectRecord, QueueItem } from '../../../lib/store/model.ts';
import { labelOf } from './reading.ts';

interface Total {
  objects: number;
  bytes: number;
}

/** One row of the fleet's partition, as the table holds it. */
export interface LedgerRow {
  readonly pk: string;
  readonly sk: string;
  readonly count: { readonly objects: number; readonly bytes: number };
}

/** Totals as they must be, kept from what the tables hold, and compared with what the ledger says. */
export interface LedgerCheck {
  add(entry: Entry | null | undefined, sign: 1 | -1): void;
  addItem(item: QueueItem | null | undefined, sign: 1 | -1): void;
  usedBytes(backend: string): number;
  /** What differs, or null. `quotas` names the backends whose quota row must be exact. */
  mismatch(rows: readonly LedgerRow[], quotas: ReadonlySet<string>): string | null;
}

export function createLedgerCheck(): LedgerCheck {
  const expected = new Map<string, Total>();
  const bump = (row: string, objects: number, bytes: number) => {
    const total = expected.get(row) ?? { objects: 0, bytes: 0 };
    total.objects += objects;
    total.bytes += bytes;
    if (total.objects === 0 && total.bytes === 0) expected.delete(row);
    else expected.set(row, total);
  };
  const bumpKey = ({ encryption, sizeBytes }: ObjectRecord | QueueItem, sign: 1 | -1) => {
    if (encryption !== undefined) bump(`key/${encryption.keyId}`, sign, sign * sizeBytes);
  };
  return {
    add(entry, sign) {
      if (entry?.kind !== 'object') return;
      bump(`placement/${labelOf(entry)}`, sign, sign * entry.sizeBytes);
      for (const backend of Object.keys(entry.copies)) bump(`used/${backend}`, 0, sign * entry.sizeBytes);
      bumpKey(entry, sign);
    },
    addItem(item, sign) {
      if (item === null || item === undefined) return;
      bump(`queue/${item.state}/${item.backend}`, sign, sign * item.sizeBytes);
      bump(`used/${item.backend}`, 0, sign * item.sizeBytes);
      bumpKey(item, sign);
    },
    usedBytes: (backend) => expected.get(`used/${backend}`)?.bytes ?? 0,
    mismatch(rows, quotas) {
      const found = new Map<string, Total>();
      const gates = new Map<string, number>();
      for (const { pk, sk, count } of rows) {
        if (pk !== 'fleet') continue;
        const row = rowOf(sk);
        if (row.gate !== undefined) gates.set(row.gate, count.bytes);
        if (row.total === undefined) continue;
        const total = found.get(row.total);
        if (total === undefined) {
          found.set(row.total, { objects: count.objects, bytes: count.bytes });
        } else {
          total.objects += count.objects;
          total.bytes += count.bytes;
        }
      }
      for (const [row, counted] of expected) {
        const ledger = found.get(row);
        if (ledger?.objects !== counted.objects || ledger.bytes !== counted.bytes)
          return difference(row, ledger, counted);
      }
      for (const [row, ledger] of found)
        if (!expected.has(row) && (ledger.objects !== 0 || ledger.bytes !== 0))
          return difference(row, ledger, undefined);
      for (const backend of quotas) {
        const gate = gates.get(backend) ?? 0;
        const used = expected.get(`used/${backend}`)?.bytes ?? 0;
        if (gate !== used) return `quota/${backend}: the gate says ${gate} bytes, there are ${used}`;
      }
      return null;
    },
  };
}

/** What the name of a row says: the total that it is a stripe of, or the backend whose gate it is. */
interface NamedRow {
  readonly total: string | undefined;
  readonly gate: string | undefined;
}

/** Looked at with every commit, and few: those of all histories that one thread plays. */
const namedRows = new Map<string, NamedRow>();

function rowOf(sk: string): NamedRow {
  const known = namedRows.get(sk);
  if (known !== undefined) return known;
  const row = readRow(sk);
  namedRows.set(sk, row);
  return row;
}

function readRow(sk: string): NamedRow {
  // How much a drain has deleted is told by nothing else.
  const at = sk.startsWith('drain-deleted/') ? -1 : sk.lastIndexOf('#');
  return { total: at < 0 ? undefined : sk.slice(0, at), gate: sk.startsWith('quota/') ? sk.slice(6) : undefined };
}

function difference(row: string, ledger: Total | undefined, counted: Total | undefined): string {
  return `${row}: the ledger says ${text(ledger)}, there are ${text(counted)}`;
}

function text(total: Total | undefined): string {
  return `${total?.objects ?? 0} objects, ${total?.bytes ?? 0} bytes`;
}
