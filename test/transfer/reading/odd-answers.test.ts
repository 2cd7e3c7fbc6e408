import { createHash } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAdmission } from '../../../lib/base/admission.ts';
import { systemClock } from '../../../lib/base/clock.ts';
import { deadlineAt } from '../../../lib/base/deadline.ts';
import { silentLog } from '../../../lib/base/log.ts';
import { createS3Backend } from '../../../lib/fleet/s3-backend.ts';
import { createMemoryStore, type MemoryStore } from '../../../lib/testing/store/memory-store.ts';
import { createCopyReader } from '../../../lib/transfer/reading/copy-reader.ts';
import type { Reading } from '../../../lib/transfer/reading/reading.ts';
import { keys } from '../../fleet/s3-kit.ts';
import { createManualClock, type ManualClock } from '../../support/fleet.ts';
import { listenOnLoopback } from '../../support/loopback.ts';

const windowBytes = 1000;
const content = Buffer.from(Array.from({ length: 4 * windowBytes }, (_, i) => (i * 7 + (i >> 8)) % 251));
const other = Buffer.from(content.map((byte) => byte ^ 1));
const sha256 = createHash('sha256').update(content).digest('hex');
const etag = '"as-it-was"';

/** Answers the third range, or does as ever where it returns false. */
type Odd = (response: ServerResponse, first: number, last: number) => unknown;

