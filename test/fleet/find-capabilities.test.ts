import { PutBucketVersioningCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../lib/base/clock.ts';
import { createIds } from '../../lib/base/ids.ts';
import { findCapabilities } from '../../lib/fleet/find-capabilities.ts';
import { connectS3 } from '../../lib/fleet/s3/connection.ts';
import { kindOf } from '../contracts/backend-bytes.ts';
import { bucket, everything, type S3Kit, startS3 } from './s3-kit.ts';

describe('capabilities', () => {
  let kit: S3Kit;
  beforeAll(async () => {
    kit = await startS3();
  });
  beforeEach(() => kit.reset());
  afterAll(() => kit.close());

  const find = (more: object = {}) =>
    findCapabilities({ ...kit.options, prefix: 'our own+/', ...more }, { ids: createIds(systemClock) });
  const left = async () => (await kit.connect().list({})).items;

  it('finds what a bucket can do, and leaves nothing behind [capabilities-by-trying]', async () => {
    expect(await find()).toEqual(everything);
    expect(await left()).toEqual([]);
  });

  it.each([
    ['conditional-put', { conditionalPut: false, conditionalCompletion: false, conditionalCopies: false }],
    ['conditional-completion', { conditionalCompletion: false }],
    ['conditional-copy', { conditionalCopies: false }],
    ['conditional-delete', { conditionalDelete: false }],
    // A copy asks for one.
    ['checksum', { checksumSha256: false, attestsCopies: false }, { conditionalCopies: false }],
  ] as const)(
    'takes %s for missing where it is refused, and where it is silently ignored',
    async (feature, missing, refusedToo: object = {}) => {
      for (const answer of ['not-implemented', 'silently-ignore'] as const) {
        kit.server.faults.add({ id: 'missing', kind: 'reject-feature', feature, answer });
        const also = answer === 'not-implemented' ? refusedToo : {};
        expect(await find()).toEqual({ ...everything, ...missing, ...also });
        expect(await left()).toEqual([]);
      }
    },
  );

  it.each([
    ['DeleteObjects', { bulkDelete: false }],
    ['part-copy', { partCopy: false }],
    ['CopyObject', { attestsCopies: false, conditionalCopies: false }],
  ] as const)('takes %s for missing where it is refused', async (feature, missing) => {
    kit.server.faults.add({ kind: 'reject-feature', feature });
    expect(await find()).toEqual({ ...everything, ...missing });
    expect(await left()).toEqual([]);
  });

  it('finds that user metadata is dropped', async () => {
    kit.server.faults.add({ kind: 'drop-metadata' });
    const { metadataBytes: _none, ...others } = everything;
    expect(await find()).toEqual({ ...others, keepsMetadata: false, attestsCopies: false, maxParts: 0 });
  });

  it('finds that no upload in parts can be begun, or completed', async () => {
    const none = { partCopy: false, conditionalCompletion: false, maxParts: 0 };
    kit.server.faults.add({ id: 'none', kind: 'reject-feature', feature: 'multipart' });
    expect(await find()).toEqual({ ...everything, ...none, namesGoneUploads: false });
    const match = { operation: 'CompleteMultipartUpload' };
    kit.server.faults.add({ id: 'none', kind: 'error', status: 500, code: 'InternalError', match });
    expect(await find({ attempts: 1 })).toEqual({ ...everything, ...none, namesGoneUploads: false });
    expect(await left()).toEqual([]);
  });

  it('finds which forms of keys are refused', async () => {
    const [dots, empty, slash] = ['(^|/)\\.\\.?(/|$)', '//', '/$'];
    kit.server.faults.add({ kind: 'refuse-keys', pattern: `${dots}|${slash}` });
    const refused = { takesDotSegments: false, takesTrailingSlash: false };
    expect(await find()).toEqual({ ...everything, ...refused });
    kit.server.faults.add({ kind: 'refuse-keys', pattern: `${empty}|[\\u0000-\\u001f]` });
    const more = { takesEmptySegments: false, takesControlCharacters: false };
    expect(await find()).toEqual({ ...everything, ...refused, ...more });
    expect(await left()).toEqual([]);
  });

  it('finds that keys are taken for paths, and removes what they became', async () => {
    kit.server.faults.add({ kind: 'resolve-paths' });
    expect(await find()).toEqual({
      ...everything,
      takesDotSegments: false,
      takesEmptySegments: false,
      takesBackslashes: false,
    });
    kit.server.faults.clear();
    expect(await left()).toEqual([]);
  });

  it('finds that a listing names keys otherwise than they were written', async () => {
    kit.server.faults.add({ kind: 'hide-encoding', match: { operation: 'ListObjectsV2' } });
    expect(await find()).toMatchObject({ keepsKeys: false });
  });

  it('says of a bucket that lets nobody list it that its pages are not whole, and nothing of its keys', async () => {
    const match = { operation: 'ListObjectsV2' };
    kit.server.faults.add({ kind: 'error', status: 403, code: 'AccessDenied', match });
    const can = await find();
    expect(can).toMatchObject({ pagesWhole: false, listsInByteOrder: false });
    expect(can).not.toHaveProperty('keepsKeys');
  });

  it('finds that the pages of a listing do not end', async () => {
    kit.server.faults.add({ kind: 'loop-tokens' });
    expect(await find()).toEqual(everything); // it is asked for what is behind a key
    kit.server.faults.add({ kind: 'reject-feature', feature: 'start-after', answer: 'silently-ignore' });
    expect(await find()).toEqual({ ...everything, startsAfterKeys: false, pagesWhole: false });
  });

  it('finds that headers come back as others, and that what broke off is kept', async () => {
    kit.server.faults.add({ kind: 'fold-headers' });
    kit.server.faults.add({ kind: 'keep-truncated' });
    expect(await find()).toEqual({ ...everything, keepsHeaders: false, discardsTruncated: false });
    expect(await left()).toEqual([]);
  });

  it('takes versions that are named and not kept for none, and copies without a condition for none', async () => {
    kit.server.faults.add({ kind: 'name-versions' });
    kit.server.faults.add({ kind: 'reject-feature', feature: 'versioning' });
    kit.server.faults.add({ kind: 'reject-feature', feature: 'copy-condition', answer: 'silently-ignore' });
    expect(await find()).toEqual({ ...everything, attestsCopies: false });
  });

  it('finds that versions are kept, and leaves none of them', async () => {
    const versioned = await startS3();
    try {
      const s3 = connectS3({ ...versioned.options, capabilities: {} });
      const VersioningConfiguration = { Status: 'Enabled' as const };
      await (await s3.sdk()).once.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }));
      s3.close();
      expect(await findCapabilities(versioned.options, { ids: createIds(systemClock) })).toEqual({
        ...everything,
        keepsVersions: true,
      });
      expect(await versioned.versions()).toEqual([]);
    } finally {
      await versioned.close();
    }
  });

  it('throws on a backend that gives back other bytes than it was sent', async () => {
    kit.server.faults.add({ kind: 'corrupt', match: { operation: 'GetObject' } });
    await expect(find()).rejects.toThrow('Backend "cold-1" stores other bytes than it was sent');
    expect(await left()).toEqual([]);
  });

  it('throws what keeps it from asking, instead of calling it a missing feature', async () => {
    kit.server.faults.add({ kind: 'throttle', match: { operation: 'DeleteObjects' } });
    expect(await kindOf(find({ attempts: 1 }))).toBe('throttled');
    kit.server.faults.clear();
    kit.server.faults.add({ kind: 'error', status: 500, code: 'InternalError' });
    expect(await kindOf(find({ attempts: 1 }))).toBe('unavailable');
    kit.server.faults.clear();
    expect(await kindOf(find({ bucket: 'missing-bucket' }))).toBe('no-bucket');
    expect(await kindOf(find({ credentials: { accessKeyId: 'NOBODY', secretAccessKey: 'x' } }))).toBe('credentials');
  });

  it.each([
    [500, 'InternalError'],
    [403, 'AccessDenied'],
    [400, 'InvalidArgument'],
    [501, 'NotImplemented'],
  ])(
    'takes what is refused with %i for missing while ordinary writes work [capabilities-by-trying]',
    async (status, code) => {
      const refused = (operation: string) =>
        kit.server.faults.add({ kind: 'error', status, code, match: { operation } });
      for (const operation of ['UploadPartCopy', 'CopyObject', 'GetObjectTagging', 'ListObjectVersions'])
        refused(operation);
      expect(await find({ attempts: 1 })).toEqual({
        ...everything,
        partCopy: false,
        attestsCopies: false,
        conditionalCopies: false,
        tags: false,
      });
      expect(await left()).toEqual([]);
    },
  );

  it('finds that a key cannot be below another, refused or missing, and asks that of no other capability', async () => {
    kit.server.faults.add({ kind: 'refuse-nested' });
    expect(await find()).toEqual({ ...everything, takesNestedKeys: false });
    expect(await left()).toEqual([]);
  });

  it('deletes with the credentials for deleting', async () => {
    const deleteCredentials = { accessKeyId: 'NOBODY', secretAccessKey: 'x' };
    expect(await kindOf(find({ deleteCredentials }))).toBe('credentials');
  });
});
