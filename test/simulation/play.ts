import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { HistoryResult } from './history.ts';

/** A history to be played. */
export interface Job {
  readonly seed: number;
  /** Whether its result has what happened in it, line by line [no]. */
  readonly isTraced?: boolean;
}

export interface PlayOptions {
  readonly jobs: readonly Job[];
  /** As many as the machine has cores, unless given. */
  readonly threads?: number | undefined;
  /** Told of every history, in no order; false ends the play. */
  readonly onResult: (result: HistoryResult) => boolean;
}

/** The histories of so many seeds, one after the other. */
export function seedsFrom(from: number, count: number): Job[] {
  return Array.from({ length: count }, (_, i) => ({ seed: from + i }));
}

/** Plays many histories, several at a time; each is decided by its seed alone. */
export async function playSeeds({ jobs, threads = availableParallelism(), onResult }: PlayOptions): Promise<void> {
  const running = Array.from({ length: threads }, (_, i) => {
    const share = jobs.filter((_, at) => at % threads === i);
    // Most of what a history makes is soon forgotten: a large nursery spares the collector.
    return new Worker(new URL('thread.ts', import.meta.url), {
      workerData: share,
      resourceLimits: { maxYoungGenerationSizeMb: 64 },
    });
  });
  let isStopped = false;
  const stop = () => {
    isStopped = true;
    return Promise.all(running.map((worker) => worker.terminate()));
  };
  const ends = running.map(
    (worker) =>
      new Promise<void>((resolve, reject) => {
        worker.on('message', (result: HistoryResult) => {
          if (!onResult(result)) stop().then(() => resolve(), reject);
        });
        worker.on('error', reject);
        // A history that waits for nothing ends its thread: what it had still to play must not pass for played.
        worker.on('exit', (code) =>
          isStopped || code === 0 ? resolve() : reject(new Error(`A thread ended with ${code}: a history never ends`)),
        );
      }),
  );
  try {
    await Promise.all(ends);
  } finally {
    await stop();
  }
}
