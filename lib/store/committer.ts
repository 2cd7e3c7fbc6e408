import { type CommitDeps, commit, type Outcome } from './commit.ts';
import type { Swap } from './swap.ts';

/** Groups swaps of many callers: what arrives while transactions are out goes together into the next. */
export interface Committer {
  commit(swap: Swap, deadline: number): Promise<Outcome>;
  /** What `gathering` tells has changed: a group that waits for more may have to wait no longer. */
  recheck(): void;
}

/** When a group waits for more. Each transaction pays for its ledger rows, however few swaps are in it. */
export interface Gathering {
  /** So many are worth a transaction: no group of as many waits. */
  readonly enough: number;
  /** How many more may come, of work that is under way: a group waits for nothing else. */
  coming(): number;
  /** A group waits no longer than this. */
  readonly longestMs: number;
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
  /** Absent: what is ready goes. */
  readonly gathering?: Gathering;
}

export function createCommitter(deps: () => CommitDeps, options: CommitterOptions = {}): Committer {
  const { groupSize = 40, width = 4, gathering } = options;
  let waiting: Waiting[] = [];
  let out = 0;
  const stripes = createStripes();
  /** While a group waits for more. */
  let holding: AbortController | undefined;

  const mayWait = (): boolean => {
    if (gathering === undefined || waiting.length >= gathering.enough || gathering.coming() <= 0) return false;
    if (holding !== undefined) return true;
    const hold = new AbortController();
    holding = hold;
    deps()
      .clock.sleep(gathering.longestMs, hold.signal)
      .then(
        () => void send(),
        () => {}, // it did not have to wait so long
      );
    return true;
  };
  const pump = (): void => {
    if (out < width && waiting.length > 0 && !mayWait()) void send();
  };
  const send = async (): Promise<void> => {
    holding?.abort('sent');
    holding = undefined;
    if (out >= width || waiting.length === 0) return;
    const needs = deps();
    const { group, rest } = together(waiting, groupSize, needs.clock.now());
    waiting = rest;
    out += 1;
    const own = stripes.own(needs);
    try {
      const deadline = Math.min(...group.map((w) => w.deadline));
      const outcomes = await commit(
        { ...needs, stripe: own.stripe },
        group.map((w) => w.swap),
        deadline,
      );
      for (const [i, w] of group.entries()) w.resolve(outcomes[i]!);
    } catch (error) {
      for (const w of group) w.reject(error);
    } finally {
      own.giveBack();
      out -= 1;
      pump();
    }
  };
  // Let everything that is ready in this turn of the event loop join the group.
  const recheck = () => queueMicrotask(pump);
  return {
    commit: (swap, deadline) =>
      new Promise((resolve, reject) => {
        waiting.push({ swap, deadline, resolve, reject });
        recheck();
      }),
    recheck,
  };
}

/** Stripes of the ledger for transactions that are out at once: two on one stripe would be in each other's way. */
function createStripes() {
  const taken = new Set<number>();
  return {
    own({ ids, stripes }: Pick<CommitDeps, 'ids' | 'stripes'>) {
      let own = -1;
      return {
        /** Another one at each call: what the last one met there may still be there. */
        stripe(): number {
          taken.delete(own);
          const free = Array.from({ length: stripes }, (_, i) => i).filter((i) => !taken.has(i) && i !== own);
          own = free[Math.floor(ids.random() * free.length)] ?? Math.floor(ids.random() * stripes);
          taken.add(own);
          return own;
        },
        giveBack: () => void taken.delete(own),
      };
    },
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
