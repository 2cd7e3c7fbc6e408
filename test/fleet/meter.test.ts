import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { noUsage, plusUsage, type Usage } from '../../lib/base/usage.ts';
import { BackendError } from '../../lib/fleet/errors.ts';
import { createMeter, type Gate, noteAnswer, noteRequest } from '../../lib/fleet/meter.ts';
import { createS3Backend, type S3Backend } from '../../lib/fleet/s3-backend.ts';
import { createS3Server, type S3Server } from '../../lib/local/s3/server.ts';

const keys = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' };
const options = {
  name: 'a',
  region: 'us-east-1',
  bucket: 'bucket',
  prefix: '',
  pathStyle: true,
  credentials: keys,
  capabilities: {},
  clock: systemClock,
  onRequest: noteRequest,
  onAnswer: noteAnswer,
};
let dir: string;
let server: S3Server;
let backend: S3Backend;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-meter-'));
  server = await createS3Server({ dir, buckets: ['bucket'], credentials: [keys], clock: systemClock });
  backend = createS3Backend({ ...options, endpoint: server.endpoint });
});

beforeEach(() => server.requests.clear());

afterAll(async () => {
  backend.close();
  await server.close();
  await rm(dir, { recursive: true });
});

const classes = { put: 'A', copy: 'A', list: 'A', get: 'B', head: 'B', delete: 'free' } as const;

const put = (
  watched: S3Backend | ReturnType<ReturnType<typeof createMeter>['watch']>,
  storageKey: string,
  bytes: Buffer,
) => watched.put({ storageKey, sizeBytes: bytes.length, body: bodyOf(bytes) });

test('a GET is charged as egress of its source and a PUT as ingress of its target, one request each', async () => {
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) });
  const watched = meter.watch(backend, classes);
  await put(watched, 'k', Buffer.from('12345'));
  expect(meter.spent('a')).toEqual({ requests: 1, classA: 1, classB: 0, egressBytes: 0, ingressBytes: 5 });
  await collect((await watched.get('k')).body);
  expect(meter.spent('a')).toEqual({ requests: 2, classA: 1, classB: 1, egressBytes: 5, ingressBytes: 5 });
  expect(server.requests.count({})).toBe(2);
});

test('every physical request is charged, failed or not, as the server’s own log counts them', async () => {
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) });
  const watched = meter.watch(backend, classes);
  server.faults.add({ match: { operation: 'PutObject' }, times: 2, kind: 'throttle' });
  await put(watched, 'retried', Buffer.from('12345'));
  await expect(watched.get('missing')).rejects.toMatchObject({ kind: 'not-found' });
  const logged = server.requests.count({});
  expect(logged).toBe(4);
  expect(meter.spent('a')).toMatchObject({ requests: logged, ingressBytes: 15 });
});

test('a body that is given up before its first byte lets its socket go', async () => {
  const watched = createMeter({ now: () => Date.UTC(2026, 0, 31) }).watch(backend, classes);
  await put(watched, 'big', Buffer.alloc(1_000_000));
  const found = await watched.get('big');
  await found.body[Symbol.asyncIterator]().return?.();
  expect(await watched.head('big')).toMatchObject({ sizeBytes: 1_000_000 });
});

test('what is taken is not charged twice', async () => {
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) });
  await meter.watch(backend, classes).head('k');
  expect(meter.take()).toEqual({
    '2026-01-31T00': { a: { requests: 1, classA: 0, classB: 1, egressBytes: 0, ingressBytes: 0 } },
  });
  expect(meter.take()).toEqual({});
});

test('usage equals the server’s own log by class, whatever was asked [usage-classes]', async () => {
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) });
  const watched = meter.watch(backend, classes);
  await put(watched, 'k', Buffer.from('12345'));
  await collect((await watched.get('k')).body);
  await watched.head('k');
  await watched.tags('k');
  await watched.list({ prefix: 'k' });
  const { uploadId } = await watched.createUpload({ storageKey: 'parts' });
  const bytes = Buffer.alloc(100);
  const part = { storageKey: 'parts', uploadId, partNumber: 1, sizeBytes: bytes.length, body: bodyOf(bytes) };
  const { etag } = await watched.uploadPart(part);
  await watched.listParts('parts', uploadId);
  const parts = [{ partNumber: 1, etag, sizeBytes: bytes.length }];
  await watched.completeUpload({ storageKey: 'parts', uploadId, parts });
  const other = await watched.createUpload({ storageKey: 'other' });
  await watched.openUploads('other');
  await watched.abortUpload('other', other.uploadId);
  await watched.copyFrom({
    storageKey: 'copied',
    source: { backend: 'a', bucket: 'bucket', prefix: '', storageKey: 'k' },
  });
  await watched.delete(['k', 'parts', 'copied'].map((storageKey) => ({ storageKey })));
  await watched.delete([{ storageKey: 'missing' }]);
  const logged = Object.entries(server.requests.byOperation());
  const sum = (those: RegExp) => logged.filter(([name]) => those.test(name)).reduce((all, [, n]) => all + n, 0);
  expect(meter.spent('a')).toMatchObject({
    requests: sum(/./),
    classA: sum(/^(Put|Copy|UploadPart|Create|Complete|List)/),
    classB: sum(/^(Get|Head)/),
  });
  expect(sum(/^(Delete|Abort)/)).toBeGreaterThanOrEqual(3);
});

