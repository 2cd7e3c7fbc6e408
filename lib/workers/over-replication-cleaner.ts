import { forEachConcurrently } from '../base/pool.ts';
import { count, type Verdict } from '../base/tally.ts';
import { policyOf } from '../config/fleet-file.ts';
import { type PlacementRule, placementRule } from '../config/placement-rule.ts';
import { scoreCopy } from '../plans/score-copy.ts';
import { surplusOf } from '../plans/surplus.ts';
import type { CopyReaderTick } from '../steps/copy-reader.ts';
import { copyReader } from '../steps/copy-reader.ts';
import { ruleOf } from '../steps/missing-copies.ts';
import type { RelabelTick } from '../steps/relabel.ts';
import { relabel } from '../steps/relabel.ts';
import type { PlacedCopy } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { quarantineMs } from '../store/queue-items.ts';
import type { Swap } from '../store/swap.ts';
import { findByPlacement } from '../tick/find-work.ts';
import type { HealthTick } from '../tick/health.ts';
import { isUsable } from '../tick/health.ts';
import type { RefreshTick } from '../tick/refresh.ts';
import { refresh } from '../tick/refresh.ts';
import type { FleetAsRead, Round, Tick, TickAccount, TickRequest, TickTime, Worker } from '../tick/tick.ts';
import type { NotGood } from '../transfer/reading/reading.ts';
import { bytesOfCopy } from '../transfer/reading/stored-bytes.ts';

/** What this file asks of a tick. */
export type OverReplicationCleanerTick = Pick<Tick, 'deps' | 'params' | 'tuning' | 'cursor' | 'commit'> &
  FleetAsRead &
  TickAccount &
  TickRequest &
  TickTime &
  CopyReaderTick &
  HealthTick &
  RefreshTick &
  RelabelTick;

/**
 * The over-replication cleaner takes surplus copies out of the records; the cleanup queue deletes their bytes.
 *
 * It acts by the policy of the key as it is now, and only while enough counted, reachable copies would remain, each of which
 * was read in full and verified: in this tick, or over as many as the longest of these reads takes; then what left waits for
 * days and can be taken back. Policy and drains are looked at again right before a removal. It never touches a plain copy,
 * except off a draining backend, nor a damaged object. An object whose verification failed is let rest. An object under a
 * label that is no longer right is relabelled first, and cleaned in a later tick.
 */
export const overReplicationCleaner: Worker = { name: 'over-replication-cleaner', hasWork, begin };

async function hasWork(tick: OverReplicationCleanerTick): Promise<boolean> {
  return overReplicated(tick).length > 0;
}

/** Ledger placements with a copy that may go, and those under a label that no policy has. */
function overReplicated(tick: OverReplicationCleanerTick): string[] {
  const isWork = ({ policy, condition, copies }: (typeof tick.view.placements)[number]) => {
    // What a run imports keeps its label until the run has ended.
    if (condition === 'damaged' || condition === 'recovering') return false;
    const rule = Object.hasOwn(tick.config.policies, policy) ? tick.config.policies[policy] : undefined;
    return rule === undefined || surplus(tick, copies, placementRule(tick.config, policy)).length > 0;
  };
  return tick.view.placements.filter(isWork).map(({ label }) => label);
}

function surplus(tick: OverReplicationCleanerTick, copies: readonly PlacedCopy[], rule: PlacementRule): string[] {
  const placed = copies.map(({ backend, isPlain }) => {
    const { config, breaker, isDraining, isLeaving, isCounted, isReachable } = tick.standing(backend);
    const isPlaced = config !== undefined && !isDraining && !isLeaving && rule.allows(backend);
    const score = scoreCopy({
      configured: config !== undefined && rule.allows(backend),
      draining: isDraining,
      breaker,
      usedBytes: tick.view.usedBytes(backend),
      limitBytes: config?.quotaBytes ?? 0,
    });
    return { backend, score, mayGo: !isPlain || isDraining, isPlaced, isSafe: isPlaced && isCounted && isReachable };
  });
  return surplusOf(placed, rule);
}

/** What one tick remembers between its objects. */
interface Turn {
  readonly tick: OverReplicationCleanerTick;
  /** Whether a backend answers and is ours; asked once. */
  readonly usable: Map<string, Promise<boolean>>;
  readonly seen: Set<string>;
  readonly removals: Removals;
}

