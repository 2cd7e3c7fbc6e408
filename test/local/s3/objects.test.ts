import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { describe, expect, test } from 'vitest';
import { BUCKET, failureOf, kitForFile, someBytes } from './kit.ts';

const kit = kitForFile();

const Bucket = BUCKET;
const put = (Key: string, Body: Buffer | string, more = {}) =>
  kit.client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
const get = async (Key: string, more = {}) => {
  const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key, ...more }));
  return { ...answer, bytes: Buffer.from((await answer.Body?.transformToByteArray()) ?? []) };
};

describe('objects', () => {
  test('a small object comes back byte for byte, with the MD5 as ETag', async () => {
    const answer = await put('small', 'hello');
    expect(answer.ETag).toBe('"5d41402abc4b2a76b9719d911017c592"');
    const got = await get('small');
    expect(got.bytes.toString()).toBe('hello');
    expect(got.ETag).toBe(answer.ETag);
    expect(got.ContentLength).toBe(5);
    expect(got.ContentType).toBe('application/octet-stream');
    expect(got.AcceptRanges).toBe('bytes');
  });

  test('an object of several megabytes comes back byte for byte, and lies on disk as it is', async () => {
    const bytes = someBytes(5_000_001);
    await put('big/file.bin', bytes);
    expect((await get('big/file.bin')).bytes.equals(bytes)).toBe(true);
    const path = kit.server.objectPath(Bucket, 'big/file.bin');
    expect(path.endsWith('/bucket-a/objects/big%2Ffile.bin')).toBe(true);
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test('an empty object is an object', async () => {
    await put('empty', Buffer.alloc(0));
    const got = await get('empty');
    expect(got.bytes.length).toBe(0);
    expect(got.ETag).toBe('"d41d8cd98f00b204e9800998ecf8427e"');
  });

  test('a missing key is NoSuchKey for GET and 404 for HEAD, a missing bucket NoSuchBucket', async () => {
    expect(await failureOf(get('missing'))).toEqual({ name: 'NoSuchKey', status: 404 });
    expect(await failureOf(kit.client.send(new HeadObjectCommand({ Bucket, Key: 'missing' })))).toEqual({
      name: 'NotFound',
      status: 404,
    });
    const other = kit.client.send(new GetObjectCommand({ Bucket: 'no-such-bucket', Key: 'a' }));
    expect(await failureOf(other)).toEqual({ name: 'NoSuchBucket', status: 404 });
  });

  test('DELETE removes the object and answers 204 for one that is not there', async () => {
    await put('doomed', 'x');
    for (let i = 0; i < 2; i++) {
      const answer = await kit.client.send(new DeleteObjectCommand({ Bucket, Key: 'doomed' }));
      expect(answer.$metadata.httpStatusCode).toBe(204);
    }
    expect(await failureOf(get('doomed'))).toMatchObject({ name: 'NoSuchKey' });
  });

  test('DeleteObjects removes many keys and names each, or none when quiet', async () => {
    await put('many/1', 'x');
    await put('many/2&<', 'x');
    const Objects = [{ Key: 'many/1' }, { Key: 'many/2&<' }, { Key: 'many/never-there' }];
    const answer = await kit.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
    expect(answer.Deleted?.map(({ Key }) => Key)).toEqual(Objects.map(({ Key }) => Key));
    expect(answer.Errors).toBeUndefined();
    const listed = await kit.client.send(new ListObjectsV2Command({ Bucket, Prefix: 'many/' }));
    expect(listed.KeyCount).toBe(0);
    const quiet = await kit.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }));
    expect(quiet.Deleted).toBeUndefined();
  });

  test('CopyObject copies bytes and metadata under another key', async () => {
    await put('from here', 'copied', { Metadata: { colour: 'blue' }, ContentType: 'text/plain' });
    const answer = await kit.client.send(
      new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/from%20here` }),
    );
    expect(answer.CopyObjectResult?.ETag).toBe(`"${createHash('md5').update('copied').digest('hex')}"`);
    const got = await get('to');
    expect(got.bytes.toString()).toBe('copied');
    expect(got.Metadata).toEqual({ colour: 'blue' });
    expect(got.ContentType).toBe('text/plain');
  });
});
