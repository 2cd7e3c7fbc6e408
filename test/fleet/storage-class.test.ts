import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HeadObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createS3Backend, type S3Backend } from '../../lib/fleet/s3-backend.ts';
import { createS3Server, type S3Server } from '../../lib/local/s3/server.ts';
import { createTestFleet } from '../support/fleet.ts';

const keys = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' };
let dir: string;
let server: S3Server;
let backend: S3Backend;
let sdk: S3Client;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-class-'));
  server = await createS3Server({ dir, buckets: ['bucket'], credentials: [keys], clock: systemClock });
  const place = { endpoint: server.endpoint, region: 'us-east-1', credentials: keys };
  backend = createS3Backend({
    ...place,
    ...{ name: 'a', bucket: 'bucket', prefix: '', pathStyle: true, capabilities: {}, clock: systemClock },
    storageClass: 'STANDARD_IA',
  });
  sdk = new S3Client({ ...place, forcePathStyle: true });
});

afterAll(async () => {
  sdk.destroy();
  backend.close();
  await server.close();
  await rm(dir, { recursive: true });
});

const classOf = async (Key: string) =>
  (await sdk.send(new HeadObjectCommand({ Bucket: 'bucket', Key }))).StorageClass ?? 'STANDARD';
const bytes = Buffer.from('content');
const write = (storageKey: string) => backend.put({ storageKey, sizeBytes: bytes.length, body: bodyOf(bytes) });

test('what is written has the class of its backend, in one piece, in parts, and copied, whatever its source has', async () => {
  await write('whole');
  const { uploadId } = await backend.createUpload({ storageKey: 'parts' });
  const part = { storageKey: 'parts', uploadId, partNumber: 1, sizeBytes: bytes.length, body: bodyOf(bytes) };
  const { etag } = await backend.uploadPart(part);
  const parts = [{ partNumber: 1, etag, sizeBytes: bytes.length }];
  await backend.completeUpload({ storageKey: 'parts', uploadId, parts });
  await sdk.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'other', Body: bytes, StorageClass: 'ONEZONE_IA' }));
  const source = { backend: 'a', bucket: 'bucket', prefix: '', storageKey: 'other' };
  await backend.copyFrom({ storageKey: 'copied', source });
  for (const key of ['whole', 'parts', 'copied']) expect([key, await classOf(key)]).toEqual([key, 'STANDARD_IA']);
  // Its own few keys are read with every health check.
  await write('.holdfast/own');
  expect(await classOf('.holdfast/own')).toBe('STANDARD');
});

test('an archive is no place for copies: what is there could not be verified', () => {
  const place = { name: 'a', endpoint: 'https://a.example.com', bucket: 'bucket-a', credentials: 'role' };
  const fileOf = (storageClass: string) => parseFleetFile({ backends: [{ ...place, storageClass }] });
  expect(fileOf('GLACIER_IR').backends[0]!.storageClass).toBe('GLACIER_IR');
  for (const one of ['GLACIER', 'DEEP_ARCHIVE'])
    expect(() => fileOf(one)).toThrow(/is an archive: what is there cannot be read/);
  expect(() => fileOf('standard')).toThrow(/"standard" is not a storage class/);
});

test('an object whose only copy its owner archived is stuck with that reason, and is copied once it is restored', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'content');
  await fleet.client.put('other', 'content');
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'get' && String(args[0]).startsWith('k!'))
      throw new BackendError('archived', 'a', 'The operation is not valid for the object’s storage class');
  };
  await fleet.tick('replicator');
  expect(fleet.object('k')).toMatchObject({ condition: 'stuck', stuck: { a: { leg: 'source', cause: 'archived' } } });
  expect(fleet.copiesOf('other')).toEqual({ a: 'content', b: 'content' });
  // It is let rest, and its backend is healthy.
  let asked = 0;
  fleet.after = ({ port, method }) => {
    if (port === 'a' && method === 'get') asked += 1;
  };
  fleet.clock.advance(60_000);
  expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'empty' });
  expect(asked).toBe(0);
  Object.assign(fleet, { before: undefined, after: undefined });
  fleet.clock.advance(7 * 3_600_000);
  await fleet.tick('replicator');
  expect(fleet.copiesOf('k')).toEqual({ a: 'content', b: 'content' });
});
