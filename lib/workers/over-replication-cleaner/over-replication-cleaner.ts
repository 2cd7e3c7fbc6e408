import { forEachConcurrently } from '../../base/pool.ts';
import { count, type Verdict } from '../../base/tally.ts';
import { policyOf } from '../../config/fleet-file.ts';
import { placementRule } from '../../config/placement-rule.ts';
import type { CopyReaderTick } from '../../steps/copy-reader.ts';
import { copyReader } from '../../steps/copy-reader.ts';
import type { RelabelTick } from '../../steps/relabel.ts';
import { relabel } from '../../steps/relabel.ts';
import type { ObjectRecord } from '../../store/model.ts';
import { findByPlacement } from '../../tick/find-work.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Round, Tick, TickAccount, TickRequest, TickTime, Worker } from '../../tick/tick.ts';
import type { NotGood } from '../../transfer/reading/reading.ts';
import { bytesOfCopy } from '../../transfer/reading/stored-bytes.ts';
import { type Cleaned, groupedRemovals, type Removals, type RemovalsTick } from './removals.ts';
import { spare, surplus } from './spare.ts';

/** What this file asks of a tick. */
export type OverReplicationCleanerTick = Pick<Tick, 'deps' | 'params' | 'tuning' | 'cursor'> &
  TickAccount &
  TickRequest &
  TickTime &
  CopyReaderTick &
  HealthTick &
  RelabelTick &
  RemovalsTick;

/**
 * The over-replication cleaner takes surplus copies out of the records; the cleanup queue deletes their bytes.
 *
 * It acts by the policy of the key as it is now, and only while enough counted, reachable copies would remain, each of which
 * was read in full and verified: in this tick, or over as many as the longest of these reads takes; then what left waits for
 * days and can be taken back. Policy and drains are looked at again right before a removal. It never touches a plain copy,
 * except off a draining backend, nor a damaged object. An object whose verification failed is let rest. An object under a
 * label that is no longer right is relabelled first, and cleaned in a later tick.
 *
 * Rules: [cleaner-order], [cleaner-survivors], [cleaner-leaves-files]
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
