import { defined } from '../../base/defined.ts';
import { coversAll } from '../../base/key-range.ts';
import { createGrowingPool } from '../../base/pool.ts';
import { count } from '../../base/tally.ts';
import { listingRequest } from '../../fleet/usage-limits.ts';
import {
  createPassRows,
  isFree,
  type ListingPosition,
  mostRanges,
  type PassHeader,
  type PassId,
  type PassRange,
  type PassRows,
  passHeader,
  passName,
  reachedBy,
} from '../../store/pass-rows.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refreshIfOld } from '../../tick/refresh.ts';
import type { FleetAsRead, Tick, TickRequest, TickTime } from '../../tick/tick.ts';
import type { Budget } from '../../transfer/budget.ts';
import { type BeginPassTick, currentPass, isOrdered, leaseSlackMs, pageSizeOf, pagesBeforeCut } from './begin-pass.ts';
import { createJoinedFeed, type JoinedFeed } from './joined-feed.ts';
import { createListingFeed, type ListingDeps, type ListingStop } from './listing-feed.ts';
import { type RangeDeps, type RangeEnd, workRange } from './range-turn.ts';
import { leaveRange, type ShareRangeTick, type Sharing, shareRange } from './share-range.ts';

/** What this file asks of a tick. */
export type PassTick = BeginPassTick &
  ShareRangeTick &
  Pick<Tick, 'deps' | 'runId' | 'tuning' | 'tally' | 'figures' | 'backend' | 'budget'> &
  FleetAsRead &
  TickRequest &
  TickTime &
  HealthTick &
  RefreshTick;

/**
 * Ranges of one backend, or join of backends, that are worked on at once. An import asks nothing of a backend but its listing:
 * four keep a process busy, and as little is listed ahead of what is recorded.
 */
const lanesPerPass = 16;
const lanesPerImport = 4;
/** What turns out large is cut after as many pages, where lanes are free. */
const pagesOfLargeRange = 16;

/** What a pass does with what it lists; how it lists is the same for all. */
export interface PassWork extends Pick<RangeDeps, 'compare' | 'compareKey' | 'compareRecords' | 'openKeys'> {
  readonly id: PassId;
  /** Keys listed so far in the pass, by anybody. */
  readonly progress: { listed: number };
}

/** How a pass stands at the end of a tick: `complete` · `running` · `parked`: none of its backends can be asked now. */
export type PassEnd = 'complete' | 'running' | 'parked';

/**
 * Carries one pass on: begins it when none is running, works on its ranges side by side, and ends it once they cover every key
 * without a gap. What one range meets keeps no other from going on.
 */
export async function workPass(tick: PassTick, work: PassWork): Promise<PassEnd> {
  const name = passName(work.id);
  const rows = createPassRows(tick.deps.store, tick.deps.ids, name);
  const usable = await usableBackends(tick, work.id);
  if (usable.length === 0) return 'parked';
  const pass = await currentPass(tick, work.id, rows, passHeader(tick.view, name), usable);
  if (pass === null) return 'running';
  const { header, ranges } = pass;
  work.progress.listed = ranges.reduce((sum, range) => sum + range.listed, 0);
  const ends = await workRanges(tick, work, rows, header, ranges, usable);
  const disordered = ends.some((end) => end.outcome === 'stopped' && end.stop.outcome === 'disordered');
  if (disordered) return distrustOrder(tick, rows, header);
  if (tick.dryRun) return ends.every((end) => end.outcome === 'done') ? 'complete' : 'running';
  return completeIfDone(tick, work, rows, header);
}

/** A backend that cannot be asked now costs the others nothing. */
async function usableBackends(tick: PassTick, { backends }: PassId): Promise<string[]> {
  const usable: string[] = [];
  for (const name of backends) {
    if (tick.standing(name).config === undefined) continue;
    if (tick.standing(name).isReachable && (await isUsable(tick, name))) usable.push(name);
    else count(tick.tally, 'skipped', 'parked');
  }
  return usable;
}

/** Why a backend cannot be asked: what its range is held up by. */
function whyUnusable(tick: PassTick, name: string): string {
  const { config, isReachable } = tick.standing(name);
  if (config === undefined) return 'not-in-fleet';
  return isReachable ? 'unusable' : 'unreachable';
}

