import type { Clock } from '../base/clock.ts';
import { parseParameters } from '../config/parameters.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import { parsePlacement } from '../store/keys.ts';
import { type Count, type QueueState, queueStates } from '../store/model.ts';
import type { RowChange, RowEnd, Store } from '../store/port.ts';
import { fleetKey, placementOfRow, rowKeys } from '../store/row-keys.ts';

/** What the verbs of a drain need from the process they run in. */
export interface DrainDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export type Drained =
  | { readonly outcome: 'draining'; readonly since: number }
  | { readonly outcome: 'not-configured' }
  | { readonly outcome: 'contended' };

export type Undrained = { readonly outcome: 'undrained' | 'not-draining' | 'contended' };

/** What still names a draining backend. */
export interface Remains {
  readonly copies: Count;
  /** Of the copies, those of damaged objects: workers leave them where they are. */
  readonly damaged: Count;
  readonly queue: Readonly<Record<QueueState, Count>>;
}

/**
 * `draining` something names the backend · `settling` nothing does, but a tick or upload begun before the drain may still
 * be under way until `settledAt` · `drained` nothing names it and nothing can · `not-draining`.
 */
export type DrainStatus =
  | { readonly outcome: 'not-draining' }
  | ({ readonly outcome: 'draining'; readonly since: number } & Remains)
  | { readonly outcome: 'settling'; readonly since: number; readonly settledAt: number }
  | { readonly outcome: 'drained'; readonly since: number };

/** How often a row is tried again when someone else wrote it meanwhile. */
const attempts = 5;

/**
 * Begins the drain of a backend: it receives nothing more and its copies no longer count, so the replicator replaces them
 * and the cleaner removes them. Draining what is draining changes nothing.
 */
export async function drain(deps: DrainDeps, name: string): Promise<Drained> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const view = await readFleet(deps.store, deps.clock.now());
    // Not before: whoever read the fleet until now does not know, and may be under way for as long as a tick can.
    const now = deps.clock.now();
    const existing = view.drain(name);
    if (existing !== undefined) return { outcome: 'draining', since: existing.since };
    if (!view.config?.file.backends.some((backend) => backend.name === name)) return { outcome: 'not-configured' };
    const put = { pk: fleetKey, sk: rowKeys.drain(name), version: 1, data: { since: now } };
    if (await isWritten(deps, { kind: 'row', put, expect: 'absent' })) return { outcome: 'draining', since: now };
  }
  return { outcome: 'contended' };
}

/** Ends a drain: the backend takes part again, with what it still holds. */
export async function undrain(deps: DrainDeps, name: string): Promise<Undrained> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const row = (await readFleet(deps.store, deps.clock.now())).row(rowKeys.drain(name));
    if (row === undefined) return { outcome: 'not-draining' };
    const end: RowEnd = { kind: 'row-end', pk: fleetKey, sk: row.sk, expect: row.version };
    if (await isWritten(deps, end)) return { outcome: 'undrained' };
  }
  return { outcome: 'contended' };
}

/** How far a drain has come, from the ledger alone. */
export async function drainStatus(deps: DrainDeps, name: string): Promise<DrainStatus> {
  const view = await readFleet(deps.store, deps.clock.now());
  const since = view.drain(name)?.since;
  if (since === undefined) return { outcome: 'not-draining' };
  // A query is not a snapshot: bytes on the move between two rows could be missed by one. Two that agree enclose a moment
  // at which all these rows held what was read.
  const again = await readFleet(deps.store, deps.clock.now());
  const isStill = rowsNaming(view, name) === rowsNaming(again, name);
  const isNamed = [view, again].some((v) => v.namedBackends().includes(name));
  if (isNamed || !isStill || again.drain(name)?.since !== since) {
    return { outcome: 'draining', since, ...remains(again, name) };
  }
  const settledAt = since + parseParameters(deps.env, view.settings.overrides).drainSettleMs;
  // By the moment of the first reading: what began before the drain must have ended before it.
  if (view.readAt < settledAt) return { outcome: 'settling', since, settledAt };
  return { outcome: 'drained', since };
}

async function isWritten(deps: DrainDeps, change: RowChange | RowEnd): Promise<boolean> {
  return (await deps.store.write(change)).outcome === 'done';
}

function rowsNaming(view: FleetView, name: string): string {
  const isNaming = (row: string) =>
    row === rowKeys.used(name) ||
    queueStates.some((state) => row === rowKeys.queue(state, name)) ||
    placedOn(row).includes(name);
  return JSON.stringify(view.totals.filter(({ row }) => isNaming(row)));
}

function remains(view: FleetView, name: string): Remains {
  const held = view.placements.filter(({ copies }) => copies.some(({ backend }) => backend === name));
  const sum = (counts: readonly Count[]): Count => ({
    objects: counts.reduce((total, { objects }) => total + objects, 0),
    bytes: counts.reduce((total, { bytes }) => total + bytes, 0),
  });
  return {
    copies: sum(held.map(({ count }) => count)),
    damaged: sum(held.filter(({ condition }) => condition === 'damaged').map(({ count }) => count)),
    queue: Object.fromEntries(queueStates.map((state) => [state, view.queue(state, name)])) as Remains['queue'],
  };
}

/** The backends of the placement that a row is the total of. */
function placedOn(row: string): string[] {
  const label = placementOfRow(row);
  return label === undefined ? [] : parsePlacement(label).copies.map(({ backend }) => backend);
}
