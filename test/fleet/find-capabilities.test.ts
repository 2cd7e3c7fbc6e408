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
    ['multipart', { partCopy: false, conditionalCompletion: false }],
  ] as const)('takes %s for missing where it is refused', async (feature, missing) => {
    kit.server.faults.add({ kind: 'reject-feature', feature });
    expect(await find()).toEqual({ ...everything, ...missing });
    expect(await left()).toEqual([]);
  });

  it('finds that user metadata is dropped', async () => {
    kit.server.faults.add({ kind: 'drop-metadata' });
    const { metadataBytes: _none, ...others } = everything;
    expect(await find()).toEqual({ ...others, keepsMetadata: false, attestsCopies: false });
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

  it('writes nothing that would have to be a folder and a file at once', async () => {
    kit.server.requests.clear();
    await find();
    const keys = kit.server.requests.all().flatMap(({ operation, key }) => (operation === 'PutObject' ? [key!] : []));
    expect(keys.filter((key) => keys.some((other) => other.startsWith(`${key}/`)))).toEqual([]);
  });

  it('deletes with the credentials for deleting', async () => {
    const deleteCredentials = { accessKeyId: 'NOBODY', secretAccessKey: 'x' };
    expect(await kindOf(find({ deleteCredentials }))).toBe('credentials');
  });
});
