import { writeFileSync } from 'node:fs';
import {
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { access, usual } from '../../infra/access.ts';
import { createClient, type Holdfast } from '../../lib/client/client.ts';
import { workerNames } from '../../lib/config/parameters.ts';
import type { Entry } from '../../lib/store/model.ts';
import { type NewQueueItem, newQueueItem } from '../../lib/store/queue-items.ts';
import { isWhole } from '../support/extent.ts';
import { createLambdaKit, indexOf, type LambdaKit } from './support/lambda-kit.ts';
import { reasons } from './support/unused.ts';

/** Copied, moved and read in parts. */
const big = Buffer.alloc(6_000_000, 'b');

/** `npm test` deploys a fleet, runs one worker and tells of one file; the whole suite has every function do all that its role allows. */
const full = test.runIf(isWhole);
const someWorkers = isWhole ? workerNames : (['replicator'] as const);

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

/** A backend that answers nothing but errors, for everyone, for as long as this runs. */
async function whileUnreachable(run: () => Promise<unknown>): Promise<void> {
  kit.aws.faults.add({ kind: 'error', status: 500, code: 'InternalError', match: { bucket: 'bucket-a' } });
  await run();
  kit.aws.faults.clear();
}

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

/** What a person with a key to the bucket could do to it. */
async function removeBytes(key: string, backend: 'aws-a' | 'aws-b'): Promise<void> {
  const { bucket, key: full } = await storedAt(key, backend);
  await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: full }));
}

/** Takes a copy out of the record as nothing in Holdfast does; returns the id that its bytes have in the queue. */
async function forget(key: string, backend: string): Promise<string> {
  const entry = await entryOf(key);
  if (entry?.kind !== 'object') throw new Error(`There is no object "${key}"`);
  const { [backend]: copyId, ...copies } = entry.copies;
  const put = { ...entry, copies, rev: entry.rev + 1 };
  const answer = await kit.process.store.transact([{ kind: 'object', put, expect: entry }], kit.process.ids.ulid());
  expect(answer.outcome).toBe('done');
  return `${backend}/${key}!${copyId}`;
}

/** Queues bytes that are due to be deleted. */
async function enqueue(fields: Omit<NewQueueItem, 'state' | 'createdAt' | 'dueAt'>): Promise<void> {
  const put = newQueueItem({ ...fields, state: 'cleanup', createdAt: 0, dueAt: 0 });
  const { backend, sizeBytes } = put;
  const counters = [`queue/cleanup/${backend}#0`, `used/${backend}#0`];
  const answer = await kit.process.store.transact(
    [
      { kind: 'queue', put, expect: 'absent' },
      ...counters.map(
        (sk, i) => ({ kind: 'add', pk: 'fleet', sk, add: { objects: 1 - i, bytes: sizeBytes } }) as const,
      ),
    ],
    kit.process.ids.ulid(),
  );
  expect(answer.outcome).toBe('done');
}

/** A put whose process dies when its bytes are there; returns their key in the bucket. */
async function dyingPut(key: string, content: string | Uint8Array = key): Promise<string> {
  const { store } = kit.process;
  let atCommit = () => {};
  const stored = new Promise<void>((resolve) => {
    atCommit = resolve;
  });
  const transact: typeof store.transact = (changes, token) => {
    if (!changes.some(({ kind }) => kind === 'object')) return store.transact(changes, token);
    atCommit();
    return new Promise(() => {});
  };
  void createClient({ ...kit.process, store: { ...store, transact } }).put(key, content);
  await stored;
  const written = kit.aws.requests.matching({ keyPrefix: `fleet/${key}!` }).filter(({ key: at }) => at !== undefined);
  return written[0]!.key;
}

test('apply: a first deployment puts the fleet file in force and tells CloudFormation', async () => {
  expect(await kit.deploy('Create')).toMatchObject({ Status: 'SUCCESS', Data: { version: '1' }, contentType: '' });
});

