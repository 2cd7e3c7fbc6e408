import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import { allEnded } from '../base/pool.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { type Backend, BackendError, type Capabilities } from '../fleet/backend.ts';
import { ownershipProblem } from '../fleet/ownership-problem.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import type { Store } from '../store/port.ts';
import { addStart } from '../store/starts.ts';
import { ownershipOf } from '../transfer/ownership.ts';

/** What noting a start needs from the process. */
export interface NoteStartDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  openBackend(config: BackendConfig, can: Capabilities, use: 'read-write' | 'delete'): Promise<Backend>;
}

/**
 * `noted` in the tables, and in every bucket that answers (`silent` names the others: they are brought up to date by whoever
 * reaches them first) · `not-ours` some buckets are not these tables' (any more): nothing was noted.
 */
export type NotedStart =
  | { readonly outcome: 'noted'; readonly silent: readonly string[] }
  | { readonly outcome: 'not-ours'; readonly problems: readonly string[] };

/** Notes a start of the process that keeps the tables of a configured fleet: `lib/store/starts.ts` says what for. */
export async function noteStart(deps: NoteStartDeps): Promise<NotedStart> {
  const before = await refresh(deps, await readFleet(deps.store, deps.clock.now()));
  if (before.problems.length > 0) return { outcome: 'not-ours', problems: before.problems };
  await addStart(deps, deps.clock.now());
  const after = await refresh(deps, await readFleet(deps.store, deps.clock.now()));
  if (after.problems.length > 0) return { outcome: 'not-ours', problems: after.problems };
  return { outcome: 'noted', silent: after.silent };
}

/** Looks at every owner object; one that is behind is brought up to date by that. */
async function refresh(deps: NoteStartDeps, view: FleetView) {
  const problems: string[] = [];
  const silent: string[] = [];
  const lookAt = async (config: BackendConfig) => {
    const { fleetId } = view.config!;
    const { name } = config;
    try {
      const backend = await deps.openBackend(config, view.capabilities(name) as Capabilities, 'read-write');
      const found = await ownershipOf(deps.store, view, fleetId, backend);
      const problem = ownershipProblem({ fleetId, backend: name }, found);
      if (problem !== null) problems.push(problem);
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      silent.push(name);
    }
  };
  await allEnded((view.config?.file.backends ?? []).map(lookAt));
  return { problems, silent };
}
