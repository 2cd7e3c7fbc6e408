import { compareUtf8 } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { behindPlace, mostIdlePages } from '../../base/page-trail.ts';
import { BackendError, type Listed, type ListFrom, type ListPage } from '../../fleet/backend.ts';
import { internalPrefix } from '../../fleet/owner.ts';
import { type ListingPosition, listingGoesRound } from '../../store/pass-rows.ts';

/** A backend as a listing asks it. */
export interface ListingDeps {
  readonly backend: string;
  /** One page; throws `BackendError`, and nothing else. */
  list(from: ListFrom | undefined, limit: number): Promise<ListPage>;
  /** The usage limit that one more request would exceed. */
  refusal(): string | null;
  /** Whether others found meanwhile that the backend does not answer. */
  isUnreachable(): boolean;
  now(): number;
}

/** What is listed, and from where on. */
export interface Listing {
  readonly position: ListingPosition;
  /** The last key of the range; absent: to the end of the listing. */
  readonly upTo: string | undefined;
  /** Keys come in byte order, so that a key says what came before it. */
  readonly isOrdered: boolean;
  readonly pageSize: number;
  /** Whether a page is asked for before it is wanted, when the last one took as long to be compared. */
  readsAhead(lastMs: number): boolean;
}

/** Why a listing does not go on now. It is taken up again at the same place, and is never taken for the end. */
export type ListingStop =
  | { readonly outcome: 'put-off'; readonly backend: string; readonly reason: string; readonly message?: string }
  | { readonly outcome: 'unreachable'; readonly backend: string; readonly reason: string; readonly message?: string }
  /** The tick ends, and took back what it asked for. */
  | { readonly outcome: 'out-of-time'; readonly backend: string; readonly reason: string }
  /** Its token is no longer taken, or leads back to where it has been. */
  | { readonly outcome: 'place-lost'; readonly backend: string; readonly reason: string }
  /** A key that does not come after the one before it. */
  | { readonly outcome: 'disordered'; readonly backend: string; readonly key: string };

/** A page, and the position behind it. */
export interface ListedPage {
  readonly outcome: 'page' | 'end';
  readonly items: readonly Listed[];
  /** Texts of keys that cannot be read. */
  readonly unreadable: readonly string[];
  /** When it was asked for: nothing younger is judged by it. */
  readonly askedAt: number;
  readonly behind: ListingPosition;
}

export type ListingAnswer = ListedPage | ListingStop;

/** One listing, page after page, one page ahead of what is being compared. */
export interface ListingFeed {
  next(): Promise<ListingAnswer>;
  /** The last key that was listed so far; undefined before the first, and where order proves nothing. */
  reached(): string | undefined;
  /** Ends the range earlier, behind all that was listed. */
  endAt(upTo: string): void;
  /** Resolves once nothing is asked for. */
  settled(): Promise<void>;
}

export function createListingFeed(deps: ListingDeps, listing: Listing): ListingFeed {
  let { upTo, position } = listing;
  let ahead: Promise<ListingAnswer> | undefined;
  let handedOutAt: number | undefined;
  const ask = async (): Promise<ListingAnswer> => {
    const refusal = deps.refusal();
    if (refusal !== null) return { outcome: 'put-off', backend: deps.backend, reason: refusal };
    const askedAt = deps.now();
    try {
      const page = await deps.list(position.from, listing.pageSize);
      // The range may have ended earlier since the page was asked for.
      const answer = readPage(deps.backend, { ...listing, upTo, position }, page, askedAt);
      if (answer.outcome === 'page' || answer.outcome === 'end') position = answer.behind;
      return answer;
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      return stopOf(deps, position, error);
    }
  };
  return {
    async next() {
      const lastMs = handedOutAt === undefined ? 0 : deps.now() - handedOutAt;
      const answer = await (ahead ?? ask());
      handedOutAt = deps.now();
      ahead = answer.outcome === 'page' && listing.readsAhead(lastMs) ? ask() : undefined;
      // A failure is looked at when the page is asked for; until then it is nobody's.
      ahead?.catch(() => {});
      return answer;
    },
    reached: () => position.lastKey,
    endAt(key) {
      upTo = key;
    },
    async settled() {
      await ahead?.catch(() => {});
    },
  };
}