test('apply: the next deployment is a new version, deleting the stack is none', async () => {
  const policies = { default: { factor: 2 }, archive: { prefix: 'archive/', factor: 3 } };
  expect(await kit.deploy('Update', { policies })).toMatchObject({ Status: 'SUCCESS', Data: { version: '2' } });
  expect(await kit.deploy('Delete')).toMatchObject({ Status: 'SUCCESS' });
});

full(
  'apply: a file with more mistakes than fit is refused at once, with as many of them as CloudFormation takes',
  async () => {
    const mistake = { prefix: '"\u2028\u{1f5d1}\n"'.repeat(20), factor: 9 };
    const policies = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`policy-${n}`, mistake]));
    const { Status, Reason, lines } = await kit.deploy('Update', { policies: { default: { factor: 2 }, ...policies } });
    expect(Status).toBe('FAILED');
    expect(Reason).toMatch(/^The fleet file has problems[\s\S]+factor 9 is above the number of backends[\s\S]+ …$/);
    expect(Reason).not.toContain('\u2028');
    // What will not change is not tried again.
    expect(JSON.stringify(lines)).not.toContain('tried again');
  },
);

test.each(someWorkers)('%s: a tick over an empty fleet is empty, and publishes metrics', async (worker) => {
  const { result, lines } = await kit.invoke(worker, { part: 0, of: 1 });
  expect(result).toMatchObject({ outcome: 'empty' });
  const published = lines.filter((line) => '_aws' in line);
  expect(published.map(({ fleet, backend }) => [fleet, backend])).toEqual([
    ['holdfast', undefined],
    ['holdfast', 'aws-a'],
    ['holdfast', 'aws-b'],
    ['holdfast', 'ext'],
  ]);
  expect(published[0]).toMatchObject({ UnderReplicated: 0, QueueDepth: 0, Damaged: 0 });
});

test('a stale event is dropped', async () => {
  const { result } = await kit.invoke('replicator', { scheduledTime: '2020-01-01T00:00:00Z', part: 0, of: 1 });
  expect(result).toMatchObject({ outcome: 'empty', message: expect.stringContaining('stale') });
});

test('replicator: small objects, one in parts, one for all three backends', async () => {
  await client.put('small', 'small');
  await client.put('big', big);
  await client.put('another', 'another');
  await client.put('archive/three', 'three');
  await expect.poll(async () => (await kit.tick('replicator')).outcome).toBe('empty');
  expect(await copiesOf('small')).toEqual(['aws-a', 'aws-b']);
  expect(await copiesOf('big')).toEqual(['aws-a', 'aws-b']);
  expect(await copiesOf('archive/three')).toEqual(['aws-a', 'aws-b', 'ext']);
});

full('replicator: tags travel with a copy', async () => {
  await client.put('tagged', 'tagged');
  const { bucket, key } = await storedAt('tagged', 'aws-a');
  const Tagging = { TagSet: [{ Key: 'kind', Value: 'photo' }] };
  await s3.send(new PutObjectTaggingCommand({ Bucket: bucket, Key: key, Tagging }));
  expect(await kit.tick('replicator')).toMatchObject({ outcome: 'success' });
});

test('replicator: a source that is gone ends as failed, after everything was reported', async () => {
  await client.put('gone', 'gone');
  await removeBytes('gone', 'aws-a');
  const { error, lines } = await kit.invoke('replicator', {});
  expect(error).toMatchObject({ name: 'TickFailed' });
  expect(lines.map(({ message }) => message)).toContain('Tick finished');
  expect(lines.filter((line) => '_aws' in line)).toHaveLength(4);
  expect(await entryOf('gone')).toMatchObject({ condition: 'damaged' });
  await client.delete('gone');
});

full('replicator: a backend that fails opens its breaker', async () => {
  await whileUnreachable(() => kit.invoke('replicator', {}));
});

