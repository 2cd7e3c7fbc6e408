import { compareUtf8 } from '../../base/bytes.ts';
import { count, note } from '../../base/tally.ts';
import {
  type ListingPosition,
  mostNamedKeys,
  mostPendingKeys,
  type NamedKey,
  type PassRange,
  type PassRows,
  type PendingKey,
  reachedBy,
} from '../../store/pass-rows.ts';
import type { Tick } from '../../tick/tick.ts';
import type { Place } from '../../tick/walk.ts';
import type { KeyResult, Stretch } from './compare-page.ts';
import { isJoinedPage, type JoinedFeed, type JoinedPage, type ListedOn } from './joined-feed.ts';
import { type KeyFeed, prefixesBefore } from './key-feed.ts';
import type { ListingStop } from './listing-feed.ts';

/** What this file asks of a tick. */
export type RangeTurnTick = Pick<Tick, 'deps' | 'tally' | 'now' | 'outOfTime' | 'reconcile'>;

/** What a turn at a range needs. */
export interface RangeDeps {
  readonly tick: RangeTurnTick;
  readonly rows: Pick<PassRows, 'save'>;
  /** Whether the backends of the range list in an order that says what came before a key. */
  readonly isOrdered: boolean;
  /** Pages that one turn may compare; 0 = no limit. */
  readonly mostPages: number;
  openFeed(range: PassRange, position: ListingPosition): JoinedFeed;
  /** The keys of all objects behind a storage key; absent where the pass asks for what is listed alone. */
  openKeys?(after: string | undefined): KeyFeed;
  /** Compares a stretch of the listing with what is recorded of these keys. */
  compare(stretch: Stretch, recordedKeys: readonly string[]): Promise<KeyResult[]>;
  /** Compares one key by itself. */
  compareKey(backend: string, storageKey: string): Promise<KeyResult[]>;
  /** Where keys come in no order: the records behind a place, each asked for by name. */
  compareRecords?(backend: string, place: Place): Promise<RecordsCompared>;
  /** Gives away the rest of a range where others have nothing to do. Null when another tick has taken the range over. */
  share(range: PassRange, feed: JoinedFeed): Promise<PassRange | null>;
  /**
   * One backend of a range that several list side by side cannot go on: what is left of it becomes a range of its own, for a later
   * tick, and the others go on without it. Null when another tick has taken the range over.
   */
  leave(range: PassRange, reached: string | undefined, stop: StopOfOne): Promise<PassRange | null>;
  /** Told of what was listed. */
  listed(keys: number, bytes: number): void;
  /** Reads the fleet again where that was long ago: what is queued, and what drains, is as it was then. */
  refresh(): Promise<void>;
}

/** A turn saves how far it has come also between pages. */
interface RangeTurn extends RangeDeps {
  /** The range as it is written now, or as it was given where that was done a moment ago; null when another tick has it. */
  keep(range: PassRange): Promise<PassRange | null>;
}

/** What was found of some records, and where the next ones begin; absent behind the last. */
export interface RecordsCompared {
  readonly results: readonly KeyResult[];
  readonly next: Place | undefined;
}

/**
 * How a turn at a range ended. `paused`: time was short, or bytes are read on later · `stopped`: its backend, or a limit,
 * keeps it where it is · `lost`: another tick has taken it over.
 */
export type RangeEnd =
  | { readonly outcome: 'done' | 'paused' | 'lost' }
  | { readonly outcome: 'stopped'; readonly stop: ListingStop };

/** What keeps one backend, and says nothing of its order. */
export type StopOfOne = Exclude<ListingStop, { readonly outcome: 'disordered' }>;

/** How often a page may be old before it is asked for again, and a range be saved between pages. */
const staleMs = 60_000;
const saveEveryMs = 120_000;
/** A key that is refused as often is settled by being reported. */
const mostRefusals = 3;
/** A range that had to begin anew as often waits for the next tick. */
const mostRestarts = 3;

/**
 * Goes through a range, page after page, from where it was left: a page is passed once everything on it is settled, or noted
 * to be tried again at the end. The range is held by this tick. What keeps it from going on is returned, never taken for its
 * end.
 */
export async function workRange(deps: RangeDeps, held: PassRange): Promise<RangeEnd> {
  const turn = { ...deps, keep: keeperOf(deps) };
  let range = held;
  let end: RangeEnd = { outcome: 'paused' };
  try {
    for (;;) {
      const step = await nextPhase(turn, range);
      range = step.range;
      if (step.end !== undefined) {
        end = step.end;
        break;
      }
    }
  } finally {
    if (end.outcome !== 'lost') {
      const saved = await deps.rows.save(released(range, end));
      if (saved === null) end = { outcome: 'lost' };
    }
  }
  return end;
}

