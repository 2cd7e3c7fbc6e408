import { workerNames } from '../config/workers.ts';
import { type HourFigures, readHours } from '../store/history-rows.ts';
import type { Lease } from '../store/model.ts';
import type { ConsoleDeps } from './deps.ts';
import type { HistoryHour } from './protocol.ts';

/** What one lease did in an hour. */
interface WorkerHour extends HourFigures {
  readonly worker: string;
}

/** The last ninety days, hour by hour: what the rings of the leases hold, and the hours that stand in the leases still. */
export async function fleetHistory(deps: Pick<ConsoleDeps, 'store' | 'clock'>): Promise<HistoryHour[]> {
  const leases = (await Promise.all(workerNames.map((name) => deps.store.leases(name)))).flat();
  const all = (await Promise.all(leases.map((lease) => hoursOf(deps, lease)))).flat();
  return [...Map.groupBy(all, ({ at }) => at)].sort(([a], [b]) => a - b).map(([at, hours]) => fleetHour(at, hours));
}

async function hoursOf({ store, clock }: Pick<ConsoleDeps, 'store' | 'clock'>, lease: Lease): Promise<WorkerHour[]> {
  const { worker, part, last } = lease;
  const over = await readHours(store, worker, part, clock.now());
  const current = last?.hour as HourFigures | undefined;
  const before = current === undefined ? over : over.filter(({ at }) => at !== current.at);
  return [...before, ...(current === undefined ? [] : [current])].map((hour) => ({ ...hour, worker }));
}

function fleetHour(at: number, hours: readonly WorkerHour[]): HistoryHour {
  const of = (worker: string) => hours.filter((hour) => hour.worker === worker);
  const sum = (
    some: readonly WorkerHour[],
    field: 'succeeded' | 'failed' | 'requests' | 'egressBytes' | 'ingressBytes',
  ) => some.reduce((all, hour) => all + hour[field], 0);
  const lags = hours.flatMap(({ lagSeconds }) => (lagSeconds === undefined ? [] : [lagSeconds]));
  // Each of them read the whole fleet: the last one says how it stood.
  const { objects, underReplicated, queued, usedBytes } = hours.reduce((a, b) => (b.endedAt > a.endedAt ? b : a));
  return {
    at,
    copiesMade: sum(of('replicator'), 'succeeded'),
    bytesMoved: sum([...of('replicator'), ...of('rebalancer')], 'ingressBytes'),
    verified: sum(of('scrubber'), 'succeeded'),
    deleted: sum(of('cleanup-queue'), 'succeeded'),
    failed: sum(hours, 'failed'),
    requests: sum(hours, 'requests'),
    egressBytes: sum(hours, 'egressBytes'),
    ...(lags.length > 0 && { lagSeconds: Math.max(...lags) }),
    ...{ objects, underReplicated, queued, usedBytes },
  };
}