full('scrubber: a scrub cycle, one copy with other bytes, one that is gone', async () => {
  const { path } = await storedAt('small', 'aws-b');
  writeFileSync(path, 'SMALL');
  await removeBytes('archive/three', 'aws-a');
  expect(await kit.tick('scrubber')).toMatchObject({ reasons: { quarantined: 2 } });
  expect(await copiesOf('small')).toEqual(['aws-a']);
  expect(await copiesOf('archive/three')).toEqual(['aws-b', 'ext']);
});

full('pending reaper: puts whose process died before and after their bytes arrived', async () => {
  const [, lost] = [await dyingPut('arrived'), await dyingPut('lost'), await dyingPut('big-arrived', big)];
  await s3.send(new DeleteObjectCommand({ Bucket: 'bucket-a', Key: lost }));
  const seen: Record<string, number> = {};
  // Each is due at a moment of its own: one tick may settle one of them, or all.
  const reap = async () => {
    const { reasons } = (await kit.tick('pending-reaper')) as { reasons: Record<string, number> };
    for (const [reason, count] of Object.entries(reasons)) seen[reason] = (seen[reason] ?? 0) + count;
    return seen;
  };
  await expect.poll(reap, { interval: 500 }).toEqual({ promoted: 2, 'never-arrived': 1 });
  expect(await copiesOf('arrived')).toEqual(['aws-a']);
  expect(await copiesOf('big-arrived')).toEqual(['aws-a']);
  await client.delete('big-arrived');
});

full(
  'reconciler: a file is imported, a lost copy quarantined, bytes without a record enqueued for deletion',
  async () => {
    await s3.send(new PutObjectCommand({ Bucket: 'bucket-a', Key: 'fleet/found', Body: 'found' }));
    await removeBytes('big', 'aws-a');
    const orphan = await forget('another', 'aws-b');
    // Not on schedule: a pass began with an earlier tick of this file, and the next one is due tomorrow.
    const { result } = await kit.invoke('reconciler', {});
    expect(result).toMatchObject({ reasons: { imported: 1, 'missing-quarantined': 1, orphan: 1 } });
    expect(await copiesOf('found')).toEqual(['aws-a']);
    expect(await copiesOf('big')).toEqual(['aws-b']);
    expect((await kit.process.store.queueItems([orphan])).get(orphan)).toMatchObject({
      state: 'cleanup',
      reason: 'orphan',
    });
  },
);

full('apply: a quota for a backend that holds something already', async () => {
  expect(
    await kit.deploy('Update', { ext: { quotaBytes: 1_000_000 }, policies: { default: { factor: 2 } } }),
  ).toMatchObject({ Status: 'SUCCESS' });
});

full('cleaner: copies beyond the factor leave the record', async () => {
  await kit.invoke('replicator', {});
  expect(await copiesOf('small')).toEqual(['aws-a', 'aws-b']);
  expect(await kit.deploy('Update', { policies: { default: { factor: 1 } } })).toMatchObject({ Status: 'SUCCESS' });
  expect(await kit.tick('over-replication-cleaner')).toMatchObject({ reasons: { removed: expect.any(Number) } });
  expect(await copiesOf('small')).toHaveLength(1);
});

full('rebalancer: moves what lies unevenly', async () => {
  for (let n = 0; n < 12; n += 1) await client.put(`weight-${n}`, Buffer.alloc(1_000_000, 'w'));
  expect(await kit.tick('rebalancer')).toMatchObject({ outcome: 'success' });
});

full('rebalancer: moves big objects in parts', async () => {
  const heavy = ['heavy-0', 'heavy-1', 'heavy-2', 'heavy-3'];
  for (const key of heavy) await client.put(key, big);
  const before = await Promise.all(heavy.map(copiesOf));
  const moved = async () => {
    await kit.tick('rebalancer');
    return Promise.all(heavy.map(copiesOf));
  };
  await expect.poll(moved).not.toEqual(before);
});