function keeperOf({ tick, rows }: RangeDeps): RangeTurn['keep'] {
  let savedAt = tick.now();
  return async (range) => {
    if (tick.now() - savedAt <= saveEveryMs) return range;
    savedAt = tick.now();
    return rows.save(range);
  };
}

function released(
  { holder: _holder, heldUntil: _until, problem: _problem, ...range }: PassRange,
  end: RangeEnd,
): PassRange {
  return end.outcome === 'stopped' ? { ...range, problem: problemOf(end.stop) } : range;
}

function problemOf(stop: ListingStop): string {
  return stop.outcome === 'disordered' ? 'disordered' : stop.reason;
}

/** A range as far as it has come, and why the turn ends there, if it does. */
interface Step {
  readonly range: PassRange;
  readonly end?: RangeEnd;
  /** What was listed is too old: it is listed anew from where the range stands. */
  readonly isTooLate?: boolean;
}

async function nextPhase(deps: RangeTurn, range: PassRange): Promise<Step> {
  switch (range.position.phase) {
    case 'listing':
      return listRange(deps, range, range.position);
    case 'records':
      return askForRecords(deps, range, range.position);
    case 'pending':
      return retryPending(deps, range);
    case 'done':
      return { range, end: { outcome: 'done' } };
  }
}

async function listRange(deps: RangeTurn, from: PassRange, position: ListingPosition): Promise<Step> {
  const { tick } = deps;
  const feed = deps.openFeed(from, position);
  const keys = deps.isOrdered ? deps.openKeys?.(reachedBy(position) ?? from.from) : undefined;
  let [range, at] = [from, position];
  try {
    for (let pages = 0; ; ) {
      if (tick.outOfTime() || (deps.mostPages > 0 && pages >= deps.mostPages))
        return { range, end: { outcome: 'paused' } };
      const wantedAt = tick.now();
      const page = await feed.next();
      if (!isJoinedPage(page)) return await stopped(deps, range, at, page);
      // It may have waited for others, or for the page before it: then it is asked for again.
      if (wantedAt - page.askedAt > staleMs) return { range };
      // What was compared before the listing began anew counts for nothing.
      if (page.listed.length > 0) pages += 1;
      const compared = await comparePage(deps, range, at, page, keys);
      if (compared.outcome === 'left') return compared.step;
      range = withUnreadable(tick, compared.range, page);
      if (page.outcome === 'end') return { range: { ...range, position: behindListing(deps) } };
      at = page.behind ?? at;
      const kept = await deps.keep({ ...range, position: at });
      const shared = kept === null || page.listed.length === 0 ? kept : await deps.share(kept, feed);
      if (shared === null) return { range, end: { outcome: 'lost' } };
      range = shared;
      await deps.refresh();
    }
  } finally {
    await feed.settled().finally(() => keys?.settled());
  }
}

/** `left`: not all of it could be compared now; the range is where it was, or behind what was compared. */
type PageCompared =
  | { readonly outcome: 'compared'; readonly range: PassRange }
  | { readonly outcome: 'left'; readonly step: Step };

/**
 * Compares a page with what is recorded up to its last key. Where much is recorded between few listed keys, it is compared part
 * after part: each is passed by itself, so that a page takes no more memory, or time, than a tick has.
 */
async function comparePage(
  deps: RangeTurn,
  from: PassRange,
  position: ListingPosition,
  page: JoinedPage,
  keys: KeyFeed | undefined,
): Promise<PageCompared> {
  const { tick } = deps;
  const end = page.outcome === 'end' ? from.upTo : page.lastKey;
  let [range, at, rest] = [from, position, page.listed];
  for (;;) {
    const after = reachedBy(at) ?? range.from;
    // A page may be empty although others follow, or hold only what was compared before.
    const isNews = page.outcome === 'end' || !deps.isOrdered || isBehind(end, after);
    const part = keys === undefined || !isNews ? { keys: [] } : await keys.next(end);
    const upTo = part.upTo ?? end;
    const isListed = ({ item }: ListedOn) => part.upTo === undefined || !isBehind(item.storageKey, part.upTo);
    const listed = rest.filter(isListed);
    const recordedKeys = keys === undefined ? [] : [...prefixesBefore(after), ...part.keys];
    const results = isNews ? await deps.compare({ after, upTo, listed, askedAt: page.askedAt }, recordedKeys) : [];
    const noted = noteResults(tick, range, results);
    if (noted.end?.outcome === 'stopped')
      return { outcome: 'left', step: await stopped(deps, range, at, noted.end.stop) };
    if (noted.end !== undefined || noted.isTooLate) return { outcome: 'left', step: noted };
    range = withListed(deps, noted.range, listed);
    if (part.upTo === undefined) return { outcome: 'compared', range };
    at = { ...at, skipTo: part.upTo };
    rest = rest.slice(listed.length);
    const kept = await deps.keep({ ...range, position: at });
    if (kept === null) return { outcome: 'left', step: { range, end: { outcome: 'lost' } } };
    range = kept;
    await deps.refresh();
    if (tick.outOfTime()) return { outcome: 'left', step: { range, end: { outcome: 'paused' } } };
    if (tick.now() - page.askedAt > staleMs) return { outcome: 'left', step: { range } };
  }
}

