import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { beforeAll, describe, expect, test } from 'vitest';
import { BUCKET, failureOf, kitForFile, sendSigned } from './kit.ts';

const kit = kitForFile();

const Bucket = BUCKET;
const FAILED = { name: 'PreconditionFailed', status: 412 };
const put = (Key: string, Body: string, more = {}) =>
  kit.client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
const read = async (Key: string, more = {}) =>
  (await kit.client.send(new GetObjectCommand({ Bucket, Key, ...more }))).Body?.transformToString();

describe('a conditional PUT', () => {
  test('with If-None-Match: * creates once and never replaces', async () => {
    await put('once', 'first', { IfNoneMatch: '*' });
    expect(await failureOf(put('once', 'second', { IfNoneMatch: '*' }))).toEqual(FAILED);
    expect(await read('once')).toBe('first');
  });

  test('with If-None-Match: * has exactly one winner among many at once', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => put('race', `writer ${i}`, { IfNoneMatch: '*' })),
    );
    const winners = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []));
    expect(winners).toHaveLength(1);
    expect(await read('race')).toBe(`writer ${winners[0]}`);
  });

  test('with If-Match replaces only what was seen, and needs something to be there', async () => {
    const { ETag } = await put('seen', 'first');
    await put('seen', 'second', { IfMatch: ETag });
    expect(await failureOf(put('seen', 'third', { IfMatch: ETag }))).toEqual(FAILED);
    expect(await read('seen')).toBe('second');
    expect(await failureOf(put('never-there', 'x', { IfMatch: ETag }))).toEqual({ name: 'NoSuchKey', status: 404 });
  });

  test('with If-None-Match on an ETag is NotImplemented', async () => {
    expect(await failureOf(put('once', 'x', { IfNoneMatch: '"abc"' }))).toEqual({
      name: 'NotImplemented',
      status: 501,
    });
  });

  test('is refused before its body is sent, when the client waits', async () => {
    await put('early', 'here');
    const client = kit.newClient({ requestHandler: { requestTimeout: 600_000 } });
    const Body = Buffer.alloc(4 * 1024 * 1024);
    expect(
      await failureOf(client.send(new PutObjectCommand({ Bucket, Key: 'early', Body, IfNoneMatch: '*' }))),
    ).toEqual(FAILED);
    const record = kit.server.requests.matching({ key: 'early', status: 412 });
    expect(record.map(({ bytesIn }) => bytesIn)).toEqual([0]);
  });
});

describe('a conditional DELETE', () => {
  test('with If-Match removes only what was seen', async () => {
    const { ETag } = await put('delete-me', 'first');
    await put('delete-me', 'second');
    const stale = kit.client.send(new DeleteObjectCommand({ Bucket, Key: 'delete-me', IfMatch: ETag }));
    expect(await failureOf(stale)).toEqual(FAILED);
    expect(await read('delete-me')).toBe('second');
    const { ETag: current } = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'delete-me' }));
    await kit.client.send(new DeleteObjectCommand({ Bucket, Key: 'delete-me', IfMatch: current }));
    expect(await failureOf(read('delete-me'))).toMatchObject({ name: 'NoSuchKey' });
    const gone = kit.client.send(new DeleteObjectCommand({ Bucket, Key: 'delete-me', IfMatch: '*' }));
    expect(await failureOf(gone)).toEqual({ name: 'NoSuchKey', status: 404 });
  });

  test('within DeleteObjects holds for its own key alone', async () => {
    const one = await put('batch-1', 'x');
    await put('batch-2', 'y');
    const Objects = [
      { Key: 'batch-1', ETag: one.ETag },
      { Key: 'batch-2', ETag: one.ETag },
    ];
    const answer = await kit.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
    expect(answer.Deleted?.map(({ Key }) => Key)).toEqual(['batch-1']);
    expect(answer.Errors?.map(({ Key, Code }) => [Key, Code])).toEqual([['batch-2', 'PreconditionFailed']]);
    expect(await read('batch-2')).toBe('y');
  });
});

