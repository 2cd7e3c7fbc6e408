import { type WorkerName, workerNames } from '../config/parameters.ts';
import type { Gauges } from '../tick/metrics.ts';
import type { TickReport } from '../tick/tick.ts';

const results = ['succeeded', 'failed', 'skipped', 'deferred'] as const;

/** What one worker did since the process began. */
export interface WorkerFigures {
  ticks: Partial<Record<TickReport['outcome'], number>>;
  items: Record<(typeof results)[number], number>;
  /** When its last tick ended, milliseconds since the epoch. */
  endedAt?: number;
}

/** Figures of a running process: what its ticks did, and the fleet as its latest tick saw it. */
export interface Figures {
  readonly workers: Readonly<Partial<Record<WorkerName, WorkerFigures>>>;
  ended(report: TickReport, now: number): void;
  /** Prometheus' text format, version 0.0.4. */
  text(gauges: Gauges | undefined): string;
}

export function createFigures(): Figures {
  const workers: Partial<Record<WorkerName, WorkerFigures>> = {};
  return {
    workers,
    ended(report, now) {
      const one = workers[report.worker] ?? {
        ticks: {},
        items: { succeeded: 0, failed: 0, skipped: 0, deferred: 0 },
      };
      workers[report.worker] = one;
      one.ticks[report.outcome] = (one.ticks[report.outcome] ?? 0) + 1;
      for (const result of results) one.items[result] += report[result];
      one.endedAt = now;
    },
    text: (gauges) => [...fleetLines(gauges), ...workerLines(workers)].map((line) => `${line}\n`).join(''),
  };
}

function fleetLines(gauges: Gauges | undefined): string[] {
  if (gauges === undefined) return [];
  const ofFleet = Object.entries(gauges.fleet).flatMap(([name, value]) => [
    `# TYPE ${named(name)} gauge`,
    `${named(name)} ${value}`,
  ]);
  const names = [...new Set(Object.values(gauges.backends).flatMap((values) => Object.keys(values)))];
  const ofBackends = names.flatMap((name) => [
    `# TYPE ${named(`Backend${name}`)} gauge`,
    ...Object.entries(gauges.backends).flatMap(([backend, values]) => {
      const value = (values as Readonly<Record<string, number>>)[name];
      return value === undefined ? [] : [`${named(`Backend${name}`)}{backend="${backend}"} ${value}`];
    }),
  ]);
  return [...ofFleet, ...ofBackends];
}

function workerLines(workers: Figures['workers']): string[] {
  const ran = workerNames.flatMap((name) => {
    const figures = workers[name];
    return figures === undefined ? [] : [{ name, ...figures }];
  });
  return [
    '# TYPE holdfast_ticks_total counter',
    ...ran.flatMap(({ name, ticks }) =>
      Object.entries(ticks).map(([outcome, n]) => `holdfast_ticks_total{worker="${name}",outcome="${outcome}"} ${n}`),
    ),
    '# TYPE holdfast_items_total counter',
    ...ran.flatMap(({ name, items }) =>
      results.map((result) => `holdfast_items_total{worker="${name}",result="${result}"} ${items[result]}`),
    ),
    '# TYPE holdfast_last_tick_timestamp_seconds gauge',
    ...ran.map(
      ({ name, endedAt }) => `holdfast_last_tick_timestamp_seconds{worker="${name}"} ${(endedAt ?? 0) / 1000}`,
    ),
  ];
}

/** `UnderReplicated` → `holdfast_under_replicated` */
function named(metric: string): string {
  return `holdfast${metric.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
}