function isBehind(key: string | undefined, other: string | undefined): boolean {
  return key !== undefined && (other === undefined || compareUtf8(key, other) > 0);
}

function withListed(deps: RangeDeps, range: PassRange, listed: readonly ListedOn[]): PassRange {
  const bytes = listed.reduce((sum, { item }) => sum + item.sizeBytes, 0);
  deps.listed(listed.length, bytes);
  return { ...range, listed: range.listed + listed.length, bytes: range.bytes + bytes };
}

/** Of a text that is no key as much as tells a person which it is. */
const mostUnreadableLength = 300;

function withUnreadable(tick: RangeTurnTick, range: PassRange, { unreadable }: JoinedPage): PassRange {
  const what = 'unreadable-key';
  const named = unreadable.map(({ backend, text }) => ({ what, backend, key: text.slice(0, mostUnreadableLength) }));
  let { counts } = range;
  for (const _ of named) {
    count(tick.tally, 'skipped', what);
    counts = plusOne(counts, what);
  }
  return withNamed({ ...range, counts, listed: range.listed + named.length }, named);
}

function behindListing({ isOrdered, compareRecords }: RangeDeps): PassRange['position'] {
  return isOrdered || compareRecords === undefined ? { phase: 'pending' } : { phase: 'records', shard: firstShard };
}

const firstShard = '00';

/** A place that is lost is begun anew: behind the last key where order is proven, else from the beginning. */
async function stopped(deps: RangeDeps, range: PassRange, at: ListingPosition, stop: ListingStop): Promise<Step> {
  if (stop.outcome === 'out-of-time') return { range, end: { outcome: 'paused' } };
  if (stop.outcome !== 'place-lost') return stopOrLeave(deps, range, at, stop);
  note(deps.tick.tally, stop.reason);
  const begun: PassRange = { ...range, position: anew(deps, range, at), restarts: range.restarts + 1 };
  if (range.restarts < mostRestarts) return { range: begun };
  return stopOrLeave(deps, { ...begun, restarts: 0 }, at, stop);
}

/** Where several are listed side by side, what keeps one of them does not keep the others. */
async function stopOrLeave(deps: RangeDeps, range: PassRange, at: ListingPosition, stop: ListingStop): Promise<Step> {
  const isOneOfSeveral = range.backends.length > 1 && range.backends.includes(stop.backend);
  if (!isOneOfSeveral || stop.outcome === 'disordered') return { range, end: { outcome: 'stopped', stop } };
  const rest = await deps.leave(range, reachedBy(at), stop);
  return rest === null ? { range, end: { outcome: 'lost' } } : { range: rest };
}

function anew({ isOrdered }: RangeDeps, range: PassRange, at: ListingPosition): ListingPosition {
  const reached = reachedBy(at);
  const from = range.from === undefined ? {} : { from: { afterKey: range.from } };
  if (!isOrdered || reached === undefined) return { phase: 'listing', ...from };
  return { phase: 'listing', ...from, skipTo: reached };
}

async function askForRecords(deps: RangeDeps, range: PassRange, place: Place): Promise<Step> {
  if (deps.tick.outOfTime()) return { range, end: { outcome: 'paused' } };
  await deps.refresh();
  const { results, next } = await deps.compareRecords!(range.backends[0]!, place);
  const noted = noteResults(deps.tick, range, results);
  if (noted.end !== undefined) return noted;
  return {
    range: { ...noted.range, position: next === undefined ? { phase: 'pending' } : { phase: 'records', ...next } },
  };
}

