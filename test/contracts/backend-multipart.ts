import { describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
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

    it('puts the parts together, with the headers and metadata of the upload', async () => {
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
      expect(await kindOf(on.backend.uploadPart(part))).toBe('no-upload');
      expect(await kindOf(on.backend.listParts('k', uploadId))).toBe('no-upload');
      const parts = [{ partNumber: 1, etag: '"x"', sizeBytes: 1 }];
      expect(await kindOf(on.backend.completeUpload({ storageKey: 'k', uploadId, parts }))).toBe('no-upload');
    });

    it('rejects parts that were not uploaded, are out of order or too small, and stays open', async () => {
      const uploadId = await begin('k', [someBytes(100), someBytes(100)]);
      const [one, two] = await on.backend.listParts('k', uploadId);
      for (const parts of [[{ ...one!, etag: '"0123"' }], [two!, one!], [one!, two!]]) {
        expect(await kindOf(on.backend.completeUpload({ storageKey: 'k', uploadId, parts }))).toBe('rejected');
      }
      await on.backend.completeUpload({ storageKey: 'k', uploadId, parts: [two!] });
      expect((await on.read('k')).equals(someBytes(100))).toBe(true);
    });

    it('replaces a part that is sent again', async () => {
      const uploadId = await begin('k', [someBytes(100, 1)]);
      const again = { storageKey: 'k', uploadId, partNumber: 1, sizeBytes: 3, body: bodyOf(Buffer.from('two')) };
      const { etag } = await on.backend.uploadPart(again);
      await on.backend.completeUpload({ storageKey: 'k', uploadId, parts: [{ partNumber: 1, etag, sizeBytes: 3 }] });
      expect((await on.read('k')).toString()).toBe('two');
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
      expect(await on.backend.uploadPart(part).catch((e: unknown) => e)).toMatchObject({ kind: 'body', cause });
      expect(await on.backend.listParts('k', uploadId)).toEqual([]);
    });

    it('finds the open uploads of exactly one key', async () => {
      const one = await begin('uploads/k', []);
      const two = await begin('uploads/k', [someBytes(10)]);
      await begin('uploads/k2', []);
      await begin('uploads/k/', []);
      expect([...(await on.backend.openUploads('uploads/k'))].sort()).toEqual([one, two].sort());
    });
  });
}
