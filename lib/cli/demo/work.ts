import type { LogFields } from '../../base/log.ts';
import type { WorkerName } from '../../config/parameters.ts';
import type { TickReport } from '../../tick/tick.ts';
import { plural } from '../format.ts';

/** What the workers have done so far: from their audit lines and the reports of their ticks. */
export interface Work {
  /** Takes in a line of the log. */
  heard(sentence: string, fields: LogFields | undefined): void;
  /** Takes in the end of a tick. */
  ended(report: TickReport): void;
  /** Takes in a tick that was broken off. */
  met(problem: string): void;
  ticks(worker: WorkerName): number;
  /** How often a worker's audit lines said this; `reason` narrows it down. */
  acts(worker: WorkerName, sentence: string, reason?: string): number;
  /** How often the ticks of a worker counted this reason. */
  reasons(worker: WorkerName, reason: string): number;
  /** Ticks that ended as `failed`, `partial` or `error`, with the reason. */
  readonly problems: readonly string[];
}

export function createWork(): Work {
  const counts = new Map<string, number>();
  const problems: string[] = [];
  const add = (name: string, n = 1) => counts.set(name, (counts.get(name) ?? 0) + n);
  const of = (name: string) => counts.get(name) ?? 0;
  return {
    heard(sentence, fields) {
      if (fields?.audit !== true) return;
      add(`act ${fields.worker} ${sentence}`);
      add(`act ${fields.worker} ${sentence}: ${fields.reason}`);
    },
    ended({ worker, outcome, reasons, message }) {
      add(`tick ${worker}`);
      for (const [reason, times] of Object.entries(reasons)) add(`reason ${worker} ${reason}`, times);
      if (['failed', 'partial', 'error'].includes(outcome))
        problems.push(`${worker}: ${outcome} ${message ?? JSON.stringify(reasons)}`);
    },
    met: (problem) => void problems.push(problem),
    ticks: (worker) => of(`tick ${worker}`),
    acts: (worker, sentence, reason) => of(`act ${worker} ${sentence}${reason === undefined ? '' : `: ${reason}`}`),
    reasons: (worker, reason) => of(`reason ${worker} ${reason}`),
    problems,
  };
}

/** `1 copy`, `2 copies` */
export function copies(count: number): string {
  return `${count} ${count === 1 ? 'copy' : 'copies'}`;
}

/** What each worker did, as a phrase. */
export const deeds: Readonly<Partial<Record<WorkerName, (work: Work) => string>>> = {
  replicator: (work) => `made ${copies(work.acts('replicator', 'Copy recorded'))}`,
  'over-replication-cleaner': (work) =>
    `took ${copies(work.acts('over-replication-cleaner', 'Copy removed'))} too many out of the records`,
  rebalancer: (work) => `moved ${copies(work.acts('rebalancer', 'Copy moved'))}`,
  'cleanup-queue': (work) =>
    `deleted the bytes of ${copies(work.acts('cleanup-queue', 'Queue item settled', 'deleted'))}`,
  'pending-reaper': (work) =>
    `recorded ${plural(work.acts('pending-reaper', 'Intent settled', 'promoted'), 'upload')} whose writer had died`,
  scrubber: (work) =>
    `read ${copies(work.reasons('scrubber', 'good') + work.reasons('scrubber', 'backfilled') + work.reasons('scrubber', 'quarantined'))}, found ${work.acts('scrubber', 'Copy quarantined')} wrong`,
  reconciler: (work) => `imported ${plural(work.acts('reconciler', 'File imported'), 'file')} put by somebody else`,
};
