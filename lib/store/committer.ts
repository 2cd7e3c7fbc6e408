import { type CommitDeps, commit, type Outcome } from './commit.ts';
import type { Swap } from './swap.ts';

/** Groups swaps of many callers: what arrives while transactions are out goes together into the next. */
export interface Committer {
  commit(swap: Swap, deadline: number): Promise<Outcome>;
}

interface Waiting {
  readonly swap: Swap;
  readonly deadline: number;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

export interface CommitterOptions {
  /** Swaps in one group: with intents and orphans, about a transaction's worth [40]. */
  readonly groupSize?: number;
  /** Groups that may be out at once [4]. */
  readonly width?: number;
}

export function createCommitter(deps: () => CommitDeps, options: CommitterOptions = {}): Committer {
  const { groupSize = 40, width = 4 } = options;
  let waiting: Waiting[] = [];
  let out = 0;
  const pump = async (): Promise<void> => {
    if (out >= width || waiting.length === 0) return;
    const needs = deps();
    const { group, rest } = together(waiting, groupSize, needs.clock.now());
    waiting = rest;
    out += 1;
    try {
      const deadline = Math.min(...group.map((w) => w.deadline));
      const outcomes = await commit(
        needs,
        group.map((w) => w.swap),
        deadline,
      );
      for (const [i, w] of group.entries()) w.resolve(outcomes[i]!);
    } catch (error) {
      for (const w of group) w.reject(error);
    } finally {
      out -= 1;
      void pump();
    }
  };
  return {
    commit: (swap, deadline) =>
      new Promise((resolve, reject) => {
        waiting.push({ swap, deadline, resolve, reject });
        // Let everything that is ready in this turn of the event loop join the group.
        queueMicrotask(() => void pump());
      }),
  };
}

/**
 * The first that wait and have about as much time: a group is given up at its earliest deadline, and a caller in a hurry
 * must not give up for the others.
 */
function together(waiting: readonly Waiting[], most: number, now: number): { group: Waiting[]; rest: Waiting[] } {
  const first = waiting[0]!.deadline;
  const slackMs = Math.max(0, first - now) / 10;
  const group: Waiting[] = [];
  const rest: Waiting[] = [];
  for (const one of waiting) {
    const joins = group.length < most && Math.abs(one.deadline - first) <= slackMs;
    (joins ? group : rest).push(one);
  }
  return { group, rest };
}
