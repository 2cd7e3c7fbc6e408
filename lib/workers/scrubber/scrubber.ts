import { forEachConcurrently } from '../../base/pool.ts';
import { count, type Verdict } from '../../base/tally.ts';
import { policyOf } from '../../config/fleet-file.ts';
import { scheduleMs } from '../../config/parameters.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { Budget } from '../../tick/budget.ts';
import { scrubObject } from './scrub-object.ts';
import type { Round, Tick, Worker } from '../../tick/tick.ts';
import { firstPlace, type Place, readStretch } from '../../tick/walk.ts';

/**
 * The scrubber re-reads every recorded copy once per lap, in key order within each slice (S1–S4).
 *
 * A copy whose bytes differ from the record, or are missing, is removed only through `dismiss`: while another copy verifies.
 * What cannot be read is counted and left. A verified copy costs no write. When policies have changed, every object is first
 * put under the label of the policy that applies to its key now.
 */
export const scrubber: Worker = { name: 'scrubber', hasWork, begin };

const dayMs = 24 * 3_600_000;

/** Where the lap is; kept as the lease's cursor. */
interface Lap {
  /** Next place to read; absent between laps. */
  readonly at?: Place;
  /** When this lap, or the last one, began. */
  readonly startedAt: number;
  /** When the lap last came by the beginning of each slice, and the time before that for the slice it is in. */
  readonly sliceAt: Readonly<Record<string, number>>;
  /** The policies whose labels all objects carry, and how far a relabelling has come. */
  readonly labels?: string;
  readonly relabelAt?: Place;
}

async function hasWork(tick: Tick): Promise<boolean> {
  return tick.view.placements.length > 0;
}

async function begin(tick: Tick): Promise<Round> {
  const budget = await tick.budget();
  let lap = readLap(tick);
  let share = shareOf(tick);
  return async () => {
    if (lap.labels !== policiesOf(tick)) lap = await relabelStretch(tick, lap);
    if (isBetweenLaps(tick, lap)) share = 0;
    else if (share > 0) {
      const begun = lap.at === undefined ? { ...lap, at: firstPlace(tick.slices), startedAt: tick.now() } : lap;
      const { copies, next, left } = await scrubStretch(
        tick,
        begun.at!,
        Math.min(share, tick.tuning.batchSize),
        budget,
      );
      // A lap that has ended is not begun again in the same tick.
      share = next === undefined ? 0 : share - copies;
      lap = moved(tick, begun, next, left);
    }
    if (!tick.dryRun) tick.cursor = JSON.stringify(lap);
    const isRelabelling = lap.relabelAt !== undefined && !tick.dryRun && !tick.outOfTime();
    return share <= 0 && !isRelabelling ? done(tick, lap) : 'more';
  };
}

/** A lap that took less than its time waits for the next one to be due. */
function isBetweenLaps(tick: Tick, lap: Lap): boolean {
  return lap.at === undefined && lap.startedAt > 0 && tick.now() < lap.startedAt + lapMs(tick);
}

function lapMs(tick: Tick): number {
  return tick.params.scrubberLapDays * dayMs;
}

/** S1: copies to read in this tick: its share of the lap, at least a batch. */
function shareOf(tick: Tick): number {
  const copies = tick.view.placements.reduce((sum, p) => sum + p.count.objects * p.copies.length, 0);
  const ticks = lapMs(tick) / (scheduleMs(tick.tuning.schedule) ?? 3_600_000);
  return Math.max(tick.tuning.batchSize, Math.ceil(copies / tick.of / ticks));
}

/** An unreadable cursor begins a lap: reading a copy once more is the safe mistake. */
function readLap(tick: Tick): Lap {
  const fresh: Lap = { startedAt: 0, sliceAt: {} };
  if (tick.cursor === undefined) return fresh;
  try {
    return { ...fresh, ...(JSON.parse(tick.cursor) as Partial<Lap>) };
  } catch {
    tick.deps.log.warn('The scrubber’s cursor could not be read: a new lap begins', { cursor: tick.cursor });
    return fresh;
  }
}

/** What stands behind a slice's place was read when the lap before came by; once through, since this lap did. */
function moved(tick: Tick, { at: _at, ...rest }: Lap, next: Place | undefined, left: readonly string[]): Lap {
  const sliceAt = { ...rest.sliceAt, ...Object.fromEntries(left.map((slice) => [slice, tick.now()])) };
  return next === undefined ? { ...rest, sliceAt } : { ...rest, sliceAt, at: next };
}