async function begin(tick: OverReplicationCleanerTick): Promise<Round> {
  const turn: Turn = { tick, usable: new Map(), seen: new Set(), removals: groupedRemovals(tick) };
  return () => cleanBatch(turn);
}

/** What one object's turn led to. */
type Cleaned =
  | { readonly outcome: 'removed' }
  | { readonly outcome: 'relabelled' }
  | { readonly outcome: 'skipped' | 'deferred' | 'failed'; readonly reason: string };

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
  await forEachConcurrently(fresh, tick.tuning.concurrency, async (object) => {
    const { verdict, reason } = tallied(await cleanOne(turn, object));
    count(tick.tally, verdict, reason);
  });
  if (!tick.dryRun) tick.cursor = found.cursor;
  return found.cursor === undefined || fresh.length === 0 ? 'done' : 'more';
}

function tallied(cleaned: Cleaned): { readonly verdict: Verdict; readonly reason: string } {
  return 'reason' in cleaned
    ? { verdict: cleaned.outcome, reason: cleaned.reason }
    : { verdict: 'succeeded', reason: cleaned.outcome };
}

async function cleanOne(turn: Turn, object: ObjectRecord): Promise<Cleaned> {
  const { tick } = turn;
  if (tick.dryRun) return { outcome: 'skipped', reason: 'dry-run' };
  if (tick.outOfTime()) return { outcome: 'deferred', reason: 'out-of-time' };
  if (object.policy !== policyOf(tick.config, object.key).name) {
    const isDone = (await relabel(tick, object)) !== null;
    return isDone ? { outcome: 'relabelled' } : { outcome: 'skipped', reason: 'lost' };
  }
  const { leaving, staying } = spare(tick, object);
  if (leaving.length === 0) return { outcome: 'skipped', reason: 'no-surplus' };
  const confirmed = await confirm(turn, object, staying);
  return confirmed.outcome === 'confirmed'
    ? turn.removals.remove({ object, leaving, isAged: confirmed.isAged })
    : confirmed;
}

/** The copies of an object that may go now, by the policy of its key and the fleet as it was read last, and those that must be good then. */
function spare(
  tick: OverReplicationCleanerTick,
  object: ObjectRecord,
): { readonly leaving: readonly string[]; readonly staying: readonly string[] } {
  const rule = ruleOf(tick, object.key);
  const copies = Object.entries(object.copies).map(([backend, id]) => ({ backend, isPlain: id === '' }));
  const leaving = surplus(tick, copies, rule);
  const staying = Object.keys(object.copies).filter((backend) => {
    const { isCounted, isReachable } = tick.standing(backend);
    return !leaving.includes(backend) && isCounted && isReachable && rule.allows(backend);
  });
  return { leaving, staying };
}

/**
 * Every copy that counts when others have gone must stand there, as recorded. All are looked up first, then read in full side
 * by side (or their hashes attested, where that counts): a copy of the right size may have rotted, and the one removed for it
 * may be the last good one.
 */
async function confirm(
  turn: Turn,
  object: ObjectRecord,
  staying: readonly string[],
): Promise<{ readonly outcome: 'confirmed'; readonly isAged: boolean } | Exclude<Cleaned, { outcome: 'removed' }>> {
  const { tick } = turn;
  // What cannot be verified cannot stand in for what would be removed; the scrubber finds the hash.
  if (object.sha256 === undefined) return { outcome: 'skipped', reason: 'unhashed' };
  for (const name of staying) {
    if (!(await isUsableOnce(turn, name))) return { outcome: 'skipped', reason: 'survivor-unusable' };
  }
  const copies = staying.map((name) => bytesOfCopy(object, name));
  const all = await copyReader(tick).readAll(copies, { trustsAttestation: tick.params.scrubAttests });
  if (all.outcome === 'good') return { outcome: 'confirmed', isAged: all.isAged };
  return unconfirmed(tick, object, all.of.backend, all.reading);
}

