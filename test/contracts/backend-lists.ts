import { describe, expect, it } from 'vitest';
import { compareUtf8 } from '../../lib/base/bytes.ts';
import { defined } from '../../lib/base/defined.ts';
import type { ListFrom, ListPage } from '../../lib/fleet/backend.ts';
import { type Access, oddKeys } from './backend-access.ts';

/** Listings. */
export function listsContract(on: Access): void {
  describe('list', () => {
    const inOrder = [...oddKeys].sort(compareUtf8);
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
      expect(items).toEqual([
        { storageKey: 'k', sizeBytes: 5, etag, lastModified: (await on.backend.head('k'))!.lastModified },
      ]);
      expect(next).toBeUndefined();
    });

    it('of an empty bucket is one page without a next', async () => {
      expect(await on.backend.list({})).toEqual({ items: [] });
      expect(await on.backend.list({ prefix: 'none/' })).toEqual({ items: [] });
    });

    it.each([1, 3, 1000, 5000])('in pages of %i holds every key once, in the order of their bytes', async (limit) => {
      for (const key of oddKeys) await on.put(key, key);
      const found = await pages({ limit });
      expect(keys(found)).toEqual(inOrder);
      expect(found.every((page) => page.items.length <= limit)).toBe(true);
      expect(found).toHaveLength(Math.ceil(oddKeys.length / limit));
    });

    it('under a prefix holds the keys that begin with it, however they go on', async () => {
      for (const key of oddKeys) await on.put(key, key);
      for (const prefix of ['a', 'a/', '../', ' ', '\u00e9', 'caf', '%', '+', 'tab\t']) {
        expect(keys(await pages({ prefix, limit: 2 }))).toEqual(inOrder.filter((key) => key.startsWith(prefix)));
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