/** S4: reports how far the lap is and how old the oldest verification may be. */
function done(tick: Tick, lap: Lap): 'done' {
  const place = lap.at === undefined ? tick.slices.length : tick.slices.indexOf(lap.at.slice);
  tick.figures.lapProgress = place / tick.slices.length;
  const verifiedAt = tick.slices.map((slice) => lap.sliceAt[slice] ?? lap.startedAt);
  tick.figures.oldestUnverifiedSeconds = Math.round((tick.now() - Math.min(...verifiedAt)) / 1000);
  return 'done';
}

interface Scrubbed {
  /** Copies that were looked at. */
  readonly copies: number;
  /** Where the lap goes on; undefined at its end. */
  readonly next: Place | undefined;
  /** Slices that were read to their end. */
  readonly left: readonly string[];
}

/** Reads objects in the order of the walk until they have a batch of copies, over as many slices as that takes. */
async function scrubStretch(tick: Tick, from: Place, limit: number, budget: Budget): Promise<Scrubbed> {
  const left: string[] = [];
  let copies = 0;
  let at: Place | undefined = from;
  while (at !== undefined && copies < limit && !tick.outOfTime()) {
    const stretch = await readStretch(tick.deps.store, tick.slices, at, limit - copies);
    const taken: ObjectRecord[] = [];
    for (const object of stretch.objects) {
      if (copies >= limit) break;
      taken.push(object);
      copies += Object.keys(object.copies).length;
    }
    await forEachConcurrently(taken, tick.tuning.concurrency, (object) => scrubOne(tick, object, budget));
    const last = taken.at(-1);
    const isWhole = taken.length === stretch.objects.length;
    if (isWhole && stretch.next?.slice !== at.slice) left.push(at.slice);
    at = isWhole ? stretch.next : { slice: at.slice, key: last!.key };
  }
  return { copies, next: at, left };
}

async function scrubOne(tick: Tick, object: ObjectRecord, budget: Budget): Promise<void> {
  if (tick.dryRun) {
    for (const _ of Object.keys(object.copies)) count(tick.tally, 'skipped', 'dry-run');
    return;
  }
  const current = await relabel(tick, object);
  for (const { backend, verdict, detail } of await scrubObject(tick, current ?? object, budget)) {
    count(tick.tally, tallied(verdict), verdict);
    if (tallied(verdict) === 'failed')
      tick.deps.log.warn('Copy did not verify', { key: object.key, backend, verdict, detail });
  }
}

function tallied(verdict: string): Verdict {
  if (['good', 'backfilled', 'dismissed', 'renewed', 'overwritten', 'unchanged'].includes(verdict)) return 'succeeded';
  if (verdict.startsWith('over-')) return 'deferred';
  return verdict === 'parked' || verdict === 'lost' ? 'skipped' : 'failed';
}

/** What decides every label: names and prefixes, not factors. */
function policiesOf(tick: Tick): string {
  return JSON.stringify(Object.entries(tick.config.policies).map(([name, { prefix }]) => [name, prefix ?? '']));
}

const relabelBatch = 200;

/** S4: puts objects under the labels of the policies now in force, as many as a batch holds. */
async function relabelStretch(tick: Tick, lap: Lap): Promise<Lap> {
  if (tick.dryRun) return lap;
  const { relabelAt, ...rest } = lap;
  let at: Place | undefined = relabelAt ?? firstPlace(tick.slices);
  for (let seen = 0; at !== undefined && seen < relabelBatch && !tick.outOfTime(); ) {
    const stretch = await readStretch(tick.deps.store, tick.slices, at, relabelBatch - seen);
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

/** The object under its right label; null when it changed meanwhile (whoever changed it computed the label anew). */
export async function relabel(tick: Tick, object: ObjectRecord): Promise<ObjectRecord | null> {
  const policy = policyOf(tick.config, object.key).name;
  if (policy === object.policy) return object;
  const [outcome] = await tick.commit([{ key: object.key, change: { before: object, after: { ...object, policy } } }]);
  if (outcome?.outcome !== 'committed' || outcome.entry?.kind !== 'object') return null;
  tick.audit('Object relabelled', { key: object.key, from: object.policy, to: policy });
  return outcome.entry;
}
