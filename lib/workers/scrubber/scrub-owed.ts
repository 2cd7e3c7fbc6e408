import { forEachConcurrently } from '../../base/pool.ts';
import type { Tick } from '../../tick/tick.ts';
import { type OwedCopy, owedWaitMs } from './scrub-cycles.ts';
import type { ScrubCopies } from './scrub-walk.ts';
import { lacksPlaintext, meaningOf } from './verdicts.ts';

/** What this file asks of a tick. */
export type ScrubOwedTick = Pick<Tick, 'deps' | 'tuning' | 'now' | 'outOfTime'>;

/** What holds back the backend of an owed copy holds for a while. */
const heldWaitMs = 3_600_000;

/** Copies that are owed still, and those that were read without their plaintext being compared. */
export interface CameBack {
  readonly owed: readonly OwedCopy[];
  readonly undeciphered: readonly OwedCopy[];
}

/** Comes back to copies that the walk has passed. */
export async function scrubOwed(tick: ScrubOwedTick, owed: readonly OwedCopy[], scrub: ScrubCopies): Promise<CameBack> {
  const left: OwedCopy[] = [];
  const undeciphered: OwedCopy[] = [];
  await forEachConcurrently(owed, tick.tuning.concurrency, async (one) => {
    const isDue = one.notBefore <= tick.now() && !tick.outOfTime();
    const turn: OwedTurn = isDue ? await scrubOne(tick, one, scrub) : { outcome: 'owed', next: one };
    if (turn.outcome === 'owed') left.push(turn.next);
    if (turn.outcome === 'undeciphered') undeciphered.push(one);
  });
  const inOrder = owed.flatMap(({ key, backend }) => left.filter((one) => one.key === key && one.backend === backend));
  return { owed: inOrder, undeciphered };
}

/** `ended` nothing more is owed: it was read, or has left the record · `undeciphered` it was read, its plaintext was not. */
type OwedTurn =
  | { readonly outcome: 'owed'; readonly next: OwedCopy }
  | { readonly outcome: 'undeciphered' }
  | { readonly outcome: 'ended' };

async function scrubOne(tick: ScrubOwedTick, one: OwedCopy, scrub: ScrubCopies): Promise<OwedTurn> {
  const owed = (change: Partial<OwedCopy> = {}): OwedTurn => ({ outcome: 'owed', next: { ...one, ...change } });
  const entry = (await tick.deps.store.objects([one.key])).get(one.key);
  // What came in its place was verified when it was written.
  if (entry?.kind !== 'object' || entry.copies[one.backend] !== one.copyId) return { outcome: 'ended' };
  const found = (await scrub(entry, [one.backend])).find(({ backend }) => backend === one.backend);
  if (found === undefined) return owed();
  const now = tick.now();
  switch (meaningOf(found.verdict).coverage) {
    case 'covered':
      return { outcome: lacksPlaintext(found) ? 'undeciphered' : 'ended' };
    case 'held':
      return owed({ notBefore: found.verdict === 'out-of-time' ? now : now + heldWaitMs });
    case 'owed': {
      if (found.verdict === 'reading') return owed({ attempts: 0, notBefore: now });
      const attempts = one.attempts + 1;
      return owed({ attempts, notBefore: now + owedWaitMs(attempts) });
    }
  }
}
