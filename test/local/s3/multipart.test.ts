import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { defined } from '../../../lib/base/defined.ts';
import { BUCKET, failureOf, kitForFile, sendSigned, someBytes } from './kit.ts';

const MIN = 1000;
const kit = kitForFile({ minPartBytes: MIN });

const Bucket = BUCKET;
const md5 = (bytes: Buffer | string) => createHash('md5').update(bytes).digest();
const create = async (Key: string, more: Partial<CreateMultipartUploadCommandInput> = {}) => {
  const { UploadId = '' } = await kit.client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }));
  return { Key, UploadId };
};
type Open = Awaited<ReturnType<typeof create>>;
const part = async (upload: Open, PartNumber: number, Body: Buffer | string, more = {}): Promise<CompletedPart> => {
  const { ETag, ChecksumSHA256 } = await kit.client.send(
    new UploadPartCommand({ Bucket, ...upload, PartNumber, Body, ...more }),
  );
  return { PartNumber, ETag, ...defined({ ChecksumSHA256 }) };
};
const complete = (upload: Open, Parts: CompletedPart[], more = {}) =>
  kit.client.send(new CompleteMultipartUploadCommand({ Bucket, ...upload, MultipartUpload: { Parts }, ...more }));
const read = async (Key: string, more = {}) => {
  const answer = await kit.client.send(new GetObjectCommand({ Bucket, Key, ...more }));
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
};
const filesInUploads = () => readdirSync(join(kit.dir, Bucket, 'uploads'));

test('parts in any order of arrival become one object with the documented ETag and its headers', async () => {
  const bytes = someBytes(300_000);
  const upload = await create('whole', { Metadata: { colour: 'red' }, ContentType: 'text/x-odd', Tagging: 'a=1' });
  const pieces = [bytes.subarray(0, 150_000), bytes.subarray(150_000, 299_999), bytes.subarray(299_999)];
  const parts: CompletedPart[] = [];
  for (const i of [2, 0, 1]) parts[i] = await part(upload, i + 1, pieces[i] as Buffer);
  const answer = await complete(upload, parts);
  const etag = `"${createHash('md5')
    .update(Buffer.concat(pieces.map(md5)))
    .digest('hex')}-3"`;
  expect(answer.ETag).toBe(etag);
  expect((await read('whole')).equals(bytes)).toBe(true);
  const head = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'whole' }));
  expect(head).toMatchObject({ ETag: etag, Metadata: { colour: 'red' }, ContentType: 'text/x-odd', TagCount: 1 });
  expect((await read('whole', { PartNumber: 2 })).equals(pieces[1] as Buffer)).toBe(true);
  expect(filesInUploads()).toEqual([]);
  expect(await failureOf(complete(upload, parts))).toEqual({ name: 'NoSuchUpload', status: 404 });
});

test('a part sent again replaces the one before it', async () => {
  const upload = await create('again');
  const stale = await part(upload, 1, 'first');
  const fresh = await part(upload, 1, 'second');
  expect(await failureOf(complete(upload, [stale]))).toEqual({ name: 'InvalidPart', status: 400 });
  await complete(upload, [fresh]);
  expect((await read('again')).toString()).toBe('second');
});

test('parts out of order, unknown or too small are refused, and the upload stays open', async () => {
  const upload = await create('refused');
  const one = await part(upload, 1, Buffer.alloc(MIN));
  const two = await part(upload, 2, Buffer.alloc(MIN - 1));
  const three = await part(upload, 3, 'x');
  expect(await failureOf(complete(upload, [two, one]))).toEqual({ name: 'InvalidPartOrder', status: 400 });
  expect(await failureOf(complete(upload, [one, one]))).toEqual({ name: 'InvalidPartOrder', status: 400 });
  expect(await failureOf(complete(upload, [one, { ...one, PartNumber: 9 }]))).toEqual({
    name: 'InvalidPart',
    status: 400,
  });
  expect(await failureOf(complete(upload, [one, two, three]))).toEqual({ name: 'EntityTooSmall', status: 400 });
  expect(await failureOf(complete(upload, []))).toEqual({ name: 'MalformedXML', status: 400 });
  await complete(upload, [one, two]);
  expect((await read('refused')).length).toBe(2 * MIN - 1);
});

