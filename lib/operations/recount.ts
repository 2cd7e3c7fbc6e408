import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import { newLedgerDelta } from '../store/ledger.ts';
import type { Count } from '../store/model.ts';
import type { CounterAdd, Page, Store } from '../store/port.ts';
import { backendOfQuotaRow, fleetKey, isCountable, rowKeys } from '../store/row-keys.ts';

/** A ledger total that differs from what is there. */
export interface Difference {
  readonly row: string;
  readonly ledger: Count;
  readonly counted: Count;
}

export interface Recounted {
  /** Of totals that nothing moved while they were counted. */
  readonly differences: readonly Difference[];
  /** Totals that moved: of these nothing can be said. */
  readonly moved: readonly string[];
  readonly repaired: number;
}

export interface RecountDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
}

const pageSize = 500;
/** So far apart are the two counts of a repair. */
const betweenCountsMs = 60_000;

/**
 * Counts every object and every queue item by consistent reads of the tables themselves, and compares with the ledger. With
 * `repair` a second count follows a minute later, and only what both agree on is corrected, of totals that nothing moved from
 * before the first to after the second: a scan is no snapshot, and what moves is counted twice or not at all.
 */
export async function recount(deps: RecountDeps, repair: boolean): Promise<Recounted> {
  const first = await countOnce(deps, await readFleet(deps.store, deps.clock.now()));
  const differences = differencesOf(first);
  if (!repair || differences.length === 0) return { differences, moved: movedIn(first), repaired: 0 };
  await deps.clock.sleep(betweenCountsMs);
  const second = await countOnce(deps, first.after);
  const moved = [...new Set([...movedIn(first), ...movedIn(second)])].sort();
  const agreed = differences.filter(
    (one) => !moved.includes(one.row) && isEqual(one.counted, countOf(second, one.row)),
  );
  for (const difference of agreed) await mend(deps, difference);
  const unsure = differences.filter((one) => !agreed.includes(one)).map(({ row }) => row);
  return { differences, moved: [...new Set([...moved, ...unsure])].sort(), repaired: agreed.length };
}

/** One count of everything, and the ledger as it was right before and right after. */
interface Counting {
  readonly before: FleetView;
  readonly after: FleetView;
  readonly counted: ReadonlyMap<string, Count>;
}

const nothing: Count = { objects: 0, bytes: 0 };

async function countOnce({ store, clock }: RecountDeps, before: FleetView): Promise<Counting> {
  const ledger = newLedgerDelta();
  for await (const entry of everything((after) => store.everyEntry(after, pageSize))) ledger.record(entry, 1);
  for await (const item of everything((after) => store.everyQueueItem(after, pageSize))) ledger.item(item, 1);
  const rows = ledger.rows(0, (name) => quotaOf(before, name), new Map());
  return {
    before,
    after: await readFleet(store, clock.now()),
    counted: new Map(rows.map((row: CounterAdd) => [row.sk.replace(/#0$/, ''), row.add])),
  };
}

async function* everything<T>(read: (after: string | undefined) => Promise<Page<T>>): AsyncGenerator<T> {
  let after: string | undefined;
  do {
    const page = await read(after);
    yield* page.items;
    after = page.next;
  } while (after !== undefined);
}

function quotaOf(view: FleetView, name: string): number {
  return view.config?.file.backends.find((backend) => backend.name === name)?.quotaBytes ?? 0;
}

function countOf({ counted }: Counting, row: string): Count {
  return counted.get(row) ?? nothing;
}

function differencesOf(counting: Counting): Difference[] {
  const ledger = ledgerOf(counting.before);
  const moved = new Set(movedIn(counting));
  const rows = [...new Set([...ledger.keys(), ...counting.counted.keys()])].sort();
  return rows
    .map((row) => ({ row, ledger: ledger.get(row)?.count ?? nothing, counted: countOf(counting, row) }))
    .filter(({ row, ledger: total, counted }) => !moved.has(row) && !isEqual(total, counted));
}

function isEqual(a: Count, b: Count): boolean {
  return a.objects === b.objects && a.bytes === b.bytes;
}

/** Totals that moved while they were counted: their stripes differ before and after. */
function movedIn({ before, after }: Counting): string[] {
  const [first, second] = [ledgerOf(before), ledgerOf(after)];
  const rows = [...new Set([...first.keys(), ...second.keys()])].sort();
  return rows.filter((row) => first.get(row)?.text !== second.get(row)?.text);
}

/** The totals that a count can be compared with; `text` tells every stripe. */
function ledgerOf(view: FleetView): Map<string, { readonly count: Count; readonly text: string }> {
  const counted = view.totals.filter(({ row }) => isCountable(row));
  const totals = counted.map(({ row, count, stripes }) => [row, { count, text: JSON.stringify(stripes) }] as const);
  const quotas = (view.config?.file.backends ?? [])
    .filter(({ quotaBytes }) => quotaBytes > 0)
    .map(({ name }) => {
      const count = { objects: 0, bytes: view.quotaBytesUsed(name) };
      return [rowKeys.quota(name), { count, text: String(count.bytes) }] as const;
    });
  return new Map([...totals, ...quotas]);
}

/** Adds what is lacking, so that what commits add meanwhile is kept. */
async function mend(deps: RecountDeps, { row, ledger, counted }: Difference): Promise<void> {
  const add = { objects: counted.objects - ledger.objects, bytes: counted.bytes - ledger.bytes };
  const sk = backendOfQuotaRow(row) === undefined ? `${row}#0` : row;
  await deps.store.transact([{ kind: 'add', pk: fleetKey, sk, add }], deps.ids.ulid());
}
