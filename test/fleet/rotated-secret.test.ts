import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import type { S3Backend } from '../../lib/fleet/s3-backend.ts';
import { createCredentialResolver } from '../../lib/process/credentials.ts';
import { kindOf, someBytes } from '../contracts/backend-bytes.ts';
import { createManualClock } from '../support/fleet.ts';
import { keys, type S3Kit, startS3 } from './s3-kit.ts';

let kit: S3Kit;
beforeAll(async () => {
  kit = await startS3();
});
afterAll(() => kit.close());

const former = { accessKeyId: 'FORMER', secretAccessKey: 'former' };
const arn = 'arn:aws:secretsmanager:eu-west-1:1:secret:b2';
const clock = createManualClock();
let secret: unknown;
let reads = 0;

beforeEach(() => {
  clock.advance(3_600_000);
  reads = 0;
});

/** A backend whose keys are in a secret, which is first read as `first`. */
async function withSecret(first: unknown): Promise<S3Backend> {
  secret = first;
  const resolver = createCredentialResolver({
    env: {},
    clock,
    readSecret: async () => {
      reads += 1;
      return JSON.stringify(secret);
    },
  });
  const credentials = await resolver.resolve({ name: 'b2', region: 'eu-west-1' }, { secretArn: arn });
  return kit.connect({ name: 'b2', credentials });
}

const put = (backend: S3Backend, sizeBytes: number) =>
  backend.put({ storageKey: 'k', sizeBytes, body: bodyOf(someBytes(sizeBytes)) });

test('a rotated secret is read again at the first refusal, and the request goes on with it [rotated-secrets]', async () => {
  const backend = await withSecret(former);
  secret = keys;
  await put(backend, 10);
  expect((await backend.head('k'))?.sizeBytes).toBe(10);
  expect(reads).toBe(2);
});

test('a HEAD, whose refusal says nothing of its cause, finds the rotated secret too, and so does a deletion', async () => {
  await put(kit.connect(), 10);
  const backend = await withSecret(former);
  secret = keys;
  expect(await backend.head('k')).not.toBeNull();
  const deleting = await withSecret(former);
  secret = keys;
  expect(await deleting.delete([{ storageKey: 'k' }])).toEqual([{ outcome: 'deleted' }]);
});

test('a streamed body is not sent twice: it may be tried again at once', async () => {
  const backend = await withSecret(former);
  secret = keys;
  const error = await put(backend, 300_000).catch((e: unknown) => e);
  expect(error).toMatchObject({ kind: 'stale-credentials', speaksOf: 'ourselves', isWorthRetry: true });
  await put(backend, 300_000);
});

test('requests that are refused together read the secret once', async () => {
  const backend = await withSecret(former);
  secret = keys;
  await Promise.all(Array.from({ length: 8 }, () => backend.head('k')));
  expect(reads).toBe(2);
});

test('a secret that is the same is read again at most once a minute [rotated-secrets]', async () => {
  const backend = await withSecret(former);
  for (let request = 0; request < 5; request += 1) expect(await kindOf(backend.list({}))).toBe('credentials');
  expect(reads).toBe(2);
  clock.advance(60_000);
  expect(await kindOf(backend.list({}))).toBe('credentials');
  expect(reads).toBe(3);
});

test('keys stay in use where their secret cannot be read again [rotated-secrets]', async () => {
  const backend = await withSecret(keys);
  secret = 'not the keys';
  kit.server.faults.add({ kind: 'error', status: 403, code: 'AccessDenied', times: 1 });
  expect(await kindOf(backend.list({}))).toBe('denied');
  expect(await kindOf(backend.list({}))).toBe('none');
});
