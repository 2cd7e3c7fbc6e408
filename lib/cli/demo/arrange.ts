import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { type Stack, startStack } from '../../local/stack.ts';
import { apply } from '../../operations/apply.ts';
import { createJsonLog } from '../../process/json-log.ts';
import { createProcess, type Env, type HoldfastProcess } from '../../process/process.ts';
import type { Bucket } from './verify.ts';
import { createWork, type Work } from './work.ts';

/** Copies of every object. */
export const factor = 2;

/** Short times, so that the whole life of an object passes within a run. */
const tuning: Env = {
  UNHEALTHY_AFTER_SECONDS: '1',
  BREAKER_FAILURES: '3',
  BREAKER_OPEN_SECONDS: '1',
  CLEANUP_QUEUE_GRACE_SECONDS: '1',
  CLEANUP_QUEUE_CLAIM_GRACE_SECONDS: '30',
  PENDING_REAPER_MIN_AGE_SECONDS: '60',
  DRAIN_SETTLE_SECONDS: '1',
  REBALANCER_STRATEGY: 'spread',
  REBALANCER_CONCURRENCY: '16',
  SCRUBBER_BATCH_SIZE: '1000',
  SCRUBBER_CONCURRENCY: '16',
  REPLICATOR_CONCURRENCY: '16',
};

/** What reading costs makes their order: the cheapest copy is read first. */
const egressUsdPerGb = { amber: 0, birch: 0.01, cedar: 0.02 };

/** The running stack with a fleet in force on it. */
export interface Arranged {
  readonly stack: Stack;
  readonly process: HoldfastProcess;
  readonly buckets: readonly Bucket[];
  readonly work: Work;
}

/** Starts the stack in a folder, with three backends that are filled evenly, and puts its fleet in force. */
export async function arrange(dir: string, bytesToStore: number): Promise<Arranged> {
  const stack = await startStack({ dir, isFresh: true, fleetText: fleetFor(bytesToStore) });
  try {
    const work = createWork();
    const log = heardBy(work, createJsonLog(systemClock, 'info', appendTo(join(dir, 'log.jsonl'))));
    const holdfastProcess = createProcess({ env: { ...tuning, ...stack.env }, log });
    await holdfastProcess.createTables();
    await apply(holdfastProcess, stack.fleet);
    return { stack, process: holdfastProcess, buckets: bucketsOf(stack), work };
  } catch (error) {
    await stack.close();
    throw error;
  }
}

function fleetFor(bytesToStore: number): string {
  const quotaBytes = Math.max(1024 ** 3, bytesToStore * 4);
  return JSON.stringify({
    backends: Object.entries(egressUsdPerGb).map(([name, usd]) => ({
      name,
      bucket: `demo-${name}`,
      credentials: 'role',
      quotaBytes,
      egressUsdPerGb: usd,
    })),
    policies: { default: { factor } },
    routing: 'spread',
  });
}

function bucketsOf(stack: Stack): Bucket[] {
  return stack.fleet.backends.map(({ name, endpoint, bucket, credentials }) => {
    if (typeof credentials === 'string' || !('accessKeyId' in credentials))
      throw new Error(`The embedded backend "${name}" has no keys`);
    return { name, endpoint: endpoint!, bucket, ...credentials };
  });
}

function appendTo(path: string): (line: string) => void {
  return (line) => appendFileSync(path, line);
}

function heardBy(work: Work, log: Log): Log {
  return {
    ...log,
    info(sentence, fields) {
      work.heard(sentence, fields);
      log.info(sentence, fields);
    },
  };
}
