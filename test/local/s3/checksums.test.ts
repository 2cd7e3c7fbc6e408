import { createHash } from 'node:crypto';
import {
  CopyObjectCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { BUCKET, failureOf, kitForFile, sendSigned } from './kit.ts';

const kit = kitForFile();

const Bucket = BUCKET;
/** The check values of the published catalogues, for the nine digits. */
const KNOWN = {
  CRC32: Buffer.from('cbf43926', 'hex').toString('base64'),
  CRC32C: Buffer.from('e3069283', 'hex').toString('base64'),
  CRC64NVME: Buffer.from('ae8b14860a799888', 'hex').toString('base64'),
  SHA1: createHash('sha1').update('123456789').digest('base64'),
  SHA256: createHash('sha256').update('123456789').digest('base64'),
};
const put = (key: string, headers: Record<string, string>) =>
  sendSigned(kit.server.endpoint, { method: 'PUT', path: `/${Bucket}/${key}`, body: '123456789', headers });

test.each(Object.entries(KNOWN))('%s is enforced, kept, and told on request', async (algorithm, value) => {
  const header = `x-amz-checksum-${algorithm.toLowerCase()}`;
  const wrong = Buffer.alloc(Buffer.from(value, 'base64').length).toString('base64');
  const refused = await put(`${algorithm}-bad`, { [header]: wrong });
  expect([refused.status, refused.code]).toEqual([400, 'BadDigest']);
  expect((await put(`${algorithm}-odd`, { [header]: 'not base64!' })).code).toBe('InvalidRequest');
  expect(await failureOf(kit.client.send(new GetObjectCommand({ Bucket, Key: `${algorithm}-bad` })))).toMatchObject({
    name: 'NoSuchKey',
  });

  const answer = await put(algorithm, { [header]: value });
  expect(answer.status).toBe(200);
  expect(answer.headers[header]).toBe(value);
  const field = `Checksum${algorithm}` as 'ChecksumCRC32';
  const silent = await kit.client.send(new HeadObjectCommand({ Bucket, Key: algorithm }));
  expect(silent[field]).toBeUndefined();
  const head = await kit.client.send(new HeadObjectCommand({ Bucket, Key: algorithm, ChecksumMode: 'ENABLED' }));
  expect(head[field]).toBe(value);
  expect(head.ChecksumType).toBe('FULL_OBJECT');
  const attributes = await kit.client.send(
    new GetObjectAttributesCommand({
      Bucket,
      Key: algorithm,
      ObjectAttributes: ['Checksum', 'ETag', 'ObjectSize', 'StorageClass'],
    }),
  );
  expect(attributes.Checksum?.[field]).toBe(value);
  expect(attributes).toMatchObject({
    ETag: '25f9e794323b453885f5181f1b624d0b',
    ObjectSize: 9,
    StorageClass: 'STANDARD',
  });
});

test('a copy keeps the checksum of its source, or computes the one asked for', async () => {
  await put('source', { 'x-amz-checksum-sha256': KNOWN.SHA256 });
  const kept = await kit.client.send(new CopyObjectCommand({ Bucket, Key: 'kept', CopySource: `${Bucket}/source` }));
  expect(kept.CopyObjectResult?.ChecksumSHA256).toBe(KNOWN.SHA256);
  const other = await kit.client.send(
    new CopyObjectCommand({ Bucket, Key: 'other', CopySource: `${Bucket}/source`, ChecksumAlgorithm: 'CRC64NVME' }),
  );
  expect(other.CopyObjectResult?.ChecksumCRC64NVME).toBe(KNOWN.CRC64NVME);
  expect(other.CopyObjectResult?.ChecksumSHA256).toBeUndefined();
});

test('the SDK verifies what it gets against what was stored', async () => {
  const client = kit.newClient({ responseChecksumValidation: 'WHEN_SUPPORTED' });
  await put('verified', { 'x-amz-checksum-crc32': KNOWN.CRC32 });
  const answer = await client.send(new GetObjectCommand({ Bucket, Key: 'verified' }));
  expect(await answer.Body?.transformToString()).toBe('123456789');
  kit.server.faults.add({ kind: 'corrupt', times: 1 });
  const corrupted = await client.send(new GetObjectCommand({ Bucket, Key: 'verified' }));
  await expect(corrupted.Body?.transformToString()).rejects.toThrow(/checksum/i);
});

test('two checksums at once are InvalidRequest', async () => {
  const answer = await put('two', { 'x-amz-checksum-crc32': KNOWN.CRC32, 'x-amz-checksum-sha1': KNOWN.SHA1 });
  expect([answer.status, answer.code]).toEqual([400, 'InvalidRequest']);
});

test('Content-MD5 is enforced: BadDigest when it differs, InvalidDigest when it is none', async () => {
  const md5 = (text: string) => createHash('md5').update(text).digest('base64');
  expect((await put('md5', { 'content-md5': md5('123456789') })).status).toBe(200);
  const bad = await put('md5-bad', { 'content-md5': md5('something else') });
  expect([bad.status, bad.code]).toEqual([400, 'BadDigest']);
  const none = await put('md5-none', { 'content-md5': 'rubbish' });
  expect([none.status, none.code]).toEqual([400, 'InvalidDigest']);
  const missing = new PutObjectCommand({ Bucket, Key: 'md5-sdk', Body: 'x', ContentMD5: md5('y') });
  expect(await failureOf(kit.client.send(missing))).toEqual({ name: 'BadDigest', status: 400 });
});
