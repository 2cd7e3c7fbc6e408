import type { Clock } from '../base/clock.ts';
import { allEnded } from '../base/pool.ts';
import { nextRun } from '../config/next-run.ts';
import type { WorkerName, WorkerParameters } from '../config/parameters.ts';
import type { TickEvent, TickReport } from '../tick/tick.ts';

/** What a schedule needs: time, chance, and the tick of a worker. */
export interface ScheduleDeps {
  readonly clock: Clock;
  /** From 0 up to 1. */
  random(): number;
  tick(worker: WorkerName, event: TickEvent): Promise<TickReport>;
}

/** One worker that is to be run. */
export interface Scheduled extends Pick<WorkerParameters, 'schedule' | 'parts'> {
  readonly name: WorkerName;
}

export interface ScheduleOptions {
  /** Aborted when nothing more is to be begun: what is in flight ends. */
  readonly stop: AbortSignal;
  /** Every worker so often, whatever its schedule says. */
  readonly everyMs?: number;
  ended(report: TickReport): void;
  /** A tick that threw: what should not happen. The next one comes as it would have. */
  failed(worker: WorkerName, error: Error): void;
}

/** A process that is killed holds its leases for so long: a short tick that is begun again serves as well as a long one. */
export const tickMs = 60_000;
/** A tick that worked for so long had more to do. */
const busyMs = 45_000;
const pauseMs = 1_000;
/** Workers that were started together do not all ask in the same moment. */
const firstWithinMs = 5_000;

/**
 * Runs workers on their schedules in this process, until it is told to stop; resolves when the last tick has ended. Ticks of one worker
 * never overlap: one that had more to do is followed by the next at once. Beside other processes on the same tables, and Lambda, the
 * leases of the shards keep two from the same work.
 */
export async function runSchedule(
  deps: ScheduleDeps,
  workers: readonly Scheduled[],
  options: ScheduleOptions,
): Promise<void> {
  await allEnded(workers.map((worker) => keep(deps, worker, options)));
}

async function keep(deps: ScheduleDeps, worker: Scheduled, options: ScheduleOptions): Promise<void> {
  const { clock } = deps;
  const { stop, everyMs } = options;
  const first = Math.min(firstWithinMs, everyMs ?? firstWithinMs);
  await waitFor(clock, deps.random() * first, stop);
  while (!stop.aborted) {
    const begunAt = clock.now();
    const hasMore = await tickParts(deps, worker, options);
    const dueAt = hasMore ? clock.now() + pauseMs : nextAt(deps, worker, begunAt, everyMs);
    await waitFor(clock, Math.max(0, dueAt - clock.now()), stop);
  }
}

/** True when a part worked until its time was over. */
async function tickParts(
  deps: ScheduleDeps,
  { name, parts }: Scheduled,
  { stop, ended, failed }: ScheduleOptions,
): Promise<boolean> {
  let hasMore = false;
  const tickPart = async (part: number) => {
    try {
      const event = { deadline: deps.clock.now() + tickMs, stop, ...(parts > 1 && { part, of: parts }) };
      const report = await deps.tick(name, event);
      hasMore ||= report.planned > 0 && report.durationMs >= busyMs;
      ended(report);
    } catch (error) {
      failed(name, error as Error);
    }
  };
  await allEnded(Array.from({ length: parts }, (_, part) => tickPart(part)));
  return hasMore;
}

/** A tenth more or less, so that workers of one period, and machines that were started together, drift apart. */
function nextAt(deps: ScheduleDeps, { schedule }: Scheduled, begunAt: number, everyMs: number | undefined): number {
  const chance = deps.random();
  if (everyMs !== undefined) return begunAt + everyMs;
  if (schedule.startsWith('cron(')) {
    const next = nextRun(schedule, begunAt);
    // What cannot be kept was refused before.
    return (next.outcome === 'due' ? next.at : begunAt + tickMs) + chance * (tickMs / 2);
  }
  const next = nextRun(schedule, 0);
  const periodMs = next.outcome === 'due' ? next.at : tickMs;
  return begunAt + periodMs * (0.9 + chance / 5);
}

/** A wait that the end cuts short is over. */
async function waitFor(clock: Clock, ms: number, stop: AbortSignal): Promise<void> {
  if (stop.aborted || ms <= 0) return;
  await clock.sleep(ms, stop).catch(() => {});
}
