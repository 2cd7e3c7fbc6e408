import { missingCopies, wantsCopyOn } from '../../steps/missing-copies.ts';
import { isRefusedEverywhere, isWaiting, type RetryView, retryViewOf } from '../../steps/refusals.ts';
import type { ObjectRecord } from '../../store/model.ts';
import { findByPlacement } from '../../tick/find-work.ts';
import type { Tick } from '../../tick/tick.ts';
import type { PlacementsTick } from './placements.ts';
import { stuckPlacements, underReplicated } from './placements.ts';

/** What this file asks of a tick. */
export type FindObjectsTick = Pick<Tick, 'deps' | 'shards' | 'dryRun' | 'cursor' | 'now' | 'standings'> &
  PlacementsTick;

/** Objects of one round. */
export interface FoundObjects {
  /** Those that want copies and may be tried. */
  readonly wanting: readonly ObjectRecord[];
  /** Those under the label of stuck ones that are stuck no more: they want nothing, or another way is open. */
  readonly lifted: readonly ObjectRecord[];
  /** Whether more stand behind them. */
  readonly next: 'more' | 'done';
}

/** Finds the objects of a tick, round by round. */
export interface ObjectFinder {
  /** @param limit at most so many are wanted */
  find(limit: number): Promise<FoundObjects>;
}

/** Where the last tick stopped, among the objects that want copies and among the stuck ones. */
interface Cursor {
  readonly wanting?: string | undefined;
  readonly stuck?: string | undefined;
  /** Rounds of a single object since one was left to the stuck. */
  readonly roundsOfOthers?: number | undefined;
}

/** One of so many in each round is a stuck object, while others want copies too. */
const stuckShare = 8;
/** Stuck objects that a tick looks at, most of which are not to be tried yet. */
const mostStuckRead = 1_000;

export function createObjectFinder(tick: FindObjectsTick): ObjectFinder {
  const { store } = tick.deps;
  let cursor = readCursor(tick.cursor);
  /** The rev at which each object was met. */
  const seen = new Map<string, number>();
  let stuckRead = 0;
  let areStuckWalked = false;

  /** The next objects that lack copies and were not met in this tick; `done` when nothing new stands behind them. */
  async function findWanting(limit: number): Promise<Omit<FoundObjects, 'lifted'>> {
    if (limit <= 0) return { wanting: [], next: 'more' };
    const labels = underReplicated(tick).map(({ label }) => label);
    const found = await findByPlacement(store, labels, tick.shards, cursor.wanting, limit);
    // An object that got a copy may be met once more, under its new label, with new ones behind it.
    const isNews = found.objects.some(({ key, rev }) => seen.get(key) !== rev);
    const wanting = found.objects.filter(({ key }) => !seen.has(key));
    for (const { key, rev } of found.objects) seen.set(key, rev);
    cursor = { ...cursor, wanting: found.cursor };
    return { wanting, next: found.cursor === undefined || !isNews ? 'done' : 'more' };
  }

  /** Stuck objects that may be tried, from where the last search stopped, once round in a tick. */
  async function findStuck(limit: number): Promise<FoundObjects> {
    const wanting: ObjectRecord[] = [];
    const lifted: ObjectRecord[] = [];
    const labels = stuckPlacements(tick).map(({ label }) => label);
    const retryView = retryViewOf(tick);
    while (!areStuckWalked && labels.length > 0 && wanting.length < limit && stuckRead < mostStuckRead) {
      const found = await findByPlacement(store, labels, tick.shards, cursor.stuck, limit - wanting.length);
      const fresh = found.objects.filter(({ key }) => !seen.has(key));
      for (const object of fresh) {
        seen.set(object.key, object.rev);
        if (missingCopies(tick, object) <= 0) lifted.push(object);
        else if (isDue(tick, object, retryView)) wanting.push(object);
      }
      stuckRead += found.objects.length;
      cursor = { ...cursor, stuck: found.cursor };
      areStuckWalked = found.cursor === undefined || fresh.length === 0;
    }
    const isMore = !areStuckWalked && labels.length > 0 && stuckRead < mostStuckRead;
    return { wanting, lifted, next: isMore ? 'more' : 'done' };
  }

  /**
   * How many of a round are stuck objects, while others want copies too. A single one is theirs in every eighth round, which is
   * counted from tick to tick: by chance one that is due could be passed over for as long as chance will have it.
   */
  function shareOf(limit: number): number {
    if (limit !== 1) return Math.ceil(limit / stuckShare);
    const rounds = (cursor.roundsOfOthers ?? 0) + 1;
    const isTheirs = rounds >= stuckShare;
    cursor = { ...cursor, roundsOfOthers: isTheirs ? undefined : rounds };
    return isTheirs ? 1 : 0;
  }

  return {
    async find(limit) {
      const share = stuckPlacements(tick).length > 0 ? shareOf(limit) : 0;
      const ordinary = await findWanting(limit - share);
      const stuck = await findStuck(limit - ordinary.wanting.length);
      if (!tick.dryRun) tick.cursor = JSON.stringify(cursor);
      return {
        wanting: [...ordinary.wanting, ...stuck.wanting],
        lifted: stuck.lifted,
        next: ordinary.next === 'more' || stuck.next === 'more' ? 'more' : 'done',
      };
    },
  };
}

/** Whether a stuck object may be tried: some backend that it could go to, and one that it could come from, may be asked. */
function isDue(tick: FindObjectsTick, object: ObjectRecord, retryView: RetryView): boolean {
  const standings = tick.standings().filter(({ isReachable }) => isReachable);
  if (!isRefusedEverywhere(tick, object)) return true;
  const isSource = ({ name }: { readonly name: string }) => object.copies[name] !== undefined;
  const sources = standings.filter((one) => isSource(one) && !isWaiting(object, one.name, 'source', retryView));
  const targets = standings.filter(
    (one) =>
      !isSource(one) &&
      one.isCounted &&
      wantsCopyOn(tick, object, one.name) &&
      !isWaiting(object, one.name, 'target', retryView),
  );
  return sources.length > 0 && targets.length > 0;
}

/** An unreadable cursor begins at the beginning. */
function readCursor(text: string | undefined): Cursor {
  try {
    const cursor: unknown = JSON.parse(text ?? '{}');
    return typeof cursor === 'object' && cursor !== null ? cursor : {};
  } catch {
    return {};
  }
}
