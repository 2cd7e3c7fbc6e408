import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  DeleteObjectTaggingCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  PutObjectTaggingCommand,
} from '@aws-sdk/client-s3';
import { beforeAll, describe, expect, test } from 'vitest';
import { BUCKET, failureOf, kitForFile, sendSigned } from './kit.ts';

const kit = kitForFile({ buckets: [BUCKET, 'other'] });

const Bucket = BUCKET;
const put = (Key: string, more: Partial<PutObjectCommandInput> = {}) =>
  kit.client.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ...more }));
const head = (Key: string) => kit.client.send(new HeadObjectCommand({ Bucket, Key }));
const tagsOf = async (Key: string) => (await kit.client.send(new GetObjectTaggingCommand({ Bucket, Key }))).TagSet;

const DESCRIBED = {
  ContentType: 'text/html; charset=utf-8',
  CacheControl: 'max-age=60',
  ContentDisposition: 'attachment; filename="a b.html"',
  ContentEncoding: 'gzip',
  ContentLanguage: 'de-AT',
  Metadata: { 'one-two': 'three  four', empty: '' },
};

describe('headers and metadata', () => {
  test('come back as they were given, across a restart', async () => {
    await put('described', { ...DESCRIBED, Expires: new Date('2030-01-01T00:00:00Z') });
    await kit.restart();
    const got = await head('described');
    expect(got).toMatchObject(DESCRIBED);
    expect(got.ExpiresString).toBe('Tue, 01 Jan 2030 00:00:00 GMT');
  });

  test('default to binary/octet-stream when nothing is said', async () => {
    const answer = await sendSigned(kit.server.endpoint, { method: 'PUT', path: `/${Bucket}/plain`, body: 'x' });
    expect(answer.status).toBe(200);
    expect((await head('plain')).ContentType).toBe('binary/octet-stream');
  });

  test('end at two kilobytes of metadata', async () => {
    await put('full', { Metadata: { a: 'v'.repeat(2047) } });
    expect(await failureOf(put('over', { Metadata: { a: 'v'.repeat(2048) } }))).toEqual({
      name: 'MetadataTooLarge',
      status: 400,
    });
  });

  test('can be overridden by the one who gets the object', async () => {
    await put('described-2', DESCRIBED);
    const input = {
      Bucket,
      Key: 'described-2',
      ResponseContentType: 'text/plain',
      ResponseContentDisposition: 'inline',
      ResponseCacheControl: 'no-store',
    };
    const got = await kit.client.send(new GetObjectCommand(input));
    expect(got).toMatchObject({ ContentType: 'text/plain', ContentDisposition: 'inline', CacheControl: 'no-store' });
    expect((await head('described-2')).ContentType).toBe(DESCRIBED.ContentType);
  });

  test('that promise what this server does not do are refused, not dropped', async () => {
    expect(await failureOf(put('sse', { ServerSideEncryption: 'aws:kms' }))).toEqual({
      name: 'NotImplemented',
      status: 501,
    });
    expect(await failureOf(put('acl', { ACL: 'public-read' }))).toEqual({
      name: 'AccessControlListNotSupported',
      status: 400,
    });
  });
});

