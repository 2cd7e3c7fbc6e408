import { describe, expect, it } from 'vitest';
import { compareUtf8 } from '../../lib/base/bytes.ts';
import { defined } from '../../lib/base/defined.ts';
import type { ListFrom, ListPage } from '../../lib/fleet/backend.ts';
import { type Access, oddKeys } from './backend-access.ts';

/** Listings. */
export function listsContract(on: Access): void {
  describe('list', () => {
    const ordered = (some: readonly string[]) => [...some].sort(compareUtf8);
    const pages = async (options: { prefix?: string; limit?: number }) => {
      const found: ListPage[] = [];
      let from: ListFrom | undefined;
      do {
        const page = await on.backend.list({ ...options, ...defined({ from }) });
        found.push(page);
        from = page.next;
      } while (from !== undefined);
      return found;
    };
    const keys = (found: readonly ListPage[]) => found.flatMap((page) => page.items.map((item) => item.storageKey));

    it('describes what is stored', async () => {
      const { etag } = await on.put('k', 'bytes');
      const { items, next } = await on.backend.list({});
      expect(items).toEqual([{ storageKey: 'k', sizeBytes: 5, etag, lastModified: expect.any(Number) }]);
      // A header holds whole seconds; a listing may say more.
      const secondOf = (ms: number) => Math.floor(ms / 1000);
      expect(secondOf(items[0]!.lastModified)).toBe(secondOf((await on.backend.head('k'))!.lastModified!));
      expect(next).toBeUndefined();
    });

    it('of an empty bucket is one page without a next', async () => {
      expect(await on.backend.list({})).toEqual({ items: [] });
      expect(await on.backend.list({ prefix: 'none/' })).toEqual({ items: [] });
    });

    it.each([1, 3, 1000, 5000])('in pages of %i holds every key once, in the order of their bytes', async (limit) => {
      const taken = ordered(await on.putTaken(oddKeys));
      // Such a backend is refused: what is asked is that no page passes for the last one.
      if (taken.length > limit && on.lacks('pagesWhole'))
        return expect(ordered(keys(await pages({ limit }).catch(() => [])))).not.toEqual(taken);
      const found = await pages({ limit });
      if (on.lacks('listsInByteOrder')) return expect(ordered(keys(found))).toEqual(taken);
      expect(keys(found)).toEqual(taken);
      expect(found.every((page) => page.items.length <= limit)).toBe(true);
      expect(found).toHaveLength(Math.ceil(taken.length / limit));
    });

    it('under a prefix holds the keys that begin with it, however they go on', async () => {
      const taken = ordered(await on.putTaken(oddKeys));
      const prefixes = ['a', 'a/', ' ', '\u00e9', 'caf', '%', '+', 'tab\t'];
      for (const prefix of on.lacks('takesDotSegments') ? prefixes : ['../', ...prefixes]) {
        const found = keys(await pages({ prefix, limit: 2 }));
        const wanted = taken.filter((key) => key.startsWith(prefix));
        expect(on.lacks('listsInByteOrder') ? ordered(found) : found).toEqual(wanted);
      }
    });

    it('goes on after a page although its last key has been deleted since', async () => {
      for (const key of ['a', 'b', 'c', 'd']) await on.put(key, key);
      const first = await on.backend.list({ limit: 2 });
      await on.backend.delete([{ storageKey: 'b' }, { storageKey: 'c' }]);
      const second = await on.backend.list({ limit: 2, from: first.next! });
      expect(keys([second])).toEqual(['d']);
    });
  });
}
