import { readFileSync } from 'node:fs';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliLab, startCli } from './kit.ts';

let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 2 });
  await lab.json(['init']);
});
afterAll(() => lab.close());

/** A file whose metadata leaves no room for our mark beside it: no backend takes a copy of it. */
async function putPlain(key: string, noteBytes: number): Promise<void> {
  const { backends } = JSON.parse(readFileSync(lab.stack.fleetPath, 'utf8'));
  const { endpoint, bucket, credentials } = backends[0];
  const s3 = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
  await s3.send(
    new PutObjectCommand({ Bucket: bucket, Key: key, Body: 'file', Metadata: { note: 'n'.repeat(noteBytes) } }),
  );
  s3.destroy();
}

const replicate = async () => (await lab.run(['tick', 'replicator', '--json'])).json<{ outcome: string }>();

test('objects that every backend refuses are listed with reasons, keep nobody waiting, and can be tried again [refusals-cost-one]', async () => {
  const refused = ['photos/1', 'photos/2', 'photos/3'];
  for (const key of refused) await putPlain(key, 2040);
  await lab.json(['import', 'local-1'], { env: { RECONCILER_MIN_AGE_SECONDS: '0' } });
  for (let i = 0; i < 12; i += 1) await lab.holdfast.put(`docs/${i}`, 'v');
  await replicate();
  for (let i = 0; i < 12; i += 1)
    expect((await lab.json<{ copies: unknown[] }>(['locate', `docs/${i}`])).copies).toHaveLength(2);
  const stuck = await lab.json<{ key: string; reasons: object }[]>(['stuck']);
  expect(stuck.map(({ key }) => key).sort()).toEqual(refused);
  expect(stuck[0]).toMatchObject({ backends: ['local-1'], reasons: { 'local-2': { leg: 'target', attempts: 1 } } });
  expect((await lab.run(['stuck'])).stdout).toContain('"local-2" takes no copy');
  expect(await lab.json(['status'])).toMatchObject({ stuck: 3 });
  expect((await replicate()).outcome).toBe('empty');
  expect(await lab.json(['retry', 'photos/1'])).toEqual({ key: 'photos/1', outcome: 'lifted' });
  expect((await lab.json<{ key: string }[]>(['stuck'])).map(({ key }) => key).sort()).toEqual(['photos/2', 'photos/3']);
  await replicate();
  expect(await lab.json<{ key: string }[]>(['stuck'])).toHaveLength(3);
  expect(await lab.json<unknown[]>(['retry', '--all'])).toHaveLength(3);
  expect(await lab.json(['stuck'])).toEqual([]);
});

test('retry says of a key what is so', async () => {
  await lab.holdfast.put('sound', 'v');
  expect(await lab.json(['retry', 'sound'])).toEqual({ key: 'sound', outcome: 'nothing-refused' });
  expect(await lab.run(['retry', 'nothing', '--json'])).toMatchObject({ code: 1 });
  expect(await lab.run(['retry'])).toMatchObject({ code: 2 });
  expect(await lab.run(['retry', 'sound', '--all'])).toMatchObject({ code: 2 });
});
