import type { BreakerState } from '../base/health.ts';
import { BackendError } from '../fleet/backend.ts';
import { claimProbe, mayProbe } from '../fleet/breaker.ts';
import { rowKeys } from '../store/row-keys.ts';
import { writeBreaker } from './report.ts';
import type { Tick } from './tick.ts';

/**
 * Whether a backend answers and is ours: at most one HEAD of its owner object per tick. What it shows goes to the breaker
 * at tick end. A backend with an open breaker is asked only as the one probe, and by nobody else. Unconfigured backends are
 * never asked.
 */
export async function isUsable(tick: Tick, name: string): Promise<boolean> {
  if (!(await mayAsk(tick, name))) return false;
  try {
    const owner = await tick.ownership(name);
    if (owner.outcome === 'ours') return true;
    if (owner.outcome === 'another')
      tick.problem(`The bucket of backend "${name}" belongs to another fleet: "${owner.owner}"`);
    else {
      tick.meter.fail(name);
      tick.problem(
        `The bucket of backend "${name}" has no owner object: it is missing, or not the bucket that was initialised`,
      );
    }
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    // A 403 alone may be about one key; a 403 on the owner object is the backend refusing us.
    if (error.kind === 'denied') tick.meter.fail(name);
    if (error.kind === 'missing-credentials') tick.problem(error.message);
    tick.deps.log.warn('Backend is not usable', { backend: name, kind: error.kind, message: error.message });
  }
  return false;
}

async function mayAsk(tick: Tick, name: string): Promise<boolean> {
  const { config, breaker } = tick.standing(name);
  if (config === undefined) return false;
  if (breaker === 'closed') return true;
  const row = tick.view.row(rowKeys.breaker(name));
  const state = row?.data as BreakerState | undefined;
  if (state === undefined || !mayProbe(state, tick.now())) return false;
  const answer = await writeBreaker(tick, name, row, claimProbe(state, tick.now()));
  if (answer.outcome !== 'done') return false;
  tick.probes.add(name);
  return true;
}
