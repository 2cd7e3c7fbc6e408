import { count } from '../../base/tally.ts';
import { runTick } from '../../tick/run-tick.ts';
import type { TickDeps, TickReport } from '../../tick/tick.ts';
import { type CopyVerdict, scrubObject } from './scrub-object.ts';

/** What a scrub of one key showed; no verdicts when there is no such object. */
export interface KeyScrub {
  readonly report: TickReport;
  readonly isFound: boolean;
  readonly verdicts: readonly CopyVerdict[];
}

const settled: ReadonlySet<string> = new Set([
  'good',
  'backfilled',
  'quarantined',
  'renewed',
  'overwritten',
  'unchanged',
]);

/** Reads every copy of one object now, whatever the scrub cycle; what it finds has the same consequences as in a scrub cycle. */
export async function scrubKey(deps: TickDeps, key: string, deadline: number): Promise<KeyScrub> {
  let isFound = false;
  const verdicts: CopyVerdict[] = [];
  const report = await runTick(
    deps,
    {
      name: 'scrubber',
      leaseOf: () => 'asked',
      hasWork: async () => true,
      begin: async (tick) => async () => {
        const entry = (await tick.deps.store.objects([key])).get(key);
        if (entry?.kind !== 'object') return 'done';
        isFound = true;
        verdicts.push(...(await scrubObject(tick, entry, await tick.budget())));
        for (const { verdict } of verdicts) count(tick.tally, settled.has(verdict) ? 'succeeded' : 'failed', verdict);
        return 'done';
      },
    },
    { deadline },
  );
  return { report, isFound, verdicts };
}
