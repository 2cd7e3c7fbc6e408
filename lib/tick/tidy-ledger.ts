import type { Change } from '../store/port.ts';
import { fleetKey } from '../store/row-keys.ts';
import type { Tick } from './tick.ts';

/**
 * Removes the stripes of totals that sum to zero, each total in one transaction, on condition of the values read: so the
 * fleet's one query stays as small as the fleet is. A total that moved meanwhile is left for a later tick.
 */
export async function tidyLedger(tick: Tick): Promise<void> {
  for (const { count, stripes } of tick.view.totals) {
    if (count.objects !== 0 || count.bytes !== 0) continue;
    const changes: Change[] = stripes.map((s) => ({ kind: 'add-end', pk: fleetKey, sk: s.sk, expect: s.count }));
    await tick.deps.store.transact(changes, tick.deps.ids.ulid());
  }
}
