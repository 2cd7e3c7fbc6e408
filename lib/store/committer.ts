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
    const group = waiting.slice(0, groupSize);
    waiting = waiting.slice(groupSize);
    out += 1;
    try {
      const deadline = Math.min(...group.map((w) => w.deadline));
      const outcomes = await commit(
        deps(),
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
