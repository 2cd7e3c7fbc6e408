import { compareUtf8 } from '../../base/bytes.ts';
import { allEnded } from '../../base/pool.ts';
import type { Listed } from '../../fleet/backend.ts';
import type { ListingPosition } from '../../store/pass-rows.ts';
import type { ListedPage, ListingFeed, ListingStop } from './listing-feed.ts';

/** A key as one backend lists it. */
export interface ListedOn {
  readonly backend: string;
  readonly item: Listed;
}

/** What several backends list of one stretch of keys. */
export interface JoinedPage {
  readonly outcome: 'page' | 'end';
  readonly listed: readonly ListedOn[];
  readonly unreadable: readonly { readonly backend: string; readonly text: string }[];
  /** When the oldest part of it was asked for. */
  readonly askedAt: number;
  /** The last key of the stretch; absent at the end of the range. */
  readonly lastKey: string | undefined;
  /** Absent where nothing was passed. */
  readonly behind?: ListingPosition;
}

export function isJoinedPage(answer: JoinedPage | ListingStop): answer is JoinedPage {
  return answer.outcome === 'page' || answer.outcome === 'end';
}

export interface JoinedFeed {
  next(): Promise<JoinedPage | ListingStop>;
  /** The last key that any of them listed so far. */
  reached(): string | undefined;
  /** Ends the range earlier, behind all that was listed. */
  endAt(upTo: string): void;
  settled(): Promise<void>;
}

/** What was listed of one backend and not handed out yet. */
interface Buffer {
  readonly backend: string;
  readonly feed: ListingFeed;
  items: readonly Listed[];
  isAtEnd: boolean;
  askedAt: number;
  last: ListedPage | undefined;
}

/**
 * Lists backends side by side, in byte order, up to the key that all of them have come to. A single one may list in any
 * order.
 */
export function createJoinedFeed(
  feeds: readonly { readonly backend: string; readonly feed: ListingFeed }[],
): JoinedFeed {
  const buffers: Buffer[] = feeds.map((one) => ({ ...one, items: [], isAtEnd: false, askedAt: 0, last: undefined }));
  return {
    async next() {
      const fresh = await allEnded(buffers.map((buffer) => fill(buffer)));
      const stop = fresh.find((answer): answer is ListingStop => answer !== null && !isPage(answer));
      if (stop !== undefined) return stop;
      const unreadable = fresh.flatMap((answer, i) =>
        answer !== null && isPage(answer)
          ? answer.unreadable.map((text) => ({ backend: buffers[i]!.backend, text }))
          : [],
      );
      const askedAt = Math.min(...buffers.map((buffer) => buffer.askedAt));
      return { ...takeTogether(buffers), unreadable, askedAt };
    },
    reached: () => buffers.map(({ feed }) => feed.reached()).reduce(later, undefined),
    endAt(upTo) {
      for (const { feed } of buffers) feed.endAt(upTo);
    },
    async settled() {
      await allEnded(buffers.map(({ feed }) => feed.settled()));
    },
  };
}

function later(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareUtf8(a, b) < 0 ? b : a;
}

function isPage(answer: ListedPage | ListingStop): answer is ListedPage {
  return answer.outcome === 'page' || answer.outcome === 'end';
}

/** Asks for a page where none is left; null where one is. */
async function fill(buffer: Buffer): Promise<ListedPage | ListingStop | null> {
  if (buffer.isAtEnd || buffer.items.length > 0) return null;
  const answer = await buffer.feed.next();
  if (!isPage(answer)) return answer;
  buffer.items = answer.items;
  buffer.isAtEnd = answer.outcome === 'end';
  buffer.askedAt = answer.askedAt;
  buffer.last = answer;
  return answer;
}

type JoinedKeys = Pick<JoinedPage, 'outcome' | 'listed' | 'lastKey' | 'behind'>;

function takeTogether(buffers: readonly Buffer[]): JoinedKeys {
  if (buffers.length === 1) return takeAll(buffers[0]!);
  const unended = buffers.filter((buffer) => !buffer.isAtEnd);
  const lastKeys = unended.flatMap(({ items, last }) => items.at(-1)?.storageKey ?? last!.behind.lastKey ?? []);
  // One of them has named no key yet: nothing is known to stand before any other's.
  if (lastKeys.length < unended.length) return { outcome: 'page', listed: [], lastKey: undefined };
  const lastKey = lastKeys.length === 0 ? undefined : lastKeys.reduce((a, b) => (compareUtf8(a, b) <= 0 ? a : b));
  const listed: ListedOn[] = [];
  for (const buffer of buffers) {
    const isTaken = ({ storageKey }: Listed) => lastKey === undefined || compareUtf8(storageKey, lastKey) <= 0;
    const count = buffer.items.findIndex((item) => !isTaken(item));
    const taken = count < 0 ? buffer.items : buffer.items.slice(0, count);
    buffer.items = buffer.items.slice(taken.length);
    listed.push(...taken.map((item) => ({ backend: buffer.backend, item })));
  }
  const behind: ListingPosition =
    lastKey === undefined ? { phase: 'listing' } : { phase: 'listing', from: { afterKey: lastKey }, lastKey };
  return { outcome: lastKey === undefined ? 'end' : 'page', listed, lastKey, behind };
}

function takeAll(buffer: Buffer): JoinedKeys {
  const { items, backend, last } = buffer;
  buffer.items = [];
  const { outcome, behind } = last!;
  const listed = items.map((item) => ({ backend, item }));
  return { outcome, listed, lastKey: outcome === 'end' ? undefined : behind.lastKey, behind };
}
