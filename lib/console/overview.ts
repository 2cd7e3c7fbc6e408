import { defined } from '../base/defined.ts';
import { nextRun } from '../config/next-run.ts';
import type { Parameters } from '../config/parameters.ts';
import { type WorkerName, workerNames } from '../config/workers.ts';
import type { UsageLine } from '../operations/usage-report.ts';
import { type BackendStanding, standingOf } from '../store/fleet-view.ts';
import { queueStates } from '../store/model.ts';
import { passHeader } from '../store/pass-rows.ts';
import { recoveryOf } from '../store/recovery.ts';
import { refusingOf } from '../store/refusing.ts';
import { summarize } from '../tick/fleet-summary.ts';
import { attentionOf } from './attention.ts';
import { concernsOf } from './concerns.ts';
import type { BackendFigures, DrainFigures, Overview, UsageFigures, WorkerFigures } from './protocol.ts';
import type { Fleet, Readings } from './readings.ts';
import { scrubFigures } from './scrub-figures.ts';

/** What the readings do not say themselves. */
export interface OverviewContext {
  readonly params: Parameters;
  readonly now: number;
}

/** Of the overview, what follows from the readings. */
export type FleetFigures = Omit<Overview, 'isReadOnly' | 'problem' | 'work' | 'jobs' | 'changes'>;

/** The whole fleet as it is shown: from the ledger alone, whatever the number of objects. Pure. */
export function fleetFigures(readings: Readings, { params, now }: OverviewContext): FleetFigures {
  const { fleet } = readings;
  const backends = backendsOf(readings, { params, now });
  const workers = workerNames.map((name) => workerFigures(readings, name, params, now));
  const standing = (name: string) => standingOf(fleet, name, now, params.unhealthyAfterMs);
  const summary = summarize(fleet, standing);
  const recovery = recoveryOf(fleet);
  const queue = queueStates.map((state) => ({ state, ...summary.queue[state] }));
  return {
    readAt: fleet.readAt,
    now,
    fleetId: fleet.config.fleetId,
    version: fleet.config.version,
    objects: summary.objects,
    bytes: summary.bytes,
    byCopies: byCopies(fleet, standing),
    attention: attentionOf(fleet, standing, summary),
    concerns: concernsOf(fleet, { backends, workers, queue }),
    ...{ backends, queue, workers },
    ...placementsShown(fleet),
    ...defined({ scrub: scrubFigures(readings.leases.get('scrubber') ?? [], now) }),
    ...(recovery !== undefined && recovery.completedAt === undefined && { recovery: { since: recovery.since } }),
    overrides: fleet.settings.overrides,
  };
}

function backendsOf(readings: Readings, { params, now }: OverviewContext): BackendFigures[] {
  const { fleet } = readings;
  const configured = fleet.config.file.backends.map(({ name }) => name);
  const others = fleet.namedBackends().filter((name) => !configured.includes(name));
  return [...configured, ...others].map((name) =>
    backendFigures(readings, standingOf(fleet, name, now, params.unhealthyAfterMs)),
  );
}

/** A fleet of many backends and policies has thousands. */
const mostPlacements = 100;

function placementsShown({ placements }: Fleet): Pick<Overview, 'placements' | 'otherPlacements'> {
  const sorted = [...placements].sort((a, b) => b.count.objects - a.count.objects);
  const rest = sorted.slice(mostPlacements);
  return {
    placements: sorted.slice(0, mostPlacements).map(({ label, policy, condition, copies, count }) => ({
      ...{ label, policy, condition, ...count },
      backends: copies.map(({ backend }) => backend),
    })),
    otherPlacements: {
      placements: rest.length,
      objects: rest.reduce((sum, { count }) => sum + count.objects, 0),
      bytes: rest.reduce((sum, { count }) => sum + count.bytes, 0),
    },
  };
}

/** More copies than this are counted together. */
const mostCopies = 4;

function byCopies(fleet: Fleet, standing: (name: string) => BackendStanding): number[] {
  const counts = Array.from({ length: mostCopies + 1 }, () => 0);
  for (const { copies, count } of fleet.placements) {
    const counted = copies.filter(({ backend }) => standing(backend).isCounted).length;
    counts[Math.min(counted, mostCopies)]! += count.objects;
  }
  return counts;
}

