import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { type Access, allHeaders, oddKeys } from './backend-access.ts';
import { inChunks, kindOf, someBytes } from './backend-bytes.ts';

const kib = 1024;
const mib = 1024 * 1024;

/** Reading, writing, and what is missing. */
export function objectsContract(on: Access): void {
  describe('put and get', () => {
    it.each([0, 1, 5, 256 * kib - 1, 256 * kib, 256 * kib + 1, 3 * mib + 7])(
      'gives back the %i bytes it was given',
      async (size) => {
        const bytes = someBytes(size);
        const { etag } = await on.put('a/key', bytes);
        const found = await on.backend.get('a/key');
        expect((await collect(found.body)).equals(bytes)).toBe(true);
        expect(found.sizeBytes).toBe(size);
        expect(found.etag).toBe(etag);
        expect(etag).toBe(`"${createHash('md5').update(bytes).digest('hex')}"`);
      },
    );

    it('takes bytes in chunks of any size, empty ones among them', async () => {
      for (const size of [9, 700 * kib]) {
        const bytes = someBytes(size);
        await on.backend.put({ storageKey: 'k', sizeBytes: size, body: inChunks(bytes, [0, 1, 0, 4, 100_000, 0]) });
        expect((await on.read('k')).equals(bytes)).toBe(true);
      }
    });

    it('gives the same on a connection of its own', async () => {
      await on.put('k', someBytes(1000));
      const found = await on.backend.get('k', { isFresh: true, range: [0, 9] });
      expect((await collect(found.body)).equals(someBytes(1000).subarray(0, 10))).toBe(true);
      expect(await kindOf(on.backend.get('none', { isFresh: true }))).toBe('not-found');
    });

    it('gives the range asked for, and the size of the whole object', async () => {
      const bytes = someBytes(1000);
      await on.put('k', bytes);
      for (const [first, last] of [
        [0, 0],
        [0, 999],
        [10, 19],
        [999, 999],
        [990, 5000],
      ] as const) {
        const found = await on.backend.get('k', { range: [first, last] });
        expect(found.sizeBytes).toBe(1000);
        expect((await collect(found.body)).equals(bytes.subarray(first, last + 1))).toBe(true);
      }
    });

    it('refuses a range past the end', async () => {
      await on.put('k', '12345');
      await on.put('empty', '');
      expect(await kindOf(on.backend.get('k', { range: [5, 9] }))).toBe('rejected');
      expect(await kindOf(on.backend.get('empty', { range: [0, 0] }))).toBe('rejected');
    });

    it('keeps headers and user metadata verbatim', async () => {
      const metadata = {
        holdfast: 'fleet 01ARZ3NDEKTSV4RRFFQ69G5FAV abc',
        'with-dash': 'A=b;c',
        name: '=?UTF-8?Q?caf=C3=A9?=',
      };
      for (const [key, size] of [
        ['small', 10],
        ['streamed', 300 * kib],
      ] as const) {
        await on.put(key, someBytes(size), { headers: allHeaders, metadata });
        const head = await on.backend.head(key);
        const got = await on.backend.get(key);
        await collect(got.body);
        for (const found of [head, got]) {
          expect(found).toMatchObject({ metadata, sizeBytes: size });
          if (!on.lacks('keepsHeaders')) expect(found!.headers).toEqual(allHeaders);
        }
        expect(on.backend.altersHeaders === true).toBe(on.lacks('keepsHeaders'));
      }
    });

    it('keeps tags, and has none where none were given', async () => {
      const tags = { team: 'photos', 'cost centre': '7/4 = +' };
      await on.put('tagged', 'x', { tags });
      await on.put('plain', 'x');
      expect(await on.backend.tags('plain')).toEqual({});
      if (on.lacks('tags')) return expect(await on.backend.tags('tagged')).toEqual({});
      expect(await on.backend.tags('tagged')).toEqual(tags);
      expect(await kindOf(on.backend.tags('missing'))).toBe('not-found');
    });

    it('says when an object was written', async () => {
      await on.put('k', 'x');
      const { lastModified } = (await on.backend.head('k'))!;
      expect(Math.abs(lastModified! - Date.now())).toBeLessThan(120_000);
    });

    it('overwrites', async () => {
      await on.put('k', 'first', { metadata: { a: '1' } });
      await on.put('k', 'second');
      expect((await on.read('k')).toString()).toBe('second');
      expect((await on.backend.head('k'))!.metadata).toEqual({});
    });

    it.each(oddKeys)('stores, finds and deletes the key %j', async (key) => {
      const taken = await on.putTaken([key]);
      expect((await on.backend.list({})).items.map((item) => item.storageKey)).toEqual(taken);
      if (taken.length === 0) return;
      expect((await on.read(key)).toString()).toBe(key);
      expect(await on.backend.head(key)).toMatchObject({ sizeBytes: Buffer.byteLength(key) });
      expect((await on.backend.list({ prefix: key })).items.map((item) => item.storageKey)).toEqual([key]);
      expect(await on.backend.delete([{ storageKey: key }])).toEqual([{ outcome: 'deleted' }]);
      expect(await on.backend.head(key)).toBeNull();
    });
  });

  describe('what is missing', () => {
    it('answers a get with not-found and a head with null', async () => {
      expect(await kindOf(on.backend.get('missing'))).toBe('not-found');
      expect(await on.backend.head('missing')).toBeNull();
    });

    it('names the backend and the key in the message', async () => {
      const error = await on.backend.get('a "quoted" key').catch((e: unknown) => e);
      expect(error).toBeInstanceOf(BackendError);
      expect(error).toMatchObject({ backend: on.backend.name });
      expect((error as BackendError).message).toContain(`Cannot read "a \\"quoted\\" key" on "${on.backend.name}"`);
    });
  });

  describe('cancellation', () => {
    it('before a call sends nothing', async () => {
      await on.put('k', 'x');
      const signal = AbortSignal.abort(new Error('out of time'));
      const body = bodyOf(Buffer.from('y'));
      for (const call of [
        () => on.backend.get('k', {}, signal),
        () => on.backend.head('k', signal),
        () => on.backend.list({}, signal),
        () => on.backend.put({ storageKey: 'k', sizeBytes: 1, body }, signal),
        () => on.backend.delete([{ storageKey: 'k' }], signal),
        () => on.backend.createUpload({ storageKey: 'k' }, signal),
        () => on.backend.openUploads('k', signal),
      ]) {
        expect(await kindOf(call())).toBe('cancelled');
      }
      expect((await on.read('k')).toString()).toBe('x');
    });
  });
}
