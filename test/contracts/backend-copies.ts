import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import type { CopySource, PutRequest } from '../../lib/fleet/backend.ts';
import { type Access, allHeaders, oddKeys } from './backend-access.ts';
import { kindOf, someBytes } from './backend-bytes.ts';

/** Copies that the storage makes by itself, from another backend at the same endpoint. */
export function copiesContract(on: Access): void {
  describe('copyFrom', () => {
    const putThere = (storageKey: string, bytes: Uint8Array | string, more: Partial<PutRequest> = {}) => {
      const body = Buffer.from(bytes);
      return on.neighbour.backend.put({ storageKey, sizeBytes: body.length, body: bodyOf(body), ...more });
    };
    const source = (storageKey: string, more: Partial<CopySource> = {}): CopySource => ({
      backend: on.neighbour.backend.name,
      ...on.neighbour.place,
      storageKey,
      ...more,
    });

    /** It is never asked: bytes pass through the workers. What it was asked all the same costs nobody anything. */
    const expectUnused = async () => {
      await putThere('from', 'x');
      await on.put('to', 'before');
      expect((await on.read('to')).toString()).toBe('before');
    };

    it.each([0, 1, 300_000])('copies %i bytes and attests what it stored', async (size) => {
      if (on.lacks('attestsCopies')) return expectUnused();
      const bytes = someBytes(size);
      await putThere('from', bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      expect(await on.backend.copyFrom({ source: source('from'), storageKey: 'to' })).toEqual({ sha256 });
      expect((await on.read('to')).equals(bytes)).toBe(true);
      expect((await on.backend.list({})).items.map((item) => item.storageKey)).toEqual(['to']);
      const existing = await on.neighbour.backend.get('from');
      expect((await collect(existing.body)).equals(bytes)).toBe(true);
    });

    it('gives the copy the headers, user metadata and tags it is told, and none of its source', async () => {
      if (on.lacks('attestsCopies')) return expectUnused();
      const before = { contentType: 'text/old', cacheControl: 'no-store', contentLanguage: 'fr' };
      await putThere('from', 'x', { headers: before, metadata: { old: '1', holdfast: 'there' }, tags: { old: 'tag' } });
      const metadata = { holdfast: 'here', name: '=?UTF-8?Q?caf=C3=A9?=' };
      const tags = { 'cost centre': '7/4 = +' };
      await on.backend.copyFrom({ source: source('from'), storageKey: 'to', headers: allHeaders, metadata, tags });
      const { headers: storedHeaders, metadata: marked } = (await on.backend.head('to'))!;
      expect({ storedHeaders, marked, tags: await on.backend.tags('to') }).toEqual({
        storedHeaders: allHeaders,
        marked: metadata,
        tags,
      });
      await on.backend.copyFrom({ source: source('from'), storageKey: 'bare' });
      const bare = (await on.backend.head('bare'))!;
      expect(bare.metadata).toEqual({});
      expect(bare.headers).not.toMatchObject({ contentType: 'text/old' });
      expect(bare.headers.cacheControl ?? bare.headers.contentLanguage).toBeUndefined();
      expect(await on.backend.tags('bare')).toEqual({});
    });

    it('copies from and to every odd key', async () => {
      if (on.lacks('attestsCopies')) return expectUnused();
      for (const key of await on.putTaken(oddKeys)) {
        await putThere(key, `bytes of ${key}`);
        await on.backend.copyFrom({ source: source(key), storageKey: key });
        expect((await on.read(key)).toString()).toBe(`bytes of ${key}`);
      }
    });

    it('copies only the very bytes with ifMatch, and says whose fault it was', async () => {
      if (on.lacks('attestsCopies')) return expectUnused();
      const { etag } = await putThere('from', 'one');
      await on.backend.copyFrom({ source: source('from', { ifMatch: etag }), storageKey: 'to' });
      await putThere('from', 'two');
      const copies = [
        on.backend.copyFrom({ source: source('from', { ifMatch: etag }), storageKey: 'no' }),
        on.backend.copyFrom({ source: source('missing'), storageKey: 'no' }),
      ];
      const backend = on.neighbour.backend.name;
      await expect(copies[0]).rejects.toMatchObject({ name: 'BackendError', kind: 'precondition', backend });
      await expect(copies[1]).rejects.toMatchObject({ name: 'BackendError', kind: 'not-found', backend });
      expect((await on.read('to')).toString()).toBe('one');
      expect(await on.backend.head('no')).toBeNull();
    });

    it('copies only to where nothing stands with ifAbsent, and says whose fault it was', async () => {
      if (on.lacks('attestsCopies') || on.lacks('conditionalCopies')) return expectUnused();
      const { etag } = await putThere('from', 'one');
      const copyTo = (storageKey: string, more: Partial<CopySource> = {}) =>
        on.backend.copyFrom({ source: source('from', more), storageKey, ifAbsent: true });
      await copyTo('to', { ifMatch: etag });
      await putThere('from', 'two');
      const { name } = on.backend;
      await expect(copyTo('to')).rejects.toMatchObject({ kind: 'precondition', backend: name });
      const sourceName = on.neighbour.backend.name;
      await expect(copyTo('no', { ifMatch: etag })).rejects.toMatchObject({
        kind: 'precondition',
        backend: sourceName,
      });
      expect((await on.read('to')).toString()).toBe('one');
      expect(await on.backend.head('no')).toBeNull();
    });

    it('cancelled before sends nothing', async () => {
      await putThere('from', 'x');
      const request = { source: source('from'), storageKey: 'to' };
      expect(await kindOf(on.backend.copyFrom(request, AbortSignal.abort()))).toBe('cancelled');
      expect(await on.backend.head('to')).toBeNull();
    });
  });
}
