import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { collect, compareUtf8 } from '../../lib/base/bytes.ts';
import type { BackendError } from '../../lib/fleet/backend.ts';
import { type Access, oddKeys } from './backend-access.ts';
import { failingAfter, inChunks, kindOf, someBytes } from './backend-bytes.ts';

const mib = 1024 * 1024;

/** Writes that must not happen, and deletes. */
export function writesContract(on: Access): void {
  describe('a source of bytes that fails', () => {
    const sizes = [20, 2 * mib];
    /** Never the whole: that would pass for what was meant. */
    const expectNothingWhole = async (size: number) => {
      const found = await on.backend.head('k');
      if (found === null || !on.lacks('discardsTruncated')) return expect(found).toBeNull();
      expect(found.sizeBytes).toBeLessThan(size);
      await on.backend.delete([{ storageKey: 'k' }]);
    };

    it.each(sizes)('stores nothing of %i bytes when it throws midway, and is blamed', async (size) => {
      const cause = new Error('the disk broke');
      const bytes = someBytes(size);
      const error = await on.backend
        .put({ storageKey: 'k', sizeBytes: size, body: failingAfter(bytes.subarray(0, size / 2), cause) })
        .catch((e: unknown) => e as BackendError);
      expect(error).toMatchObject({ kind: 'body', cause });
      await expectNothingWhole(size);
    });

    it.each(sizes)('stores nothing of %i bytes when it throws after the last one', async (size) => {
      const cause = new Error('the digest is another');
      const request = { storageKey: 'k', sizeBytes: size, body: failingAfter(someBytes(size), cause) };
      expect(await on.backend.put(request).catch((e: unknown) => e)).toMatchObject({ kind: 'body', cause });
      await expectNothingWhole(size);
    });

    it.each(sizes)('stores nothing when it gives fewer or more than %i bytes', async (size) => {
      for (const actual of [size - 1, size + 1, 0]) {
        const request = { storageKey: 'k', sizeBytes: size, body: inChunks(someBytes(actual), [65536]) };
        expect(await kindOf(on.backend.put(request))).toBe('body');
        await expectNothingWhole(size);
      }
    });

    it('is left as it was found: what was there before stays', async () => {
      await on.put('k', 'before');
      const body = failingAfter(someBytes(mib), new Error('broke'));
      expect(await kindOf(on.backend.put({ storageKey: 'k', sizeBytes: 2 * mib, body }))).toBe('body');
      const left = await on.read('k');
      // Holdfast writes over nothing but its own owner object, which is sent at once.
      if (left.toString() !== 'before' && on.lacks('discardsTruncated')) expect(left.length).toBeLessThan(2 * mib);
      else expect(left.toString()).toBe('before');
    });

    it('reads the body of an empty object to its end', async () => {
      expect(await kindOf(on.put('k', '', { body: failingAfter(Buffer.alloc(0), new Error('broke')) }))).toBe('body');
      expect(await on.backend.head('k')).toBeNull();
    });
  });

  describe('a SHA-256', () => {
    it.each([20, 2 * mib])('that is not the one of the %i bytes stores nothing', async (size) => {
      const sha256 = createHash('sha256').update('other bytes').digest('hex');
      const put = on.put('k', someBytes(size), { sha256 });
      // Where nothing checks it, nothing is attested either: what was written is read back.
      if (on.lacks('checksumSha256') && (await kindOf(put)) === 'none')
        return expect(await put).not.toHaveProperty('sha256');
      expect(await kindOf(put)).toBe('bad-digest');
      expect(await on.backend.head('k')).toBeNull();
    });

    it.each([0, 20, 2 * mib])('that is the one of the %i bytes is accepted and attested', async (size) => {
      const bytes = someBytes(size);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const isChecked = !on.lacks('checksumSha256');
      expect(on.backend.checksSha256).toBe(isChecked);
      expect((await on.put('k', bytes, { sha256 })) as object).toEqual(
        expect.objectContaining(isChecked ? { sha256 } : { etag: expect.any(String) }),
      );
      expect(await on.put('k', bytes)).not.toHaveProperty('sha256');
      expect((await on.read('k')).equals(bytes)).toBe(true);
    });
  });

  describe('conditions', () => {
    it.each([20, mib])('ifAbsent refuses to overwrite with %i bytes', async (size) => {
      await on.put('k', someBytes(size, 1), { ifAbsent: true });
      const kind = await kindOf(on.put('k', someBytes(size, 2), { ifAbsent: true }));
      // None is sent where it would be ignored: nothing relies on it there.
      if (on.lacks('conditionalPut')) return expect(kind).toBe('none');
      // One that hangs up on a body it does not want may be gone before its answer is read.
      if (kind === 'unavailable' && on.can !== undefined) on.differs('hangsUp');
      else expect(kind).toBe('precondition');
      expect((await on.read('k')).equals(someBytes(size, 1))).toBe(true);
    });

    it('ifAbsent has a whole of parts stand only where nothing stands, and leaves the upload open', async () => {
      if (on.lacks('maxParts')) return expect(on.backend.maxParts).toBe(0);
      const isHeeded = !on.lacks('conditionalCompletion');
      await on.put('taken', 'one');
      for (const storageKey of ['taken', 'free']) {
        const { uploadId } = await on.backend.createUpload({ storageKey });
        const body = inChunks(someBytes(3), [3]);
        const { etag } = await on.backend.uploadPart({ storageKey, uploadId, partNumber: 1, sizeBytes: 3, body });
        const parts = [{ partNumber: 1, etag, sizeBytes: 3 }];
        const completed = kindOf(on.backend.completeUpload({ storageKey, uploadId, parts, ifAbsent: true }));
        expect(await completed).toBe(storageKey === 'taken' && isHeeded ? 'precondition' : 'none');
        expect(await on.backend.openUploads(storageKey)).toEqual(storageKey === 'taken' && isHeeded ? [uploadId] : []);
        await on.backend.abortUpload(storageKey, uploadId);
      }
      if (isHeeded) expect((await on.read('taken')).toString()).toBe('one');
      expect((await on.read('free')).equals(someBytes(3))).toBe(true);
    });

    it('ifMatch has a whole of parts overwrite only the very bytes', async () => {
      if (on.lacks('maxParts')) return expect(on.backend.maxParts).toBe(0);
      const isHeeded = !on.lacks('conditionalCompletion');
      const { etag: etagBefore } = await on.put('k', 'one');
      const { uploadId } = await on.backend.createUpload({ storageKey: 'k' });
      const part = { storageKey: 'k', uploadId, partNumber: 1, sizeBytes: 3 };
      const { etag } = await on.backend.uploadPart({ ...part, body: inChunks(someBytes(3), [3]) });
      const complete = (ifMatch: string) =>
        kindOf(on.backend.completeUpload({ ...part, parts: [{ partNumber: 1, etag, sizeBytes: 3 }], ifMatch }));
      if (isHeeded) {
        expect(await complete('"00000000000000000000000000000000"')).toBe('precondition');
        expect((await on.read('k')).toString()).toBe('one');
      }
      expect(await complete(etagBefore)).toBe('none');
      expect((await on.read('k')).equals(someBytes(3))).toBe(true);
    });

    it('ifMatch overwrites only the very bytes', async () => {
      const { etag } = await on.put('k', 'one');
      await on.put('k', 'two', { ifMatch: etag });
      const kind = await kindOf(on.put('k', 'three', { ifMatch: etag }));
      if (on.lacks('conditionalPut')) return expect(kind).toBe('none');
      expect(kind).toBe('precondition');
      expect((await on.read('k')).toString()).toBe('two');
      const missing = await kindOf(on.put('missing', 'x', { ifMatch: etag }));
      if (missing === 'precondition' && on.can !== undefined) on.differs('missingIsChanged');
      else expect(missing).toBe('not-found');
      expect(await on.backend.head('missing')).toBeNull();
    });

    it('get with ifMatch reads only the very bytes', async () => {
      const { etag } = await on.put('k', 'one');
      expect((await collect((await on.backend.get('k', { ifMatch: etag })).body)).toString()).toBe('one');
      await on.put('k', 'two');
      expect(await kindOf(on.backend.get('k', { ifMatch: etag }))).toBe('precondition');
      expect(await kindOf(on.backend.get('missing', { ifMatch: etag }))).toBe('not-found');
    });

    it('delete with ifMatch deletes only the very bytes', async () => {
      const { etag } = await on.put('k', 'one');
      await on.put('k', 'two');
      const refused = await on.backend.delete([{ storageKey: 'k', ifMatch: etag }]);
      if (on.lacks('conditionalDelete')) {
        expect(refused).toMatchObject([{ outcome: 'failed', error: { kind: 'unsupported' } }]);
        return expect((await on.read('k')).toString()).toBe('two');
      }
      expect(refused).toEqual([{ outcome: 'changed' }]);
      expect((await on.read('k')).toString()).toBe('two');
      const { etag: second } = (await on.backend.head('k'))!;
      expect(await on.backend.delete([{ storageKey: 'k', ifMatch: second }])).toEqual([{ outcome: 'deleted' }]);
      expect(await on.backend.head('k')).toBeNull();
      expect(await on.backend.delete([{ storageKey: 'k', ifMatch: second }])).toEqual([{ outcome: 'deleted' }]);
    });
  });

  describe('delete', () => {
    it('answers for every key in order, whether or not it was there', async () => {
      const taken = await on.putTaken(oddKeys);
      await on.put('changed', 'x');
      const { etag } = await on.put('conditional', 'x');
      const isConditional = !on.lacks('conditionalDelete');
      const requests = [
        ...taken.map((storageKey) => ({ storageKey })),
        { storageKey: 'changed', ifMatch: '"another"' },
        { storageKey: 'never was' },
        { storageKey: 'conditional', ...(isConditional && { ifMatch: etag }) },
      ];
      const outcomes = await on.backend.delete(requests);
      expect(outcomes.map((o) => o.outcome)).toEqual([
        ...taken.map(() => 'deleted'),
        isConditional ? 'changed' : 'failed',
        'deleted',
        'deleted',
      ]);
      expect((await on.backend.list({})).items.map((item) => item.storageKey)).toEqual(['changed']);
    });

    it('touches nothing but the key it names', async () => {
      const taken = await on.putTaken(['a', 'a/', 'a/b', 'a ', 'ab', 'A']);
      await on.backend.delete([{ storageKey: 'a' }]);
      const left = (await on.backend.list({})).items.map((item) => item.storageKey);
      expect(left.sort(compareUtf8)).toEqual(taken.filter((key) => key !== 'a').sort(compareUtf8));
    });

    it('of nothing answers nothing', async () => {
      expect(await on.backend.delete([])).toEqual([]);
    });
  });
}
