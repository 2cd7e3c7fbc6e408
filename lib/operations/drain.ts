import type { Clock } from '../base/clock.ts';
import { parseParameters } from '../config/parameters.ts';
import { placementRule } from '../config/placement-rule.ts';
import { type DrainRecord, type FleetView, readFleet } from '../store/fleet-view.ts';
import { type Count, type QueueState, queueStates } from '../store/model.ts';
import type { RowChange, Store } from '../store/port.ts';
import { isRecoveryPending } from '../store/recovery.ts';
import { fleetKey, rowKeys } from '../store/row-keys.ts';
import { type DrainWarning, warningsOfDrain } from './drain-warnings.ts';
import { addUp, namesNothing, readTwice } from './naming.ts';
import { type WaitingDeletions, waitingDeletions } from './waiting-deletions.ts';

/** What the verbs of a drain need from the process they run in. */
export interface DrainDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface DrainOptions {
  /** Delete imported files, too, once they are elsewhere; else they stay where they are and only leave the records. */
  readonly deleteImported?: boolean;
}

/**
 * `too-few` the policies named ask for more backends than would remain · `recovering` the tables may know less than the
 * buckets hold: nothing was begun.
 */
export type Drained =
  | { readonly outcome: 'draining'; readonly since: number }
  | { readonly outcome: 'too-few'; readonly remaining: number; readonly policies: readonly string[] }
  | { readonly outcome: 'not-configured' | 'recovering' | 'contended' };

/** What still names a draining backend. */
export interface Remains {
  readonly copies: Count;
  /** Of the copies, those of damaged objects: workers leave them where they are. */
  readonly damaged: Count;
  readonly queue: Readonly<Record<QueueState, Count>>;
  /** What may keep the drain from its end: no room, no backend, too few that answer. */
  readonly warnings: readonly DrainWarning[];
  /** What of the queue waits for a person, or for long: the drain does not end before. */
  readonly waiting: readonly WaitingDeletions[];
}

/**
 * `draining` something names the backend · `settling` nothing does, but what began before may still be under way until
 * `settledAt` · `drained` nothing names it and nothing can · `recovering` nothing names it, and the tables may know less than
 * the buckets hold · `not-draining`.
 */
export type DrainStatus =
  | { readonly outcome: 'not-draining' }
  | ({ readonly outcome: 'draining'; readonly since: number } & Remains)
  | { readonly outcome: 'settling'; readonly since: number; readonly settledAt: number }
  | { readonly outcome: 'drained' | 'recovering'; readonly since: number };

/** How often a row is tried again when someone else wrote it meanwhile. */
const attempts = 5;

/**
 * From the closing of a drain on nobody decides to record or to acknowledge anything there; until then this long may pass:
 * the age of the fleet that they decide by [5 s], the time in which they send what they decided [5 s], and the longest request
 * of the metadata store [10 s].
 */
const closingMs = 20_000;

/**
 * Begins the drain of a backend: it receives nothing more and its copies no longer count, so the replicator replaces them
 * and the cleaner removes them. Draining what is draining changes nothing, except that it may delete imported files from now on.
 */
export async function drain(deps: DrainDeps, name: string, options: DrainOptions = {}): Promise<Drained> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const view = await readFleet(deps.store, deps.clock.now());
    if (isRecoveryPending(view)) return { outcome: 'recovering' };
    const row = view.row(rowKeys.drain(name));
    const before = view.drain(name);
    if (before !== undefined && (before.deleteImported || !options.deleteImported))
      return { outcome: 'draining', since: before.since };
    if (!view.config?.file.backends.some((backend) => backend.name === name)) return { outcome: 'not-configured' };
    const lacking = before === undefined ? whatWouldLack(view, name) : null;
    if (lacking !== null) return lacking;
    // Not before: whoever read the fleet until now does not know, and may be under way for as long as a tick can.
    const begun: DrainRecord = before ?? { since: deps.clock.now() };
    const data = { ...begun, ...(options.deleteImported && { deleteImported: true }) };
    if (await isWritten(deps, name, row?.version, data)) return { outcome: 'draining', since: begun.since };
  }
  return { outcome: 'contended' };
}

