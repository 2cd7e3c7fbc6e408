import { parseParameters } from '../../config/parameters.ts';
import type { HoldfastProcess } from '../../process/process.ts';
import { type FleetView, readFleet, standingOf } from '../../store/fleet-view.ts';
import { lane, shards } from '../../store/keys.ts';
import { type QueueItem, queueStates } from '../../store/model.ts';
import { type FleetSummary, summarize } from '../../tick/fleet-summary.ts';

const pollMs = 200;
/** Nothing has moved for this long: it never will. */
export const stuckMs = 60_000;
/** What is due later than this is left where it is: a put that failed leaves bytes that wait for an hour. */
const patienceMs = 45_000;

/** The fleet as it stands, and what its queue still has to wait for. */
export interface Standing {
  readonly summary: FleetSummary;
  /** Every object at its factor, and nothing queued that is due soon. */
  readonly isSettled: boolean;
  /** Queued, not due for a while. */
  readonly waiting: readonly QueueItem[];
}

/** The fleet's summary, from one query. */
export async function summaryNow(deps: HoldfastProcess): Promise<FleetSummary> {
  return summaryOf(deps, await readFleet(deps.store, deps.clock.now()));
}

function summaryOf({ clock, env }: HoldfastProcess, view: FleetView): FleetSummary {
  if (view.config === null) throw new Error('The fleet has no configuration');
  const { unhealthyAfterMs } = parseParameters(env, view.settings.overrides);
  return summarize({ ...view, config: view.config }, (name) => standingOf(view, name, clock.now(), unhealthyAfterMs));
}

/** Follows the fleet until it has settled, or is stuck. */
export async function untilSettled(
  deps: HoldfastProcess,
  onRefresh: (summary: FleetSummary) => void,
  signal: AbortSignal,
): Promise<Standing> {
  let last = '';
  let movedAt = deps.clock.now();
  for (;;) {
    const standing = await standingNow(deps);
    onRefresh(standing.summary);
    if (standing.isSettled || signal.aborted) return standing;
    const seen = JSON.stringify(standing.summary);
    if (seen !== last) movedAt = deps.clock.now();
    last = seen;
    if (deps.clock.now() - movedAt > stuckMs) return standing;
    await deps.clock.sleep(pollMs);
  }
}

/** How the fleet stands now. */
export async function standingNow(deps: HoldfastProcess): Promise<Standing> {
  const now = deps.clock.now();
  const view = await readFleet(deps.store, now);
  const summary = summaryOf(deps, view);
  const { underReplicated, overReplicated, queue } = summary;
  if (underReplicated > 0 || overReplicated > 0) return { summary, isSettled: false, waiting: [] };
  const queued = Object.values(queue).reduce((sum, { objects }) => sum + objects, 0);
  if (queued === 0) return { summary, isSettled: true, waiting: [] };
  // Looked at only near the end, when little is left.
  const items = queued > 50 ? [] : await itemsOf(deps, view);
  const waiting = items.filter(({ state, dueAt }) => state !== 'dead' && dueAt - now > patienceMs);
  return { summary, isSettled: waiting.length === queued, waiting };
}

async function itemsOf({ store }: HoldfastProcess, view: FleetView): Promise<QueueItem[]> {
  const lanes = queueStates.flatMap((state) =>
    view
      .namedBackends()
      .filter((backend) => view.queue(state, backend).objects > 0)
      .flatMap((backend) => shards.map((shard) => lane(state, backend, shard))),
  );
  const pages = await Promise.all(lanes.map((name) => store.due(name, Number.MAX_SAFE_INTEGER, 100)));
  return pages.flatMap(({ items }) => items);
}
