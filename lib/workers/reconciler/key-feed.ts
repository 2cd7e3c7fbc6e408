import { compareUtf8 } from '../../base/bytes.ts';
import { allEnded } from '../../base/pool.ts';
import { shards } from '../../store/keys.ts';
import type { Page, Store } from '../../store/port.ts';

const pageSize = 250;

/** The keys of all objects in byte order, from the index by key, as far as they are asked for. */
export interface KeyFeed {
  /** The keys behind those of the call before, up to and with `upTo` (absent: all), in no order. */
  upTo(upTo: string | undefined): Promise<string[]>;
  settled(): Promise<void>;
}

/** Reads the shards side by side, a page of each ahead of what is asked for. */
export function createKeyFeed(store: Pick<Store, 'byKey'>, after: string | undefined): KeyFeed {
  const readers = shards.map((shard) => createReader(store, shard, after));
  return {
    async upTo(upTo) {
      const parts = await allEnded(readers.map((reader) => reader.upTo(upTo)));
      return parts.flat();
    },
    async settled() {
      await allEnded(readers.map((reader) => reader.settled()));
    },
  };
}

function createReader(store: Pick<Store, 'byKey'>, shard: string, after: string | undefined): KeyFeed {
  const read = (from: string | undefined): Promise<Page<string>> => {
    const page = store.byKey(shard, from, pageSize);
    page.catch(() => {});
    return page;
  };
  let ahead: Promise<Page<string>> | undefined = read(after);
  let buffer: readonly string[] = [];
  return {
    async upTo(upTo) {
      const found: string[] = [];
      for (;;) {
        const end = upTo === undefined ? -1 : buffer.findIndex((key) => compareUtf8(key, upTo) > 0);
        found.push(...(end < 0 ? buffer : buffer.slice(0, end)));
        buffer = end < 0 ? [] : buffer.slice(end);
        if (end >= 0 || ahead === undefined) return found;
        const page: Page<string> = await ahead;
        buffer = page.items;
        ahead = page.next === undefined ? undefined : read(page.next);
      }
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
