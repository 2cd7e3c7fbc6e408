import { compareUtf8 } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import type { KeyRange } from '../../base/key-range.ts';
import { BackendError } from '../../fleet/backend.ts';
import { listingRequest } from '../../fleet/usage-limits.ts';
import { newRange, type PassId, type PassRange, type PassRows } from '../../store/pass-rows.ts';
import type { Tick } from '../../tick/tick.ts';
import { findCut, type Uncut } from './find-cut.ts';
import type { JoinedFeed } from './joined-feed.ts';
import type { ListingStop } from './listing-feed.ts';

/** What this file asks of a tick. */
export type ShareRangeTick = Pick<Tick, 'backend' | 'budget' | 'dryRun' | 'signal'>;

/** Where a range may give part of itself away. */
export interface Sharing {
  /** Whether a range of which as many pages were compared since it was cut last should be cut. */
  wants(range: PassRange, pages: number): boolean;
  give(range: PassRange): void;
  /** Told of what keeps a backend that its range goes on without. */
  noteStop(stop: ListingStop): void;
}

/**
 * Splits a range of several backends of which one cannot go on. The part that was compared stays a range of all of them, and
 * ends with what is pending there. The part that is left becomes two ranges: one of that backend, and one of the others. All of
 * it is one transaction, so that no key of any backend is left out.
 */
export async function leaveRange(
  tick: ShareRangeTick,
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

/** Cuts off about half of what is left of a range: one transaction on its version, so that no key is in neither. */
export async function shareRange(
  tick: ShareRangeTick,
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
  tick: ShareRangeTick,
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

async function firstKeyAfter(tick: ShareRangeTick, name: string, prefix: string, key: string): Promise<string | null> {
  // A guess is a listing like any other: where the limit allows none, it finds nothing.
  if ((await tick.budget()).refuses(name, listingRequest) !== null) return null;
  const backend = await tick.backend(name);
  const page = await backend.list({ prefix, from: { afterKey: key }, limit: 1 }, tick.signal);
  return page.items[0]?.storageKey ?? null;
}
