import { forEachConcurrently } from '../../base/pool.ts';
import { count, type Verdict } from '../../base/tally.ts';
import { scheduleMs } from '../../config/parameters.ts';
import { relabel } from '../../steps/relabel.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { Budget } from '../../tick/budget.ts';
import type { Round, Tick, Worker } from '../../tick/tick.ts';
import { firstPlace, type Place, readStretch } from '../../tick/walk.ts';
import { runChecks } from './run-checks.ts';
import { type CopyVerdict, scrubObject } from './scrub-object.ts';
import { keyringOf } from './tick-keyring.ts';

/**
 * The scrubber re-reads every recorded copy once per scrub cycle, in key order within each shard (S1–S4).
 *
 * A copy whose bytes differ from the record, or are missing, is removed only through `quarantine`: while another copy verifies.
 * What cannot be read is counted and left. A verified copy costs no write. When policies have changed, every object is first
 * put under the label of the policy that applies to its key now.
 */
export const scrubber: Worker = { name: 'scrubber', hasWork, begin };

const dayMs = 24 * 3_600_000;

/** Where the scrub cycle is; kept as the lease's cursor. */
interface ScrubCycle {
  /** Next place to read; absent between scrub cycles. */
  readonly at?: Place;
  /** When this scrub cycle, or the last one, began. */
  readonly startedAt: number;
  /** When the scrub cycle last came by the beginning of each shard, and the time before that for the shard it is in. */
  readonly shardAt: Readonly<Record<string, number>>;
  /** The policies whose labels all objects carry, and how far a relabelling has come. */
  readonly labels?: string;
  readonly relabelAt?: Place;
}

async function hasWork(tick: Tick): Promise<boolean> {
  return tick.view.placements.length > 0;
}

async function begin(tick: Tick): Promise<Round> {
  const budget = await tick.budget();
  // Asked for at once: what is wrong with it is said even by ticks that meet nothing encrypted.
  await keyringOf(tick);
  await runChecks(tick, (object) => scrubOne(tick, object, budget));
  let cycle = readCycle(tick);
  let share = shareOf(tick);
  return async () => {
    if (cycle.labels !== policiesOf(tick)) cycle = await relabelStretch(tick, cycle);
    if (isBetweenCycles(tick, cycle)) share = 0;
    else if (share > 0) {
      const begun = cycle.at === undefined ? { ...cycle, at: firstPlace(tick.shards), startedAt: tick.now() } : cycle;
      const { copies, next, left } = await scrubStretch(
        tick,
        begun.at!,
        Math.min(share, tick.tuning.batchSize),
        budget,
      );
      // A scrub cycle that has ended is not begun again in the same tick.
      share = next === undefined ? 0 : share - copies;
      cycle = moved(tick, begun, next, left);
    }
    if (!tick.dryRun) tick.cursor = JSON.stringify(cycle);
    const isRelabelling = cycle.relabelAt !== undefined && !tick.dryRun && !tick.outOfTime();
    return share <= 0 && !isRelabelling ? done(tick, cycle) : 'more';
  };
}

/** A scrub cycle that took less than its time waits for the next one to be due. */
function isBetweenCycles(tick: Tick, cycle: ScrubCycle): boolean {
  return cycle.at === undefined && cycle.startedAt > 0 && tick.now() < cycle.startedAt + cycleMs(tick);
}

function cycleMs(tick: Tick): number {
  return tick.params.scrubberCycleDays * dayMs;
}

/** S1: copies to read in this tick: its share of the scrub cycle, at least a batch. */
function shareOf(tick: Tick): number {
  const copies = tick.view.placements.reduce((sum, p) => sum + p.count.objects * p.copies.length, 0);
  const ticks = cycleMs(tick) / (scheduleMs(tick.tuning.schedule) ?? 3_600_000);
  return Math.max(tick.tuning.batchSize, Math.ceil(copies / tick.of / ticks));
}

/** An unreadable cursor begins a scrub cycle: reading a copy once more is the safe mistake. */
function readCycle(tick: Tick): ScrubCycle {
  const fresh: ScrubCycle = { startedAt: 0, shardAt: {} };
  if (tick.cursor === undefined) return fresh;
  try {
    return { ...fresh, ...(JSON.parse(tick.cursor) as Partial<ScrubCycle>) };
  } catch {
    tick.deps.log.warn('The scrubber’s cursor could not be read: a new scrub cycle begins', { cursor: tick.cursor });
    return fresh;
  }
}