/** Every policy must find its factor among the backends that remain. */
function whatWouldLack(view: FleetView, name: string): Extract<Drained, { outcome: 'too-few' }> | null {
  const { file, leaving } = view.config!;
  const remaining = file.backends.filter(
    (backend) =>
      backend.name !== name && view.drain(backend.name) === undefined && !Object.hasOwn(leaving, backend.name),
  );
  const lacking = Object.keys(file.policies).flatMap((policy) => {
    const { factor, allows } = placementRule(file, policy);
    const allowed = remaining.filter((backend) => allows(backend.name)).length;
    return factor > allowed ? [{ policy, allowed }] : [];
  });
  if (lacking.length === 0) return null;
  const fewest = Math.min(...lacking.map(({ allowed }) => allowed));
  return { outcome: 'too-few', remaining: fewest, policies: lacking.map(({ policy }) => policy) };
}

/**
 * How far a drain has come, from the ledger alone. Once nothing names the backend the drain is closed: from then on nothing
 * is recorded there and no put is acknowledged by it, and what was decided before that is waited for.
 */
export async function drainStatus(deps: DrainDeps, name: string): Promise<DrainStatus> {
  const readings = await readTwice(deps);
  const [view, again] = readings;
  const record = view.drain(name);
  if (record === undefined) return { outcome: 'not-draining' };
  const { since } = record;
  if (!namesNothing(readings, name) || again.drain(name)?.since !== since) {
    const { unhealthyAfterMs } = parseParameters(deps.env, again.settings.overrides);
    const now = deps.clock.now();
    const warnings = warningsOfDrain(again, name, now, unhealthyAfterMs);
    const waiting = await waitingDeletions(deps.store, again, name, now);
    return { outcome: 'draining', since, ...remainsOf(again, name), warnings, waiting };
  }
  if (isRecoveryPending(view) || isRecoveryPending(again)) return { outcome: 'recovering', since };
  const closedSince = record.closedSince ?? (await close(deps, name, again));
  const settledAt = Math.max(
    since + parseParameters(deps.env, view.settings.overrides).drainSettleMs,
    closedSince + closingMs,
  );
  // By the moment of the first reading: what began before the drain must have ended before it.
  if (view.readAt < settledAt) return { outcome: 'settling', since, settledAt };
  return { outcome: 'drained', since };
}

/**
 * Closes a drain, and then notes since when it is known to be closed: a write may take effect long after the time in it was
 * looked up. What someone else wrote meanwhile is looked at again next time.
 */
async function close(deps: DrainDeps, name: string, view: FleetView): Promise<number> {
  let record = view.drain(name)!;
  let { version } = view.row(rowKeys.drain(name))!;
  if (record.isClosed !== true) {
    record = { ...record, isClosed: true };
    if (!(await isWritten(deps, name, version, record))) return deps.clock.now();
    version += 1;
  }
  const closedSince = deps.clock.now();
  await isWritten(deps, name, version, { ...record, closedSince });
  return closedSince;
}

async function isWritten(
  deps: DrainDeps,
  name: string,
  version: number | undefined,
  data: DrainRecord,
): Promise<boolean> {
  const put = { pk: fleetKey, sk: rowKeys.drain(name), version: (version ?? 0) + 1, data: { ...data } };
  const change: RowChange = { kind: 'row', put, expect: version ?? 'absent' };
  return (await deps.store.write(change)).outcome === 'done';
}

function remainsOf(view: FleetView, name: string): Omit<Remains, 'warnings' | 'waiting'> {
  const held = view.placements.filter(({ copies }) => copies.some(({ backend }) => backend === name));
  return {
    copies: addUp(held.map(({ count }) => count)),
    damaged: addUp(held.filter(({ condition }) => condition === 'damaged').map(({ count }) => count)),
    queue: Object.fromEntries(queueStates.map((state) => [state, view.queue(state, name)])) as Remains['queue'],
  };
}
