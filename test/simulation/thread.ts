import { parentPort, workerData } from 'node:worker_threads';
import { runHistory } from './history.ts';
import type { Share } from './play.ts';

// What is thrown in a history is asked for its stack only where the history is played again to be shown.
Error.stackTraceLimit = 0;

const { from, to, stride } = workerData as Share;
for (let seed = from; seed < to; seed += stride) parentPort!.postMessage(await runHistory(seed));
