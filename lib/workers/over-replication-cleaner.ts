import { forEachConcurrently } from '../base/pool.ts';
import { count, type Verdict } from '../base/tally.ts';
import { policyOf } from '../config/fleet-file.ts';
import { scoreCopy } from '../plans/score-copy.ts';
import { surplusOf } from '../plans/surplus.ts';
import { relabel } from '../steps/relabel.ts';
import { importingLabel, type PlacedCopy } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Swap } from '../store/swap.ts';
import type { Budget } from '../tick/budget.ts';
import { findByPlacement } from '../tick/find-work.ts';
import { isUsable } from '../tick/health.ts';
import type { Round, Tick, Worker } from '../tick/tick.ts';
import { readCopy } from '../transfer/read-copy.ts';

/**
 * The over-replication cleaner takes surplus copies out of the records (C1–C3); the cleanup queue deletes their bytes.
 *
 * It acts by the policy of the key as it is now, and only while enough counted, reachable copies would remain, each of which
 * was read in full and verified a moment before. It never touches a plain copy, except off a draining backend, nor
 * a damaged object. An object under a label that is no longer right is relabelled first, and cleaned in a later tick.
 */
export const overReplicationCleaner: Worker = { name: 'over-replication-cleaner', hasWork, begin };

async function hasWork(tick: Tick): Promise<boolean> {
  return overReplicated(tick).length > 0;
}

/** Ledger placements with a copy that may go, and those under a label that no policy has. */
function overReplicated(tick: Tick): string[] {
  const isWork = ({ policy, condition, copies }: (typeof tick.view.placements)[number]) => {
    // What a run imports keeps its label until the run has ended.
    if (condition === 'damaged' || policy === importingLabel) return false;
    const rule = Object.hasOwn(tick.config.policies, policy) ? tick.config.policies[policy] : undefined;
    return rule === undefined || surplus(tick, copies, rule.factor).length > 0;
  };
  return tick.view.placements.filter(isWork).map(({ label }) => label);
}

function surplus(tick: Tick, copies: readonly PlacedCopy[], factor: number): string[] {
  const placed = copies.map(({ backend, isPlain }) => {
    const { config, breaker, isDraining, isCounted, isReachable } = tick.standing(backend);
    const score = scoreCopy({
      configured: config !== undefined,
      draining: isDraining,
      breaker,
      usedBytes: tick.view.usedBytes(backend),
      limitBytes: config?.quotaBytes ?? 0,
    });
    return { backend, score, mayGo: !isPlain || isDraining, isSafe: isCounted && isReachable };
  });
  return surplusOf(placed, factor);
}

/** What one tick remembers between its objects. */
interface Turn {
  readonly tick: Tick;
  readonly budget: Budget;
  /** Whether a backend answers and is ours; asked once. */
  readonly usable: Map<string, Promise<boolean>>;
  readonly seen: Set<string>;
}

async function begin(tick: Tick): Promise<Round> {
  const turn: Turn = { tick, budget: await tick.budget(), usable: new Map(), seen: new Set() };
  return () => cleanBatch(turn);
}

/** What one object's turn led to. */
interface Attempt {
  readonly object: ObjectRecord;
  verdict: Verdict;
  reason?: string;
  /** Copies to take out of the record. */
  leaving: readonly string[];
}

async function cleanBatch(turn: Turn): Promise<'more' | 'done'> {
  const { tick } = turn;
  const found = await findByPlacement(
    tick.deps.store,
    overReplicated(tick),
    tick.shards,
    tick.cursor,
    tick.tuning.batchSize,
  );
  const fresh = found.objects.filter(({ key }) => !turn.seen.has(key));
  for (const { key } of fresh) turn.seen.add(key);
  const attempts: Attempt[] = [];
  await forEachConcurrently(fresh, tick.tuning.concurrency, async (object) => {
    const attempt: Attempt = { object, verdict: 'skipped', leaving: [] };
    attempts.push(attempt);
    if (tick.dryRun) attempt.reason = 'dry-run';
    else if (tick.outOfTime()) end(attempt, 'deferred', 'out-of-time');
    else await cleanOne(turn, attempt);
  });
  await remove(tick, attempts);
  for (const { verdict, reason } of attempts) count(tick.tally, verdict, reason);
  if (!tick.dryRun) tick.cursor = found.cursor;
  return found.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
}