/** Lets so many requests pass, and keeps what was paid for and what of it was spent. */
function gateOf(requests: number) {
  const books = { paid: noUsage, charged: noUsage, settled: noUsage, spent: noUsage };
  const gate: Gate = {
    isFree: ({ method }) => method === 'head',
    pay(name, usage) {
      if (books.paid.requests + usage.requests > requests)
        return Promise.reject(
          new BackendError('over-limit', name, 'a limit is reached', undefined, { limit: 'over-requests' }),
        );
      books.paid = plusUsage(books.paid, usage);
      return undefined;
    },
    charge(_name, usage) {
      books.charged = plusUsage(books.charged, usage);
    },
    settle(_name, paid, spent: Usage) {
      books.settled = plusUsage(books.settled, paid);
      books.spent = plusUsage(books.spent, spent);
    },
  };
  return { gate, books };
}

const unavailable = { kind: 'error', status: 500, code: 'InternalError' } as const;

test.each([
  ['PutObject', (watched: S3Backend) => put(watched, 'again', Buffer.from('12345'))],
  ['ListObjectsV2', (watched: S3Backend) => watched.list({ prefix: 'k' })],
] as const)(
  'a %s is sent again only where a limit allows that too, and is not said to have never been sent [usage-limits-hold]',
  async (operation, send) => {
    const { gate, books } = gateOf(2);
    const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) }, gate);
    server.faults.add({ ...unavailable, match: { operation } });
    const error = await send(meter.watch(backend, classes) as S3Backend).catch((thrown: unknown) => thrown);
    server.faults.clear();
    expect(server.requests.count({})).toBe(2);
    expect(error).toMatchObject({ kind: 'unavailable', limit: undefined, storesNothing: false, isWorthRetry: false });
    expect((error as Error).message).toMatch(/is not sent again/);
    expect(books.paid).toEqual(books.settled);
    expect(books.spent).toEqual(books.paid);
    expect(meter.spent('a')).toEqual(books.spent);
  },
);

function pageOfParts(part: number): string {
  const more = `<IsTruncated>true</IsTruncated><NextPartNumberMarker>${part}</NextPartNumberMarker>`;
  return `<ListPartsResult>${more}<Part><PartNumber>${part}</PartNumber></Part></ListPartsResult>`;
}

test.each([
  ['a page that a limit refuses is not asked for, and no failure of the backend', 1, [200], 'over-limit'],
  ['so it is where the page before was sent twice', 2, [500, 200], 'over-limit'],
  ['a page that failed, and that a limit keeps from being sent again, is one', 2, [200, 500], 'unavailable'],
] as const)('%s [usage-limits-hold]', async (_title, allowed, statuses, kind) => {
  const answers = [...statuses];
  const pages = createServer((_request, response) => {
    response.statusCode = answers.shift()!;
    const marker = statuses.length - answers.length;
    response.end(response.statusCode === 200 ? pageOfParts(marker) : '<Error><Code>InternalError</Code></Error>');
  });
  await once(pages.listen(0, '127.0.0.1'), 'listening');
  const { port } = pages.address() as AddressInfo;
  const paged = createS3Backend({ ...options, endpoint: `http://127.0.0.1:${port}` });
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) }, gateOf(allowed).gate);
  const error = await meter
    .watch(paged, classes)
    .listParts('k', 'u')
    .catch((thrown: unknown) => thrown);
  paged.close();
  pages.close();
  expect([answers, (error as BackendError).kind]).toEqual([[], kind]);
});

test('what a resend is paid for is settled with the rest; what is never refused is told as well [usage-limits-hold]', async () => {
  const { gate, books } = gateOf(10);
  const meter = createMeter({ now: () => Date.UTC(2026, 0, 31) }, gate);
  const watched = meter.watch(backend, classes);
  server.faults.add({ ...unavailable, match: { operation: 'PutObject' }, times: 2 });
  await put(watched, 'k', Buffer.from('12345'));
  expect(books.paid).toEqual({ requests: 3, classA: 3, classB: 0, egressBytes: 0, ingressBytes: 15 });
  await watched.head('k');
  await collect((await watched.get('k')).body);
  expect(books.paid).toMatchObject({ requests: 4, egressBytes: 5 });
  expect(books.charged).toMatchObject({ requests: 1, classB: 1 });
  expect(books.settled).toEqual(plusUsage(books.paid, books.charged));
  expect(books.spent).toEqual({ requests: 5, classA: 3, classB: 2, egressBytes: 5, ingressBytes: 15 });
  expect(meter.spent('a')).toEqual(books.spent);
});
