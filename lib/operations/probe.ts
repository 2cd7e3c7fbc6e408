import type { Clock } from '../base/clock.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { type Backend, BackendError, type Capabilities } from '../fleet/backend.ts';
import { ownershipProblem } from '../fleet/ownership-problem.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import type { Store } from '../store/port.ts';
import { fleetKey, rowKeys } from '../store/row-keys.ts';
import { ownershipOf } from '../transfer/ownership.ts';
import { withReason } from './ask-for-reason.ts';

/** What asking a backend needs. */
export interface ProbeDeps {
  readonly store: Store;
  readonly clock: Pick<Clock, 'now'>;
  openBackend(config: BackendConfig, can: Capabilities, use: 'read-write'): Promise<Backend>;
}

/** `answers` and is ours · `not-ours` it answers, and why nothing may be done there · `not-configured`. */
export type Probed =
  | { readonly outcome: 'answers'; readonly durationMs: number; readonly closedBreaker: boolean }
  | { readonly outcome: 'not-ours'; readonly problem: string }
  | { readonly outcome: 'not-configured'; readonly backends: readonly string[] };

/** Asks a backend now; one that answers has its breaker closed. Throws `BackendError` when it does not answer. */
export async function checkBackend(deps: ProbeDeps, name: string): Promise<Probed> {
  const { store, clock } = deps;
  const view = await readFleet(store, clock.now());
  const backends = view.config?.file.backends ?? [];
  const config = backends.find((one) => one.name === name);
  if (view.config === null || config === undefined)
    return { outcome: 'not-configured', backends: backends.map((one) => one.name) };
  const { fleetId } = view.config;
  const startedAt = clock.now();
  const backend = await deps.openBackend(config, view.capabilities(name) as Capabilities, 'read-write');
  const found = await withReason(backend, () => ownershipOf(store, view, fleetId, backend));
  const problem = ownershipProblem({ fleetId, backend: name }, found);
  if (problem !== null) return { outcome: 'not-ours', problem };
  const durationMs = clock.now() - startedAt;
  const closedBreaker = view.breaker(name)?.openedAt !== undefined;
  if (closedBreaker) await closeBreaker(store, view, name);
  return { outcome: 'answers', durationMs, closedBreaker };
}

/**
 * Asks backends whose buckets were claimed just now: what had opened their breakers may be that they were other tables'. One that
 * does not answer stays as it is.
 */
export async function askClaimed(deps: ProbeDeps, names: readonly string[]): Promise<void> {
  for (const name of names)
    await checkBackend(deps, name).catch((error: unknown) => {
      if (!(error instanceof BackendError)) throw error;
    });
}

/** On condition that nobody wrote it meanwhile: what others saw since is theirs to say. */
async function closeBreaker(store: Pick<Store, 'write'>, view: FleetView, name: string): Promise<void> {
  const row = view.row(rowKeys.breaker(name));
  if (row === undefined) return;
  const put = { pk: fleetKey, sk: rowKeys.breaker(name), version: row.version + 1, data: { failures: 0 } };
  await store.write({ kind: 'row', put, expect: row.version });
}
