import type { Verdict } from '../base/tally.ts';

/** How one object's turn is counted. */
export interface TurnEnd {
  readonly verdict: Verdict;
  readonly reason?: string;
}
