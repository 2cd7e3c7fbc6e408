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
        // How much a drain has deleted is told by nothing else.
        if (pk !== 'fleet' || sk.startsWith('drain-deleted/')) continue;
        if (sk.startsWith('quota/')) gates.set(sk.slice(6), count.bytes);
        const at = sk.lastIndexOf('#');
        if (at < 0) continue;
        const row = sk.slice(0, at);
        const total = found.get(row) ?? { objects: 0, bytes: 0 };
        total.objects += count.objects;
        total.bytes += count.bytes;
        found.set(row, total);
      }
      for (const row of new Set([...expected.keys(), ...found.keys()])) {
        const ledger = found.get(row) ?? { objects: 0, bytes: 0 };
        const counted = expected.get(row) ?? { objects: 0, bytes: 0 };
        if (ledger.objects !== counted.objects || ledger.bytes !== counted.bytes)
          return `${row}: the ledger says ${text(ledger)}, there are ${text(counted)}`;
      }
      for (const backend of quotas) {
        const gate = gates.get(backend) ?? 0;
        const used = expected.get(`used/${backend}`)?.bytes ?? 0;
        if (gate !== used) return `quota/${backend}: the gate says ${gate} bytes, there are ${used}`;
      }
      return null;
    },
  };
}

function text({ objects, bytes }: Total): string {
  return `${objects} objects, ${bytes} bytes`;
}
