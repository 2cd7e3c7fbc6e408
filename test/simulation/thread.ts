import { parentPort, workerData } from 'node:worker_threads';
import { runHistory } from './history.ts';
import type { Job } from './play.ts';

// What is thrown in a history is asked for its stack only where the history is played again to be shown.
Error.stackTraceLimit = 0;

for (const { seed, isTraced } of workerData as readonly Job[])
  parentPort!.postMessage(await runHistory(seed, isTraced));
