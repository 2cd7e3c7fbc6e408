import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { createMeter, noteRequest } from '../../lib/fleet/meter.ts';
import { createS3Backend, type S3Backend } from '../../lib/fleet/s3-backend.ts';
import { createS3Server, type S3Server } from '../../lib/local/s3/server.ts';

const keys = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' };
let dir: string;
let server: S3Server;
let backend: S3Backend;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-meter-'));
  server = await createS3Server({ dir, buckets: ['bucket'], credentials: [keys], clock: systemClock });
  backend = createS3Backend({
    name: 'a',
    endpoint: server.endpoint,
    region: 'us-east-1',
    bucket: 'bucket',
    prefix: '',
    pathStyle: true,
    credentials: keys,
    capabilities: {},
    clock: systemClock,
    onRequest: noteRequest,
  });
});

beforeEach(() => server.requests.clear());

afterAll(async () => {
  backend.close();
  await server.close();
  await rm(dir, { recursive: true });
});

const put = (
  watched: S3Backend | ReturnType<ReturnType<typeof createMeter>['watch']>,
  storageKey: string,
  bytes: Buffer,
) => watched.put({ storageKey, sizeBytes: bytes.length, body: bodyOf(bytes) });

test('a GET is charged as egress of its source and a PUT as ingress of its target, one request each', async () => {
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) });
  const watched = meter.watch(backend);
  await put(watched, 'k', Buffer.from('12345'));
  expect(meter.spent('a')).toEqual({ requests: 1, egressBytes: 0, ingressBytes: 5 });
  await collect((await watched.get('k')).body);
  expect(meter.spent('a')).toEqual({ requests: 2, egressBytes: 5, ingressBytes: 5 });
  expect(server.requests.count({})).toBe(2);
});

test('every physical request is charged, failed or not, as the server’s own log counts them', async () => {
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) });
  const watched = meter.watch(backend);
  server.faults.add({ match: { operation: 'PutObject' }, times: 2, kind: 'throttle' });
  await put(watched, 'retried', Buffer.from('12345'));
  await expect(watched.get('missing')).rejects.toMatchObject({ kind: 'not-found' });
  const logged = server.requests.count({});
  expect(logged).toBe(4);
  expect(meter.spent('a')).toMatchObject({ requests: logged, ingressBytes: 15 });
});

test('a body that is given up before its first byte lets its socket go', async () => {
  const watched = createMeter({ now: () => Date.UTC(2026, 0, 31) }).watch(backend);
  await put(watched, 'big', Buffer.alloc(1_000_000));
  const found = await watched.get('big');
  await found.body[Symbol.asyncIterator]().return?.();
  expect(await watched.head('big')).toMatchObject({ sizeBytes: 1_000_000 });
});

test('what is taken is not charged twice', async () => {
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) });
  await meter.watch(backend).head('k');
  expect(meter.take()).toEqual({ '2026-01': { a: { requests: 1, egressBytes: 0, ingressBytes: 0 } } });
  expect(meter.take()).toEqual({});
});
