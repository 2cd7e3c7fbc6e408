import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { commit } from '../store/commit.ts';
import { readFleet } from '../store/fleet-view.ts';
import { lane, shards } from '../store/keys.ts';
import type { Store } from '../store/port.ts';

/** What `requeueDead` needs. */
export interface RequeueDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
}

const pageSize = 100;

/** Gives every deletion that was given up a fresh start: due now, no attempts. Returns how many. */
export async function requeueDead(deps: RequeueDeps): Promise<number> {
  const view = await readFleet(deps.store, deps.clock.now());
  // Moves between states leave used bytes alone, so no quota is asked.
  const commitDeps = { ...deps, stripes: 1, quotaOf: () => 0 };
  let requeued = 0;
  for (const backend of view.namedBackends()) {
    if (view.queue('dead', backend).objects === 0) continue;
    for (const shard of shards) {
      let after: string | undefined;
      do {
        const page = await deps.store.due(lane('dead', backend, shard), Number.MAX_SAFE_INTEGER, pageSize, after);
        const moves = page.items.map((item) => ({
          key: item.key,
          moves: [{ from: { item }, to: { ...item, state: 'cleanup' as const, attempts: 0, dueAt: deps.clock.now() } }],
        }));
        const outcomes = await commit(commitDeps, moves, deps.clock.now() + 60_000);
        requeued += outcomes.filter(({ outcome }) => outcome === 'committed').length;
        after = page.next;
      } while (after !== undefined);
    }
  }
  return requeued;
}
