import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { unstuck } from '../steps/refusals.ts';
import { commit } from '../store/commit.ts';
import { readFleet } from '../store/fleet-view.ts';
import { labelInShard, shards } from '../store/keys.ts';
import type { ObjectRecord, StuckReason } from '../store/model.ts';
import type { Store } from '../store/port.ts';

/** What `listStuck` needs. */
export interface ListStuckDeps {
  readonly store: Pick<Store, 'control' | 'byPlacement'>;
  readonly clock: Clock;
}

/** An object that every backend refuses it could go to, or come from. */
export interface StuckObject {
  readonly key: string;
  readonly generation: string;
  readonly sizeBytes: number;
  /** Backends that have it. */
  readonly backends: readonly string[];
  /** When the first of its refusals was met last, in milliseconds since the epoch. */
  readonly since: number;
  /** Backend → why it refuses. */
  readonly reasons: Readonly<Record<string, StuckReason>>;
}

const pageSize = 100;

/** All stuck objects of a fleet, by label and key; the indexes lag a little. */
export async function listStuck({ store, clock }: ListStuckDeps): Promise<StuckObject[]> {
  const view = await readFleet(store as Store, clock.now());
  const labels = view.placements.filter(({ condition }) => condition === 'stuck').map(({ label }) => label);
  const found: StuckObject[] = [];
  for (const label of labels.sort()) {
    for (const shard of shards) {
      let after: string | undefined;
      do {
        const page = await store.byPlacement(labelInShard(label, shard), after, pageSize);
        found.push(...page.items.map(stuckObject));
        after = page.next;
      } while (after !== undefined);
    }
  }
  return found;
}

function stuckObject({ key, generation, sizeBytes, copies, stuck = {} }: ObjectRecord): StuckObject {
  const since = Math.min(...Object.values(stuck).map(({ refusedAt }) => refusedAt));
  return { key, generation, sizeBytes, backends: Object.keys(copies).sort(), since, reasons: stuck };
}

/** What `retry` needs. */
export interface RetryDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
}

/**
 * `lifted` what refused it is forgotten: the next tick of the replicator tries it · `nothing-refused` no backend refuses it ·
 * `no-object` · `changed` it kept changing meanwhile, or the tables gave no answer: ask again.
 */
export type Retried = { readonly outcome: 'lifted' | 'nothing-refused' | 'no-object' | 'changed' };

const tries = 5;
const patienceMs = 60_000;

/** Forgets what backends refused of one object, so that it is tried again at once. */
export async function retry(deps: RetryDeps, key: string): Promise<Retried> {
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const before = (await deps.store.objects([key])).get(key);
    if (before?.kind !== 'object') return { outcome: 'no-object' };
    if (before.stuck === undefined && before.condition !== 'stuck') return { outcome: 'nothing-refused' };
    // No bytes are named by it, so no quota is asked.
    const commitDeps = { ...deps, stripes: 1, quotaOf: () => 0 };
    const swap = { key, change: { before, after: unstuck(before) } };
    const [answer] = await commit(commitDeps, [swap], deps.clock.now() + patienceMs);
    if (answer!.outcome === 'committed') return { outcome: 'lifted' };
    if (answer!.outcome !== 'lost') return { outcome: 'changed' };
  }
  return { outcome: 'changed' };
}
