import { type BackendMetric, copiesFields, type FleetMetric } from '../base/metric-names.ts';
import type { Parameters } from '../config/parameters.ts';
import { type BackendStanding, type FleetConfig, type FleetView, standingOf } from '../store/fleet-view.ts';
import { passAgeMs, passHeader } from '../store/pass-rows.ts';
import { summarize } from './fleet-summary.ts';

/** What one tick publishes. */
export interface Gauges {
  readonly fleet: Readonly<Partial<Record<FleetMetric, number>>>;
  /** By configured backend. `UsedRatio` only where there is a quota. */
  readonly backends: Readonly<Record<string, Readonly<Partial<Record<BackendMetric, number>>>>>;
  /** Objects by number of counted copies; no metrics. */
  readonly copies: Readonly<Record<(typeof copiesFields)[number], number>>;
}

/** Figures of a worker that are metrics of the fleet: only those that a tick had something to say about. */
const published: Readonly<Record<string, FleetMetric>> = {
  oldestUnverifiedSeconds: 'OldestUnverifiedSeconds',
  oldestPlaintextUncheckedSeconds: 'OldestPlaintextUncheckedSeconds',
  replicationLagSeconds: 'ReplicationLagSeconds',
  oldestUnderReplicatedSeconds: 'OldestUnderReplicatedSeconds',
  queueOldestSeconds: 'QueueOldestSeconds',
};

/**
 * Sums up what a tick publishes: the fleet as it read it last, and what it did. A configured fleet only.
 * Ages that the tick did not meet are left out: their absence means that nothing was waiting, or that it was not looked at.
 */
export function gaugesOf(
  view: FleetView & { readonly config: FleetConfig },
  params: Pick<Parameters, 'unhealthyAfterMs'>,
  figures: Readonly<Record<string, number>>,
  now: number,
): Gauges {
  const standing = (name: string) => standingOf(view, name, now, params.unhealthyAfterMs);
  const { underReplicated, overReplicated, atRisk, damaged, stuck, queue } = summarize(view, standing);
  const ages = Object.entries(published).flatMap(([figure, metric]) => {
    const value = figures[figure];
    return value === undefined ? [] : [[metric, value] as const];
  });
  return {
    fleet: {
      UnderReplicated: underReplicated,
      OverReplicated: overReplicated,
      AtRisk: atRisk,
      QueueDepth: queue.intent.objects + queue.transfer.objects + queue.cleanup.objects,
      DeadLetters: queue.dead.objects,
      Damaged: damaged,
      Stuck: stuck,
      OldestPassSeconds: oldestPassSeconds(view, now),
      UnrecordedKeys: unrecordedKeys(view),
      Quarantined: figures.quarantined ?? 0,
      RemovalLimitReached: figures.removalLimitReached ?? 0,
      ...Object.fromEntries(ages),
    },
    backends: Object.fromEntries(
      view.config.file.backends.map(({ name }) => [name, backendGauges(view, standing(name))]),
    ),
    copies: objectsByCopies(view, standing),
  };
}

/** Since when the backend that waits longest has not been gone through to its end. */
function oldestPassSeconds(view: FleetView & { readonly config: FleetConfig }, now: number): number {
  const ages = view.config.file.backends.map(({ name }) => passAgeMs(view, name, now) ?? 0);
  return Math.round(Math.max(0, ...ages) / 1000);
}

/** Bytes of ours whose object is unknown, as the last complete passes found them. */
function unrecordedKeys(view: FleetView & { readonly config: FleetConfig }): number {
  return view.config.file.backends.reduce((sum, { name }) => sum + (passHeader(view, name).unrecorded ?? 0), 0);
}

function backendGauges(
  view: FleetView,
  { name, config, breaker }: BackendStanding,
): Partial<Record<BackendMetric, number>> {
  const quota = config?.quotaBytes ?? 0;
  const used = Math.max(view.usedBytes(name), view.quotaBytesUsed(name));
  return { BreakerOpen: breaker === 'closed' ? 0 : 1, ...(quota > 0 && { UsedRatio: used / quota }) };
}

function objectsByCopies(view: FleetView, standing: (name: string) => BackendStanding): Gauges['copies'] {
  const counts = copiesFields.map(() => 0);
  for (const { copies, count } of view.placements) {
    const counted = copies.filter(({ backend }) => standing(backend).isCounted).length;
    counts[Math.min(counted, counts.length - 1)]! += count.objects;
  }
  return Object.fromEntries(copiesFields.map((field, i) => [field, counts[i]])) as unknown as Gauges['copies'];
}
