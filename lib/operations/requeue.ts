import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { commit } from '../store/commit.ts';
import { readFleet } from '../store/fleet-view.ts';
import { lane, shards } from '../store/keys.ts';
import type { QueueItem } from '../store/model.ts';
import type { Store } from '../store/port.ts';

/** What `requeueDead` needs. */
export interface RequeueDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
}

const pageSize = 100;
const patienceMs = 60_000;

/** The same for items that are named. Returns how many were dead, and are tried again. */
export async function requeueItems(deps: RequeueDeps, wanted: readonly string[]): Promise<number> {
  const found = [...(await deps.store.queueItems(wanted)).values()];
  return startAgain(
    deps,
    found.filter(({ state }) => state === 'dead'),
  );
}

/** Gives every deletion that was given up a fresh start: due now, no attempts. Returns how many. */
export async function requeueDead(deps: RequeueDeps): Promise<number> {
  const view = await readFleet(deps.store, deps.clock.now());
  let requeued = 0;
  for (const backend of view.namedBackends()) {
    if (view.queue('dead', backend).objects === 0) continue;
    for (const shard of shards) {
      let after: string | undefined;
      do {
        const page = await deps.store.due(lane('dead', backend, shard), Number.MAX_SAFE_INTEGER, pageSize, after);
        requeued += await startAgain(deps, page.items);
        after = page.next;
      } while (after !== undefined);
    }
  }
  return requeued;
}

async function startAgain(deps: RequeueDeps, items: readonly QueueItem[]): Promise<number> {
  const now = deps.clock.now();
  const swaps = items.map((item) => ({
    key: item.key,
    moves: [{ from: { item }, to: { ...item, state: 'cleanup' as const, attempts: 0, dueAt: now } }],
  }));
  // Moves between states leave used bytes alone, so no quota is asked.
  const outcomes = await commit({ ...deps, stripes: 1, quotaOf: () => 0 }, swaps, now + patienceMs);
  return outcomes.filter(({ outcome }) => outcome === 'committed').length;
}