/** Works on ranges side by side until none is left to take. */
async function workRanges(
  tick: PassTick,
  work: PassWork,
  rows: PassRows,
  header: PassHeader,
  ranges: readonly PassRange[],
  usable: readonly string[],
): Promise<RangeEnd[]> {
  const ends: RangeEnd[] = [];
  const stops = createStopNotes(tick);
  const lanes = Math.max(1, Math.floor((work.id.kind === 'import' ? lanesPerImport : lanesPerPass) / tick.of));
  const pool = createGrowingPool<PassRange>(lanes, async (range) => {
    const end = await workOne(tick, work, rows, header, range, usable, { wants, give, noteStop: stops.note });
    if (end.outcome === 'stopped') stops.note(end.stop);
    ends.push(end);
  });
  const beganUncut = ranges.length === 1;
  let total = ranges.length;
  const give = (range: PassRange) => {
    total += 1;
    pool.add([range]);
  };
  const wants = ({ listedBefore = 0 }: PassRange, pages: number) => {
    const isFew = total < (beganUncut ? lanes : tick.of);
    // What the pass before went through as one range is cut only where it has grown: each cut is two writes more.
    const large = Math.max(pagesOfLargeRange, 2 * Math.ceil(listedBefore / pageSizeOf(tick, work.id)));
    return pool.free > 0 && total < mostRanges && pages >= (isFew ? pagesBeforeCut : large);
  };
  pool.add(ranges.filter((range) => isMine(tick, range) || isFree(range, tick.now())));
  await pool.ended();
  return ends;
}

function isMine(tick: PassTick, { holder, position }: PassRange): boolean {
  return holder === tick.runId && position.phase !== 'done';
}

async function workOne(
  tick: PassTick,
  work: PassWork,
  rows: PassRows,
  header: PassHeader,
  range: PassRange,
  usable: readonly string[],
  sharing: Sharing,
): Promise<RangeEnd> {
  if (!range.backends.some((name) => usable.includes(name))) return release(tick, rows, range);
  const taken = await take(tick, rows, range);
  const held = taken === null ? null : await withoutUnusable(tick, rows, taken, usable, sharing);
  if (held === null) return { outcome: 'lost' };
  return workRange(rangeDeps(tick, work, rows, header, await tick.budget(), held, sharing), held);
}

/** The range, left by those that cannot be asked now. Behind the listing each key finds out by itself which those are. */
async function withoutUnusable(
  tick: PassTick,
  rows: PassRows,
  held: PassRange,
  usable: readonly string[],
  sharing: Sharing,
): Promise<PassRange | null> {
  const { position } = held;
  if (position.phase !== 'listing') return held;
  let range: PassRange | null = held;
  for (const name of held.backends.filter((one) => !usable.includes(one)))
    range &&= await leaveRange(tick, rows, range, reachedBy(position), name, whyUnusable(tick, name), sharing);
  return range;
}

/** No backend of the range can be asked: what this tick held from the beginning is given back. */
async function release(tick: PassTick, rows: PassRows, range: PassRange): Promise<RangeEnd> {
  const { holder: _holder, heldUntil: _until, ...rest } = range;
  const problem = whyUnusable(tick, range.backends[0]!);
  if ((range.holder === tick.runId || range.problem !== problem) && !tick.dryRun) await rows.save({ ...rest, problem });
  return { outcome: 'paused' };
}

async function take(tick: PassTick, rows: PassRows, range: PassRange): Promise<PassRange | null> {
  if (range.holder === tick.runId || tick.dryRun) return range;
  return rows.save({ ...range, holder: tick.runId, heldUntil: tick.deadline.at + leaseSlackMs });
}

function rangeDeps(
  tick: PassTick,
  work: PassWork,
  rows: PassRows,
  header: PassHeader,
  budget: Budget,
  first: PassRange,
  sharing: Sharing,
): RangeDeps {
  const isInOrder = first.backends.every((name) => isOrdered(tick, header, name));
  const canStartAnywhere = first.backends.every((name) => tick.view.capabilities(name).startsAfterKeys !== false);
  const canBeCut = isInOrder && canStartAnywhere && !tick.dryRun;
  let pages = 0;
  let firstKey: string | undefined;
  return {
    tick,
    rows: tick.dryRun ? notedFor(tick) : rows,
    isOrdered: isInOrder,
    mostPages: tick.rounds,
    compare(stretch, recordedKeys) {
      firstKey ??= stretch.listed[0]?.item.storageKey;
      return work.compare(stretch, recordedKeys);
    },
    compareKey: work.compareKey,
    ...defined({ compareRecords: work.compareRecords, openKeys: work.openKeys }),
    openFeed: (range, position) => openFeed(tick, budget, work.id, range, position, isInOrder),
    async share(range, feed) {
      pages += 1;
      if (!canBeCut || firstKey === undefined || !sharing.wants(range, pages)) return range;
      pages = 0;
      return shareRange(tick, work.id, rows, range, feed, firstKey, sharing);
    },
    leave(range, reached, stop) {
      sharing.noteStop(stop);
      return leaveRange(tick, rows, range, reached, stop.backend, stop.reason, sharing);
    },
    refresh: () => refreshIfOld(tick),
    listed(keys, bytes) {
      work.progress.listed += keys;
      tick.reconcile?.onListed?.(keys, bytes);
    },
  };
}

