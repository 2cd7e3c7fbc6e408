/** What became of one planned item: each ends as exactly one of these. */
export type Verdict = 'succeeded' | 'failed' | 'skipped' | 'deferred';

/** Counters of one tick. `planned` is always the sum of the four verdicts once the tick has returned. */
export interface Tally {
  planned: number;
  succeeded: number;
  failed: number;
  skipped: number;
  deferred: number;
  /** How often each named reason was met, e.g. `no-target` or `over-egress`. */
  reasons: Record<string, number>;
}

export function newTally(): Tally {
  return { planned: 0, succeeded: 0, failed: 0, skipped: 0, deferred: 0, reasons: {} };
}

/** Counts one planned item and its end. */
export function count(tally: Tally, verdict: Verdict, reason?: string): void {
  tally.planned += 1;
  tally[verdict] += 1;
  if (reason !== undefined) note(tally, reason);
}

/** Counts a reason that is not the end of an item. */
export function note(tally: Tally, reason: string): void {
  tally.reasons[reason] = (tally.reasons[reason] ?? 0) + 1;
}
