import { parentPort, workerData } from 'node:worker_threads';
import { runHistory } from './history.ts';
import type { Share } from './play.ts';

const { from, to, stride } = workerData as Share;
for (let seed = from; seed < to; seed += stride) parentPort!.postMessage(await runHistory(seed));
