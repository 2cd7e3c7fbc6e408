import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { BUCKET, failureOf, kitForTest, sendSigned } from './kit.ts';

const kit = kitForTest();

const Bucket = BUCKET;
const set = (Status: 'Enabled' | 'Suspended') =>
  kit.client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }));
const put = async (Key: string, Body: string) =>
  (await kit.client.send(new PutObjectCommand({ Bucket, Key, Body }))).VersionId;
const read = async (Key: string, VersionId?: string) =>
  (await kit.client.send(new GetObjectCommand({ Bucket, Key, VersionId }))).Body?.transformToString();
const remove = (Key: string, VersionId?: string) =>
  kit.client.send(new DeleteObjectCommand({ Bucket, Key, VersionId }));
const versions = async (more = {}) => {
  const page = await kit.client.send(new ListObjectVersionsCommand({ Bucket, ...more }));
  return { page, ids: page.Versions?.map(({ VersionId }) => VersionId) ?? [], markers: page.DeleteMarkers ?? [] };
};

test('a bucket keeps no versions until told to, and says so', async () => {
  const status = async () => (await kit.client.send(new GetBucketVersioningCommand({ Bucket }))).Status;
  expect(await status()).toBeUndefined();
  expect(await put('a', '1')).toBeUndefined();
  await set('Enabled');
  expect(await status()).toBe('Enabled');
  await kit.restart();
  expect(await status()).toBe('Enabled');
  expect((await versions()).ids).toEqual(['null']);
});

test('every write is a version of its own, and each can be read, across a restart', async () => {
  await put('a', 'before');
  await set('Enabled');
  const one = await put('a', 'one');
  const two = await put('a', 'two');
  await kit.restart();
  expect([await read('a'), await read('a', two), await read('a', one), await read('a', 'null')]).toEqual([
    'two',
    'two',
    'one',
    'before',
  ]);
  const { ids, page } = await versions();
  expect(ids).toEqual([two, one, 'null']);
  expect(page.Versions?.map(({ IsLatest }) => IsLatest)).toEqual([true, false, false]);
  expect((await kit.client.send(new HeadObjectCommand({ Bucket, Key: 'a' }))).VersionId).toBe(two);
  expect(await failureOf(read('a', 'no-such-version'))).toEqual({ name: 'NoSuchVersion', status: 404 });
});

test('a delete lays a marker over the object, and removing the marker brings it back', async () => {
  await set('Enabled');
  const one = await put('a', 'one');
  const deleted = await remove('a');
  expect(deleted.DeleteMarker).toBe(true);
  const missing = await sendSigned(kit.server.endpoint, { method: 'HEAD', path: `/${Bucket}/a` });
  expect([missing.status, missing.headers['x-amz-delete-marker']]).toEqual([404, 'true']);
  const got = await sendSigned(kit.server.endpoint, { path: `/${Bucket}/a` });
  expect([got.status, got.code, got.headers['x-amz-delete-marker']]).toEqual([404, 'NoSuchKey', 'true']);
  expect(await failureOf(read('a', deleted.VersionId))).toEqual({ name: 'MethodNotAllowed', status: 405 });
  expect((await kit.client.send(new ListObjectsV2Command({ Bucket }))).KeyCount).toBe(0);
  expect((await versions()).markers.map(({ VersionId, IsLatest }) => [VersionId, IsLatest])).toEqual([
    [deleted.VersionId, true],
  ]);
  const undone = await remove('a', deleted.VersionId);
  expect([undone.DeleteMarker, undone.VersionId]).toEqual([true, deleted.VersionId]);
  expect(await read('a', one)).toBe('one');
  expect(await read('a')).toBe('one');
});

test('removing a version by id is for good, and uncovers the one below', async () => {
  await set('Enabled');
  const one = await put('a', 'one');
  const two = await put('a', 'two');
  await remove('a', two);
  expect(await read('a')).toBe('one');
  const answer = await kit.client.send(
    new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'a', VersionId: one }] } }),
  );
  expect(answer.Deleted).toEqual([{ Key: 'a', VersionId: one }]);
  expect((await versions()).ids).toEqual([]);
  expect((await remove('a', 'never-there')).$metadata.httpStatusCode).toBe(204);
});

test('while suspended, writes and deletes replace the null version alone', async () => {
  await set('Enabled');
  const one = await put('a', 'one');
  await set('Suspended');
  await put('a', 'two');
  await put('a', 'three');
  expect((await versions()).ids).toEqual(['null', one]);
  expect((await remove('a')).VersionId).toBe('null');
  const after = await versions();
  expect([after.ids, after.markers.map(({ VersionId }) => VersionId)]).toEqual([[one], ['null']]);
  expect(await failureOf(read('a'))).toMatchObject({ name: 'NoSuchKey' });
  expect(await read('a', one)).toBe('one');
});

test('a list of versions pages by key and version', async () => {
  await set('Enabled');
  for (const key of ['a', 'b', 'b', 'b', 'c/1', 'c/2']) await put(key, 'x');
  await remove('b');
  const all = await versions();
  const total = all.ids.length + all.markers.length;
  expect(total).toBe(7);
  const seen: string[] = [];
  let markers = {};
  for (let more = true; more; ) {
    const { page } = await versions({ MaxKeys: 1, ...markers });
    seen.push(
      ...[...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].map(({ Key, VersionId }) => `${Key} ${VersionId}`),
    );
    markers = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
    more = page.IsTruncated === true;
  }
  expect(seen).toHaveLength(total);
  expect(new Set(seen).size).toBe(total);
  const folded = await versions({ Delimiter: '/' });
  expect(folded.page.CommonPrefixes).toEqual([{ Prefix: 'c/' }]);
});

test('an older version can be copied from by its id, a delete marker cannot', async () => {
  await set('Enabled');
  const one = await put('a', 'one');
  await put('a', 'two');
  const copy = (source: string) =>
    kit.client.send(new CopyObjectCommand({ Bucket, Key: 'b', CopySource: `${Bucket}/${source}` }));
  expect((await copy(`a?versionId=${one}`)).CopySourceVersionId).toBe(one);
  expect(await read('b')).toBe('one');
  const { VersionId } = await remove('a');
  expect(await failureOf(copy('a'))).toEqual({ name: 'NoSuchKey', status: 404 });
  expect(await failureOf(copy(`a?versionId=${VersionId}`))).toEqual({ name: 'InvalidRequest', status: 400 });
});

test('a deletion on a condition fails over a delete marker with 412, and where nothing ever was with 404', async () => {
  await set('Enabled');
  await put('marked', '1');
  await remove('marked');
  const deleteIf = (Key: string) =>
    failureOf(kit.client.send(new DeleteObjectCommand({ Bucket, Key, IfMatch: '"c4ca4238a0b923820dcc509a6f75849b"' })));
  expect(await deleteIf('marked')).toEqual({ name: 'PreconditionFailed', status: 412 });
  expect(await deleteIf('never was')).toEqual({ name: 'NoSuchKey', status: 404 });
});