/** What stands behind a shard's place was read when the scrub cycle before came by; once through, since this scrub cycle did. */
function moved(
  tick: Tick,
  { at: _at, ...rest }: ScrubCycle,
  next: Place | undefined,
  left: readonly string[],
): ScrubCycle {
  const shardAt = { ...rest.shardAt, ...Object.fromEntries(left.map((shard) => [shard, tick.now()])) };
  return next === undefined ? { ...rest, shardAt } : { ...rest, shardAt, at: next };
}

/** S4: reports how far the scrub cycle is and how old the oldest verification may be. */
function done(tick: Tick, cycle: ScrubCycle): 'done' {
  const place = cycle.at === undefined ? tick.shards.length : tick.shards.indexOf(cycle.at.shard);
  tick.figures.cycleProgress = place / tick.shards.length;
  const verifiedAt = tick.shards.map((shard) => cycle.shardAt[shard] ?? cycle.startedAt);
  tick.figures.oldestUnverifiedSeconds = Math.round((tick.now() - Math.min(...verifiedAt)) / 1000);
  return 'done';
}

interface Scrubbed {
  /** Copies that were looked at. */
  readonly copies: number;
  /** Where the scrub cycle goes on; undefined at its end. */
  readonly next: Place | undefined;
  /** Shards that were read to their end. */
  readonly left: readonly string[];
}

/** Reads objects in the order of the walk until they have a batch of copies, over as many shards as that takes. */
async function scrubStretch(tick: Tick, from: Place, limit: number, budget: Budget): Promise<Scrubbed> {
  const left: string[] = [];
  let copies = 0;
  let at: Place | undefined = from;
  while (at !== undefined && copies < limit && !tick.outOfTime()) {
    const stretch = await readStretch(tick.deps.store, tick.shards, at, limit - copies);
    const taken: ObjectRecord[] = [];
    for (const object of stretch.objects) {
      if (copies >= limit) break;
      taken.push(object);
      copies += Object.keys(object.copies).length;
    }
    await forEachConcurrently(
      taken,
      tick.tuning.concurrency,
      async (object) => void (await scrubOne(tick, object, budget)),
    );
    const last = taken.at(-1);
    const isWhole = taken.length === stretch.objects.length;
    if (isWhole && stretch.next?.shard !== at.shard) left.push(at.shard);
    at = isWhole ? stretch.next : { shard: at.shard, key: last!.key };
  }
  return { copies, next: at, left };
}

async function scrubOne(tick: Tick, object: ObjectRecord, budget: Budget): Promise<readonly CopyVerdict[]> {
  if (tick.dryRun) {
    for (const _ of Object.keys(object.copies)) count(tick.tally, 'skipped', 'dry-run');
    return [];
  }
  const current = await relabel(tick, object);
  const verdicts = await scrubObject(tick, current ?? object, budget);
  for (const { backend, verdict, detail } of verdicts) {
    count(tick.tally, tallied(verdict), verdict);
    if (tallied(verdict) === 'failed')
      tick.deps.log.warn('Copy did not verify', { key: object.key, backend, verdict, detail });
  }
  return verdicts;
}

function tallied(verdict: string): Verdict {
  if (['good', 'backfilled', 'quarantined', 'renewed', 'overwritten', 'unchanged'].includes(verdict))
    return 'succeeded';
  if (verdict.startsWith('over-')) return 'deferred';
  return verdict === 'parked' || verdict === 'lost' ? 'skipped' : 'failed';
}

/** What decides every label: names and prefixes, not factors. */
function policiesOf(tick: Tick): string {
  return JSON.stringify(Object.entries(tick.config.policies).map(([name, { prefix }]) => [name, prefix ?? '']));
}

const relabelBatch = 200;

/** S4: puts objects under the labels of the policies now in force, as many as a batch holds. */
async function relabelStretch(tick: Tick, cycle: ScrubCycle): Promise<ScrubCycle> {
  if (tick.dryRun) return cycle;
  const { relabelAt, ...rest } = cycle;
  let at: Place | undefined = relabelAt ?? firstPlace(tick.shards);
  for (let seen = 0; at !== undefined && seen < relabelBatch && !tick.outOfTime(); ) {
    const stretch = await readStretch(tick.deps.store, tick.shards, at, relabelBatch - seen);
    await forEachConcurrently(
      stretch.objects,
      tick.tuning.concurrency,
      async (object) => void (await relabel(tick, object)),
    );
    seen += stretch.objects.length;
    at = stretch.next;
  }
  return at === undefined ? { ...rest, labels: policiesOf(tick) } : { ...rest, relabelAt: at };
}
