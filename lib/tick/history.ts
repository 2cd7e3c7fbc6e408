import { defined } from '../base/defined.ts';
import { noUsage, plusUsage, type Usage } from '../base/usage.ts';
import { type HourFigures, hourMs, hourOf, writeHour } from '../store/history-rows.ts';
import { type Count, type Lease, queueStates } from '../store/model.ts';
import type { UsageByHour } from '../store/usage-book.ts';
import { shortPlacements } from './fleet-summary.ts';
import type { Tick } from './tick.ts';

/** What this file asks of a tick. */
export type HistoryTick = Pick<
  Tick,
  'deps' | 'config' | 'worker' | 'view' | 'tally' | 'figures' | 'standing' | 'now' | 'dryRun'
>;

/**
 * The history of a fleet costs nearly nothing: the sums of the hour that runs stand in the lease, whose row a tick that worked
 * writes anyway. The first tick that works in a later hour moves them into the ring of its lease, in one conditional write. An
 * idle tick takes no lease and writes nothing. Nothing is ever decided by it, so that losing an hour of it harms nobody.
 *
 * Returns what the lease is to keep; undefined where this process keeps no history.
 */
export async function keepHistory(
  tick: HistoryTick,
  lease: Lease,
  spent: UsageByHour,
): Promise<HourFigures | undefined> {
  const before = lease.last?.hour as HourFigures | undefined;
  if (tick.deps.keepsHistory !== true) return undefined;
  if (tick.dryRun) return before;
  const now = hourOf(tick.now());
  // A clock that was ahead by more than an hour has left sums that belong nowhere.
  const known = before !== undefined && before.at <= now + hourMs ? before : undefined;
  const figures = figuresOf(tick, spent);
  if (known === undefined) return { at: now, ...figures };
  if (known.at >= now) return together(known, figures);
  await writeHour(tick.deps.store, lease.worker, lease.part, known).catch((error: Error) =>
    tick.deps.log.warn('History could not be written', { worker: tick.worker, message: error.message }),
  );
  return { at: now, ...figures };
}

function figuresOf(tick: HistoryTick, spent: UsageByHour): Omit<HourFigures, 'at'> {
  const { tally, view, figures } = tick;
  const { succeeded, failed, skipped, deferred } = tally;
  const backends = [...new Set([...tick.config.backends.map(({ name }) => name), ...view.namedBackends()])];
  const waiting = backends.flatMap((name) => queueStates.map((state) => view.queue(state, name)));
  const short = shortPlacements({ ...view, config: view.config! }, tick.standing);
  const sum = (counts: readonly Count[]) => counts.reduce((all, { objects }) => all + objects, 0);
  return {
    ...{ endedAt: tick.now(), ticks: 1, succeeded, failed, skipped, deferred, ...total(spent) },
    ...defined({ lagSeconds: figures.replicationLagSeconds }),
    objects: sum(view.placements.map(({ count }) => count)),
    underReplicated: sum(short.map(({ count }) => count)),
    queued: sum(waiting),
    usedBytes: backends.reduce((all, name) => all + view.usedBytes(name), 0),
  };
}

function total(spent: UsageByHour): Usage {
  return Object.values(spent)
    .flatMap((backends) => Object.values(backends))
    .reduce(plusUsage, noUsage);
}

function together(hour: HourFigures, more: Omit<HourFigures, 'at'>): HourFigures {
  const lagSeconds = Math.max(hour.lagSeconds ?? -1, more.lagSeconds ?? -1);
  return {
    at: hour.at,
    endedAt: more.endedAt,
    ticks: hour.ticks + more.ticks,
    succeeded: hour.succeeded + more.succeeded,
    failed: hour.failed + more.failed,
    skipped: hour.skipped + more.skipped,
    deferred: hour.deferred + more.deferred,
    requests: hour.requests + more.requests,
    egressBytes: hour.egressBytes + more.egressBytes,
    ingressBytes: hour.ingressBytes + more.ingressBytes,
    ...(lagSeconds >= 0 && { lagSeconds }),
    objects: more.objects,
    underReplicated: more.underReplicated,
    queued: more.queued,
    usedBytes: more.usedBytes,
  };
}
