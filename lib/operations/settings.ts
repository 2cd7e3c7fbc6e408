import type { Clock } from '../base/clock.ts';
import { parameterProblem, parameters, workerNames } from '../config/parameters.ts';
import { readFleet, type Settings } from '../store/fleet-view.ts';
import type { Store } from '../store/port.ts';
import { fleetKey, rowKeys } from '../store/row-keys.ts';

/** What changing the settings needs. */
export interface SettingsDeps {
  readonly store: Pick<Store, 'control' | 'write'>;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * `changed` every process obeys them from its next look at the fleet on · `refused` nothing was changed, and why ·
 * `contended` other processes kept changing the row.
 */
export type SettingsChanged =
  | { readonly outcome: 'changed'; readonly settings: Settings }
  | { readonly outcome: 'refused'; readonly sentence: string }
  | { readonly outcome: 'contended' };

/** Lets the ticks of a worker do nothing. */
export async function pauseWorker(deps: SettingsDeps, worker: string): Promise<SettingsChanged> {
  return (
    unknownWorker(worker) ??
    change(deps, ({ overrides, paused }) => ({ overrides, paused: [...new Set([...paused, worker])].sort() }))
  );
}

/** Undoes `pauseWorker`. */
export async function resumeWorker(deps: SettingsDeps, worker: string): Promise<SettingsChanged> {
  return (
    unknownWorker(worker) ??
    change(deps, ({ overrides, paused }) => ({ overrides, paused: paused.filter((other) => other !== worker) }))
  );
}

/** Overrides a tuning parameter in every process. */
export async function setParameter(deps: SettingsDeps, name: string, value: string): Promise<SettingsChanged> {
  const problem = parameterProblem(name, value) ?? deploymentProblem(name);
  if (problem !== null) return { outcome: 'refused', sentence: problem };
  return change(deps, ({ overrides, paused }) => ({ overrides: { ...overrides, [name]: value }, paused }));
}

/** Undoes `setParameter`. */
export async function unsetParameter(deps: SettingsDeps, name: string): Promise<SettingsChanged> {
  if (!Object.hasOwn(parameters, name))
    return { outcome: 'refused', sentence: `"${name}" is not a parameter: \`holdfast settings\` lists them` };
  return change(deps, ({ overrides, paused }) => ({
    overrides: Object.fromEntries(Object.entries(overrides).filter(([other]) => other !== name)),
    paused,
  }));
}

/** What a running process has already been started with: an override would change nothing. */
function deploymentProblem(name: string): string | null {
  if (!belongsToDeployment(name)) return null;
  return `${name} belongs to the deployment: change it there; \`holdfast pause\` stops a worker at once`;
}

export function belongsToDeployment(name: string): boolean {
  return parameters[name]?.kind === 'table' || /_(SCHEDULE|ENABLED|PARTS)$/.test(name);
}

function unknownWorker(worker: string): SettingsChanged | null {
  if (workerNames.some((name) => name === worker)) return null;
  const sentence = `There is no worker "${worker}"; there are ${workerNames.join(', ')}`;
  return { outcome: 'refused', sentence };
}

/** How often the row is read again when another process changed it at the same moment. */
const attempts = 5;

async function change({ store, clock }: SettingsDeps, next: (now: Settings) => Settings): Promise<SettingsChanged> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const view = await readFleet(store, clock.now());
    const before = view.row(rowKeys.settings);
    const settings = next(view.settings);
    const put = { pk: fleetKey, sk: rowKeys.settings, version: (before?.version ?? 0) + 1, data: { ...settings } };
    const answer = await store.write({ kind: 'row', put, expect: before?.version ?? 'absent' });
    if (answer.outcome === 'done') return { outcome: 'changed', settings };
  }
  return { outcome: 'contended' };
}

/** A parameter as it is in force here, and where it comes from. */
export interface ParameterInForce {
  readonly name: string;
  readonly value: string;
  readonly source: 'set' | 'environment' | 'default';
  readonly default: string;
  readonly about: string;
}

export function parametersInForce(
  env: Readonly<Record<string, string | undefined>>,
  { overrides }: Pick<Settings, 'overrides'>,
): ParameterInForce[] {
  return Object.entries(parameters).map(([name, parameter]) => {
    const override = overrides[name];
    const given = env[name];
    const fromHere = given === undefined || given === '' ? undefined : given;
    const source = override !== undefined ? 'set' : fromHere !== undefined ? 'environment' : 'default';
    const { about } = parameter;
    return { name, value: override ?? fromHere ?? parameter.default, source, default: parameter.default, about };
  });
}
