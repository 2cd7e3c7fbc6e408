import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import type { CompletedPart } from '../../lib/fleet/backend.ts';
import type { Access } from './backend-access.ts';
import { failingAfter, inChunks, kindOf, someBytes } from './backend-bytes.ts';

const mib = 1024 * 1024;

/** Multipart uploads. */
export function multipartContract(on: Access): void {
  describe('multipart', () => {
    const begin = async (storageKey: string, bytes: readonly Uint8Array[]) => {
      const headers = { contentType: 'text/x-parts' };
      const { uploadId } = await on.backend.createUpload({ storageKey, headers, metadata: { mark: 'm' } });
      for (const [i, part] of bytes.entries()) {
        const body = inChunks(part, [50_000]);
        await on.backend.uploadPart({ storageKey, uploadId, partNumber: i + 1, sizeBytes: part.length, body });
      }
      return uploadId;
    };

    /** It is used for objects alone that are written at once: of an upload nothing comes to stand there. */
    const expectRefused = async () => {
      expect(on.backend.maxParts).toBe(0);
      const uploadId = await begin('k', [someBytes(100)]).catch(() => '');
      if (uploadId !== '') {
        const parts = await on.backend.listParts('k', uploadId);
        expect(await kindOf(on.backend.completeUpload({ storageKey: 'k', uploadId, parts }))).not.toBe('none');
      }
      expect(await on.backend.head('k')).toBeNull();
    };

    it('puts the parts together, with the headers and metadata of the upload', async () => {
      if (on.lacks('maxParts')) return expectRefused();
      const parts = [someBytes(5 * mib, 1), someBytes(5 * mib + 3, 2), someBytes(11, 3)];
      const uploadId = await begin('big/\u00e9 +', parts);
      const listed = await on.backend.listParts('big/\u00e9 +', uploadId);
      expect(listed.map((part) => [part.partNumber, part.sizeBytes])).toEqual(parts.map((p, i) => [i + 1, p.length]));
      const { etag } = await on.backend.completeUpload({ storageKey: 'big/\u00e9 +', uploadId, parts: listed });
      const found = await on.backend.get('big/\u00e9 +');
      expect((await collect(found.body)).equals(Buffer.concat(parts))).toBe(true);
      expect(found).toMatchObject({ etag, metadata: { mark: 'm' }, headers: { contentType: 'text/x-parts' } });
      expect(etag).toMatch(/^"[0-9a-f]{32}-3"$/);
      expect(await on.backend.firstPartBytes?.('big/\u00e9 +')).toBe(5 * mib);
      expect(await on.backend.openUploads('big/\u00e9 +')).toEqual([]);
    });

    it('shows nothing before it is completed, and nothing after it is aborted', async () => {
      const uploadId = await begin('k', [someBytes(100)]);
      expect(await on.backend.head('k')).toBeNull();
      await on.backend.abortUpload('k', uploadId);
      expect(await on.backend.head('k')).toBeNull();
      expect(await on.backend.openUploads('k')).toEqual([]);
      await on.backend.abortUpload('k', uploadId);
    });

    it('answers no-upload for one that is not open', async () => {
      const uploadId = await begin('k', [someBytes(100)]);
      await on.backend.abortUpload('k', uploadId);
      const part = { storageKey: 'k', uploadId, partNumber: 1, sizeBytes: 1, body: bodyOf(Buffer.from('x')) };
      const parts = [{ partNumber: 1, etag: '"9dd4e461268c8034f5c8564e155c67a6"', sizeBytes: 1 }];
      const kinds = [
        await kindOf(on.backend.uploadPart(part)),
        await kindOf(on.backend.listParts('k', uploadId)),
        await kindOf(on.backend.completeUpload({ storageKey: 'k', uploadId, parts })),
      ];
      // Whatever it says of it, nothing comes of it.
      expect(await on.backend.head('k')).toBeNull();
      if (on.lacks('namesGoneUploads')) expect(kinds[2]).not.toBe('none');
      else expect(kinds).toEqual(['no-upload', 'no-upload', 'no-upload']);
    });

    it('rejects parts that were not uploaded, are out of order or too small, and stays open', async () => {
      if (on.lacks('maxParts')) return expectRefused();
      const uploadId = await begin('k', [someBytes(100, 1), someBytes(100, 2)]);
      const [one, two] = await on.backend.listParts('k', uploadId);
      const complete = (parts: CompletedPart[]) =>
        kindOf(on.backend.completeUpload({ storageKey: 'k', uploadId, parts }));
      for (const parts of [[{ ...one!, etag: '"0123"' }], [two!, one!]]) expect(await complete(parts)).toBe('rejected');
      const tooSmall = await complete([one!, two!]);
      if (tooSmall === 'none' && on.can !== undefined) {
        on.differs('takesSmallParts');
        return expect((await on.read('k')).equals(Buffer.concat([someBytes(100, 1), someBytes(100, 2)]))).toBe(true);
      }
      expect(tooSmall).toBe('rejected');
      // All parts that there are: some refuse to leave one out.
      const sizeBytes = 5 * mib;
      const body = inChunks(someBytes(sizeBytes), [sizeBytes]);
      const again = await on.backend.uploadPart({ storageKey: 'k', uploadId, partNumber: 1, sizeBytes, body });
      const parts = [{ partNumber: 1, etag: again.etag, sizeBytes }, two!];
      await on.backend.completeUpload({ storageKey: 'k', uploadId, parts });
      expect((await on.read('k')).equals(Buffer.concat([someBytes(sizeBytes), someBytes(100, 2)]))).toBe(true);
    });

    it('replaces a part that is sent again', async () => {
      if (on.lacks('maxParts')) return expectRefused();
      const uploadId = await begin('k', [someBytes(100, 1)]);
      const again = { storageKey: 'k', uploadId, partNumber: 1, sizeBytes: 3, body: bodyOf(Buffer.from('two')) };
      const { etag } = await on.backend.uploadPart(again);
      await on.backend.completeUpload({ storageKey: 'k', uploadId, parts: [{ partNumber: 1, etag, sizeBytes: 3 }] });
      expect((await on.read('k')).toString()).toBe('two');
    });

    it.each([20, mib])('leaves out a part of %i bytes whose source fails', async (size) => {
      if (on.lacks('maxParts')) return expectRefused();
      const uploadId = await begin('k', []);
      const cause = new Error('broke');
      const part = {
        storageKey: 'k',
        uploadId,
        partNumber: 1,
        sizeBytes: size,
        body: failingAfter(someBytes(size), cause),
      };
      expect(await on.backend.uploadPart(part).catch((e: unknown) => e)).toMatchObject({ kind: 'body', cause });
      const listed = await on.backend.listParts('k', uploadId);
      // A part is used only where its ETag is one that was answered.
      const [kept] = listed;
      if (kept && on.lacks('discardsTruncated')) expect(kept.etag).not.toContain(hash('md5', someBytes(size)));
      else expect(listed).toEqual([]);
    });

    it('finds the open uploads of exactly one key', async () => {
      const one = await begin('uploads/k', []);
      const two = await begin('uploads/k', [someBytes(10)]);
      await begin('uploads/k2', []);
      if (on.can === undefined) await begin('uploads/k/', []);
      else await begin('uploads/k/', []).catch(() => on.differs('refusesKey', 'uploads/k/'));
      expect([...(await on.backend.openUploads('uploads/k'))].sort()).toEqual([one, two].sort());
    });
  });
}
