import { parseParameters } from '../../config/parameters.ts';
import type { HoldfastProcess } from '../../process/process.ts';
import { readFleet, standingOf } from '../../store/fleet-view.ts';
import { type FleetSummary, summarize } from '../../workers/fleet-summary.ts';

const pollMs = 200;
/** Nothing has moved for this long: it never will. */
const stuckMs = 60_000;

/** The fleet's summary, from one query. */
export async function summaryNow({ store, clock, env }: HoldfastProcess): Promise<FleetSummary> {
  const view = await readFleet(store, clock.now());
  if (view.config === null) throw new Error('The fleet has no configuration');
  const { unhealthyAfterMs } = parseParameters(env, view.settings.overrides);
  return summarize({ ...view, config: view.config }, (name) => standingOf(view, name, clock.now(), unhealthyAfterMs));
}

export function isSettled({ underReplicated, overReplicated, queue }: FleetSummary): boolean {
  return underReplicated === 0 && overReplicated === 0 && Object.values(queue).every(({ objects }) => objects === 0);
}

/** Follows the fleet until it has settled; false when it is stuck. */
export async function untilSettled(
  deps: HoldfastProcess,
  onLook: (summary: FleetSummary) => void,
  signal: AbortSignal,
): Promise<boolean> {
  let last = '';
  let movedAt = deps.clock.now();
  while (!signal.aborted) {
    const summary = await summaryNow(deps);
    onLook(summary);
    if (isSettled(summary)) return true;
    const now = JSON.stringify(summary);
    if (now !== last) movedAt = deps.clock.now();
    last = now;
    if (deps.clock.now() - movedAt > stuckMs) return false;
    await deps.clock.sleep(pollMs);
  }
  return false;
}