/** A dry run keeps nothing: what a range came to is among the figures of its tick. */
function notedFor({ figures }: PassTick): Pick<PassRows, 'save'> {
  const add = (figure: string, amount: number) => {
    figures[figure] = (figures[figure] ?? 0) + amount;
  };
  return {
    async save(range) {
      if (range.holder !== undefined) return range;
      add('listed', range.listed);
      for (const [what, times] of Object.entries(range.counts)) add(`found/${what}`, times);
      return range;
    },
  };
}

function openFeed(
  tick: PassTick,
  budget: Budget,
  id: PassId,
  range: PassRange,
  position: ListingPosition,
  isInOrder: boolean,
): JoinedFeed {
  const { prefix } = id;
  const pageSize = pageSizeOf(tick, id);
  // Where a turn compares but a few pages, or its time is nearly over, the page behind is for the next.
  const readsAhead = (lastMs: number) => tick.rounds === 0 && !tick.outOfTime(lastMs);
  const feeds = range.backends.map((name) => {
    const deps: ListingDeps = {
      backend: name,
      async list(from, limit) {
        const backend = await tick.backend(name);
        return backend.list({ limit, ...defined({ prefix, from }) }, tick.signal);
      },
      refusal: () => budget.refuses(name, listingRequest),
      isUnreachable: () => !tick.standing(name).isReachable,
      now: () => tick.now(),
    };
    return {
      backend: name,
      feed: createListingFeed(deps, { position, upTo: range.upTo, isOrdered: isInOrder, pageSize, readsAhead }),
    };
  });
  return createJoinedFeed(feeds);
}

/** Says once per tick what keeps a backend's listing, with its name: sixteen ranges may meet the same. */
function createStopNotes(tick: PassTick) {
  const noted = new Set<string>();
  return {
    note(stop: ListingStop) {
      const reason = stop.outcome === 'disordered' ? 'list-disordered' : stop.reason;
      const what = `${stop.backend} ${reason}`;
      if (noted.has(what)) return;
      noted.add(what);
      // Others found meanwhile that it does not answer: its breaker says so already.
      if (stop.outcome === 'unreachable' && !tick.standing(stop.backend).isReachable)
        return count(tick.tally, 'skipped', 'parked');
      count(tick.tally, reason.startsWith('over-') ? 'deferred' : 'failed', reason);
      tick.deps.log.error('A backend is not reconciled to its end now: the pass takes it up again', {
        alarm: true,
        backend: stop.backend,
        reason,
        ...('message' in stop && { message: stop.message }),
      });
    },
  };
}

/** Keys came out of order: until the next fleet file nothing is concluded from it, and the pass begins anew as one range. */
async function distrustOrder(tick: PassTick, rows: PassRows, header: PassHeader): Promise<PassEnd> {
  if (tick.dryRun) return 'running';
  await rows.writeHeader({ ...header, isRunning: false, startedAt: 0, disprovedIn: tick.view.config!.version });
  return 'running';
}

async function completeIfDone(tick: PassTick, work: PassWork, rows: PassRows, header: PassHeader): Promise<PassEnd> {
  const ranges = (await rows.ranges()).filter(({ pass }) => pass === header.number);
  if (ranges.some(({ position }) => position.phase !== 'done')) return 'running';
  const hasGap = work.id.backends.some((name) => !coversAll(ranges.filter(({ backends }) => backends.includes(name))));
  if (hasGap) {
    tick.deps.log.error('The ranges of a pass do not cover every key: it begins anew', {
      alarm: true,
      pass: passName(work.id),
    });
    await rows.writeHeader({ ...header, isRunning: false, startedAt: 0 });
    return 'running';
  }
  const unrecorded = ranges.reduce((sum, { counts }) => sum + (counts['no-record'] ?? 0), 0);
  const isWritten = await rows.writeHeader({ ...header, isRunning: false, completedAt: tick.now(), unrecorded });
  return isWritten ? 'complete' : 'running';
}
