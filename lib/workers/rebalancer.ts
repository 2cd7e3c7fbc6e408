import { type Admission, createAdmission } from '../base/admission.ts';
import { forEachConcurrently } from '../base/pool.ts';
import { count, type Verdict } from '../base/tally.ts';
import { policyOf } from '../config/fleet-file.ts';
import { BackendError, isOutage } from '../fleet/backend.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Swap } from '../store/swap.ts';
import { type CopyOutcome, copy } from '../transfer/copy.ts';
import { type Budget, readBudget } from './budget.ts';
import { findByPlacement } from './find-work.ts';
import { isUsable } from './health.ts';
import { isUneven, movablePlacements, planMoves } from './rebalancing.ts';
import { condemnStrays, type Stray } from './strays.ts';
import type { Round, Tick, Worker } from './tick.ts';

/**
 * The rebalancer moves copies between backends with a limit, to pack or to spread them (B1–B5).
 *
 * It moves and never adds: a verified copy at the destination replaces the one at the source in a single swap, on condition
 * that the object is still what it was when it was read. What was written and could not be recorded is condemned. Objects
 * that have more or fewer copies than they should are left to the other workers, and plain copies stay where they are.
 */
export const rebalancer: Worker = { name: 'rebalancer', hasWork, begin };

/** B1 from the ledger alone, and some placement that a move may start from. */
async function hasWork(tick: Tick): Promise<boolean> {
  return isUneven(tick) && movablePlacements(tick).length > 0;
}

/** What one tick remembers between its moves. */
interface Turn {
  readonly tick: Tick;
  readonly budget: Budget;
  readonly admission: Admission;
  /** Backends that are ours and answered in this tick, less those that failed a move since. */
  readonly usable: Set<string>;
  readonly seen: Set<string>;
}

async function begin(tick: Tick): Promise<Round> {
  const usable = new Set<string>();
  for (const { name, quotaBytes } of tick.config.backends) {
    if (quotaBytes > 0 && (await isUsable(tick, name))) usable.add(name);
  }
  const admission = createAdmission(tick.params.maxBytesInFlight);
  const turn: Turn = { tick, budget: await readBudget(tick), admission, usable, seen: new Set() };
  return () => moveBatch(turn);
}

/** One move on its way. */
interface Attempt {
  readonly object: ObjectRecord;
  readonly from: string;
  readonly to: string;
  verdict: Verdict;
  reason?: string;
  /** Set once a verified copy stands at the destination. */
  made?: { readonly copyId: string; readonly sha256: string };
  readonly strays: Stray[];
}

async function moveBatch(turn: Turn): Promise<'more' | 'done'> {
  const { tick } = turn;
  if (!isUneven(tick)) return 'done';
  const labels = movablePlacements(tick);
  const found = await findByPlacement(tick.deps.store, labels, tick.slices, tick.cursor, tick.tuning.batchSize);
  const fresh = found.objects.filter(({ key }) => !turn.seen.has(key));
  for (const { key } of fresh) turn.seen.add(key);
  const attempts = planMoves(tick, fresh, turn.usable).map(
    ({ object, from, to }): Attempt => ({ object, from, to, verdict: 'skipped', strays: [] }),
  );
  const affordable = attempts.filter((attempt) => reserve(turn, attempt));
  await forEachConcurrently(affordable, tick.tuning.concurrency, async (attempt) => {
    if (tick.dryRun) end(attempt, 'skipped', 'dry-run');
    else if (tick.outOfTime()) end(attempt, 'deferred', 'out-of-time');
    else await moveOne(turn, attempt);
  });
  await record(tick, affordable);
  for (const { verdict, reason } of attempts) count(tick.tally, verdict, reason);
  tick.figures.admissionRejections = turn.admission.rejections;
  if (!tick.dryRun) tick.cursor = found.cursor;
  return found.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
}

function end(attempt: Attempt, verdict: Verdict, reason: string): void {
  Object.assign(attempt, { verdict, reason });
}

/** B4: whether a planned move fits what is left of the month at both ends, after the moves planned before it. */
function reserve({ budget }: Turn, attempt: Attempt): boolean {
  const { object, from, to } = attempt;
  const reading = { requests: 1, egressBytes: object.sizeBytes };
  const writing = { requests: 1, ingressBytes: object.sizeBytes };
  const refusal = budget.refuses(from, reading) ?? budget.refuses(to, writing);
  if (refusal !== null) {
    end(attempt, 'deferred', refusal);
    return false;
  }
  attempt.release = both(budget.reserve(from, reading), budget.reserve(to, writing));
  return true;
}
