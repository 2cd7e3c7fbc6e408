import { defined } from '../base/defined.ts';
import { type CommitDeps, commit } from './commit.ts';
import type { Entry, QueueItem } from './model.ts';
import { namesBytes, type Swap } from './swap.ts';

/**
 * Bytes that nothing names, and the entry that the swap which should have recorded them saw; null when the object has none
 * and never had, so that nothing can be on its way.
 */
export interface DeleteRequest {
  readonly item: QueueItem;
  readonly expected: Entry | null;
  readonly counters?: Swap['counters'];
}

/**
 * `queued` for deletion · `named` a record names them after all: left alone · `limited` a counter would go beyond its limit:
 * nothing queued · `undecided` time ran out: nothing queued.
 */
export type EnqueueOutcome = 'queued' | 'named' | 'limited' | 'undecided';

/**
 * Queues bytes for deletion that no queue item names. In the same transaction the object's rev moves on, unless it already
 * differs from what their own swap expected: so a commit of these bytes that is still under way has lost before they are
 * enqueued for deletion, whatever clocks, freezes and resends do.
 */
export async function enqueueDeletes(
  deps: CommitDeps,
  all: readonly DeleteRequest[],
  deadline: number,
): Promise<EnqueueOutcome[]> {
  const results: EnqueueOutcome[] = new Array(all.length);
  const moved = await commit(deps, all.map(movingRev), deadline);
  const left: number[] = [];
  for (const [i, outcome] of moved.entries()) {
    const { item } = all[i]!;
    if (outcome.outcome === 'committed' || outcome.outcome === 'already-queued') results[i] = 'queued';
    else if (outcome.outcome !== 'lost') results[i] = outcome.outcome === 'limited' ? 'limited' : 'undecided';
    else if (namesBytes(outcome.seen, item.backend, item.storageKey)) results[i] = 'named';
    else left.push(i);
  }
  const rest = await commit(
    deps,
    left.map((i) => queueOnly(all[i]!)),
    deadline,
  );
  for (const [n, outcome] of rest.entries()) {
    const isQueued = outcome.outcome === 'committed' || outcome.outcome === 'already-queued';
    results[left[n]!] = isQueued ? 'queued' : outcome.outcome === 'limited' ? 'limited' : 'undecided';
  }
  return results;
}

function movingRev({ item, expected, counters }: DeleteRequest): Swap {
  if (expected === null) return queueOnly({ item, expected, ...defined({ counters }) });
  return {
    ...queueOnly({ item, expected, ...defined({ counters }) }),
    change: { before: expected, after: expected },
  };
}

function queueOnly({ item, counters }: DeleteRequest): Swap {
  return { key: item.key, enqueuesDeletes: [item], ...defined({ counters }) };
}
