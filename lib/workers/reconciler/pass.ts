import { compareUtf8 } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { coversAll, type KeyRange } from '../../base/key-range.ts';
import { createGrowingPool } from '../../base/pool.ts';
import { count } from '../../base/tally.ts';
import { BackendError } from '../../fleet/backend.ts';
import {
  createPassRows,
  isFree,
  type ListingPosition,
  mostRanges,
  newRange,
  type PassHeader,
  type PassId,
  type PassRange,
  type PassRows,
  passHeader,
  passName,
} from '../../store/pass-rows.ts';
import { isRecoveryPending, recoveryOf } from '../../store/recovery.ts';
import type { Budget } from '../../tick/budget.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refreshIfOld } from '../../tick/refresh.ts';
import type { FleetAsRead, Tick, TickRequest, TickTime } from '../../tick/tick.ts';
import { findCut, type Uncut } from './find-cut.ts';
import { createJoinedFeed, type JoinedFeed } from './joined-feed.ts';
import { createListingFeed, type ListingDeps, type ListingStop } from './listing-feed.ts';
import { type RangeDeps, type RangeEnd, workRange } from './range-turn.ts';

/** What this file asks of a tick. */
export type PassTick = Pick<Tick, 'deps' | 'runId' | 'tuning' | 'tally' | 'figures' | 'backend' | 'budget'> &
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
/** A pass that begins as one range is cut after as many pages, until all lanes have work; else only what turns out large is. */
const pagesBeforeCut = 2;
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
  const pass = await currentPass(tick, work, rows, passHeader(tick.view, name), usable);
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

interface CurrentPass {
  readonly header: PassHeader;
  readonly ranges: readonly PassRange[];
}

/** The pass that is running, or a new one; null when another tick begins one in this moment. */
async function currentPass(
  tick: PassTick,
  work: PassWork,
  rows: PassRows,
  before: PassHeader,
  usable: readonly string[],
): Promise<CurrentPass | null> {
  const former = await rows.ranges();
  if (before.isRunning && !isOutdated(tick, work.id, before) && !tick.dryRun) {
    const ranges = former.filter(({ pass }) => pass === before.number);
    // None are left when another tick ended that pass, and began the next, since the fleet was read.
    return ranges.length === 0 ? null : { header: before, ranges };
  }
  const now = tick.now();
  const { number, firstStartedAt = now } = before;
  const header: PassHeader = { ...before, number: number + 1, startedAt: now, firstStartedAt, isRunning: true };
  const planned = plannedRanges(tick, work, header, former, usable);
  if (tick.dryRun) return { header, ranges: planned.map((range) => ({ ...range, version: 1 })) };
  const begun = await rows.begin(header, planned, former);
  return begun === null ? null : { header: { ...header, version: header.version + 1 }, ranges: begun };
}

/** A recovery that began before the tables were lost or restored is at a place in keys that these tables have not seen since. */
function isOutdated(tick: PassTick, { kind }: PassId, { startedAt }: PassHeader): boolean {
  return kind === 'recover' && isRecoveryPending(tick.view) && startedAt < recoveryOf(tick.view)!.since;
}

/**
 * The ranges of the pass before, begun anew, where they still fit; else one, which is cut where it turns out large. Backends are
 * listed side by side where their order is proven and they can be asked now.
 */
function plannedRanges(
  tick: PassTick,
  { id }: PassWork,
  header: PassHeader,
  former: readonly PassRange[],
  usable: readonly string[],
): PassRange[] {
  const joined = id.backends.filter((name) => isOrdered(tick, header, name) && usable.includes(name));
  const alone = id.backends.filter((name) => !joined.includes(name));
  const known = new Map(former.map((range) => [range.id, range]));
  const planned: PassRange[] = [];
  const plan = (backends: readonly string[], ranges: readonly KeyRange[]) => {
    for (const range of ranges) {
      const rangeId = String(planned.length).padStart(4, '0');
      const fresh = newRange(rangeId, header.number, backends, range);
      const isMine = planned.length % tick.of === tick.part;
      const lease = isMine ? { holder: tick.runId, heldUntil: tick.deadline.at + leaseSlackMs } : {};
      planned.push({ ...fresh, ...lease, version: known.get(rangeId)?.version ?? 0 });
    }
  };
  if (joined.length > 0)
    plan(
      joined,
      rangesOfBefore(
        former.filter(({ backends }) => backends.join() === joined.join()),
        pagesBeforeCut * pageSizeOf(tick, id),
      ),
    );
  for (const name of alone) plan([name], [{}]);
  return planned;
}

const leaseSlackMs = 5_000;

/** Whether a backend lists in an order that says what came before a key. */
function isOrdered(tick: PassTick, header: PassHeader, name: string): boolean {
  const isDisproved = header.disprovedIn === tick.view.config!.version;
  return tick.view.capabilities(name).listsInByteOrder === true && !isDisproved;
}

/** The ranges of a pass that was complete; neighbours that held little become one. */
function rangesOfBefore(former: readonly PassRange[], smallKeys: number): KeyRange[] {
  if (!coversAll(former)) return [{}];
  const sorted = former.toSorted((a, b) =>
    a.from === undefined ? -1 : b.from === undefined ? 1 : compareUtf8(a.from, b.from),
  );
  const merged: { range: KeyRange; listed: number }[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && last.listed + range.listed <= smallKeys) {
      const { upTo: _upTo, ...rest } = last.range;
      last.range = range.upTo === undefined ? rest : { ...rest, upTo: range.upTo };
      last.listed += range.listed;
    } else {
      merged.push({ range, listed: range.listed });
    }
  }
  return merged.map(({ range }) => range);
}