function end(attempt: Attempt, verdict: Verdict, reason: string): void {
  Object.assign(attempt, { verdict, reason });
}

/** Decides which copies one object can spare now. Removes nothing: `remove` does, for the whole batch. */
async function cleanOne(turn: Turn, attempt: Attempt): Promise<void> {
  const { tick } = turn;
  const { object } = attempt;
  const { name, factor } = policyOf(tick.config, object.key);
  if (object.policy !== name) {
    const isDone = (await relabel(tick, object)) !== null;
    return isDone ? end(attempt, 'succeeded', 'relabelled') : end(attempt, 'skipped', 'lost');
  }
  const copies = Object.entries(object.copies).map(([backend, id]) => ({ backend, isPlain: id === '' }));
  const leaving = surplus(tick, copies, factor);
  if (leaving.length === 0) return end(attempt, 'skipped', 'no-surplus');
  for (const backend of Object.keys(object.copies)) {
    const { isCounted, isReachable } = tick.standing(backend);
    if (leaving.includes(backend) || !isCounted || !isReachable) continue;
    const refusal = await confirm(turn, object, backend);
    if (refusal !== null) return end(attempt, refusal.verdict, refusal.reason);
  }
  end(attempt, 'succeeded', 'removed');
  attempt.leaving = leaving;
}

/**
 * C2: a survivor must stand there now, as recorded; null when it does. It is read in full (or its hash attested, where that
 * counts): a copy of the right size may have rotted, and the one removed for it may be the last good one.
 */
async function confirm(
  turn: Turn,
  object: ObjectRecord,
  name: string,
): Promise<{ verdict: Verdict; reason: string } | null> {
  const { tick, budget } = turn;
  // What cannot be verified cannot stand in for what would be removed; the scrubber finds the hash.
  if (object.sha256 === undefined) return { verdict: 'skipped', reason: 'unhashed' };
  if (!(await isUsableOnce(turn, name))) return { verdict: 'skipped', reason: 'survivor-unusable' };
  const spend = { requests: 1, egressBytes: object.sizeBytes };
  const refusal = budget.refuses(name, spend);
  if (refusal !== null) return { verdict: 'deferred', reason: refusal };
  const giveBack = budget.reserve(name, spend);
  const options = { trustsAttestation: tick.params.scrubAttests };
  const reading = await readCopy(await tick.backend(name), object, tick.signal, options).finally(giveBack);
  if (reading.outcome === 'good') return null;
  const reason = reading.outcome === 'unreadable' ? reading.error.kind : reading.outcome;
  tick.deps.log.warn('A copy that should remain was not confirmed: nothing is removed', {
    key: object.key,
    backend: name,
    reason,
  });
  return { verdict: 'failed', reason: `survivor-${reason}` };
}

function isUsableOnce({ tick, usable }: Turn, name: string): Promise<boolean> {
  const existing = usable.get(name) ?? isUsable(tick, name);
  usable.set(name, existing);
  return existing;
}

/** Takes the copies of a batch out of their records; their bytes are queued in the same transaction. */
async function remove(tick: Tick, attempts: readonly Attempt[]): Promise<void> {
  const cleaned = attempts.filter(({ leaving }) => leaving.length > 0);
  const outcomes = await tick.commit(cleaned.map((attempt) => swapFor(tick, attempt)));
  for (const [i, { outcome }] of outcomes.entries()) {
    const attempt = cleaned[i]!;
    const { object, leaving } = attempt;
    if (outcome !== 'committed') {
      end(attempt, outcome === 'lost' ? 'skipped' : 'failed', outcome);
      continue;
    }
    for (const backend of leaving) {
      tick.audit('Copy removed', { key: object.key, backend, copyId: object.copies[backend], reason: 'surplus' });
    }
  }
}

function swapFor(tick: Tick, { object, leaving }: Attempt): Swap {
  const copies = Object.fromEntries(Object.entries(object.copies).filter(([name]) => !leaving.includes(name)));
  const now = tick.now();
  return {
    key: object.key,
    change: { before: object, after: { ...object, copies } },
    orphans: { cause: 'surplus' as const, dueAt: now + tick.params.graceMs, createdAt: now },
    // Without its ETag a plain file could not be told from what its owner wrote since: it stays where it is.
    deletesPlain: leaving.filter((name) => object.copies[name] === '' && object.plainEtags?.[name] !== undefined),
  };
}
