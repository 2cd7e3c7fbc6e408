import { count } from '../../base/tally.ts';
import { runTick } from '../../tick/run-tick.ts';
import type { TickDeps, TickReport } from '../../tick/tick.ts';
import { scrubObject } from './scrub-object.ts';
import { type CopyVerdict, meaningOf } from './verdicts.ts';

/** What a scrub of one key showed; no verdicts when there is no such object. */
export interface KeyScrub {
  readonly report: TickReport;
  readonly isFound: boolean;
  readonly verdicts: readonly CopyVerdict[];
}

/**
 * Reads every copy of one object now, whatever the scrub cycle, in as many ticks of `tickMs` as that takes; what it finds has
 * the same consequences as in a scrub cycle.
 */
export async function scrubKey(deps: TickDeps, key: string, tickMs: number): Promise<KeyScrub> {
  const found = new Map<string, CopyVerdict>();
  for (;;) {
    const isWanted = (backend: string) => !found.has(backend) || isUnfinished(found.get(backend)!);
    const { report, isFound, verdicts } = await scrubOnce(deps, key, deps.clock.now() + tickMs, isWanted);
    for (const verdict of verdicts) found.set(verdict.backend, verdict);
    const isDone = verdicts.length === 0 || !verdicts.some(isUnfinished);
    if (isDone || report.outcome === 'error') return { report, isFound, verdicts: [...found.values()] };
  }
}

function isUnfinished({ verdict }: Pick<CopyVerdict, 'verdict'>): boolean {
  return verdict === 'reading' || verdict === 'out-of-time';
}

async function scrubOnce(
  deps: TickDeps,
  key: string,
  deadline: number,
  isWanted: (backend: string) => boolean,
): Promise<KeyScrub> {
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
        const backends = Object.keys(entry.copies).filter(isWanted);
        verdicts.push(...(await scrubObject(tick, entry, { backends })));
        for (const one of verdicts) {
          const isSettled = meaningOf(one.verdict).counts === 'succeeded';
          if (!isUnfinished(one)) count(tick.tally, isSettled ? 'succeeded' : 'failed', one.verdict);
        }
        return 'done';
      },
    },
    { deadline },
  );
  return { report, isFound, verdicts };
}
