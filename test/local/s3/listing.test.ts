import { createHash } from 'node:crypto';
import {
  ListObjectsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { beforeAll, describe, expect, test } from 'vitest';
import { bodyOf } from '../../../lib/base/bytes.ts';
import { systemClock } from '../../../lib/base/clock.ts';
import { forEachConcurrently } from '../../../lib/base/pool.ts';
import { createS3Backend } from '../../../lib/fleet/s3-backend.ts';
import { failureOf, KEYS, kitForFile } from './kit.ts';

const kit = kitForFile({ buckets: ['many', 'tree', 'empty'] });

const fill = async (Bucket: string, keys: readonly string[]) => {
  await forEachConcurrently(keys, 20, async (Key) => {
    await kit.client.send(new PutObjectCommand({ Bucket, Key, Body: Key }));
  });
};
/** The same with our own client, which takes a fraction of the time: for so many keys that it counts. */
const fillMany = async (bucket: string, keys: readonly string[]) => {
  const { endpoint } = kit.server;
  const place = { endpoint, region: 'us-east-1', bucket, prefix: '', pathStyle: true, credentials: KEYS };
  const backend = createS3Backend({ name: bucket, ...place, capabilities: {}, clock: systemClock });
  await forEachConcurrently(keys, 20, async (storageKey) => {
    await backend.put({ storageKey, sizeBytes: storageKey.length, body: bodyOf(Buffer.from(storageKey)) });
  });
  backend.close();
};
const list = (input: ListObjectsV2CommandInput) => kit.client.send(new ListObjectsV2Command(input));
const walk = async (input: ListObjectsV2CommandInput) => {
  const pages: string[][] = [];
  let ContinuationToken: string | undefined;
  do {
    const page = await list({ ...input, ContinuationToken });
    const names = [
      ...(page.Contents ?? []).map(({ Key = '' }) => Key),
      ...(page.CommonPrefixes ?? []).map(({ Prefix = '' }) => Prefix),
    ];
    expect(page.KeyCount).toBe(names.length);
    expect(page.IsTruncated).toBe(page.NextContinuationToken !== undefined);
    // The two lists of a page, merged back into one order.
    pages.push(names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    ContinuationToken = page.NextContinuationToken;
  } while (ContinuationToken);
  return pages;
};

describe('a bucket of 1,234 keys', () => {
  const keys = Array.from({ length: 1234 }, (_, i) => `k/${i}`);
  beforeAll(() => fillMany('many', keys));

  test('is listed whole and in order, a thousand to a page', async () => {
    const pages = await walk({ Bucket: 'many' });
    expect(pages.map((page) => page.length)).toEqual([1000, 234]);
    expect(pages.flat()).toEqual(keys.toSorted());
  });

  test('is listed the same in pages of 100, and never in more than 1000', async () => {
    expect((await walk({ Bucket: 'many', MaxKeys: 100 })).flat()).toEqual(keys.toSorted());
    const page = await list({ Bucket: 'many', MaxKeys: 5000 });
    expect([page.Contents?.length, page.MaxKeys]).toEqual([1000, 1000]);
  });

  test('goes on after a key, whether or not it exists', async () => {
    const keysAfter = async (StartAfter: string) =>
      (await list({ Bucket: 'many', StartAfter, MaxKeys: 2 })).Contents?.map(({ Key }) => Key);
    expect(await keysAfter('k/999')).toBeUndefined();
    expect(await keysAfter('k/997')).toEqual(['k/998', 'k/999']);
    expect(await keysAfter('k/9975')).toEqual(['k/998', 'k/999']);
  });

  test('can be counted with max-keys 0, which is never truncated', async () => {
    expect(await list({ Bucket: 'many', MaxKeys: 0 })).toMatchObject({ KeyCount: 0, IsTruncated: false });
  });
});

describe('prefixes and delimiters', () => {
  const keys = ['a', 'b/1', 'b/2', 'b/c/3', 'b/c/4', 'b0', 'c/', 'c/5', 'd//6', 'ü/7', '\uffee', '😀/8'];
  beforeAll(() => fill('tree', keys));

  test('a delimiter folds what lies below into common prefixes', async () => {
    const page = await list({ Bucket: 'tree', Delimiter: '/' });
    expect(page.Contents?.map(({ Key }) => Key)).toEqual(['a', 'b0', '\uffee']);
    expect(page.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(['b/', 'c/', 'd/', 'ü/', '😀/']);
  });

  test.each([1, 2, 3])('common prefixes count in pages of %i, and none comes twice', async (MaxKeys) => {
    const pages = await walk({ Bucket: 'tree', Delimiter: '/', MaxKeys });
    expect(pages.flat()).toEqual(['a', 'b/', 'b0', 'c/', 'd/', 'ü/', '\uffee', '😀/']);
    expect(pages.every((page) => page.length <= MaxKeys)).toBe(true);
  });

  test('a prefix narrows, and the delimiter is sought behind it', async () => {
    const page = await list({ Bucket: 'tree', Prefix: 'b/', Delimiter: '/' });
    expect(page.Contents?.map(({ Key }) => Key)).toEqual(['b/1', 'b/2']);
    expect(page.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(['b/c/']);
    expect((await list({ Bucket: 'tree', Prefix: 'c/', Delimiter: '/' })).Contents?.map(({ Key }) => Key)).toEqual([
      'c/',
      'c/5',
    ]);
    expect((await list({ Bucket: 'tree', Prefix: 'nothing' })).KeyCount).toBe(0);
  });

  test('a delimiter may be any string', async () => {
    const page = await list({ Bucket: 'tree', Delimiter: '/c/' });
    expect(page.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(['b/c/']);
  });

  test('the first version of the call pages by marker, without repeating a prefix', async () => {
    const seen: string[] = [];
    let Marker: string | undefined;
    do {
      const page = await kit.client.send(
        new ListObjectsCommand({ Bucket: 'tree', Delimiter: '/', MaxKeys: 1, Marker }),
      );
      seen.push(
        ...(page.Contents ?? []).map(({ Key = '' }) => Key),
        ...(page.CommonPrefixes ?? []).map(({ Prefix = '' }) => Prefix),
      );
      Marker = page.NextMarker;
    } while (Marker);
    expect(seen).toEqual(['a', 'b/', 'b0', 'c/', 'd/', 'ü/', '\uffee', '😀/']);
  });

  test('an entry tells size, ETag and class, and the owner on request', async () => {
    const one = async (more: object) => (await list({ Bucket: 'tree', Prefix: 'b0', ...more })).Contents?.[0];
    expect(await one({})).toMatchObject({
      Key: 'b0',
      Size: 2,
      ETag: `"${createHash('md5').update('b0').digest('hex')}"`,
      StorageClass: 'STANDARD',
    });
    expect((await one({}))?.Owner).toBeUndefined();
    expect((await one({ FetchOwner: true }))?.Owner?.ID).toBe('holdfast');
  });
});

test('an empty bucket lists nothing, a missing one is NoSuchBucket', async () => {
  expect(await list({ Bucket: 'empty' })).toMatchObject({ KeyCount: 0, IsTruncated: false });
  expect(await failureOf(list({ Bucket: 'missing' }))).toEqual({ name: 'NoSuchBucket', status: 404 });
});

test('a foreign continuation token and a bad max-keys are InvalidArgument', async () => {
  expect(await failureOf(list({ Bucket: 'tree', ContinuationToken: 'made up' }))).toEqual({
    name: 'InvalidArgument',
    status: 400,
  });
  expect(await failureOf(list({ Bucket: 'tree', MaxKeys: -1 }))).toEqual({ name: 'InvalidArgument', status: 400 });
});