full('cleanup queue: bytes without a record go, with all their versions', async () => {
  await client.delete('archive/three');
  expect(await kit.tick('cleanup-queue')).toMatchObject({ outcome: 'success' });
  const { requests } = kit.aws;
  expect(
    requests.count({ operation: 'DeleteObjects' }) + requests.count({ operation: 'DeleteObject' }),
  ).toBeGreaterThan(0);
});

full('cleanup queue: a big copy that was given up goes with its open upload, where versions are kept too', async () => {
  for (const [backend, bucket, prefix] of [
    ['aws-a', 'bucket-a', 'fleet/'],
    ['aws-b', 'bucket-b', ''],
  ] as const) {
    const storageKey = `given-up!${kit.process.ids.ulid()}`;
    const at = { Bucket: bucket, Key: `${prefix}${storageKey}` };
    await s3.send(new CreateMultipartUploadCommand(at));
    await s3.send(new PutObjectCommand({ ...at, Body: 'old' }));
    await s3.send(new PutObjectCommand({ ...at, Body: 'new' }));
    await enqueue({
      backend,
      storageKey,
      key: 'given-up',
      generation: 'none',
      sizeBytes: 3,
      cause: 'copy-abandoned',
      transfer: { from: 'ext', uploadId: '', partSizeBytes: 5_242_880, partsDone: 0, hashState: '' },
    });
  }
  await kit.tick('cleanup-queue');
  const { Uploads } = await s3.send(new ListMultipartUploadsCommand({ Bucket: 'bucket-b' }));
  expect(Uploads ?? []).toEqual([]);
  const left = await s3.send(new ListObjectVersionsCommand({ Bucket: 'bucket-b', Prefix: 'given-up!' }));
  expect([...(left.Versions ?? []), ...(left.DeleteMarkers ?? [])]).toEqual([]);
});

full('cleanup queue: big quarantined bytes that are good go back to their record', async () => {
  const entry = await entryOf('heavy-0');
  if (entry?.kind !== 'object') throw new Error('There is no object "heavy-0"');
  const [[backend, copyId] = ['', '']] = Object.entries(entry.copies);
  const storageKey = `heavy-0!${copyId}`;
  await forget('heavy-0', backend);
  const { key, generation, sizeBytes, sha256 } = entry;
  await enqueue({ backend, storageKey, key, generation, sizeBytes, sha256: sha256!, cause: 'quarantined' });
  await kit.tick('cleanup-queue');
  expect(await copiesOf('heavy-0')).toEqual([backend]);
});

full('application: puts, reads, lists and deletes, small and big, on one backend and on two', async () => {
  const { result } = await kit.application('life');
  expect(result).toEqual({
    bigBytes: big.length,
    keys: ['app/big', 'app/small'],
    headBytes: 3,
    content: 'two',
    isDeleted: [true, false],
    back: 'two',
  });
});

full('application: reads another copy of what is wrong or gone on one backend', async () => {
  for (const key of ['app/wrong', 'app/gone']) await client.put(key, 'right', { copies: 2 });
  writeFileSync((await storedAt('app/wrong', 'aws-a')).path, 'WRONG');
  await removeBytes('app/gone', 'aws-a');
  expect((await kit.application('anotherCopy')).result).toEqual({ content: 'right', missing: 'right' });
});

full('application: a big put whose source breaks leaves no upload behind', async () => {
  expect(await kit.application('failingSource')).toMatchObject({ result: 'Error: the source broke' });
  for (const Bucket of ['bucket-a', 'bucket-b']) {
    const { Uploads } = await s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix: '' }));
    expect((Uploads ?? []).filter(({ Key }) => Key?.includes('app/broken'))).toEqual([]);
  }
});

full('application: puts elsewhere, and notes what it met, while a backend fails', async () => {
  await whileUnreachable(async () => {
    expect((await kit.application('life')).result).toMatchObject({ content: 'two', isDeleted: [true, false] });
  });
});

