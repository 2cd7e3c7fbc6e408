import { compareUtf8 } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { allEnded } from '../../base/pool.ts';
import { shards } from '../../store/keys.ts';
import type { Page, Store } from '../../store/port.ts';

const pageSize = 250;
/** So many keys, and their records, are in memory at once: a backend may hold one file and the others millions. */
const mostKeys = 2_000;

/** Some keys of objects, and how far they go. */
export interface KeysRead {
  /** In no order. */
  readonly keys: readonly string[];
  /** They are all up to this one. Absent: all up to where they were asked for. */
  readonly upTo?: string;
}

/** The keys of all objects in byte order, from the index by key, as far as they are asked for. */
export interface KeyFeed {
  /** The keys behind those of the call before, at most some thousands, up to and with `upTo` (absent: to the last). */
  next(upTo: string | undefined): Promise<KeysRead>;
  settled(): Promise<void>;
}

/** Reads the shards side by side, a page of each ahead of what is asked for. */
export function createKeyFeed(store: Pick<Store, 'byKey'>, after: string | undefined): KeyFeed {
  const readers = shards.map((shard) => createReader(store, shard, after));
  return {
    async next(upTo) {
      const known = (await allEnded(readers.map((reader) => reader.fill(upTo)))).filter((key) => key !== undefined);
      // Behind the first of these, the keys of one shard are not known.
      const end = known.length === 0 ? upTo : known.reduce(earlier);
      const found = readers.flatMap((reader) => reader.upTo(end));
      const last = found.length <= mostKeys ? end : found.sort(compareUtf8)[mostKeys - 1]!;
      const keys = readers.flatMap((reader) => reader.take(last));
      return last === upTo ? { keys } : { keys, ...defined({ upTo: last }) };
    },
    async settled() {
      await allEnded(readers.map((reader) => reader.settled()));
    },
  };
}

function earlier(a: string, b: string): string {
  return compareUtf8(a, b) < 0 ? a : b;
}

/** The keys of one shard. */
interface ShardReader {
  /** Reads until much is known, or all up to a key; resolves with the last that is known, where more may follow before it. */
  fill(upTo: string | undefined): Promise<string | undefined>;
  /** What is known up to a key. */
  upTo(upTo: string | undefined): readonly string[];
  /** The same, and goes on behind it. */
  take(upTo: string | undefined): readonly string[];
  settled(): Promise<void>;
}

function createReader(store: Pick<Store, 'byKey'>, shard: string, after: string | undefined): ShardReader {
  const read = (from: string | undefined): Promise<Page<string>> => {
    const page = store.byKey(shard, from, pageSize);
    page.catch(() => {});
    return page;
  };
  let ahead: Promise<Page<string>> | undefined = read(after);
  let buffer: readonly string[] = [];
  const isBehind = (key: string | undefined, upTo: string | undefined) =>
    key !== undefined && upTo !== undefined && compareUtf8(key, upTo) > 0;
  const known = (upTo: string | undefined) => {
    const end = buffer.findIndex((key) => isBehind(key, upTo));
    return end < 0 ? buffer : buffer.slice(0, end);
  };
  return {
    async fill(upTo) {
      while (ahead !== undefined && buffer.length < pageSize && !isBehind(buffer.at(-1), upTo)) {
        const page: Page<string> = await ahead;
        buffer = [...buffer, ...page.items];
        ahead = page.next === undefined ? undefined : read(page.next);
      }
      return ahead === undefined || isBehind(buffer.at(-1), upTo) ? undefined : buffer.at(-1);
    },
    upTo: known,
    take(upTo) {
      const taken = known(upTo);
      buffer = buffer.slice(taken.length);
      return taken;
    },
    async settled() {
      await ahead?.catch(() => {});
    },
  };
}

/** Keys whose storage keys may stand behind `after` although they themselves do not: `<key>!…` is behind it. */
export function prefixesBefore(after: string | undefined): string[] {
  if (after === undefined) return [];
  const found = [after];
  for (let i = 1; i < after.length; i += 1) {
    if (after.charCodeAt(i) <= '!'.charCodeAt(0)) found.push(after.slice(0, i));
  }
  return found.filter((key) => key !== '' && key.isWellFormed());
}