describe('a copy', () => {
  const copy = (more: object) =>
    kit.client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/origin`, ...more }));
  beforeAll(() => put('origin', { ...DESCRIBED, Tagging: 'colour=blue&size=L' }));

  test('keeps headers, metadata and tags', async () => {
    await copy({});
    expect(await head('copy')).toMatchObject(DESCRIBED);
    expect(await tagsOf('copy')).toEqual([
      { Key: 'colour', Value: 'blue' },
      { Key: 'size', Value: 'L' },
    ]);
  });

  test('with REPLACE takes those of the request', async () => {
    await copy({
      MetadataDirective: 'REPLACE',
      Metadata: { fresh: 'yes' },
      ContentType: 'text/plain',
      TaggingDirective: 'REPLACE',
      Tagging: 'a=b',
    });
    const got = await head('copy');
    expect([got.Metadata, got.ContentType, got.CacheControl]).toEqual([{ fresh: 'yes' }, 'text/plain', undefined]);
    expect(await tagsOf('copy')).toEqual([{ Key: 'a', Value: 'b' }]);
  });

  test('onto itself must change something', async () => {
    const CopySource = `${Bucket}/origin`;
    const same = kit.client.send(new CopyObjectCommand({ Bucket, Key: 'origin', CopySource }));
    expect(await failureOf(same)).toEqual({ name: 'InvalidRequest', status: 400 });
    await kit.client.send(
      new CopyObjectCommand({
        Bucket,
        Key: 'origin',
        CopySource,
        MetadataDirective: 'REPLACE',
        Metadata: { now: 'changed' },
      }),
    );
    expect((await head('origin')).Metadata).toEqual({ now: 'changed' });
  });

  test('goes from bucket to bucket, and needs its source to be there', async () => {
    await kit.client.send(new CopyObjectCommand({ Bucket: 'other', Key: 'c', CopySource: `/${Bucket}/origin` }));
    expect((await kit.client.send(new HeadObjectCommand({ Bucket: 'other', Key: 'c' }))).ContentLength).toBe(1);
    expect(await failureOf(copy({ CopySource: `${Bucket}/missing` }))).toEqual({ name: 'NoSuchKey', status: 404 });
    expect(await failureOf(copy({ CopySource: 'missing-bucket/a' }))).toEqual({ name: 'NoSuchBucket', status: 404 });
    expect(await failureOf(copy({ CopySource: 'nonsense' }))).toEqual({ name: 'InvalidArgument', status: 400 });
  });
});

describe('tags', () => {
  test('are put, read, counted and removed', async () => {
    await put('tagged', { Tagging: 'a%20b=c%26d' });
    expect(await tagsOf('tagged')).toEqual([{ Key: 'a b', Value: 'c&d' }]);
    expect((await head('tagged')).TagCount).toBe(1);
    const TagSet = [
      { Key: 'x', Value: '1' },
      { Key: 'ü', Value: '<&>' },
    ];
    await kit.client.send(new PutObjectTaggingCommand({ Bucket, Key: 'tagged', Tagging: { TagSet } }));
    await kit.restart();
    expect(await tagsOf('tagged')).toEqual(TagSet);
    await kit.client.send(new DeleteObjectTaggingCommand({ Bucket, Key: 'tagged' }));
    expect(await tagsOf('tagged')).toEqual([]);
  });

  test('are InvalidTag past ten, twice the same, or too long', async () => {
    const eleven = Array.from({ length: 11 }, (_, i) => `k${i}=v`).join('&');
    for (const Tagging of [eleven, 'a=1&a=2', `${'k'.repeat(129)}=v`, `k=${'v'.repeat(257)}`]) {
      expect(await failureOf(put('bad-tags', { Tagging }))).toEqual({ name: 'InvalidTag', status: 400 });
    }
  });
});

describe('buckets', () => {
  test('are created, listed and deleted only when empty', async () => {
    await kit.client.send(new CreateBucketCommand({ Bucket: 'fresh.bucket-1' }));
    expect(await failureOf(kit.client.send(new CreateBucketCommand({ Bucket: 'fresh.bucket-1' })))).toMatchObject({
      name: 'BucketAlreadyOwnedByYou',
    });
    const names = async () => (await kit.client.send(new ListBucketsCommand({}))).Buckets?.map(({ Name }) => Name);
    expect(await names()).toEqual([BUCKET, 'fresh.bucket-1', 'other']);
    await kit.client.send(new PutObjectCommand({ Bucket: 'fresh.bucket-1', Key: 'k', Body: 'x' }));
    const remove = () => kit.client.send(new DeleteBucketCommand({ Bucket: 'fresh.bucket-1' }));
    expect(await failureOf(remove())).toEqual({ name: 'BucketNotEmpty', status: 409 });
    await kit.client.send(new DeleteObjectsCommand({ Bucket: 'fresh.bucket-1', Delete: { Objects: [{ Key: 'k' }] } }));
    await remove();
    expect(await failureOf(remove())).toEqual({ name: 'NoSuchBucket', status: 404 });
    await kit.restart();
    expect(await names()).toEqual([BUCKET, 'other']);
  });

  test('answer HEAD and their location', async () => {
    expect((await kit.client.send(new HeadBucketCommand({ Bucket }))).$metadata.httpStatusCode).toBe(200);
    expect(await failureOf(kit.client.send(new HeadBucketCommand({ Bucket: 'missing' })))).toEqual({
      name: 'NotFound',
      status: 404,
    });
    expect((await kit.client.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint).toBeUndefined();
  });

  test.each(['ab', 'UPPER', 'under_score', '-dash', 'a..b', '192.168.0.1', '..', 'x'.repeat(64)])(
    'cannot be named "%s"',
    async (name) => {
      const answer = await sendSigned(kit.server.endpoint, { method: 'PUT', path: `/${name}` });
      expect([answer.status, answer.code]).toEqual([400, 'InvalidBucketName']);
    },
  );
});
