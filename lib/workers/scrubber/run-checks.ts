import { forEachConcurrently } from '../../base/pool.ts';
import { dueChecks, endCheck, type KeptCheck, putOffCheck } from '../../store/checks.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { Tick } from '../../tick/tick.ts';
import { type CopyVerdict, meaningOf } from './verdicts.ts';

/** What this file asks of a tick. */
export type RunChecksTick = Pick<Tick, 'deps' | 'tuning' | 'shards' | 'dryRun' | 'outOfTime'>;

/**
 * Reads the objects of which readers found a wrong copy, before their turn in the cycle: at most a tenth of a batch, so that
 * one host that misreads everything does not keep the cycle from coming round. Returns what was found of each.
 */
export async function runChecks(
  tick: RunChecksTick,
  scrub: (object: ObjectRecord) => Promise<readonly CopyVerdict[]>,
): Promise<void> {
  if (tick.dryRun) return;
  const checks = (await dueChecks(tick.deps, tick.shards)).slice(0, Math.ceil(tick.tuning.batchSize / 10));
  await forEachConcurrently(checks, tick.tuning.concurrency, async (check) => {
    if (!tick.outOfTime()) await runCheck(tick, check, scrub);
  });
}

async function runCheck(
  tick: RunChecksTick,
  check: KeptCheck,
  scrub: (object: ObjectRecord) => Promise<readonly CopyVerdict[]>,
): Promise<void> {
  const entry = (await tick.deps.store.objects([check.key])).get(check.key);
  const isInQuestion =
    entry?.kind === 'object' && entry.generation === check.generation && entry.copies[check.backend] === check.copyId;
  if (!isInQuestion) return endCheck(tick.deps, check);
  const found = (await scrub(entry)).find(({ backend }) => backend === check.backend);
  // What says nothing of the copy in question is looked at again later.
  const isDecided = found !== undefined && found.verdict !== 'lost' && meaningOf(found.verdict).coverage === 'covered';
  return isDecided ? endCheck(tick.deps, check) : putOffCheck(tick.deps, check);
}
