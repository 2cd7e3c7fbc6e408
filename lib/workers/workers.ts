import type { WorkerName } from '../config/parameters.ts';
import type { Worker } from '../tick/tick.ts';
import { cleanupQueue } from './cleanup-queue/cleanup-queue.ts';
import { overReplicationCleaner } from './over-replication-cleaner.ts';
import { pendingReaper } from './pending-reaper.ts';
import { rebalancer } from './rebalancer/rebalancer.ts';
import { reconciler } from './reconciler/reconciler.ts';
import { replicator } from './replicator/replicator.ts';
import { scrubber } from './scrubber/scrubber.ts';

/** Every worker by name. */
export const workers: Readonly<Partial<Record<WorkerName, Worker>>> = {
  replicator,
  'over-replication-cleaner': overReplicationCleaner,
  rebalancer,
  'cleanup-queue': cleanupQueue,
  'pending-reaper': pendingReaper,
  scrubber,
  reconciler,
};
