import { rmSync, writeFileSync } from 'node:fs';
import { DeleteObjectCommand, PutBucketVersioningCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fleetMetrics } from '../../lib/base/metric-names.ts';
import { createClient, type Holdfast } from '../../lib/client/client.ts';
import { workerNames } from '../../lib/config/parameters.ts';
import type { Entry } from '../../lib/store/model.ts';
import { createLambdaKit, type LambdaKit } from './support/lambda-kit.ts';
import { unusedActions } from './support/unused.ts';

let kit: LambdaKit;
let client: Holdfast;
let s3: S3Client;
beforeAll(async () => {
  kit = await createLambdaKit();
  client = createClient(kit.process);
  s3 = new S3Client({ endpoint: kit.aws.endpoint, forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' });
  // One bucket that keeps versions, so that deletion has them to delete.
  const VersioningConfiguration = { Status: 'Enabled' } as const;
  await s3.send(new PutBucketVersioningCommand({ Bucket: 'bucket-b', VersioningConfiguration }));
});
afterAll(async () => {
  s3?.destroy();
  await kit?.close();
});

async function entryOf(key: string): Promise<Entry | undefined> {
  return (await kit.process.store.objects([key])).get(key);
}

async function copiesOf(key: string): Promise<string[]> {
  const entry = await entryOf(key);
  return entry?.kind === 'object' ? Object.keys(entry.copies).sort() : [];
}

async function storedAt(
  key: string,
  backend: 'aws-a' | 'aws-b',
): Promise<{ bucket: string; key: string; path: string }> {
  const entry = await entryOf(key);
  if (entry?.kind !== 'object') throw new Error(`There is no object "${key}"`);
  const bucket = { 'aws-a': 'bucket-a', 'aws-b': 'bucket-b' }[backend];
  const full = `${backend === 'aws-a' ? 'fleet/' : ''}${key}!${entry.copies[backend]}`;
  return { bucket, key: full, path: kit.aws.objectPath(bucket, full) };
}

test('apply: a first deployment puts the fleet file in force and tells CloudFormation', async () => {
  expect(await kit.deploy('Create')).toMatchObject({ Status: 'SUCCESS', Data: { version: '1' }, contentType: '' });
});

test('apply: the next deployment is a new version, deleting the stack is none', async () => {
  const policies = { default: { factor: 2 }, archive: { prefix: 'archive/', factor: 3 } };
  expect(await kit.deploy('Update', { policies })).toMatchObject({ Status: 'SUCCESS', Data: { version: '2' } });
  expect(await kit.deploy('Delete')).toMatchObject({ Status: 'SUCCESS' });
});

test.each(workerNames)('%s: a tick over an empty fleet is empty, and publishes metrics', async (worker) => {
  const { result, lines } = await kit.invoke(worker, { part: 0, of: 1 });
  expect(result).toMatchObject({ outcome: worker === 'reconciler' ? 'success' : 'empty' });
  const published = lines.filter((line) => '_aws' in line);
  expect(published.map(({ service, backend }) => [service, backend])).toEqual([
    ['holdfast', undefined],
    ['holdfast', 'aws-a'],
    ['holdfast', 'aws-b'],
    ['holdfast', 'ext'],
  ]);
  expect(published[0]).toMatchObject({ UnderReplicated: 0, QueueDepth: 0, Damaged: 0 });
});

test('replicator: small objects, one in parts, one for all three backends', async () => {
  await client.put('small', 'small');
  await client.put('big', Buffer.alloc(6_000_000, 'b'));
  await client.put('archive/three', 'three');
  expect(await kit.tick('replicator')).toMatchObject({ outcome: 'success' });
  expect(await copiesOf('small')).toEqual(['aws-a', 'aws-b']);
  expect(await copiesOf('big')).toEqual(['aws-a', 'aws-b']);
  expect(await copiesOf('archive/three')).toEqual(['aws-a', 'aws-b', 'ext']);
});

test('replicator: a source that is gone', async () => {
  await client.put('gone', 'gone');
  const { bucket, key } = await storedAt('gone', 'aws-a');
  await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
  const { error, lines } = await kit.invoke('replicator', {});
  expect(error).toMatchObject({ name: 'TickFailed' });
  expect(lines.filter((line) => '_aws' in line)[0]).toMatchObject({ Damaged: 0 });
  expect(await entryOf('gone')).toMatchObject({ isDamaged: true });
});

test('scrubber: a lap, a copy with other bytes, and an object healed', async () => {
  const { path } = await storedAt('small', 'aws-b');
  writeFileSync(path, 'SMALL');
  expect(await kit.tick('scrubber')).toMatchObject({ reasons: { dismissed: 1 } });
  expect(await copiesOf('small')).toEqual(['aws-a']);
});

test('pending reaper: a put whose process died', async () => {
  const dying = createClient({
    ...kit.process,
    store: {
      ...kit.process.store,
      transact: (changes, token) =>
        changes.some(({ kind }) => kind === 'object')
          ? new Promise(() => {})
          : kit.process.store.transact(changes, token),
    },
  });
  void dying.put('orphaned', 'orphaned').catch(() => {});
  await expect
    .poll(() => kit.aws.requests.count({ operation: 'PutObject', keyPrefix: 'fleet/orphaned' }), { timeout: 10_000 })
    .toBe(1);
  await expect
    .poll(async () => (await kit.tick('pending-reaper')).reasons, { timeout: 20_000, interval: 500 })
    .toMatchObject({ promoted: 1 });
  expect(await copiesOf('orphaned')).toEqual(['aws-a']);
});

test('reconciler: a foreign file is imported, a lost copy dismissed, bytes without a record condemned', async () => {
  await s3.send(new PutObjectCommand({ Bucket: 'bucket-a', Key: 'fleet/found', Body: 'found' }));
  const lost = await storedAt('big', 'aws-b');
  await s3.send(new DeleteObjectCommand({ Bucket: lost.bucket, Key: lost.key }));
  const report = await kit.tick('reconciler');
  expect(report).toMatchObject({ reasons: { imported: 1 } });
  expect(await copiesOf('found')).toEqual(['aws-a']);
  expect(await copiesOf('big')).toEqual(['aws-a']);
});

test('rebalancer: moves what lies unevenly', async () => {
  await client.put('archive/heavy', Buffer.alloc(1_000_000, 'h'));
  await kit.deploy('Update', { policies: { default: { factor: 1 } } });
  expect(await kit.tick('rebalancer')).toMatchObject({ outcome: 'success' });
});

test('cleaner: copies beyond the factor leave the record', async () => {
  expect(await kit.tick('over-replication-cleaner')).toMatchObject({ outcome: 'success' });
});

test('cleanup queue: bytes without a record go, all their versions with them', async () => {
  await client.delete('archive/three');
  const before = kit.aws.requests.byOperation();
  expect(await kit.tick('cleanup-queue')).toMatchObject({ outcome: 'success' });
  const after = kit.aws.requests.byOperation();
  expect(after.DeleteObjects! + (after.DeleteObject ?? 0)).toBeGreaterThan(
    before.DeleteObjects! + (before.DeleteObject ?? 0),
  );
});

test('every call that a function made is allowed by its role', () => {
  expect(kit.refused).toEqual([]);
});

test('every action of a role is used by a case above, or stays for a reason', () => {
  const actors = [...workerNames, 'apply'] as const;
  const unused = actors.flatMap((actor) =>
    kit
      .statements(actor)
      .flatMap(({ sid, actions }) =>
        sid === 'Logs' ? [] : actions.map((action) => `${actor} ${sid} ${action}`).filter((use) => !kit.used.has(use)),
      ),
  );
  expect(unused.filter((use) => unusedActions(use) === undefined)).toEqual([]);
});

void rmSync;
void fleetMetrics;
