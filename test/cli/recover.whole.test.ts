import { createHash } from 'node:crypto';
import { DeleteTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { BatchWriteCommand, DynamoDBDocumentClient, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { createIds, idsFrom } from '../../lib/base/ids.ts';
import { createHoldfast } from '../../lib/client/holdfast.ts';
import { defaultTableNames } from '../../lib/config/tables.ts';
import { createTables } from '../../lib/store/dynamodb/create-tables.ts';
import { newCopyId, storageKey } from '../../lib/store/keys.ts';
import { markFor, markName } from '../../lib/transfer/mark.ts';
import { rawFleetOf, startCli } from './kit.ts';

interface Located {
  readonly generation: string;
  readonly copies: readonly { readonly backend: string; readonly storageKey: string }[];
}

type Contents = Map<string, Buffer>;
type Bucket = { readonly name: string; readonly s3: S3Client; readonly bucket: string };
type RecoveryLab = Awaited<ReturnType<typeof startRecovery>>;

const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const names = Object.values(defaultTableNames) as string[];
const ids = createIds(systemClock);

/** As anyone can make one, for any time. */
const generationOf = (at: number) => idsFrom({ ...systemClock, now: () => at }, Math.random).ulid();

/** Objects on three backends, a tenth encrypted, a tenth with a single copy, some big. The backends stand in the order wanted. */
async function startRecovery(count: number, isReversed: boolean) {
  const cli = await startCli({ backends: 3 });
  const raw = rawFleetOf(cli);
  const backends = isReversed ? raw.backends.toReversed() : raw.backends;
  const fleet = {
    ...raw,
    backends,
    policies: {
      default: { factor: 2 },
      secret: { prefix: 'secret/', factor: 2, encrypt: true },
      single: { prefix: 'single/', factor: 1 },
    },
    encryption: { rawKeyEnv: 'KEY' },
  };
  const env = {
    HOLDFAST_FLEET: JSON.stringify(fleet),
    KEY: Buffer.alloc(32, 9).toString('base64'),
    MULTIPART_ABOVE_BYTES: '5242880',
    PART_BYTES: '5242880',
    RECONCILER_MIN_AGE_SECONDS: '0',
    HOLDFAST_LOG: 'silent',
  };
  const buckets: Bucket[] = backends.map(({ name, endpoint, bucket, credentials }) => ({
    name,
    bucket,
    s3: new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true }),
  }));
  const dynamodb = new DynamoDBClient({
    endpoint: cli.stack.env.AWS_ENDPOINT_URL_DYNAMODB!,
    region: 'us-east-1',
    credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
  });
  const run = (...args: string[]) => cli.run([...args, '--json'], { env });
  const json = <T = Record<string, unknown>>(...args: string[]) => cli.json<T>(args, { env });
  const newClient = () => createHoldfast({ env: { ...cli.stack.env, ...env } });
  const contents: Contents = new Map();
  for (let i = 0; i < count; i += 1) {
    const folder = i % 10 === 0 ? 'secret/' : i % 10 === 1 ? 'single/' : '';
    const bytes = i % 100 === 7 ? Buffer.alloc(6_000_000, `big ${i} `) : Buffer.from(`content of ${i}`);
    contents.set(`${folder}object ${i}`, bytes);
  }
  await json('init');
  const client = newClient();
  for (const [key, bytes] of contents) await client.put(key, bytes);
  await client.close();
  for (let ticks = 0; ticks < 4; ticks += 1) await run('tick', 'replicator');
  return {
    contents,
    buckets,
    dynamodb: DynamoDBDocumentClient.from(dynamodb),
    run,
    json,
    newClient,
    async close() {
      for (const { s3 } of buckets) s3.destroy();
      dynamodb.destroy();
      await cli.close();
    },
  };
}