/** What EventBridge says of a put, in a message of SQS. */
function told(...keys: string[]): object {
  const body = (key: string) =>
    JSON.stringify({
      source: 'aws.s3',
      'detail-type': 'Object Created',
      detail: { bucket: { name: 'bucket-a' }, object: { key, etag: 'forged', size: 1 } },
    });
  return { Records: keys.map((key) => ({ messageId: key, eventSource: 'aws:sqs', body: body(key) })) };
}

full(
  'importer: a file that its bucket tells of is imported and copied; what it tells of our own keys asks for nothing',
  async () => {
    expect(await kit.deploy('Update', { policies: { default: { factor: 2 } } })).toMatchObject({ Status: 'SUCCESS' });
    await s3.send(new PutObjectCommand({ Bucket: 'bucket-a', Key: 'fleet/told', Body: 'told' }));
    const { result } = await kit.invoke(
      'importer',
      told('fleet/told', 'fleet/gone', 'fleet/.holdfast/owner', 'other/told'),
    );
    expect(result).toEqual({ batchItemFailures: [] });
    expect(await copiesOf('told')).toEqual(['aws-a']);
    await kit.invoke('replicator', {});
    expect(await copiesOf('told')).toHaveLength(2);
  },
);

full('importer: a file that was written again is read, and its former replicas are queued', async () => {
  await s3.send(new PutObjectCommand({ Bucket: 'bucket-a', Key: 'fleet/told', Body: 'told again' }));
  expect((await kit.invoke('importer', told('fleet/told', 'fleet/told'))).result).toEqual({ batchItemFailures: [] });
  expect(await entryOf('told')).toMatchObject({ sizeBytes: 10, copies: { 'aws-a': '' } });
});

full('importer: a webhook brings the same document; while the backend fails it is told to bring it again', async () => {
  await s3.send(new PutObjectCommand({ Bucket: 'bucket-a', Key: 'fleet/hooked file', Body: 'hooked' }));
  const s3Record = { bucket: { name: 'bucket-a' }, object: { key: 'fleet/hooked+file' } };
  const document = { Records: [{ eventName: 'ObjectCreated:Put', s3: s3Record }] };
  const request = { requestContext: { http: { method: 'POST' } }, body: JSON.stringify(document) };
  await whileUnreachable(async () => {
    expect((await kit.invoke('importer', request)).result).toEqual({ statusCode: 503 });
    expect((await kit.invoke('importer', told('fleet/hooked file'))).result).toEqual({
      batchItemFailures: [{ itemIdentifier: 'fleet/hooked file' }],
    });
    expect((await kit.invoke('importer', document)).error).toMatchObject({ name: 'TickFailed' });
  });
  expect((await kit.invoke('importer', request)).result).toEqual({ statusCode: 200 });
  expect(await copiesOf('hooked file')).toEqual(['aws-a']);
});

test('every call that a function made is allowed by its role [least-rights]', () => {
  expect(kit.refused).toEqual([]);
});

full('every action of a role is used by a case above, or stays for a reason [least-rights]', () => {
  // The rights that every worker has unless its own are named are no worker's own: no case has to use each of them.
  const workers = workerNames.filter((name) => access[name] !== usual);
  const actors = [...workers, 'apply', 'importer', 'application'] as const;
  const unused = actors.flatMap((actor) =>
    kit
      .statements(actor)
      .flatMap(({ sid, actions, resources }) =>
        actions
          .flatMap((action) => [...new Set(resources.map(indexOf))].map((index) => `${actor} ${sid} ${action}${index}`))
          .filter((use) => !kit.used.has(use)),
      ),
  );
  const reasonOf = (use: string) => reasons.find(([pattern]) => pattern.test(use));
  expect(unused.filter((use) => reasonOf(use) === undefined)).toEqual([]);
  expect(reasons.filter(([pattern]) => !unused.some((use) => pattern.test(use)))).toEqual([]);
});
