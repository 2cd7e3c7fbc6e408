import { allEnded } from '../base/pool.ts';
import type { FleetView } from '../store/fleet-view.ts';
import { lane, shards } from '../store/keys.ts';
import type { Count, QueueItem } from '../store/model.ts';
import type { Store } from '../store/port.ts';
import { isOfLostTime, recoveryOf, restoredDueAt } from '../store/recovery.ts';
import { addUp } from './naming.ts';

/**
 * What is queued for deletion on a backend and is not deleted soon, whatever the workers do. `restored` tables had queued it that
 * were restored since: it waits for a person, or until `dueAt` once one has let it go · `kept` it is due later, the last of it
 * `until` then · `given-up` its deletion was refused too often. Of more than a few thousand items these are the least numbers.
 */
export type WaitingDeletions =
  | { readonly waiting: 'restored'; readonly items: Count; readonly isAll: boolean; readonly dueAt?: number }
  | { readonly waiting: 'kept'; readonly items: Count; readonly isAll: boolean; readonly until: number }
  | { readonly waiting: 'given-up'; readonly items: Count };

/** A page of each shard is looked at. */
const mostOfLane = 100;
/** What comes due in less is on its way. */
const soonMs = 3_600_000;

export async function waitingDeletions(
  store: Pick<Store, 'due'>,
  view: FleetView,
  backend: string,
  now: number,
): Promise<readonly WaitingDeletions[]> {
  const dead = view.queue('dead', backend);
  const givenUp: WaitingDeletions[] = dead.objects > 0 ? [{ waiting: 'given-up', items: dead }] : [];
  if (view.queue('cleanup', backend).objects <= 0) return givenUp;
  const lanes = shards.map((shard) => lane('cleanup', backend, shard));
  const pages = await allEnded(lanes.map((one) => store.due(one, Number.MAX_SAFE_INTEGER, mostOfLane)));
  const isAll = pages.every(({ next }) => next === undefined);
  const { restored = [], kept = [] } = Object.groupBy(
    pages.flatMap(({ items }) => items),
    (item) => (isOfLostTime(view, item) ? 'restored' : item.dueAt > now + soonMs ? 'kept' : 'soon'),
  );
  const found = [...givenUp];
  if (restored.length > 0) {
    const dueAt = restoredDueAt(recoveryOf(view)!);
    found.push({ waiting: 'restored', items: sum(restored), isAll, ...(Number.isFinite(dueAt) && { dueAt }) });
  }
  if (kept.length > 0)
    found.push({ waiting: 'kept', items: sum(kept), isAll, until: Math.max(...kept.map(({ dueAt }) => dueAt)) });
  return found;
}

function sum(items: readonly QueueItem[]): Count {
  return addUp(items.map(({ sizeBytes }) => ({ objects: 1, bytes: sizeBytes })));
}
