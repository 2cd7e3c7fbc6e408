import { type WorkerName, workerNames } from '../../config/parameters.ts';
import type { HoldfastProcess } from '../../process/process.ts';
import { runTick } from '../../tick/run-tick.ts';
import { workers } from '../../workers/workers.ts';
import type { Work } from './work.ts';

/** Workers in loops: what a schedule does in the cloud, with shorter periods. */
export interface Upkeep {
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

export function startUpkeep(deps: HoldfastProcess, work: Work, names: readonly WorkerName[] = workerNames): Upkeep {
  const stopping = new AbortController();
  const loop = async (name: WorkerName) => {
    while (!stopping.signal.aborted) {
      try {
        work.ended(await runTick(deps, workers[name], { deadline: deps.clock.now() + tickMs }));
      } catch (error) {
        work.met(`${name}: ${(error as Error).message}`);
      }
      await deps.clock.sleep(periodMs[name] ?? otherPeriodMs, stopping.signal).catch(() => {});
    }
  };
  const loops = names.map(loop);
  return {
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
  };
}
