import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import { lane, ledgerPlacement, shards } from '../store/keys.ts';
import { type Count, queueStates } from '../store/model.ts';
import type { Change, Store } from '../store/port.ts';
import { backendOfQuotaRow, fleetKey, rowKeys } from '../store/row-keys.ts';

/** A ledger total that differs from what is there. */
export interface Difference {
  readonly row: string;
  readonly ledger: Count;
  readonly counted: Count;
}

export interface Recounted {
  readonly differences: readonly Difference[];
  /** False when the ledger moved during every count: then a difference proves nothing and nothing is repaired. */
  readonly isAtRest: boolean;
  readonly repaired: number;
}

export interface RecountDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
}

const attempts = 3;
const pageSize = 500;

/**
 * Counts every object and every queue item and compares with the ledger; with `repair`, adds the differences to it.
 * Counts by the key-ordered index and the queue's lanes, so it is exact for a fleet at rest only.
 */
export async function recount(deps: RecountDeps, repair: boolean): Promise<Recounted> {
  for (let attempt = 1; ; attempt += 1) {
    const before = await readFleet(deps.store, deps.clock.now());
    const counted = await countAll(deps.store, before);
    const after = await readFleet(deps.store, deps.clock.now());
    const ledger = ledgerOf(before);
    const isAtRest = JSON.stringify([...ledger]) === JSON.stringify([...ledgerOf(after)]);
    if (!isAtRest && attempt < attempts) continue;
    const differences = compare(ledger, withQuotas(counted, before));
    const repaired = repair && isAtRest ? await mend(deps, differences) : 0;
    return { differences, isAtRest, repaired };
  }
}

const nothing: Count = { objects: 0, bytes: 0 };

async function countAll(store: Store, view: FleetView): Promise<Map<string, Count>> {
  const counted = new Map<string, Count>();
  const add = (row: string, objects: number, bytes: number) => {
    const count = counted.get(row) ?? nothing;
    counted.set(row, { objects: count.objects + objects, bytes: count.bytes + bytes });
  };
  for (const shard of shards) {
    let after: string | undefined;
    do {
      const page = await store.byKey(shard, after, pageSize);
      for (const entry of (await store.objects(page.items)).values()) {
        if (entry.kind !== 'object') continue;
        add(rowKeys.placement(ledgerPlacement(entry)), 1, entry.sizeBytes);
        for (const backend of Object.keys(entry.copies)) add(rowKeys.used(backend), 0, entry.sizeBytes);
        if (entry.encryption !== undefined) add(rowKeys.key(entry.encryption.keyId), 1, entry.sizeBytes);
      }
      after = page.next;
    } while (after !== undefined);
  }
  const backends = new Set([...view.namedBackends(), ...Object.keys(view.config?.fingerprints ?? {})]);
  for (const state of queueStates) {
    for (const backend of backends) {
      for (const shard of shards) {
        let after: string | undefined;
        do {
          const page = await store.due(lane(state, backend, shard), Number.MAX_SAFE_INTEGER, pageSize, after);
          for (const item of page.items) {
            add(rowKeys.queue(state, backend), 1, item.sizeBytes);
            add(rowKeys.used(backend), 0, item.sizeBytes);
            if (item.encryption !== undefined) add(rowKeys.key(item.encryption.keyId), 1, item.sizeBytes);
          }
          after = page.next;
        } while (after !== undefined);
      }
    }
  }
  return counted;
}

function ledgerOf(view: FleetView): Map<string, Count> {
  const ledger = new Map(
    view.totals.filter(({ row }) => /^(placement|queue|used|key)\//.test(row)).map(({ row, count }) => [row, count]),
  );
  for (const { name, quotaBytes } of view.config?.file.backends ?? []) {
    if (quotaBytes > 0) ledger.set(rowKeys.quota(name), { objects: 0, bytes: view.quotaBytesUsed(name) });
  }
  return ledger;
}

function withQuotas(counted: Map<string, Count>, view: FleetView): Map<string, Count> {
  for (const { name, quotaBytes } of view.config?.file.backends ?? []) {
    if (quotaBytes > 0)
      counted.set(rowKeys.quota(name), { objects: 0, bytes: counted.get(rowKeys.used(name))?.bytes ?? 0 });
  }
  return counted;
}

function compare(ledger: ReadonlyMap<string, Count>, counted: ReadonlyMap<string, Count>): Difference[] {
  const rows = [...new Set([...ledger.keys(), ...counted.keys()])].sort();
  return rows
    .map((row) => ({ row, ledger: ledger.get(row) ?? nothing, counted: counted.get(row) ?? nothing }))
    .filter((d) => d.ledger.objects !== d.counted.objects || d.ledger.bytes !== d.counted.bytes);
}

async function mend(deps: RecountDeps, differences: readonly Difference[]): Promise<number> {
  for (const { row, ledger, counted } of differences) {
    const add = { objects: counted.objects - ledger.objects, bytes: counted.bytes - ledger.bytes };
    const sk = backendOfQuotaRow(row) !== undefined ? row : `${row}#0`;
    const changes: Change[] = [{ kind: 'add', pk: fleetKey, sk, add }];
    await deps.store.transact(changes, deps.ids.ulid());
  }
  return differences.length;
}
