import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Body, bodyOf, collect, compareUtf8 } from '../../lib/base/bytes.ts';
import { type Backend, BackendError, type ListPage, type PutRequest } from '../../lib/fleet/backend.ts';

/** What the suite needs: a backend whose bucket (prefix) is empty, able to do everything but keep versions. */
export interface BackendKit {
  readonly backend: Backend;
  /** Empties the bucket. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

const kib = 1024;
const mib = kib * kib;

export const oddKeys: readonly string[] = [
  'a-b',
  'aB',
  'a/b',
  'a',
  'caf\u00e9', // NFC
  'cafe\u0301', // NFD
  '\ud83d\ude80 rocket',
  '\uff5e full width, after the surrogates of UTF-16 but before emoji in UTF-8',
  'with spaces  two',
  'trailing space ',
  ' leading space',
  'a!01ARZ3NDEKTSV4RRFFQ69G5FAV',
  '__multipart/u/1',
  'plus+plus',
  '100%25',
  '%2e%2e/%00',
  '..',
  '../up',
  'a/../b',
  './here',
  'a//b',
  '/absolute',
  'ends/',
  '?query=1&x#fragment',
  '<xml>&amp;"\'',
  "~tilde*()!'",
  'back\\slash',
  'colon:semi;comma,at@equals=dollar$',
  'tab\there',
  'line\nbreak',
  'bell\u0007',
  'delete\u007f',
  'next\u0085line\u2028separator',
  'k'.repeat(900),
  '\u00e9'.repeat(450),
];

/** What every backend adapter does. */
export function backendContract(name: string, setup: () => Promise<BackendKit>): void {
  describe(name, () => {
    let kit: BackendKit;
    let backend: Backend;
    beforeAll(async () => {
      kit = await setup();
      backend = kit.backend;
    });
    beforeEach(() => kit.reset());
    afterAll(() => kit.close());

    const put = (storageKey: string, bytes: Uint8Array | string, more: Partial<PutRequest> = {}) => {
      const body = Buffer.from(bytes);
      return backend.put({ storageKey, sizeBytes: body.length, body: bodyOf(body), ...more });
    };
    const read = async (storageKey: string) => collect((await backend.get(storageKey)).body);

    describe('put and get', () => {
      it.each([0, 1, 5, 256 * kib - 1, 256 * kib, 256 * kib + 1, 3 * mib + 7])(
        'gives back the %i bytes it was given',
        async (size) => {
          const bytes = someBytes(size);
          const { etag } = await put('a/key', bytes);
          const found = await backend.get('a/key');
          expect((await collect(found.body)).equals(bytes)).toBe(true);
          expect(found.sizeBytes).toBe(size);
          expect(found.etag).toBe(etag);
          expect(etag).toBe(`"${createHash('md5').update(bytes).digest('hex')}"`);
        },
      );

      it('takes bytes in chunks of any size, empty ones among them', async () => {
        for (const size of [9, 700 * kib]) {
          const bytes = someBytes(size);
          await backend.put({ storageKey: 'k', sizeBytes: size, body: inChunks(bytes, [0, 1, 0, 4, 100_000, 0]) });
          expect((await read('k')).equals(bytes)).toBe(true);
        }
      });

      it('gives the range asked for, and the size of the whole object', async () => {
        const bytes = someBytes(1000);
        await put('k', bytes);
        for (const [first, last] of [
          [0, 0],
          [0, 999],
          [10, 19],
          [999, 999],
          [990, 5000],
        ] as const) {
          const found = await backend.get('k', { range: [first, last] });
          expect(found.sizeBytes).toBe(1000);
          expect((await collect(found.body)).equals(bytes.subarray(first, last + 1))).toBe(true);
        }
      });

      it('refuses a range past the end', async () => {
        await put('k', '12345');
        await put('empty', '');
        expect(await kindOf(backend.get('k', { range: [5, 9] }))).toBe('rejected');
        expect(await kindOf(backend.get('empty', { range: [0, 0] }))).toBe('rejected');
      });

      it('keeps headers and user metadata verbatim', async () => {
        const headers = {
          contentType: 'text/plain; charset=utf-8',
          cacheControl: 'max-age=60, private',
          contentDisposition: 'attachment; filename="a b.txt"',
          contentEncoding: 'gzip',
          contentLanguage: 'de-CH',
        };
        const metadata = {
          holdfast: 'fleet 01ARZ3NDEKTSV4RRFFQ69G5FAV abc',
          'with-dash': 'A=b;c',
          name: '=?UTF-8?Q?caf=C3=A9?=',
        };
        for (const [key, size] of [
          ['small', 10],
          ['streamed', 300 * kib],
        ] as const) {
          await put(key, someBytes(size), { headers, metadata });
          const head = await backend.head(key);
          const got = await backend.get(key);
          await collect(got.body);
          for (const found of [head, got]) expect(found).toMatchObject({ headers, metadata, sizeBytes: size });
        }
      });

      it('says when an object was written', async () => {
        await put('k', 'x');
        const { lastModified } = (await backend.head('k'))!;
        expect(Math.abs(lastModified! - Date.now())).toBeLessThan(120_000);
      });

      it('overwrites', async () => {
        await put('k', 'first', { metadata: { a: '1' } });
        await put('k', 'second');
        expect((await read('k')).toString()).toBe('second');
        expect((await backend.head('k'))!.metadata).toEqual({});
      });

      it.each(oddKeys)('stores, finds and deletes the key %j', async (key) => {
        await put(key, `bytes of ${key}`);
        expect((await read(key)).toString()).toBe(`bytes of ${key}`);
        expect(await backend.head(key)).toMatchObject({ sizeBytes: Buffer.byteLength(`bytes of ${key}`) });
        expect((await backend.list({})).items.map((item) => item.storageKey)).toEqual([key]);
        expect((await backend.list({ prefix: key })).items.map((item) => item.storageKey)).toEqual([key]);
        expect(await backend.delete([{ storageKey: key }])).toEqual([{ outcome: 'deleted' }]);
        expect(await backend.head(key)).toBeNull();
      });
    });

    describe('what is missing', () => {
      it('answers a get with not-found and a head with null', async () => {
        expect(await kindOf(backend.get('missing'))).toBe('not-found');
        expect(await backend.head('missing')).toBeNull();
      });

      it('names the backend and the key in the message', async () => {
        const error = await backend.get('a "quoted" key').catch((e: unknown) => e);
        expect(error).toBeInstanceOf(BackendError);
        expect(error).toMatchObject({ backend: backend.name });
        expect((error as BackendError).message).toContain(`Cannot read "a \\"quoted\\" key" on "${backend.name}"`);
      });
    });

    describe('a source of bytes that fails', () => {
      const sizes = [20, 2 * mib];

      it.each(sizes)('stores nothing of %i bytes when it throws midway, and is blamed', async (size) => {
        const cause = new Error('the disk broke');
        const bytes = someBytes(size);
        const error = await backend
          .put({ storageKey: 'k', sizeBytes: size, body: failingAfter(bytes.subarray(0, size / 2), cause) })
          .catch((e: unknown) => e as BackendError);
        expect(error).toMatchObject({ kind: 'body', cause });
        expect(await backend.head('k')).toBeNull();
      });

      it.each(sizes)('stores nothing of %i bytes when it throws after the last one', async (size) => {
        const cause = new Error('the digest is another');
        const request = { storageKey: 'k', sizeBytes: size, body: failingAfter(someBytes(size), cause) };
        expect(await backend.put(request).catch((e: unknown) => e)).toMatchObject({ kind: 'body', cause });
        expect(await backend.head('k')).toBeNull();
      });

      it.each(sizes)('stores nothing when it gives fewer or more than %i bytes', async (size) => {
        for (const actual of [size - 1, size + 1, 0]) {
          const request = { storageKey: 'k', sizeBytes: size, body: inChunks(someBytes(actual), [65536]) };
          expect(await kindOf(backend.put(request))).toBe('body');
          expect(await backend.head('k')).toBeNull();
        }
      });

      it('is left as it was found: what was there before stays', async () => {
        await put('k', 'before');
        const body = failingAfter(someBytes(mib), new Error('broke'));
        expect(await kindOf(backend.put({ storageKey: 'k', sizeBytes: 2 * mib, body }))).toBe('body');
        expect((await read('k')).toString()).toBe('before');
      });

      it('reads the body of an empty object to its end', async () => {
        expect(await kindOf(put('k', '', { body: failingAfter(Buffer.alloc(0), new Error('broke')) }))).toBe('body');
        expect(await backend.head('k')).toBeNull();
      });
    });

    describe('a SHA-256', () => {
      it.each([20, 2 * mib])('that is not the one of the %i bytes stores nothing', async (size) => {
        const sha256 = createHash('sha256').update('other bytes').digest('hex');
        expect(await kindOf(put('k', someBytes(size), { sha256 }))).toBe('bad-digest');
        expect(await backend.head('k')).toBeNull();
      });

      it.each([0, 20, 2 * mib])('that is the one of the %i bytes is accepted', async (size) => {
        const bytes = someBytes(size);
        await put('k', bytes, { sha256: createHash('sha256').update(bytes).digest('hex') });
        expect((await read('k')).equals(bytes)).toBe(true);
      });
    });

    describe('conditions', () => {
      it.each([20, mib])('ifAbsent refuses to overwrite with %i bytes', async (size) => {
        await put('k', someBytes(size, 1), { ifAbsent: true });
        expect(await kindOf(put('k', someBytes(size, 2), { ifAbsent: true }))).toBe('precondition');
        expect((await read('k')).equals(someBytes(size, 1))).toBe(true);
      });

      it('ifMatch overwrites only the very bytes', async () => {
        const { etag } = await put('k', 'one');
        await put('k', 'two', { ifMatch: etag });
        expect(await kindOf(put('k', 'three', { ifMatch: etag }))).toBe('precondition');
        expect((await read('k')).toString()).toBe('two');
        expect(await kindOf(put('missing', 'x', { ifMatch: etag }))).toBe('not-found');
      });

      it('get with ifMatch reads only the very bytes', async () => {
        const { etag } = await put('k', 'one');
        expect((await collect((await backend.get('k', { ifMatch: etag })).body)).toString()).toBe('one');
        await put('k', 'two');
        expect(await kindOf(backend.get('k', { ifMatch: etag }))).toBe('precondition');
        expect(await kindOf(backend.get('missing', { ifMatch: etag }))).toBe('not-found');
      });

      it('delete with ifMatch deletes only the very bytes', async () => {
        const { etag } = await put('k', 'one');
        await put('k', 'two');
        expect(await backend.delete([{ storageKey: 'k', ifMatch: etag }])).toEqual([{ outcome: 'changed' }]);
        expect((await read('k')).toString()).toBe('two');
        const { etag: second } = (await backend.head('k'))!;
        expect(await backend.delete([{ storageKey: 'k', ifMatch: second }])).toEqual([{ outcome: 'deleted' }]);
        expect(await backend.head('k')).toBeNull();
        expect(await backend.delete([{ storageKey: 'k', ifMatch: second }])).toEqual([{ outcome: 'deleted' }]);
      });
    });

    describe('delete', () => {
      it('answers for every key in order, whether or not it was there', async () => {
        for (const key of oddKeys) await put(key, key);
        const { etag } = await put('conditional', 'x');
        const requests = [
          ...oddKeys.map((storageKey) => ({ storageKey })),
          { storageKey: 'conditional', ifMatch: '"another"' },
          { storageKey: 'never was' },
          { storageKey: 'conditional', ifMatch: etag },
        ];
        const outcomes = await backend.delete(requests);
        expect(outcomes.map((o) => o.outcome)).toEqual([
          ...oddKeys.map(() => 'deleted'),
          'changed',
          'deleted',
          'deleted',
        ]);
        expect((await backend.list({})).items).toEqual([]);
      });

      it('touches nothing but the key it names', async () => {
        for (const key of ['a', 'a/', 'a/b', 'a ', 'ab', 'A']) await put(key, key);
        await backend.delete([{ storageKey: 'a' }]);
        const left = (await backend.list({})).items.map((item) => item.storageKey);
        expect(left).toEqual(['A', 'a ', 'a/', 'a/b', 'ab']);
      });

      it('of nothing answers nothing', async () => {
        expect(await backend.delete([])).toEqual([]);
      });
    });

    describe('list', () => {
      const inOrder = [...oddKeys].sort(compareUtf8);
      const pages = async (options: { prefix?: string; limit?: number }) => {
        const found: ListPage[] = [];
        let after: string | undefined;
        do {
          const page = await backend.list({ ...options, ...(after === undefined ? {} : { after }) });
          found.push(page);
          after = page.next;
        } while (after !== undefined);
        return found;
      };
      const keys = (found: readonly ListPage[]) => found.flatMap((page) => page.items.map((item) => item.storageKey));

      it('describes what is stored', async () => {
        const { etag } = await put('k', 'bytes');
        const { items, next } = await backend.list({});
        expect(items).toEqual([
          { storageKey: 'k', sizeBytes: 5, etag, lastModified: (await backend.head('k'))!.lastModified },
        ]);
        expect(next).toBeUndefined();
      });

      it('of an empty bucket is one page without a next', async () => {
        expect(await backend.list({})).toEqual({ items: [] });
        expect(await backend.list({ prefix: 'none/' })).toEqual({ items: [] });
      });

      it.each([1, 3, 1000, 5000])('in pages of %i holds every key once, in the order of their bytes', async (limit) => {
        for (const key of oddKeys) await put(key, key);
        const found = await pages({ limit });
        expect(keys(found)).toEqual(inOrder);
        expect(found.every((page) => page.items.length <= limit)).toBe(true);
        expect(found).toHaveLength(Math.ceil(oddKeys.length / limit));
      });

      it('under a prefix holds the keys that begin with it, however they go on', async () => {
        for (const key of oddKeys) await put(key, key);
        for (const prefix of ['a', 'a/', '../', ' ', '\u00e9', 'caf', '%', '+', 'tab\t']) {
          expect(keys(await pages({ prefix, limit: 2 }))).toEqual(inOrder.filter((key) => key.startsWith(prefix)));
        }
      });

      it('goes on after a page although its last key has been deleted since', async () => {
        for (const key of ['a', 'b', 'c', 'd']) await put(key, key);
        const first = await backend.list({ limit: 2 });
        await backend.delete([{ storageKey: 'b' }, { storageKey: 'c' }]);
        const second = await backend.list({ limit: 2, after: first.next! });
        expect(keys([second])).toEqual(['d']);
      });
    });

    describe('multipart', () => {
      const begin = async (storageKey: string, bytes: readonly Uint8Array[]) => {
        const headers = { contentType: 'text/x-parts' };
        const { uploadId } = await backend.createUpload({ storageKey, headers, metadata: { mark: 'm' } });
        for (const [i, part] of bytes.entries()) {
          const body = inChunks(part, [50_000]);
          await backend.uploadPart({ storageKey, uploadId, partNumber: i + 1, sizeBytes: part.length, body });
        }
        return uploadId;
      };

      it('puts the parts together, with the headers and metadata of the upload', async () => {
        const parts = [someBytes(5 * mib, 1), someBytes(5 * mib + 3, 2), someBytes(11, 3)];
        const uploadId = await begin('big/\u00e9 +', parts);
        const listed = await backend.listParts('big/\u00e9 +', uploadId);
        expect(listed.map((part) => [part.partNumber, part.sizeBytes])).toEqual(parts.map((p, i) => [i + 1, p.length]));
        const { etag } = await backend.completeUpload({ storageKey: 'big/\u00e9 +', uploadId, parts: listed });
        const found = await backend.get('big/\u00e9 +');
        expect((await collect(found.body)).equals(Buffer.concat(parts))).toBe(true);
        expect(found).toMatchObject({ etag, metadata: { mark: 'm' }, headers: { contentType: 'text/x-parts' } });
        expect(etag).toMatch(/^"[0-9a-f]{32}-3"$/);
        expect(await backend.openUploads('big/\u00e9 +')).toEqual([]);
      });

      it('shows nothing before it is completed, and nothing after it is aborted', async () => {
        const uploadId = await begin('k', [someBytes(100)]);
        expect(await backend.head('k')).toBeNull();
        await backend.abortUpload('k', uploadId);
        expect(await backend.head('k')).toBeNull();
        expect(await backend.openUploads('k')).toEqual([]);
        await backend.abortUpload('k', uploadId);
      });

      it('answers no-upload for one that is not open', async () => {
        const uploadId = await begin('k', [someBytes(100)]);
        await backend.abortUpload('k', uploadId);
        const part = { storageKey: 'k', uploadId, partNumber: 1, sizeBytes: 1, body: bodyOf(Buffer.from('x')) };
        expect(await kindOf(backend.uploadPart(part))).toBe('no-upload');
        expect(await kindOf(backend.listParts('k', uploadId))).toBe('no-upload');
        const parts = [{ partNumber: 1, etag: '"x"', sizeBytes: 1 }];
        expect(await kindOf(backend.completeUpload({ storageKey: 'k', uploadId, parts }))).toBe('no-upload');
      });

      it('rejects parts that were not uploaded, are out of order or too small, and stays open', async () => {
        const uploadId = await begin('k', [someBytes(100), someBytes(100)]);
        const [one, two] = await backend.listParts('k', uploadId);
        for (const parts of [[{ ...one!, etag: '"0123"' }], [two!, one!], [one!, two!]]) {
          expect(await kindOf(backend.completeUpload({ storageKey: 'k', uploadId, parts }))).toBe('rejected');
        }
        await backend.completeUpload({ storageKey: 'k', uploadId, parts: [two!] });
        expect((await read('k')).equals(someBytes(100))).toBe(true);
      });

      it('replaces a part that is sent again', async () => {
        const uploadId = await begin('k', [someBytes(100, 1)]);
        const again = { storageKey: 'k', uploadId, partNumber: 1, sizeBytes: 3, body: bodyOf(Buffer.from('two')) };
        const { etag } = await backend.uploadPart(again);
        await backend.completeUpload({ storageKey: 'k', uploadId, parts: [{ partNumber: 1, etag, sizeBytes: 3 }] });
        expect((await read('k')).toString()).toBe('two');
      });

      it.each([20, mib])('leaves out a part of %i bytes whose source fails', async (size) => {
        const uploadId = await begin('k', []);
        const cause = new Error('broke');
        const part = {
          storageKey: 'k',
          uploadId,
          partNumber: 1,
          sizeBytes: size,
          body: failingAfter(someBytes(size), cause),
        };
        expect(await backend.uploadPart(part).catch((e: unknown) => e)).toMatchObject({ kind: 'body', cause });
        expect(await backend.listParts('k', uploadId)).toEqual([]);
      });

      it('finds the open uploads of exactly one key', async () => {
        const one = await begin('uploads/k', []);
        const two = await begin('uploads/k', [someBytes(10)]);
        await begin('uploads/k2', []);
        await begin('uploads/k/', []);
        expect([...(await backend.openUploads('uploads/k'))].sort()).toEqual([one, two].sort());
      });
    });

    describe('cancellation', () => {
      it('before a call sends nothing', async () => {
        await put('k', 'x');
        const signal = AbortSignal.abort(new Error('out of time'));
        const body = bodyOf(Buffer.from('y'));
        for (const call of [
          () => backend.get('k', {}, signal),
          () => backend.head('k', signal),
          () => backend.list({}, signal),
          () => backend.put({ storageKey: 'k', sizeBytes: 1, body }, signal),
          () => backend.delete([{ storageKey: 'k' }], signal),
          () => backend.createUpload({ storageKey: 'k' }, signal),
          () => backend.openUploads('k', signal),
        ]) {
          expect(await kindOf(call())).toBe('cancelled');
        }
        expect((await read('k')).toString()).toBe('x');
      });
    });
  });
}

/** The kind a call failed with; `none` when it did not. */
export async function kindOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'none';
  } catch (error) {
    return error instanceof BackendError ? error.kind : `not a BackendError: ${String(error)}`;
  }
}

/** Bytes that differ everywhere and by seed. */
export function someBytes(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed;
  for (let i = 0; i < size; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** The bytes in chunks of these sizes, over and over. */
export async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): Body {
  let from = 0;
  for (let i = 0; from < bytes.length; i += 1) {
    const size = sizes[i % sizes.length]!;
    yield bytes.subarray(from, from + size);
    from += size;
  }
}

/** Gives these bytes, then throws. */
export async function* failingAfter(bytes: Uint8Array, error: Error): Body {
  yield* inChunks(bytes, [64 * kib]);
  throw error;
}