function stopOf(deps: ListingDeps, { from }: ListingPosition, error: BackendError): ListingStop {
  const { backend } = deps;
  const { kind, message } = error;
  const reason = `list-${kind}`;
  if (error.limit !== undefined) return { outcome: 'put-off', backend, reason: error.limit };
  if (kind === 'cancelled') return { outcome: deps.isUnreachable() ? 'unreachable' : 'out-of-time', backend, reason };
  // A page behind a key can always be asked for; a token holds only as long as its backend remembers it.
  if (from !== undefined && 'token' in from && error.refusesRequest) return { outcome: 'place-lost', backend, reason };
  return { outcome: error.speaksOf === 'backend' ? 'unreachable' : 'put-off', backend, reason, message };
}

function readPage(backend: string, listing: Listing, page: ListPage, askedAt: number): ListingAnswer {
  const { isOrdered, upTo, position } = listing;
  const items: Listed[] = [];
  let lastKey = position.lastKey;
  let isBehind = false;
  for (const item of page.items) {
    const key = item.storageKey;
    if (isOrdered) {
      if (lastKey !== undefined && compareUtf8(key, lastKey) <= 0) return { outcome: 'disordered', backend, key };
      isBehind = upTo !== undefined && compareUtf8(key, upTo) > 0;
      if (isBehind) break;
      lastKey = key;
      if (position.skipTo !== undefined && compareUtf8(key, position.skipTo) <= 0) continue;
    }
    if (!key.startsWith(internalPrefix)) items.push(item);
  }
  const trails = nextTrails(listing, page, lastKey);
  if (trails === 'circle') return { outcome: 'place-lost', backend, reason: listingGoesRound };
  const isEnd = page.next === undefined || isBehind || (isOrdered && lastKey !== undefined && lastKey === upTo);
  return {
    outcome: isEnd ? 'end' : 'page',
    items,
    unreadable: page.unreadable ?? [],
    askedAt,
    behind: {
      phase: 'listing',
      ...defined({
        from: page.next,
        lastKey: isOrdered ? lastKey : undefined,
        skipTo: position.skipTo,
        ...trails,
      }),
    },
  };
}

/**
 * Where order is proven, a page never goes on before its own last key, nor where it began itself: that would be taken for keys
 * out of order once it is followed. Elsewhere a place says nothing of what comes behind it, but may be met again.
 */
function nextTrails(listing: Listing, page: ListPage, lastKey: string | undefined): Trails | 'circle' {
  const { isOrdered, position } = listing;
  const { next } = page;
  if (next === undefined) return {};
  if (!isOrdered || 'token' in next) return followed(position, next, page.items[0]?.storageKey);
  const { from } = position;
  const isAhead = from === undefined || 'token' in from || compareUtf8(next.afterKey, from.afterKey) > 0;
  return isAhead && (lastKey === undefined || compareUtf8(next.afterKey, lastKey) >= 0) ? {} : 'circle';
}

type Trails = Pick<ListingPosition, 'trail' | 'firsts' | 'idlePages'>;

/** By the places that it names, and, since a place may be minted for every page, by what its pages hold. */
function followed(position: ListingPosition, next: ListFrom, firstKey: string | undefined): Trails | 'circle' {
  const trail = behindPlace(position.trail, 'token' in next ? next.token : next.afterKey);
  const firsts = firstKey === undefined ? position.firsts : behindPlace(position.firsts, firstKey);
  const idlePages = firstKey === undefined ? (position.idlePages ?? 0) + 1 : 0;
  if (trail === 'circle' || firsts === 'circle' || idlePages >= mostIdlePages) return 'circle';
  return { trail, ...defined({ firsts, idlePages: idlePages === 0 ? undefined : idlePages }) };
}
