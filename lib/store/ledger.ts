import { ledgerPlacement } from './keys.ts';
import type { Content, Entry, QueueItem } from './model.ts';
import type { CounterAdd } from './port.ts';
import { fleetKey, rowKeys } from './row-keys.ts';

/**
 * The change of the ledger that goes with a set of swaps: totals per placement, per queue state, per backend and per
 * encryption key (records and queue items: what waits may be restored).
 *
 * Used bytes of a backend = sizes of its recorded copies + sizes of its queue items. So they rise once, when bytes are
 * first named, and fall once, when an item ends without its bytes being recorded.
 */
export interface LedgerDelta {
  record(entry: Entry | null, sign: 1 | -1): void;
  item(item: QueueItem, sign: 1 | -1): void;
  /** Net change of a backend's used bytes. */
  usedBytes(backend: string): number;
  /** An upper bound of how many rows `rows` returns. */
  maxRows(): number;
  /** The rows to add to: striped totals, and quota rows where `quotaOf` is above 0, on condition that `reserved` fits. */
  rows(stripe: number, quotaOf: (backend: string) => number, reserved: ReadonlyMap<string, number>): CounterAdd[];
}

export function newLedgerDelta(): LedgerDelta {
  const totals = new Map<string, { objects: number; bytes: number }>();
  const used = new Map<string, number>();
  const add = (row: string, objects: number, bytes: number) => {
    const total = totals.get(row) ?? { objects: 0, bytes: 0 };
    totals.set(row, { objects: total.objects + objects, bytes: total.bytes + bytes });
  };
  const use = (backend: string, bytes: number) => used.set(backend, (used.get(backend) ?? 0) + bytes);
  const seal = ({ encryption, sizeBytes }: Content & { readonly sizeBytes: number }, sign: 1 | -1) => {
    if (encryption !== undefined) add(rowKeys.key(encryption.keyId), sign, sign * sizeBytes);
  };
  return {
    record(entry, sign) {
      if (entry?.kind !== 'object') return;
      add(rowKeys.placement(ledgerPlacement(entry)), sign, sign * entry.sizeBytes);
      for (const backend of Object.keys(entry.copies)) use(backend, sign * entry.sizeBytes);
      seal(entry, sign);
    },
    item(item, sign) {
      add(rowKeys.queue(item.state, item.backend), sign, sign * item.sizeBytes);
      use(item.backend, sign * item.sizeBytes);
      seal(item, sign);
    },
    usedBytes: (backend) => used.get(backend) ?? 0,
    maxRows: () => totals.size + 2 * used.size,
    rows(stripe, quotaOf, reserved) {
      const rows: CounterAdd[] = [];
      for (const [row, change] of totals) {
        if (change.objects !== 0 || change.bytes !== 0)
          rows.push({ kind: 'add', pk: fleetKey, sk: `${row}#${stripe}`, add: change });
      }
      for (const [backend, bytes] of used) {
        if (bytes !== 0)
          rows.push({
            kind: 'add',
            pk: fleetKey,
            sk: `${rowKeys.used(backend)}#${stripe}`,
            add: { objects: 0, bytes },
          });
        const quota = quotaOf(backend);
        const needed = reserved.get(backend) ?? 0;
        if (quota > 0 && (bytes !== 0 || needed > 0)) {
          const gate = needed > 0 ? { atMostBytes: quota - needed } : {};
          rows.push({ kind: 'add', pk: fleetKey, sk: rowKeys.quota(backend), add: { objects: 0, bytes }, ...gate });
        }
      }
      return rows;
    },
  };
}
