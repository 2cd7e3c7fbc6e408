import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { DeleteTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { createHoldfast } from '../../lib/client/holdfast.ts';
import { startCli } from './kit.ts';

interface Located {
  readonly copies: readonly { readonly backend: string; readonly storageKey: string }[];
}

test('300 objects on three backends, some encrypted, some big, one copy in twenty rotten, tables deleted: recover brings back every object that has a good copy', async () => {
  const lab = await startCli({ backends: 3 });
  try {
    const raw = JSON.parse(readFileSync(lab.stack.fleetPath, 'utf8')) as {
      backends: {
        name: string;
        endpoint: string;
        bucket: string;
        credentials: { accessKeyId: string; secretAccessKey: string };
      }[];
    };
    const fleet = {
      ...raw,
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
      HOLDFAST_LOG: 'silent',
    };
    await lab.json(['init'], { env });
    const client = createHoldfast({ env: { ...lab.stack.env, ...env } });
    const contents = new Map<string, Buffer>();
    for (let i = 0; i < 300; i += 1) {
      const folder = i % 10 === 0 ? 'secret/' : i % 10 === 1 ? 'single/' : '';
      const bytes = i % 100 === 7 ? Buffer.alloc(6_000_000, `big ${i} `) : Buffer.from(`content of ${i}`);
      contents.set(`${folder}object ${i}`, bytes);
    }
    for (const [key, bytes] of contents) await client.put(key, bytes);
    for (let ticks = 0; ticks < 4; ticks += 1) await lab.run(['tick', 'replicator', '--json'], { env });
    const s3 = new Map(
      raw.backends.map(({ name, endpoint, bucket, credentials }) => [
        name,
        { bucket, client: new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true }) },
      ]),
    );
    // One copy in twenty rots where it is, with its mark; never the only one.
    let copies = 0;
    const rotten: string[] = [];
    for (const key of contents.keys()) {
      const located = await lab.json<Located>(['locate', key], { env });
      for (const [i, { backend, storageKey }] of located.copies.entries()) {
        copies += 1;
        if (copies % 20 !== 0 || i > 0 || located.copies.length < 2) continue;
        const { client: s3client, bucket } = s3.get(backend)!;
        const there = await s3client.send(new GetObjectCommand({ Bucket: bucket, Key: storageKey }));
        const bytes = Buffer.from(await there.Body!.transformToByteArray());
        bytes[0] = bytes[0]! ^ 1;
        const { Metadata, ContentType } = there;
        await s3client.send(
          new PutObjectCommand({ Bucket: bucket, Key: storageKey, Body: bytes, Metadata, ContentType }),
        );
        rotten.push(key);
      }
    }
    expect(rotten.length).toBeGreaterThan(5);
    const keysOn = async (name: string) => {
      const { client: s3client, bucket } = s3.get(name)!;
      const page = await s3client.send(new ListObjectsV2Command({ Bucket: bucket }));
      return page.Contents!.map(({ Key }) => Key!).filter((key) => !key.startsWith('.holdfast/'));
    };
    const before = Object.fromEntries(
      await Promise.all([...s3.keys()].map(async (name) => [name, await keysOn(name)])),
    );
    await client.close();
    const dynamodb = new DynamoDBClient({
      endpoint: lab.stack.env.AWS_ENDPOINT_URL_DYNAMODB!,
      region: 'us-east-1',
      credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
    });
    for (const name of ['objects', 'queue', 'control'])
      await dynamodb.send(new DeleteTableCommand({ TableName: `holdfast-${name}` }));
    dynamodb.destroy();
    expect((await lab.run(['init', '--json'], { env })).code).not.toBe(0);
    await lab.json(['init', '--take-over'], { env });
    expect(await lab.json(['status'], { env })).toMatchObject({ recovery: { since: expect.any(Number) } });
    expect(await lab.json(['recover'], { env })).toMatchObject({ isComplete: true, named: [] });
    const again = createHoldfast({ env: { ...lab.stack.env, ...env } });
    const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    for (const [key, bytes] of contents) {
      const found = await again.get(key);
      expect([key, hash(await collect(found!.body))]).toEqual([key, hash(bytes)]);
    }
    await again.close();
    for (const worker of ['cleanup-queue', 'reconciler', 'cleanup-queue'])
      await lab.run(['tick', worker, '--json'], { env: { ...env, RECONCILER_MIN_AGE_SECONDS: '0' } });
    for (const [name, keys] of Object.entries(before)) expect(await keysOn(name)).toEqual(keys);
    expect(await lab.json(['recount'], { env })).toMatchObject({ differences: [] });
    for (const { client: s3client } of s3.values()) s3client.destroy();
  } finally {
    await lab.close();
  }
});