/** One copy in twenty rots where it is, with its mark; never the only one. */
async function rotSome({ buckets, json }: RecoveryLab, keys: Iterable<string>): Promise<void> {
  let copies = 0;
  let rotten = 0;
  for (const key of keys) {
    const located = await json<Located>('locate', key);
    for (const [i, { backend, storageKey: at }] of located.copies.entries()) {
      copies += 1;
      if (copies % 20 !== 0 || i > 0 || located.copies.length < 2) continue;
      const { s3, bucket } = buckets.find(({ name }) => name === backend)!;
      const stored = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: at }));
      const bytes = Buffer.from(await stored.Body!.transformToByteArray());
      bytes[0] = bytes[0]! ^ 1;
      const { Metadata, ContentType } = stored;
      await s3.send(new PutObjectCommand({ Bucket: bucket, Key: at, Body: bytes, Metadata, ContentType }));
      rotten += 1;
    }
  }
  expect(rotten).toBeGreaterThan(0);
}

async function deleteTables({ dynamodb }: RecoveryLab): Promise<void> {
  for (const name of names) await dynamodb.send(new DeleteTableCommand({ TableName: name }));
}

/** Every item of the three tables, as a backup holds it. */
async function backUp({ dynamodb }: RecoveryLab): Promise<Map<string, Record<string, unknown>[]>> {
  const backup = new Map<string, Record<string, unknown>[]>();
  for (const name of names) {
    const items: Record<string, unknown>[] = [];
    let from: Record<string, unknown> | undefined;
    do {
      const page = await dynamodb.send(new ScanCommand({ TableName: name, ExclusiveStartKey: from }));
      items.push(...page.Items!);
      from = page.LastEvaluatedKey;
    } while (from !== undefined);
    backup.set(name, items);
  }
  return backup;
}

/** Other tables of the same names hold what a backup held: their identity is another. */
async function restoreTables(lab: RecoveryLab, backup: Awaited<ReturnType<typeof backUp>>): Promise<void> {
  await deleteTables(lab);
  await createTables(lab.dynamodb as unknown as DynamoDBClient, defaultTableNames, systemClock);
  for (const [name, items] of backup)
    for (let at = 0; at < items.length; at += 25) {
      const batch = items.slice(at, at + 25).map((Item) => ({ PutRequest: { Item } }));
      await lab.dynamodb.send(new BatchWriteCommand({ RequestItems: { [name]: batch } }));
    }
}

/** Somebody who can write to one bucket makes bytes that say they are of ours, and newer. */
async function forge(lab: RecoveryLab, fleetId: string, key: string, generation: string): Promise<void> {
  const { name, s3, bucket } = lab.buckets[0]!;
  const at = storageKey(key, newCopyId(ids));
  const Metadata = { [markName]: markFor({ fleetId, generation }, name, at) };
  await s3.send(new PutObjectCommand({ Bucket: bucket, Key: at, Body: `forged for ${key}`, Metadata }));
}

async function keysIn({ buckets }: RecoveryLab): Promise<Record<string, string[]>> {
  const listed = buckets.map(async ({ name, s3, bucket }) => {
    const page = await s3.send(new ListObjectsV2Command({ Bucket: bucket }));
    return [name, page.Contents!.map(({ Key }) => Key!).filter((key) => !key.startsWith('.holdfast/'))] as const;
  });
  return Object.fromEntries(await Promise.all(listed));
}

async function expectContents(lab: RecoveryLab, contents: Contents): Promise<void> {
  const client = lab.newClient();
  for (const [key, bytes] of contents) {
    const found = await client.get(key);
    expect([key, found && hash(await collect(found.body))]).toEqual([key, hash(bytes)]);
  }
  await client.close();
}

/** Nothing that was in the buckets is gone; what is new are copies. */
async function expectNothingDeleted(lab: RecoveryLab, before: Record<string, string[]>): Promise<void> {
  for (const worker of ['cleanup-queue', 'reconciler', 'cleanup-queue']) await lab.run('tick', worker);
  const after = await keysIn(lab);
  for (const [name, keys] of Object.entries(before)) expect(after[name]).toEqual(expect.arrayContaining(keys));
  expect(await lab.json('recount')).toMatchObject({ differences: [] });
}

async function takeOver(lab: RecoveryLab): Promise<void> {
  expect((await lab.run('init')).code).not.toBe(0);
  await lab.json('init', '--take-over');
  expect(await lab.json('status')).toMatchObject({ recovery: { since: expect.any(Number) } });
}