async function firstKeyAfter(tick: PassTick, name: string, prefix: string, key: string): Promise<string | null> {
  const backend = await tick.backend(name);
  const page = await backend.list({ prefix, from: { afterKey: key }, limit: 1 }, tick.signal);
  return page.items[0]?.storageKey ?? null;
}

/** Where every key may be read to its end, less is begun at a time: a page that a tick cannot finish is compared again. */
const recoveryPageSize = 100;

function pageSizeOf(tick: PassTick, { kind }: PassId): number {
  return Math.min(kind === 'recover' ? recoveryPageSize : 1000, tick.tuning.batchSize);
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
  const wants = (pages: number) => {
    const enough = beganUncut && total < lanes ? pagesBeforeCut : pagesOfLargeRange;
    return pool.free > 0 && total < mostRanges && pages >= enough;
  };
  pool.add(ranges.filter((range) => isMine(tick, range) || isFree(range, tick.now())));
  await pool.ended();
  return ends;
}

function isMine(tick: PassTick, { holder, position }: PassRange): boolean {
  return holder === tick.runId && position.phase !== 'done';
}

/** Where a range may give part of itself away. */
interface Sharing {
  /** Whether a range of which as many pages were compared since it was cut last should be cut. */
  wants(pages: number): boolean;
  give(range: PassRange): void;
  /** Told of what keeps a backend that its range goes on without. */
  noteStop(stop: ListingStop): void;
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
    range &&= await leaveRange(tick, rows, range, position.lastKey ?? position.skipTo, name, undefined, sharing);
  return range;
}

/**
 * Parts a range: what was compared of it stays one of all its backends, which goes on with what is pending there; what is left of it
 * becomes one of the backend that cannot go on, and one of the others. All in one transaction: for each backend no key is left out.
 */
async function leaveRange(
  tick: PassTick,
  rows: PassRows,
  range: PassRange,
  reached: string | undefined,
  name: string,
  problem: string | undefined,
  sharing: Pick<Sharing, 'give'>,
): Promise<PassRange | null> {
  const others = range.backends.filter((one) => one !== name);
  if (tick.dryRun) return { ...range, backends: others };
  const { holder, heldUntil, upTo } = range;
  const lease = { holder: holder!, heldUntil: heldUntil! };
  const from = reached ?? range.from;
  const left: KeyRange = defined({ from, upTo });
  const id = `${range.id}.${range.version}`;
  const own: PassRange = { ...newRange(`${id}.left`, range.pass, [name], left), ...defined({ problem }) };
  if (reached === undefined) {
    const both = await rows.split({ ...range, backends: others }, [own]);
    return both === null ? null : both[0];
  }
  const rest = { ...newRange(id, range.pass, others, left), ...lease };
  const all = await rows.split({ ...range, upTo: reached, position: { phase: 'pending' } }, [rest, own]);
  if (all === null) return null;
  sharing.give(all[1]!);
  return all[0];
}

/** No backend of the range can be asked: what this tick held from the beginning is given back. */
async function release(tick: PassTick, rows: PassRows, range: PassRange): Promise<RangeEnd> {
  const { holder: _holder, heldUntil: _until, ...rest } = range;
  if (range.holder === tick.runId && !tick.dryRun) await rows.save(rest);
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
      await refreshIfOld(tick);
      if (!canBeCut || firstKey === undefined || !sharing.wants(pages)) return range;
      pages = 0;
      return shareRange(tick, work.id, rows, range, feed, firstKey, sharing);
    },
    leave(range, reached, stop) {
      sharing.noteStop(stop);
      return leaveRange(tick, rows, range, reached, stop.backend, stop.reason, sharing);
    },
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

/** Cuts off about half of what is left of a range: one transaction on its version, so that no key is in neither. */
async function shareRange(
  tick: PassTick,
  { prefix = '' }: PassId,
  rows: PassRows,
  range: PassRange,
  feed: JoinedFeed,
  first: string,
  sharing: Sharing,
): Promise<PassRange | null> {
  const reached = feed.reached();
  if (reached === undefined) return range;
  const cut = await cutBehind(tick, prefix, range, { first, reached, upTo: range.upTo });
  const now = feed.reached();
  if (cut === null || (now !== undefined && compareUtf8(cut, now) <= 0)) return range;
  feed.endAt(cut);
  const rest = { from: cut, ...defined({ upTo: range.upTo }) };
  const id = `${range.id}.${range.version}`;
  const { holder, heldUntil } = range;
  const child = { ...newRange(id, range.pass, range.backends, rest), holder: holder!, heldUntil: heldUntil! };
  const both = await rows.split({ ...range, upTo: cut }, [child]);
  if (both === null) return null;
  sharing.give(both[1]!);
  return both[0];
}

async function cutBehind(
  tick: PassTick,
  prefix: string,
  { backends }: PassRange,
  uncut: Uncut,
): Promise<string | null> {
  try {
    return await findCut((key) => firstKeyAfter(tick, backends[0]!, prefix, key), uncut);
  } catch (error) {
    // The listing itself meets whatever it is, and says so.
    if (error instanceof BackendError) return null;
    throw error;
  }
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
      refusal: () => budget.refuses(name, { requests: 1 }),
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
