import type { WorkerName } from '../../../lib/config/parameters.ts';
import type { Entry, QueueItem } from '../../../lib/store/model.ts';
import { Violation } from './violation.ts';

/** What stands before a worker, and how much of it a tick takes. */
export interface Work {
  readonly worker: WorkerName;
  /** What it could settle now, as the tables hold it. */
  readonly due: ReadonlyMap<string, Entry | QueueItem>;
  /** Everything that may stand in a queue with it, hopeless things included. */
  readonly crowd: number;
  /** Of these, objects under the label of stuck ones. */
  readonly stuck: number;
  /** Taken by one round. */
  readonly batchSize: number;
  /** Rounds of one tick; 0: until nothing is left. */
  readonly rounds: number;
}

/** Once nothing goes wrong any more, nothing that is due is passed over by more ticks than it takes to come round. */
export interface WaitingCheck {
  /** A tick that had its turn has ended: `before` and `after` it. */
  ticked(before: Work, after: Work): void;
}

/**
 * Each round takes a batch from where the last one stopped, and goes round: so `crowd / (batch × rounds)` ticks see everything
 * once, and one without a limit of rounds sees it by itself. What got copies stands under another placement then, where it may
 * be met once more. A round may end where the circle does, which costs one more. What is stuck has an eighth of what the
 * rounds take, while others want copies.
 */
export function ticksToComeRound({ crowd, stuck, batchSize, rounds }: Omit<Work, 'worker' | 'due'>): number {
  return rounds === 0 ? 1 : Math.ceil(Math.max(2 * crowd, 8 * stuck) / (batchSize * rounds)) + 1;
}

export function createWaitingCheck(): WaitingCheck {
  /** By how many ticks, and the largest crowds since the first of them. */
  const passedOver = new Map<string, { readonly ticks: number; readonly crowd: number; readonly stuck: number }>();
  return {
    ticked(before, after) {
      const { worker } = before;
      for (const [id, seen] of before.due) {
        const name = `${worker} ${id}`;
        if (after.due.get(id) !== seen) {
          passedOver.delete(name);
          continue;
        }
        const known = passedOver.get(name) ?? { ticks: 0, crowd: 0, stuck: 0 };
        const ticks = known.ticks + 1;
        const crowd = Math.max(known.crowd, before.crowd, after.crowd);
        const stuck = Math.max(known.stuck, before.stuck, after.stuck);
        passedOver.set(name, { ticks, crowd, stuck });
        const isStuck = 'condition' in seen && seen.condition === 'stuck';
        if (ticks >= ticksToComeRound({ ...before, crowd, stuck: isStuck ? stuck : 0 }))
          throw new Violation('waiting', `${id} was passed over by ${ticks} ticks of the ${worker}`, seen.key);
      }
    },
  };
}