function unconfirmed(
  tick: OverReplicationCleanerTick,
  { key }: ObjectRecord,
  backend: string,
  reading: NotGood,
): Exclude<Cleaned, { outcome: 'removed' }> {
  if (reading.outcome === 'reading') return { outcome: 'deferred', reason: 'reading' };
  if (reading.outcome === 'put-off') return { outcome: 'deferred', reason: reading.reason };
  const reason = reading.outcome === 'unreadable' ? reading.error.kind : reading.outcome;
  const fields = { key, backend, reason };
  tick.deps.log.warn('A copy that should remain was not confirmed: nothing is removed', fields);
  return { outcome: 'failed', reason: `survivor-${reason}` };
}

function isUsableOnce({ tick, usable }: Turn, name: string): Promise<boolean> {
  const existing = usable.get(name) ?? isUsable(tick, name);
  usable.set(name, existing);
  return existing;
}

/** Copies of an object that are to leave its record: those that stay were confirmed. */
interface Removal {
  readonly object: ObjectRecord;
  readonly leaving: readonly string[];
  /** A copy that stays was read to its end in an earlier tick. */
  readonly isAged: boolean;
}

interface Removals {
  remove(removal: Removal): Promise<Cleaned>;
}

interface Waiting extends Removal {
  readonly resolve: (cleaned: Cleaned) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Takes copies out of their records, those together that are ready in the same moment: each group by a look at the fleet that
 * is younger than its reads. Whoever drained a backend, or changed a policy, may have thought better of it meanwhile.
 */
function groupedRemovals(tick: OverReplicationCleanerTick): Removals {
  let waiting: Waiting[] = [];
  let isRunning = false;
  const run = async () => {
    if (isRunning) return;
    isRunning = true;
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      try {
        const ends = await removeGroup(tick, group);
        for (const [i, { resolve }] of group.entries()) resolve(ends[i]!);
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    isRunning = false;
  };
  return {
    remove: (removal) =>
      new Promise((resolve, reject) => {
        waiting.push({ ...removal, resolve, reject });
        queueMicrotask(() => void run());
      }),
  };
}

async function removeGroup(tick: OverReplicationCleanerTick, group: readonly Removal[]): Promise<Cleaned[]> {
  await refresh(tick);
  const wanted = group.map((removal) => isStillWanted(tick, removal));
  const removals = group.filter((_, i) => wanted[i]);
  const outcomes = await tick.commit(removals.map((removal) => swapFor(tick, removal)));
  const ends = new Map(removals.map((removal, i) => [removal, outcomes[i]!.outcome]));
  return group.map((removal): Cleaned => {
    const outcome = ends.get(removal);
    if (outcome === undefined) return { outcome: 'skipped', reason: 'changed-meanwhile' };
    if (outcome !== 'committed') return { outcome: outcome === 'lost' ? 'skipped' : 'failed', reason: outcome };
    noteRemoved(tick, removal);
    return { outcome: 'removed' };
  });
}

function isStillWanted(tick: OverReplicationCleanerTick, { object, leaving }: Removal): boolean {
  const now = spare(tick, object).leaving;
  return now.length === leaving.length && leaving.every((name) => now.includes(name));
}

function noteRemoved(tick: OverReplicationCleanerTick, { object: { key, copies }, leaving, isAged }: Removal): void {
  for (const backend of leaving)
    tick.audit('Copy removed', { key, backend, copyId: copies[backend], reason: isAged ? 'aged-evidence' : 'surplus' });
}

function swapFor(tick: OverReplicationCleanerTick, { object, leaving, isAged }: Removal): Swap {
  const copies = Object.fromEntries(Object.entries(object.copies).filter(([name]) => !leaving.includes(name)));
  const now = tick.now();
  const drains = leaving.flatMap((name) => {
    const drain = tick.view.drain(name);
    return drain === undefined ? [] : [[name, drain] as const];
  });
  const deletion = isAged
    ? ({ cause: 'aged-evidence', dueAt: now + quarantineMs } as const)
    : ({ cause: 'surplus', dueAt: now + tick.params.graceMs } as const);
  return {
    key: object.key,
    change: { before: object, after: { ...object, copies } },
    orphans: { ...deletion, createdAt: now },
    drainedSince: Object.fromEntries(drains.map(([name, { since }]) => [name, since])),
    // An imported file stays where it is, unless a person asked for its deletion with this very drain.
    deletesPlain: drains.flatMap(([name, { deleteImported }]) => (deleteImported === true ? [name] : [])),
  };
}
