import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { BUCKET, failureOf, kitForFile, sendSigned } from './kit.ts';

const kit = kitForFile();

const Bucket = BUCKET;
const ODD_KEYS = [
  'a/b',
  'a-b',
  'aB',
  'ab',
  'a%2Fb',
  'a%252Fb',
  'a',
  'a/',
  'a//b',
  'a/./b',
  'a/../b',
  '..',
  '.',
  '../..',
  '../../escape',
  '/',
  '//',
  '/leading',
  'trailing/',
  ' ',
  ' space around ',
  'plus+plus',
  'e\u0301',
  '\u00e9',
  '😀',
  '\u{10ffff}',
  '\uffee',
  'tab\tkey',
  'line\nfeed',
  'return\rkey',
  'bell\u0007',
  'quote"\'<>&',
  'question?mark=1&x',
  'hash#',
  'semi;colon',
  'back\\slash',
  'star*',
  '~',
  '%',
  '%zz',
  '%v1',
  'x%h1',
  'tmp',
  'bucket.json',
  'a!01ARZ3NDEKTSV4RRFFQ69G5FAV',
  '__proto__',
  'constructor',
  'k'.repeat(1024),
  `${'k'.repeat(1023)}j`,
  'é'.repeat(512),
  `${'/'.repeat(1023)}x`,
];

test('every odd key holds its own bytes, and all survive a restart', async () => {
  await Promise.all(ODD_KEYS.map((Key) => kit.client.send(new PutObjectCommand({ Bucket, Key, Body: `<${Key}>` }))));
  await kit.restart();
  for (const Key of ODD_KEYS) {
    const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key }));
    expect(await answer.Body?.transformToString()).toBe(`<${Key}>`);
  }
  // Nothing has left the folder.
  expect(readdirSync(kit.dir).sort()).toEqual([Bucket, 'server.json']);
  expect(readdirSync(join(kit.dir, Bucket)).sort()).toEqual([
    'bucket.json',
    'journal.jsonl',
    'objects',
    'tmp',
    'uploads',
  ]);
  expect(readdirSync(join(kit.dir, Bucket, 'objects'))).toHaveLength(ODD_KEYS.length);
});

test('a listing has them in UTF-8 byte order, exactly, with encoding-type=url', async () => {
  const listed: string[] = [];
  let ContinuationToken: string | undefined;
  do {
    const page = await kit.client.send(
      new ListObjectsV2Command({ Bucket, EncodingType: 'url', MaxKeys: 7, ContinuationToken }),
    );
    listed.push(...(page.Contents ?? []).map(({ Key = '' }) => decodeURIComponent(Key.replaceAll('+', ' '))));
    ContinuationToken = page.NextContinuationToken;
  } while (ContinuationToken);
  const expected = ODD_KEYS.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  expect(listed).toEqual(expected);
});

test('a copy finds each by its encoded name', async () => {
  for (const key of ODD_KEYS) {
    const CopySource = `${Bucket}/${encodeURIComponent(key)}`;
    await kit.client.send(new CopyObjectCommand({ Bucket, Key: 'copy-target', CopySource }));
    const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key: 'copy-target' }));
    expect(await answer.Body?.transformToString()).toBe(`<${key}>`);
  }
  await kit.client.send(new DeleteObjectCommand({ Bucket, Key: 'copy-target' }));
});

test('DeleteObjects removes them, whatever XML makes of them', async () => {
  const Objects = ODD_KEYS.map((Key) => ({ Key }));
  const answer = await kit.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  expect(answer.Errors).toBeUndefined();
  const left = await kit.client.send(new ListObjectsV2Command({ Bucket, EncodingType: 'url' }));
  expect(left.Contents?.map(({ Key }) => Key)).toBeUndefined();
  expect(readdirSync(join(kit.dir, Bucket, 'objects'))).toEqual([]);
});

test('a key past 1024 bytes is KeyTooLongError, whatever its length in characters', async () => {
  for (const Key of ['k'.repeat(1025), 'é'.repeat(513)]) {
    const call = kit.client.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }));
    expect(await failureOf(call)).toEqual({ name: 'KeyTooLongError', status: 400 });
  }
});

test('a path that is not UTF-8 is InvalidURI', async () => {
  for (const path of [`/${Bucket}/%ff`, `/${Bucket}/%e9`, `/${Bucket}/%`, `/${Bucket}/%zz`, `/${Bucket}/%ed%a0%80`]) {
    const answer = await sendSigned(kit.server.endpoint, { path });
    expect([answer.status, answer.code]).toEqual([400, 'InvalidURI']);
  }
});
