/** What of a worker stands outside its file: how it is scheduled, tuned and deployed, unless parameters or options say otherwise. */
export interface WorkerDefaults {
  /** Period of its schedule, as EventBridge Scheduler has it. */
  readonly every: string;
  readonly batch: number;
  readonly concurrency: number;
  /** Below the period, so that a tick has ended when the next one begins. */
  readonly timeoutSeconds: number;
  /** Memory buys CPU and network: what moves bytes gets 1024 MB, what moves records 512 MB. */
  readonly memoryMb: number;
  /** Absent: it is scheduled. */
  readonly isOff?: true;
}

const list = {
  replicator: { every: '5 minutes', batch: 1000, concurrency: 64, timeoutSeconds: 270, memoryMb: 1024 },
  'over-replication-cleaner': { every: '5 minutes', batch: 50, concurrency: 64, timeoutSeconds: 120, memoryMb: 512 },
  rebalancer: { every: '6 hours', batch: 100, concurrency: 64, timeoutSeconds: 900, memoryMb: 1024, isOff: true },
  'cleanup-queue': { every: '1 minute', batch: 1000, concurrency: 64, timeoutSeconds: 55, memoryMb: 512 },
  'pending-reaper': { every: '1 minute', batch: 50, concurrency: 64, timeoutSeconds: 55, memoryMb: 512 },
  scrubber: { every: '1 hour', batch: 100, concurrency: 64, timeoutSeconds: 900, memoryMb: 1024 },
  reconciler: { every: '15 minutes', batch: 1000, concurrency: 4, timeoutSeconds: 900, memoryMb: 1024 },
} as const satisfies Readonly<Record<string, WorkerDefaults>>;

export type WorkerName = keyof typeof list;

/**
 * Every worker. A name stands for its file, `lib/workers/<name>/<name>.ts`, and what that exports, the name in camel case; code, parameters, functions, schedules, alarms and docs
 * are made from this list.
 */
export const workerList: Readonly<Record<WorkerName, WorkerDefaults>> = list;

export const workerNames = Object.keys(list) as readonly WorkerName[];

/** `over-replication-cleaner` → `overReplicationCleaner`. */
export function workerExport(name: WorkerName): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
