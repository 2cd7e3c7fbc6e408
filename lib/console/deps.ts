import type { ClientDeps } from '../client/context.ts';
import { HoldfastError } from '../client/error.ts';
import { type Parameters, parseParameters } from '../config/parameters.ts';
import { type BackendStanding, readFleet, standingOf } from '../store/fleet-view.ts';
import type { TickDeps } from '../tick/tick.ts';
import type { Fleet } from './readings.ts';

/** What a console needs from the process it runs in: what the command line needs. */
export type ConsoleDeps = TickDeps & ClientDeps;

/** The fleet at one moment, with how its backends stand. */
export interface FleetNow {
  readonly fleet: Fleet;
  readonly params: Parameters;
  standing(name: string): BackendStanding;
}

/** Throws `not-configured` before `init`. */
export async function fleetNow({ store, clock, env }: Pick<ConsoleDeps, 'store' | 'clock' | 'env'>): Promise<FleetNow> {
  const view = await readFleet(store, clock.now());
  if (view.config === null)
    throw new HoldfastError('not-configured', 'The fleet has no configuration: run `holdfast init` first');
  return standingIn({ ...view, config: view.config }, env, clock.now());
}

export function standingIn(fleet: Fleet, env: ConsoleDeps['env'], now: number): FleetNow {
  const params = parseParameters(env, fleet.settings.overrides);
  return { fleet, params, standing: (name) => standingOf(fleet, name, now, params.unhealthyAfterMs) };
}