/** Reads that outlast a tick meet odd answers in their midst: over HTTP, as a server may give them. */
describe('a read over many ranges', () => {
  let odd: Odd = () => false;
  let ranges = 0;
  let servedBytes = 0;
  let clock: ManualClock;
  let store: MemoryStore;
  let endpoint = '';
  const server = createServer((request, response) => {
    const found = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (request.method === 'HEAD' || found === null)
      return void response.writeHead(200, { etag, 'content-length': content.length }).end();
    const [first, last] = [Number(found[1]), Number(found[2])];
    ranges += 1;
    if (ranges === 3 && odd(response, first, last) !== false) return;
    servedBytes += last + 1 - first;
    part(response, first, last);
  });
  beforeAll(async () => {
    endpoint = await listenOnLoopback(server);
  });
  beforeEach(() => {
    ranges = 0;
    servedBytes = 0;
    clock = createManualClock();
    store = createMemoryStore({ clock });
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  function part(response: ServerResponse, first: number, last: number, headers = {}, bytes = content): void {
    const range = `bytes ${first}-${last}/${content.length}`;
    const answered = { etag, 'content-range': range, 'content-length': last + 1 - first, ...headers };
    response.writeHead(206, answered).end(bytes.subarray(first, last + 1));
  }

  /** One turn: what was read is kept for the next one, which comes much later. */
  async function turn(): Promise<Reading> {
    const startedAt = clock.now();
    const at = { name: 'odd', endpoint, region: 'us-east-1', bucket: 'odd-bucket', prefix: '', pathStyle: true };
    const backend = createS3Backend({ ...at, credentials: keys, capabilities: {}, clock: systemClock, attempts: 1 });
    const reader = createCopyReader({
      store,
      clock,
      log: silentLog,
      holder: `turn at ${startedAt}`,
      startedAt,
      deadline: deadlineAt(startedAt + 60_000, startedAt),
      signal: new AbortController().signal,
      admission: createAdmission(10_000),
      windowBytes,
      backend: async () => backend,
      budget: async () => ({ refuses: () => null, reserve: () => () => {} }),
      bytesPerSecond: () => 1,
    });
    const bytes = { backend: 'odd', storageKey: 'k!01BX5ZZKBKACTAV9WEVGEMMVRZ', key: 'k', generation: 'g', sha256 };
    const reading = await reader.read({ ...bytes, sizeBytes: content.length }, { agesUpToMs: 0 });
    backend.close();
    clock.advance(24 * 3_600_000);
    return reading;
  }

  const answers: readonly (readonly [string, Odd])[] = [
    ['of another range', (response, first, last) => part(response, first - 500, last - 500)],
    [
      'that says another range than it sends',
      (response, first, last) =>
        part(response, first, last, { 'content-range': `bytes 0-${windowBytes - 1}/${content.length}` }),
    ],
    [
      'that says nothing of its range',
      (response, first, last) =>
        response.writeHead(206, { etag, 'content-length': last + 1 - first }).end(content.subarray(first, last + 1)),
    ],
    [
      'that says an unknown length of the whole',
      (response, first, last) => part(response, first, last, { 'content-range': `bytes ${first}-${last}/*` }),
    ],
    ['of a part of the range', (response, first, last) => part(response, first, last - 1)],
    [
      'of the whole in place of the range',
      (response) => response.writeHead(200, { etag, 'content-length': content.length }).end(content),
    ],
    [
      'that the range is none',
      (response) =>
        response
          .writeHead(416, { 'content-range': `bytes */${content.length}` })
          .end('<Error><Code>InvalidRange</Code></Error>'),
    ],
    ['that nothing has changed', (response) => response.writeHead(304, { etag }).end()],
    ['without content', (response) => response.writeHead(204, { etag }).end()],
    [
      'without a length',
      (response, first, last) => {
        const range = `bytes ${first}-${last}/${content.length}`;
        response.writeHead(206, { etag, 'content-range': range });
        response.write(content.subarray(first, first + 10));
        response.end(content.subarray(first + 10, last + 1));
      },
    ],
    [
      'that ends early',
      (response, first, last) => {
        response.writeHead(206, {
          etag,
          'content-range': `bytes ${first}-${last}/${content.length}`,
          'content-length': last + 1 - first,
        });
        response.write(content.subarray(first, first + 10), () => response.destroy());
      },
    ],
    [
      'that goes on behind its end',
      (response, first, last) => {
        response.writeHead(206, {
          etag,
          'content-range': `bytes ${first}-${last}/${content.length}`,
          'content-length': last + 1 - first,
        });
        response.flushHeaders();
        response.socket!.write(Buffer.concat([content.subarray(first, last + 1), content.subarray(0, 100)]));
      },
    ],
    [
      'of several parts at once',
      (response, first, last) =>
        part(response, first, last, {
          'content-type': 'multipart/byteranges; boundary=x',
          'content-range': `bytes ${first}-${last}, 0-1/${content.length}`,
        }),
    ],
    ['of an error', (response) => response.writeHead(500).end('<Error><Code>InternalError</Code></Error>')],
    ['that it moved', (response) => response.writeHead(301, { location: '/elsewhere' }).end()],
    [
      'that it is not there, though it is',
      (response) => response.writeHead(404).end('<Error><Code>NoSuchKey</Code></Error>'),
    ],
    ['under another ETag', (response, first, last) => part(response, first, last, { etag: '"another"' })],
    [
      'that its condition failed',
      (response) => response.writeHead(412).end('<Error><Code>PreconditionFailed</Code></Error>'),
    ],
    [
      'that the whole is longer',
      (response, first, last) =>
        part(response, first, last, { 'content-range': `bytes ${first}-${last}/${content.length + 1}` }),
    ],
  ];

  test.each(answers)(
    'that meets an answer %s takes no other bytes for its own, and comes to its end',
    async (_, answer) => {
      odd = answer;
      const met: Reading['outcome'][] = [];
      for (let n = 0; n < 10 && met.at(-1) !== 'good'; n += 1) met.push((await turn()).outcome);
      expect(met.at(-1)).toBe('good');
      // Never evidence that its bytes are lost.
      expect(met).not.toContain('missing');
      expect(met.filter((outcome) => outcome === 'wrong').length).toBeLessThanOrEqual(1);
      expect(servedBytes).toBeLessThanOrEqual(2 * content.length);
    },
  );

  test('that meets other bytes under the same ETag is wrong, and good when they are read anew', async () => {
    odd = (response, first, last) => part(response, first, last, {}, other);
    expect([(await turn()).outcome, (await turn()).outcome]).toEqual(['wrong', 'good']);
  });
});
