import type { BreakerState } from '../base/health.ts';
import { allEnded } from '../base/pool.ts';
import type { WorkerName } from '../config/parameters.ts';
import { BackendError } from '../fleet/backend.ts';
import { claimProbe, mayProbe } from '../fleet/breaker.ts';
import type { FleetView } from '../store/fleet-view.ts';
import { rowKeys } from '../store/row-keys.ts';
import type { ReportTick } from './report.ts';
import { writeBreaker } from './report.ts';
import type { FleetAsRead, Tick } from './tick.ts';

/** What this file asks of a tick. */
export type HealthTick = Pick<
  Tick,
  'deps' | 'worker' | 'meter' | 'probes' | 'usability' | 'now' | 'ownership' | 'problem'
> &
  FleetAsRead &
  ReportTick;

/** A backend whose health check failed is not asked again before this: what waits for it would wait once more each time. */
const retryMs = 60_000;

/**
 * Whether a backend answers and is ours: one HEAD of its owner object per tick, or per minute while that fails. What it shows
 * goes to the breaker at tick end. A backend with an open breaker is asked only as the one probe, and by nobody else.
 * Unconfigured backends are never asked.
 */
export async function isUsable(tick: HealthTick, name: string): Promise<boolean> {
  if (tick.standing(name).config === undefined) return false;
  const known = tick.usability.get(name);
  if (known !== undefined) {
    const wasUsable = await known.isUsable;
    if (wasUsable ? mayAskAgain(tick, name) : tick.now() - known.at < retryMs) return wasUsable;
    if (tick.usability.get(name) !== known) return isUsable(tick, name);
  }
  const isUsableNow = checkHealth(tick, name);
  tick.usability.set(name, { at: tick.now(), isUsable: isUsableNow });
  return isUsableNow;
}

async function checkHealth(tick: HealthTick, name: string): Promise<boolean> {
  if (!(await mayAsk(tick, name))) return false;
  try {
    const owner = await tick.ownership(name);
    if (owner.outcome === 'ours') {
      tick.meter.passHealthCheck(name);
      return true;
    }
    tick.meter.failHealthCheck(name, `The owner object of "${name}" is not as it should be: ${owner.outcome}`);
    const { ownershipProblem } = await import('../fleet/ownership-problem.ts');
    tick.problem(ownershipProblem({ fleetId: tick.fleetId, backend: name }, owner)!);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    // Whatever else it answers: where the owner object cannot be looked up, nothing can.
    const isExcused = error.speaksOf === 'throttling' || error.speaksOf === 'ourselves';
    if (!isExcused) tick.meter.failHealthCheck(name, error.message);
    if (error.kind === 'missing-credentials') tick.problem(error.message);
    tick.deps.log.warn('Backend is not usable', { backend: name, kind: error.kind, message: error.message });
  }
  return false;
}

/** Without claiming the probe: the breaker is closed, or this tick is the probe. */
function mayAskAgain(tick: HealthTick, name: string): boolean {
  return tick.standing(name).breaker === 'closed' || tick.probes.has(name);
}

async function mayAsk(tick: HealthTick, name: string): Promise<boolean> {
  if (mayAskAgain(tick, name)) return true;
  const row = tick.view.row(rowKeys.breaker(name));
  const state = row?.data as BreakerState | undefined;
  if (state === undefined || !mayProbe(state, tick.now())) return false;
  const answer = await writeBreaker(tick, name, row, claimProbe(state, tick.now()));
  if (answer.outcome !== 'done') return false;
  tick.probes.add(name);
  return true;
}

const holdsCopies = ({ placements }: FleetView, name: string) =>
  placements.some(({ copies }) => copies.some(({ backend }) => backend === name));

/** Whether a worker has something to do on a backend, by the ledger alone; others may always have. */
const workBehind: Readonly<Partial<Record<WorkerName, (view: FleetView, name: string) => boolean>>> = {
  'over-replication-cleaner': holdsCopies,
  rebalancer: holdsCopies,
  'cleanup-queue': (view, name) => view.queue('cleanup', name).objects > 0,
  'pending-reaper': (view, name) => view.queue('intent', name).objects > 0,
  scrubber: holdsCopies,
};

/**
 * Sends the one probe to each backend whose breaker is due for it and behind which this worker has work: were it left to one
 * worker, a pause of that one would keep the others from their work for ever. With all breakers closed this asks nothing.
 */
export async function probeDueBreakers(tick: HealthTick): Promise<void> {
  const due = tick.config.backends.filter(
    ({ name }) => mayProbe(tick.view.breaker(name), tick.now()) && (workBehind[tick.worker]?.(tick.view, name) ?? true),
  );
  await allEnded(due.map(({ name }) => isUsable(tick, name)));
}
