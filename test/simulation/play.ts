import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { HistoryResult } from './history.ts';

export interface PlayOptions {
  readonly from: number;
  readonly seeds: number;
  /** As many as the machine has cores, unless given. */
  readonly threads?: number | undefined;
  /** Told of every history, in no order; false ends the play. */
  readonly onResult: (result: HistoryResult) => boolean;
}

/** What a thread is to play: every `stride`-th seed from `from` up to `to`, not included. */
export interface Share {
  readonly from: number;
  readonly to: number;
  readonly stride: number;
}

/** Plays the histories of many seeds, several at a time; each is decided by its seed alone. */
export async function playSeeds({
  from,
  seeds,
  threads = availableParallelism(),
  onResult,
}: PlayOptions): Promise<void> {
  const running = Array.from({ length: threads }, (_, i) => {
    const share: Share = { from: from + i, to: from + seeds, stride: threads };
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