function backendFigures({ fleet, usage }: Readings, standing: BackendStanding): BackendFigures {
  const { name, config, breaker, isLeaving, isCounted } = standing;
  const held = fleet.placements.filter(({ copies }) => copies.some(({ backend }) => backend === name));
  const state = fleet.breaker(name);
  const pass = passHeader(fleet, name);
  const queued = queueStates.map((queueState) => fleet.queue(queueState, name));
  return {
    ...{ name, breaker, isLeaving, isCounted, isConfigured: config !== undefined },
    objects: held.reduce((sum, { count }) => sum + count.objects, 0),
    recordedBytes: held.reduce((sum, { count }) => sum + count.bytes, 0),
    usedBytes: fleet.usedBytes(name),
    queuedBytes: queued.reduce((sum, { bytes }) => sum + bytes, 0),
    queuedItems: queued.reduce((sum, { objects }) => sum + objects, 0),
    quotaBytes: config?.quotaBytes ?? 0,
    failures: state?.failures ?? 0,
    egressUsdPerGb: config?.egressUsdPerGb ?? 0,
    unrecorded: pass.unrecorded ?? 0,
    ...defined({
      unhealthySince: state?.unhealthySince,
      probeAfter: state?.probeAfter,
      reason: state?.reason,
      takesNoWrites: refusingOf(fleet, name),
      drain: drainFigures(fleet, name),
      usage: usage?.filter(({ backend }) => backend === name).map(usageFigures),
      pass: pass.number === 0 ? undefined : pass,
    }),
  };
}

function usageFigures({ per, what, used, allowed, forecast, resetsAt }: UsageLine): UsageFigures {
  return { per, what, used, allowed, forecast, resetsAt };
}

function drainFigures(fleet: Fleet, name: string): DrainFigures | undefined {
  const record = fleet.drain(name);
  if (record === undefined) return undefined;
  const held = fleet.placements.filter(({ copies }) => copies.some(({ backend }) => backend === name));
  const queued = queueStates.reduce((sum, state) => sum + fleet.queue(state, name).objects, 0);
  const damaged = held.filter(({ condition }) => condition === 'damaged');
  return {
    since: record.since,
    deletesImported: record.deleteImported === true,
    left: held.reduce((sum, { count }) => sum + count.objects, 0) + queued,
    leftBytes: fleet.usedBytes(name),
    damaged: damaged.reduce((sum, { count }) => sum + count.objects, 0),
    state: fleet.namedBackends().includes(name) ? 'draining' : 'settling',
  };
}

function workerFigures({ fleet, leases }: Readings, name: WorkerName, params: Parameters, now: number): WorkerFigures {
  const { enabled, schedule } = params.workers[name];
  const isPaused = fleet.settings.paused.includes(name);
  const rows = leases.get(name) ?? [];
  const last = rows
    .flatMap(({ last: summary }) => (summary === undefined ? [] : [summary as unknown as LastTick]))
    .sort((a, b) => b.at - a.at)[0];
  const nextDueAt = !enabled || isPaused || last === undefined ? undefined : nextAfter(schedule, last.at, now);
  return {
    ...{ name, isPaused, schedule, isEnabled: enabled },
    isRunning: rows.some(({ expiresAt }) => expiresAt > now),
    ...defined({ last: last && lastFigures(last), nextDueAt }),
  };
}

type LastTick = NonNullable<WorkerFigures['last']>;

function lastFigures(last: LastTick): LastTick {
  const { at, outcome, planned, succeeded, failed, skipped, deferred, reasons, queueOldestSeconds } = last;
  return { at, outcome, planned, succeeded, failed, skipped, deferred, reasons, ...defined({ queueOldestSeconds }) };
}

/** Ticks that find nothing to do leave no trace: the next one comes a whole number of periods after the last that did. */
function nextAfter(schedule: string, at: number, now: number): number | undefined {
  const first = nextRun(schedule, at);
  if (first.outcome !== 'due') return undefined;
  if (schedule.startsWith('cron(')) {
    const next = nextRun(schedule, now);
    return next.outcome === 'due' ? next.at : undefined;
  }
  const periodMs = first.at - at;
  return first.at >= now ? first.at : first.at + Math.ceil((now - first.at) / periodMs) * periodMs;
}