test('an aborted upload is gone with its parts', async () => {
  const upload = await create('aborted');
  await part(upload, 1, 'x');
  await kit.client.send(new AbortMultipartUploadCommand({ Bucket, ...upload }));
  expect(filesInUploads()).toEqual([]);
  const again = kit.client.send(new AbortMultipartUploadCommand({ Bucket, ...upload }));
  expect(await failureOf(again)).toEqual({ name: 'NoSuchUpload', status: 404 });
  expect(await failureOf(part(upload, 2, 'x'))).toEqual({ name: 'NoSuchUpload', status: 404 });
});

test('an upload answers to its own key alone, and to part numbers from 1 to 10000', async () => {
  const upload = await create('own');
  expect(await failureOf(part({ ...upload, Key: 'other' }, 1, 'x'))).toEqual({ name: 'NoSuchUpload', status: 404 });
  expect(await failureOf(part(upload, 0, 'x'))).toEqual({ name: 'InvalidArgument', status: 400 });
  expect(await failureOf(part(upload, 10_001, 'x'))).toEqual({ name: 'InvalidArgument', status: 400 });
  await part(upload, 10_000, 'x');
  await kit.client.send(new AbortMultipartUploadCommand({ Bucket, ...upload }));
});

test('uploads and parts survive a restart', async () => {
  const upload = await create('survivor', { Metadata: { kept: 'yes' } });
  const one = await part(upload, 1, Buffer.alloc(MIN, 'a'));
  await kit.restart();
  const two = await part(upload, 2, 'b');
  await complete(upload, [one, two]);
  expect((await read('survivor')).toString()).toBe(`${'a'.repeat(MIN)}b`);
  expect((await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'survivor' }))).Metadata).toEqual({ kept: 'yes' });
});

test('UploadPartCopy takes a range of another object', async () => {
  const bytes = someBytes(5000, 3);
  await kit.client.send(new PutObjectCommand({ Bucket, Key: 'copy source', Body: bytes }));
  const upload = await create('part-copy');
  const copy = async (PartNumber: number, CopySourceRange?: string) => {
    const input = { Bucket, ...upload, PartNumber, CopySource: `${Bucket}/copy%20source`, CopySourceRange };
    const { CopyPartResult } = await kit.client.send(new UploadPartCopyCommand(input));
    return { PartNumber, ETag: CopyPartResult?.ETag };
  };
  const parts = [await copy(1, 'bytes=0-1999'), await copy(2, 'bytes=4000-4999'), await copy(3)];
  expect(await failureOf(copy(4, 'bytes=4000-5000'))).toEqual({ name: 'InvalidArgument', status: 400 });
  await complete(upload, parts);
  expect((await read('part-copy')).equals(Buffer.concat([bytes.subarray(0, 2000), bytes.subarray(4000), bytes]))).toBe(
    true,
  );
});

test('ListParts pages through the parts by number', async () => {
  const upload = await create('paged');
  for (const number of [5, 1, 3]) await part(upload, number, `part ${number}`);
  const first = await kit.client.send(new ListPartsCommand({ Bucket, ...upload, MaxParts: 2 }));
  expect(first.Parts?.map(({ PartNumber, Size, ETag }) => [PartNumber, Size, ETag])).toEqual(
    [1, 3].map((number) => [number, 6, `"${md5(`part ${number}`).toString('hex')}"`]),
  );
  expect([first.IsTruncated, first.NextPartNumberMarker]).toEqual([true, '3']);
  const rest = await kit.client.send(new ListPartsCommand({ Bucket, ...upload, PartNumberMarker: '3' }));
  expect(rest.Parts?.map(({ PartNumber }) => PartNumber)).toEqual([5]);
  expect(rest.IsTruncated).toBe(false);
  await kit.client.send(new AbortMultipartUploadCommand({ Bucket, ...upload }));
});