/** Tries again what was refused, and reads on what takes long. What is refused for the last time is settled by being said. */
async function retryPending(deps: RangeDeps, from: PassRange): Promise<Step> {
  const { tick } = deps;
  let range = from;
  const unfinished: PendingKey[] = [];
  let waitsFor: ListingStop | undefined;
  for (let [first, ...rest] = range.pending; first !== undefined; [first, ...rest] = range.pending) {
    if (tick.outOfTime())
      return { range: { ...range, pending: [...range.pending, ...unfinished] }, end: { outcome: 'paused' } };
    await deps.refresh();
    const results = await deps.compareKey(first.backend, first.storageKey);
    waitsFor ??= limitOn(results);
    const noted = noteResults(tick, { ...range, pending: [] }, results, first);
    if (noted.isTooLate) return { range: { ...range, pending: [...range.pending, ...unfinished] } };
    if (noted.end?.outcome === 'stopped' && from.backends.length > 1) {
      // What keeps one of several backends keeps its own keys.
      waitsFor ??= noted.end.stop;
      unfinished.push(first);
      range = { ...range, pending: rest };
      continue;
    }
    if (noted.end !== undefined)
      return { range: { ...range, pending: [...range.pending, ...unfinished] }, end: noted.end };
    const again = noted.range.pending;
    unfinished.push(...again.filter(({ refusals }) => refusals === first!.refusals));
    range = { ...noted.range, pending: [...rest, ...again.filter(({ refusals }) => refusals > first!.refusals)] };
  }
  if (unfinished.length > 0) return { range: { ...range, pending: unfinished }, end: pausedBy(waitsFor) };
  return { range: { ...range, position: { phase: 'done' } } };
}

/** What keys that are read on wait for, where that is more than time. */
function limitOn(results: readonly KeyResult[]): ListingStop | undefined {
  return results.flatMap(({ turn }) => (turn.outcome === 'unfinished' ? (turn.waitsFor ?? []) : []))[0];
}

function pausedBy(waitsFor: ListingStop | undefined): RangeEnd {
  return waitsFor === undefined ? { outcome: 'paused' } : { outcome: 'stopped', stop: waitsFor };
}

/** Counts what became of keys, and notes those that are not settled. A turn that was stopped leaves the page where it is. */
function noteResults(tick: RangeTurnTick, from: PassRange, results: readonly KeyResult[], before?: PendingKey): Step {
  let range = from;
  for (const { backend, storageKey, turn } of results) {
    if (turn.outcome === 'stopped') return { range: from, end: { outcome: 'stopped', stop: turn.stop } };
    if (turn.outcome === 'too-late') return { range: from, isTooLate: true };
    if (turn.outcome === 'settled') {
      if (turn.verdict !== undefined) count(tick.tally, turn.verdict, turn.what);
      if (turn.what !== '') range = { ...range, counts: plusOne(range.counts, turn.what) };
      // Those that are not kept by name, past the first hundred, are counted alone: a bucket may hold millions.
      if (turn.isNamed && range.named.length < mostNamedKeys) {
        range = withNamed(range, [{ what: turn.what, backend, key: storageKey }]);
        // Whoever asked for an import is told at its end.
        if (tick.reconcile?.kind !== 'import')
          tick.deps.log.warn('Reconciler left a key alone', { backend, storageKey, what: turn.what, ...turn.fields });
      }
      continue;
    }
    const refusals = (before?.refusals ?? 0) + (turn.outcome === 'refused' ? 1 : 0);
    const isRoom = range.pending.length < mostPendingKeys;
    if (turn.outcome === 'unfinished' && isRoom) {
      if (turn.waitsFor === undefined) note(tick.tally, 'reading');
      range = { ...range, pending: [...range.pending, { backend, storageKey, refusals }] };
    } else if (turn.outcome === 'unfinished') {
      // As much is being read as can be kept in mind: the page is taken up again when some of it has ended.
      return { range: from, end: pausedBy(limitOn(results)) };
    } else if (refusals < mostRefusals && isRoom) {
      note(tick.tally, 'tried-again');
      range = { ...range, pending: [...range.pending, { backend, storageKey, refusals }] };
    } else {
      range = reported(tick, range, { what: turn.what, backend, key: storageKey }, turn.message);
    }
  }
  return { range };
}

function reported(tick: RangeTurnTick, range: PassRange, key: NamedKey, message: string): PassRange {
  // Files of several backends that are judged together are as many keys.
  const keys = key.backend.split('+');
  let { counts } = range;
  for (const _ of keys) {
    count(tick.tally, 'failed', key.what);
    counts = plusOne(counts, key.what);
  }
  tick.deps.log.error('A key is refused again and again: the pass goes on without it', {
    alarm: true,
    backend: key.backend,
    storageKey: key.key,
    what: key.what,
    message,
  });
  return withNamed({ ...range, counts }, [key]);
}

function plusOne(counts: Readonly<Record<string, number>>, what: string): Record<string, number> {
  return { ...counts, [what]: (counts[what] ?? 0) + 1 };
}

function withNamed(range: PassRange, named: readonly NamedKey[]): PassRange {
  return { ...range, named: [...range.named, ...named].slice(0, mostNamedKeys) };
}
