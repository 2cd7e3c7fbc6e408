import { readFileSync, writeFileSync } from 'node:fs';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliLab, rawFleetOf, startCli } from './kit.ts';

let lab: CliLab;
const now = { RECONCILER_MIN_AGE_SECONDS: '0' };

beforeAll(async () => {
  lab = await startCli({ backends: 2 });
  await lab.json(['init']);
});
afterAll(() => lab.close());

interface Located {
  readonly copies: readonly { readonly backend: string; readonly storageKey: string }[];
}

/** Damages the bytes of one copy on disk. */
async function damage(key: string, backend: string): Promise<void> {
  const { copies } = await lab.json<Located>(['locate', key]);
  const { storageKey } = copies.find((copy) => copy.backend === backend)!;
  const { server, bucket } = lab.stack.backends.find(({ name }) => name === backend)!;
  const path = server.objectPath(bucket, storageKey)!;
  const bytes = readFileSync(path);
  bytes[0]! ^= 1;
  writeFileSync(path, bytes);
}

/** A file put into a bucket by somebody who has never heard of Holdfast. */
async function putPlain(backend: string, key: string, body: string): Promise<void> {
  const raw = rawFleetOf(lab);
  const { endpoint, bucket, credentials } = raw.backends.find(({ name }) => name === backend)!;
  const s3 = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
  await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
  s3.destroy();
}

test('scrub gives a verdict on every copy of a key, and removes a wrong one while another is good', async () => {
  await lab.holdfast.put('scrubbed', 'content');
  await lab.json(['tick', 'replicator']);
  expect(await lab.json(['scrub', 'scrubbed'])).toMatchObject({
    verdicts: [
      { backend: 'local-1', verdict: 'good' },
      { backend: 'local-2', verdict: 'good' },
    ],
  });
  await damage('scrubbed', 'local-1');
  expect(await lab.json(['scrub', 'scrubbed'])).toMatchObject({
    verdicts: [
      { backend: 'local-1', verdict: 'quarantined' },
      { backend: 'local-2', verdict: 'good' },
    ],
  });
  await lab.json(['tick', 'replicator']);
  const { copies } = await lab.json<Located>(['locate', 'scrubbed']);
  expect(copies.map(({ backend }) => backend)).toEqual(['local-1', 'local-2']);
});

test('scrub of the only copy, wrong, says that the object is damaged and ends with 1', async () => {
  await lab.holdfast.put('only', 'content');
  await damage('only', 'local-1');
  const ran = await lab.run(['scrub', 'only', '--json']);
  expect(ran.code).toBe(1);
  expect(ran.json()).toMatchObject({ verdicts: [{ backend: 'local-1', verdict: 'damaged' }] });
  expect(await lab.json(['status'])).toMatchObject({ damaged: 1 });
  const doctor = await lab.run(['doctor']);
  expect(doctor.code).toBe(1);
  expect(doctor.stdout).toContain('1 are damaged: no copy of them verifies');
  await lab.holdfast.delete('only');
});

test('scrub of a key that does not exist is one sentence and 1', async () => {
  const ran = await lab.run(['scrub', 'nothing here']);
  expect(ran).toMatchObject({ code: 1, stdout: '', stderr: 'error: There is no object "nothing here"\n' });
});

test('doctor finds a healthy fleet healthy', async () => {
  const ran = await lab.json<{ findings: { level: string }[] }>(['doctor']);
  expect(ran.findings.map(({ level }) => level)).toEqual(['ok', 'ok', 'ok']);
});

test('reconcile reports an external client’s file, imports it when asked, and then has nothing to do', async () => {
  await putPlain('local-1', 'photos/alt.jpg', 'bytes of an external client');
  expect(await lab.json(['reconcile', 'local-1'], { env: now })).toMatchObject({
    isComplete: true,
    found: { unmarked: 1 },
  });
  expect(await lab.json(['import', 'local-1'], { env: now })).toMatchObject({
    isComplete: true,
    found: { imported: 1 },
  });
  await lab.json(['tick', 'replicator']);
  expect(await lab.json(['locate', 'photos/alt.jpg'])).toMatchObject({
    copies: [{ backend: 'local-1', storageKey: 'photos/alt.jpg' }, { backend: 'local-2' }],
  });
  expect((await lab.run(['get', 'photos/alt.jpg'])).stdout).toBe('bytes of an external client');
  expect(await lab.json(['reconcile', 'local-1'], { env: now })).toMatchObject({
    isComplete: true,
    found: {},
  });
});

test('reconcile of a backend that is not in the file names those that are', async () => {
  const ran = await lab.run(['reconcile', 'nowhere']);
  expect(ran).toMatchObject({
    code: 2,
    stderr: 'error: There is no backend "nowhere" in the fleet file; there are local-1, local-2\n',
  });
});