test('ListMultipartUploads goes by key, then by age, with prefix, delimiter and markers', async () => {
  const opened = [
    await create('u/b'),
    await create('u/a'),
    await create('u/b'),
    await create('u/c/1'),
    await create('u/c/2'),
    await create('v'),
  ];
  const [b1, a, b2, c1, c2] = opened.map(({ UploadId }) => UploadId);
  const list = (more: object) => kit.client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'u/', ...more }));
  expect((await list({})).Uploads?.map(({ UploadId }) => UploadId)).toEqual([a, b1, b2, c1, c2]);
  const folded = await list({ Delimiter: '/' });
  expect(folded.Uploads?.map(({ Key }) => Key)).toEqual(['u/a', 'u/b', 'u/b']);
  expect(folded.CommonPrefixes).toEqual([{ Prefix: 'u/c/' }]);
  const seen: (string | undefined)[] = [];
  let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {};
  for (let more = true; more; ) {
    const page = await list({ MaxUploads: 1, ...markers });
    seen.push(...(page.Uploads ?? []).map(({ UploadId }) => UploadId));
    markers = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    more = page.IsTruncated === true;
  }
  expect(seen).toEqual([a, b1, b2, c1, c2]);
  for (const upload of opened) await kit.client.send(new AbortMultipartUploadCommand({ Bucket, ...upload }));
});

test('a composite checksum is made of the parts, and every part must have brought its own', async () => {
  const sha256 = (data: Buffer | string) => createHash('sha256').update(data).digest();
  const upload = await create('composite', { ChecksumAlgorithm: 'SHA256' });
  expect(await failureOf(part(upload, 1, 'bare'))).toEqual({ name: 'InvalidRequest', status: 400 });
  const bodies = [Buffer.alloc(MIN, 'a'), Buffer.from('b')];
  const parts = [
    await part(upload, 1, bodies[0] as Buffer, { ChecksumAlgorithm: 'SHA256' }),
    await part(upload, 2, bodies[1] as Buffer, { ChecksumAlgorithm: 'SHA256' }),
  ];
  expect(
    await failureOf(
      complete(
        upload,
        parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag })),
      ),
    ),
  ).toMatchObject({ name: 'InvalidRequest' });
  const answer = await complete(upload, parts);
  const expected = sha256(Buffer.concat(bodies.map(sha256))).toString('base64');
  expect([answer.ChecksumSHA256, answer.ChecksumType]).toEqual([`${expected}-2`, 'COMPOSITE']);
  const attributes = await kit.client.send(
    new GetObjectAttributesCommand({ Bucket, Key: 'composite', ObjectAttributes: ['ObjectParts', 'Checksum'] }),
  );
  expect(attributes.Checksum?.ChecksumSHA256).toBe(expected);
  expect(attributes.ObjectParts?.TotalPartsCount).toBe(2);
  expect(
    attributes.ObjectParts?.Parts?.map(({ PartNumber, Size, ChecksumSHA256 }) => [PartNumber, Size, ChecksumSHA256]),
  ).toEqual(bodies.map((body, i) => [i + 1, body.length, sha256(body).toString('base64')]));
});

test('a full-object checksum is that of all the bytes, and is held to what the completion says', async () => {
  const upload = await create('full', { ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'FULL_OBJECT' });
  const put = async (number: number, body: string) => {
    const path = `/${Bucket}/full?partNumber=${number}&uploadId=${upload.UploadId}`;
    const answer = await sendSigned(kit.server.endpoint, { method: 'PUT', path, body });
    return { PartNumber: number, ETag: answer.headers.etag };
  };
  const filler = Buffer.alloc(MIN, '.').toString();
  const parts = [await put(1, filler), await put(2, '123456789')];
  expect(await failureOf(complete(upload, parts, { ChecksumCRC64NVME: 'AAAAAAAAAAA=' }))).toEqual({
    name: 'BadDigest',
    status: 400,
  });
  const answer = await complete(upload, parts, { ChecksumType: 'FULL_OBJECT' });
  const CopySource = `${Bucket}/full`;
  const copied = await kit.client.send(
    new CopyObjectCommand({ Bucket, Key: 'single', CopySource, ChecksumAlgorithm: 'CRC64NVME' }),
  );
  expect(copied.CopyObjectResult?.ChecksumCRC64NVME).toBe(answer.ChecksumCRC64NVME);
  expect(answer.ChecksumType).toBe('FULL_OBJECT');
  const head = await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'full', ChecksumMode: 'ENABLED' }));
  expect(head.ChecksumCRC64NVME).toBe(answer.ChecksumCRC64NVME);
});

test('two completions at once make one object', async () => {
  const upload = await create('twice');
  const one = await part(upload, 1, someBytes(500_000));
  const results = await Promise.allSettled([complete(upload, [one]), complete(upload, [one])]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect((await read('twice')).equals(someBytes(500_000))).toBe(true);
});
