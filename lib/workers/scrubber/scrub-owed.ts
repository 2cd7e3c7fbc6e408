import { forEachConcurrently } from '../../base/pool.ts';
import type { Tick } from '../../tick/tick.ts';
import { type OwedCopy, owedWaitMs } from './scrub-cycles.ts';
import type { ScrubCopies } from './scrub-walk.ts';
import { meaningOf } from './verdicts.ts';

/** What this file asks of a tick. */
export type ScrubOwedTick = Pick<Tick, 'deps' | 'tuning' | 'now' | 'outOfTime'>;

/** What holds back the backend of an owed copy holds for a while. */
const heldWaitMs = 3_600_000;

/** Comes back to copies that the walk has passed. Returns those that are owed still. */
export async function scrubOwed(
  tick: ScrubOwedTick,
  owed: readonly OwedCopy[],
  scrub: ScrubCopies,
): Promise<OwedCopy[]> {
  const left: OwedCopy[] = [];
  await forEachConcurrently(owed, tick.tuning.concurrency, async (one) => {
    const isDue = one.notBefore <= tick.now() && !tick.outOfTime();
    const next = isDue ? await scrubOne(tick, one, scrub) : one;
    if (next !== null) left.push(next);
  });
  return owed.flatMap(({ key, backend }) => left.filter((one) => one.key === key && one.backend === backend));
}

/** Null when nothing more is owed: it was read, or has left the record. */
async function scrubOne(tick: ScrubOwedTick, one: OwedCopy, scrub: ScrubCopies): Promise<OwedCopy | null> {
  const entry = (await tick.deps.store.objects([one.key])).get(one.key);
  // What came in its place was verified when it was written.
  if (entry?.kind !== 'object' || entry.copies[one.backend] !== one.copyId) return null;
  const found = (await scrub(entry, [one.backend])).find(({ backend }) => backend === one.backend);
  if (found === undefined) return one;
  const now = tick.now();
  switch (meaningOf(found.verdict).coverage) {
    case 'covered':
      return null;
    case 'held':
      return { ...one, notBefore: found.verdict === 'out-of-time' ? now : now + heldWaitMs };
    case 'owed': {
      if (found.verdict === 'reading') return { ...one, attempts: 0, notBefore: now };
      const attempts = one.attempts + 1;
      return { ...one, attempts, notBefore: now + owedWaitMs(attempts) };
    }
  }
}