test.each([
  [300, 'as they stand in the file', false],
  [90, 'the other way round', true],
])(
  'tables deleted, one copy in twenty rotten: recover brings back each of %i objects that has a good copy, with backends %s',
  async (count, _order, isReversed) => {
    const lab = await startRecovery(count, isReversed);
    try {
      await rotSome(lab, lab.contents.keys());
      const before = await keysIn(lab);
      await deleteTables(lab);
      await takeOver(lab);
      expect(await lab.json('recover')).toMatchObject({ isComplete: true, named: [] });
      await expectContents(lab, lab.contents);
      await expectNothingDeleted(lab, before);
    } finally {
      await lab.close();
    }
  },
);

test.each([
  [300, 'as they stand in the file', false],
  [90, 'the other way round', true],
])(
  "yesterday's tables of %i objects under today's buckets: recover finds today's puts, keeps what it cannot tell, and no forged mark changes an object, with backends %s",
  async (count, _order, isReversed) => {
    const lab = await startRecovery(count, isReversed);
    try {
      const { contents } = lab;
      const keys = [...contents.keys()];
      const backup = await backUp(lab);
      const overwritten = keys.filter((_, i) => i % 10 === 2 || i % 30 === 0);
      const onOneBackend = keys.filter((_, i) => i % 30 === 1);
      const deleted = keys.filter((_, i) => i % 15 === 4);
      const fresh = Array.from({ length: 30 }, (_, i) => `${i % 3 === 0 ? 'secret/' : ''}of today ${i}`);
      const client = lab.newClient();
      const today: Contents = new Map();
      for (const key of [...overwritten, ...onOneBackend, ...fresh]) today.set(key, Buffer.from(`${key} of today`));
      for (const [key, bytes] of today) await client.put(key, bytes);
      for (const key of deleted) await client.delete(key);
      await client.close();
      for (let ticks = 0; ticks < 3; ticks += 1) await lab.run('tick', 'replicator');
      await rotSome(lab, [...keys.filter((key) => !today.has(key) && !deleted.includes(key)), ...fresh]);
      const { fleetId } = await lab.json<{ fleetId: string }>('status');
      const forgedOver = keys.filter((_, i) => i % 60 === 5);
      for (const [i, key] of forgedOver.entries())
        await forge(lab, fleetId, key, generationOf(Date.now() + (i % 2) * 30 * 24 * 3_600_000));
      const before = await keysIn(lab);
      await restoreTables(lab, backup);
      await takeOver(lab);
      const recovered = await lab.json<{ named: { key: string }[] }>('recover');
      expect(recovered).toMatchObject({ isComplete: true });
      const named = new Set(recovered.named.map(({ key }) => key.replace(/![^!]*$/, '')));
      for (const key of [...onOneBackend, ...forgedOver]) expect([...named]).toContain(key);
      // What one backend alone holds does not take the place of bytes that verify, before a person says so.
      const kept = (key: string) => onOneBackend.includes(key) || !today.has(key);
      const expected: Contents = new Map(
        [...keys, ...fresh].map((key) => [key, kept(key) ? contents.get(key)! : today.get(key)!]),
      );
      await expectContents(lab, expected);
      await expectNothingDeleted(lab, before);
      await lab.json('recover', '--accept-newer', ...onOneBackend);
      for (const key of onOneBackend) expected.set(key, today.get(key)!);
      await expectContents(lab, expected);
      // The fleet lives again: a mark changes nothing, however late its generation, whoever looks.
      const live = keys.filter((_, i) => i % 40 === 3);
      const located = await Promise.all(live.map((key) => lab.json<Located>('locate', key)));
      for (const [i, key] of live.entries())
        await forge(lab, fleetId, key, generationOf(Date.now() + (i % 3) * 24 * 3_600_000));
      const beforeForged = await keysIn(lab);
      await lab.run('recover');
      for (const worker of ['reconciler', 'scrubber', 'over-replication-cleaner', 'cleanup-queue'])
        await lab.run('tick', worker);
      for (const [i, key] of live.entries())
        expect((await lab.json<Located>('locate', key)).generation).toBe(located[i]!.generation);
      await expectContents(lab, expected);
      await expectNothingDeleted(lab, beforeForged);
    } finally {
      await lab.close();
    }
  },
);
