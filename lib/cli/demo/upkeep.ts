import type { WorkerName } from '../../config/parameters.ts';
import type { HoldfastProcess } from '../../process/process.ts';
import { runTick, type Worker } from '../../workers/tick.ts';
import { workers } from '../../workers/workers.ts';

/** Workers in loops: what a schedule does in the cloud, with shorter periods. */
export interface Upkeep {
  readonly ticks: Readonly<Record<string, number>>;
  readonly succeeded: Readonly<Record<string, number>>;
  /** Ticks that ended as `failed`, `partial` or `error`. */
  readonly problems: readonly string[];
  /** Lets the ticks under way finish. */
  stop(): Promise<void>;
}

const periodMs: Readonly<Partial<Record<WorkerName, number>>> = {
  replicator: 250,
  'cleanup-queue': 500,
  'pending-reaper': 1_000,
  'over-replication-cleaner': 1_000,
};
const otherPeriodMs = 5_000;
const tickMs = 30_000;

export function startUpkeep(deps: HoldfastProcess): Upkeep {
  const ticks: Record<string, number> = {};
  const succeeded: Record<string, number> = {};
  const problems: string[] = [];
  const stopping = new AbortController();
  const loop = async (worker: Worker) => {
    while (!stopping.signal.aborted) {
      try {
        const report = await runTick(deps, worker, { deadline: deps.clock.now() + tickMs });
        ticks[worker.name] = (ticks[worker.name] ?? 0) + 1;
        succeeded[worker.name] = (succeeded[worker.name] ?? 0) + report.succeeded;
        if (['failed', 'partial', 'error'].includes(report.outcome))
          problems.push(`${worker.name}: ${report.outcome} ${report.message ?? JSON.stringify(report.reasons)}`);
      } catch (error) {
        problems.push(`${worker.name}: ${(error as Error).message}`);
      }
      await deps.clock.sleep(periodMs[worker.name] ?? otherPeriodMs, stopping.signal).catch(() => {});
    }
  };
  const loops = Object.values(workers).map(loop);
  return {
    ticks,
    succeeded,
    problems,
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
  };
}