describe('a conditional GET', () => {
  const long = new Date(Date.now() - 3_600_000);
  const later = new Date(Date.now() + 3_600_000);

  test('answers 200, 304 and 412 as ETags and dates have it', async () => {
    const { ETag } = await put('read-me', 'x');
    expect(await read('read-me', { IfMatch: ETag })).toBe('x');
    expect(await read('read-me', { IfNoneMatch: '"other"' })).toBe('x');
    expect(await read('read-me', { IfModifiedSince: long })).toBe('x');
    expect(await read('read-me', { IfUnmodifiedSince: later })).toBe('x');
    expect(await failureOf(read('read-me', { IfMatch: '"other"' }))).toEqual(FAILED);
    expect(await failureOf(read('read-me', { IfUnmodifiedSince: long }))).toEqual(FAILED);
    expect(await failureOf(read('read-me', { IfNoneMatch: ETag }))).toMatchObject({ status: 304 });
    expect(await failureOf(read('read-me', { IfModifiedSince: later }))).toMatchObject({ status: 304 });
  });

  test('lets a matching ETag outweigh a date, as documented', async () => {
    const { ETag } = await put('weigh', 'x');
    expect(await read('weigh', { IfMatch: ETag, IfUnmodifiedSince: long })).toBe('x');
    expect(await failureOf(read('weigh', { IfNoneMatch: ETag, IfModifiedSince: long }))).toMatchObject({ status: 304 });
  });

  test('answers 304 with the ETag and without a body', async () => {
    const { ETag = '' } = await put('not-modified', 'x');
    const answer = await sendSigned(kit.server.endpoint, {
      path: `/${Bucket}/not-modified`,
      headers: { 'if-none-match': ETag },
    });
    expect([answer.status, answer.text, answer.headers.etag]).toEqual([304, '', ETag]);
  });
});

describe('a conditional copy or completion', () => {
  test('CopyObject holds to conditions on its source and its target', async () => {
    const { ETag } = await put('source', 'x');
    const copy = (more: object) =>
      kit.client.send(new CopyObjectCommand({ Bucket, Key: 'target', CopySource: `${Bucket}/source`, ...more }));
    expect(await failureOf(copy({ CopySourceIfMatch: '"other"' }))).toEqual(FAILED);
    expect(await failureOf(copy({ CopySourceIfNoneMatch: ETag }))).toEqual(FAILED);
    expect(await failureOf(copy({ CopySourceIfUnmodifiedSince: new Date(0) }))).toEqual(FAILED);
    expect(await failureOf(copy({ CopySourceIfModifiedSince: new Date(Date.now() + 3_600_000) }))).toEqual(FAILED);
    expect(await failureOf(read('target'))).toMatchObject({ name: 'NoSuchKey' });
    await copy({ CopySourceIfMatch: ETag, IfNoneMatch: '*' });
    expect(await failureOf(copy({ IfNoneMatch: '*' }))).toEqual(FAILED);
  });

  test('CompleteMultipartUpload with If-None-Match: * does not replace, and keeps the upload', async () => {
    const Key = 'complete';
    const { UploadId } = await kit.client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const { ETag } = await kit.client.send(
      new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: 'part' }),
    );
    await put(Key, 'was quicker');
    const complete = (more: object) =>
      kit.client.send(
        new CompleteMultipartUploadCommand({
          Bucket,
          Key,
          UploadId,
          MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
          ...more,
        }),
      );
    expect(await failureOf(complete({ IfNoneMatch: '*' }))).toEqual(FAILED);
    expect(await read(Key)).toBe('was quicker');
    await complete({});
    expect(await read(Key)).toBe('part');
  });
});

describe('a range', () => {
  const ranged = async (Range: string, Key = 'digits') => {
    const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key, Range }));
    return [answer.$metadata.httpStatusCode, await answer.Body?.transformToString(), answer.ContentRange];
  };
  beforeAll(() => put('digits', '0123456789'));

  test.each([
    ['bytes=2-4', '234', 'bytes 2-4/10'],
    ['bytes=7-', '789', 'bytes 7-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=0-0', '0', 'bytes 0-0/10'],
    ['bytes=8-100', '89', 'bytes 8-9/10'],
    ['bytes=-100', '0123456789', 'bytes 0-9/10'],
  ])('of %s answers 206 with just those bytes', async (range, body, contentRange) => {
    expect(await ranged(range)).toEqual([206, body, contentRange]);
  });

  test.each(['bytes=5-2', 'bytes=0-1,4-5', 'lines=1-2', 'bytes=-'])('of "%s" is ignored', async (range) => {
    expect(await ranged(range)).toEqual([200, '0123456789', undefined]);
  });

  test.each(['bytes=10-', 'bytes=99-100', 'bytes=-0'])('of %s is InvalidRange', async (range) => {
    expect(await failureOf(ranged(range))).toEqual({ name: 'InvalidRange', status: 416 });
  });

  test('on HEAD tells the length of the range', async () => {
    const head = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'digits', Range: 'bytes=2-4' }));
    expect([head.ContentLength, head.$metadata.httpStatusCode]).toEqual([3, 206]);
  });
});
