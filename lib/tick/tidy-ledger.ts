import type { Change } from '../store/port.ts';
import { fleetKey } from '../store/row-keys.ts';
import type { RemovalLimitTick } from './removal-limit.ts';
import { dayOf } from './removal-limit.ts';
import type { Tick } from './tick.ts';

/** What this file asks of a tick. */
export type TidyLedgerTick = Pick<Tick, 'deps' | 'view' | 'now'> & RemovalLimitTick;

const dayMs = 24 * 3_600_000;
/** Rows of past days that one tick ends. */
const maxPastRows = 20;

/**
 * Keeps the fleet's one query as small as the fleet is: removes the stripes of totals that sum to zero, and what counted the
 * removals of days before yesterday. Each in a transaction of its own, on condition of the values read: what moved
 * meanwhile is left for a later tick.
 */
export async function tidyLedger(tick: TidyLedgerTick): Promise<void> {
  for (const { count, stripes } of tick.view.totals) {
    if (count.objects === 0 && count.bytes === 0) await end(tick, stripes);
  }
  const yesterday = dayOf(tick.now() - dayMs);
  const past = tick.view.removalRows.filter(({ day }) => day < yesterday);
  for (const row of past.slice(0, maxPastRows)) await end(tick, [row]);
}

type Counter = Pick<Tick['view']['removalRows'][number], 'sk' | 'count'>;

async function end(tick: TidyLedgerTick, counters: readonly Counter[]): Promise<void> {
  const changes: Change[] = counters.map(({ sk, count }) => ({ kind: 'add-end', pk: fleetKey, sk, expect: count }));
  await tick.deps.store.transact(changes, tick.deps.ids.ulid());
}
