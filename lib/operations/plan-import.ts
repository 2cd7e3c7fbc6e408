import type { Clock } from '../base/clock.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { estimateImport, type ImportEstimate, type ImportRates, newImportPlan } from '../plans/import-estimate.ts';
import { dearestRequest } from '../plans/request-price.ts';
import { readFleet } from '../store/fleet-view.ts';
import type { Store } from '../store/port.ts';
import type { ReconcileRequest, TickEvent, TickReport } from '../tick/tick.ts';
import { importWarnings } from './import-warnings.ts';

/** What planning an import needs. */
export interface PlanImportDeps {
  readonly store: Pick<Store, 'control'>;
  readonly clock: Clock;
  /** One tick of the reconciler. */
  tick(event: TickEvent): Promise<TickReport>;
}

/** What an import would find, and what it and the copies that follow would cost. */
export interface PlannedImport extends ImportEstimate {
  /** Whether every key was listed, and has an end. */
  readonly isComplete: boolean;
  readonly listed: number;
  readonly found: Readonly<Record<string, number>>;
  /** What a person may not expect of the files and their copies. */
  readonly warnings: readonly string[];
}

export type ImportPlanning =
  | ({ readonly outcome: 'planned' } & PlannedImport)
  | { readonly outcome: 'error'; readonly message: string };

const longestMs = 24 * 3_600_000;

/** Lists everything, looks it up, and writes nothing but what its own requests count for. */
export async function planImport(
  { store, clock, tick }: PlanImportDeps,
  request: ReconcileRequest,
  stop?: AbortSignal,
): Promise<ImportPlanning> {
  const plan = newImportPlan();
  const report = await tick({
    deadline: clock.now() + longestMs,
    reconcile: { ...request, plan },
    dryRun: true,
    ...(stop && { stop }),
  });
  const { listed = 0, passComplete } = report.figures;
  // What a tick meets of other backends, whose breakers it probes, is none of this.
  if (report.outcome === 'error' && passComplete !== 1)
    return { outcome: 'error', message: report.message ?? 'the pass could not begin' };
  const { config } = await readFleet(store, clock.now());
  return {
    outcome: 'planned',
    isComplete: passComplete === 1 && report.failed === 0 && stop?.aborted !== true,
    listed,
    found: figuresBelow('found/', report.figures),
    warnings: config === null ? [] : importWarnings(config.file, request.prefix),
    ...estimateImport(plan, { listed, listRequests: Math.ceil(listed / 1000) }, ratesOf(config?.file.backends ?? [])),
  };
}

function ratesOf(backends: readonly BackendConfig[]): ImportRates {
  return {
    list: dearestRequest(backends, 'list'),
    get: dearestRequest(backends, 'get'),
    put: dearestRequest(backends, 'put'),
    egressUsdPerGb: (name) => backends.find((one) => one.name === name)?.egressUsdPerGb ?? 0,
  };
}

function figuresBelow(prefix: string, figures: Readonly<Record<string, number>>): Record<string, number> {
  const below = Object.entries(figures).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(below.map(([name, amount]) => [name.slice(prefix.length), amount]));
}
