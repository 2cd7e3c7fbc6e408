import { createServer, request as httpRequest } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { noteRequest } from '../../lib/fleet/meter.ts';
import { createS3Backend, type S3Backend } from '../../lib/fleet/s3-backend.ts';
import { storageKey } from '../../lib/store/keys.ts';
import { newRecord } from '../../lib/store/records.ts';
import { copy } from '../../lib/transfer/copy.ts';
import { someBytes } from '../contracts/backend-bytes.ts';
import { listenOnLoopback } from '../support/loopback.ts';
import { bucket, everything, keys, type S3Kit, startS3 } from './s3-kit.ts';

let kit: S3Kit;
beforeAll(async () => {
  kit = await startS3();
});
afterAll(() => kit.close());

/** A way to the server that hangs up on an upload whose bytes stop coming for a while. */
async function impatient(idleMs: number) {
  const to = new URL(kit.server.endpoint);
  const server = createServer((request, response) => {
    const { method, url: path, headers } = request;
    const upstream = httpRequest({ host: to.hostname, port: to.port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => {});
    request.setTimeout(idleMs, () => {
      upstream.destroy();
      request.socket.destroy();
    });
    request.pipe(upstream);
  });
  const endpoint = await listenOnLoopback(server);
  return {
    endpoint,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

const open = (name: string, endpoint: string, stallMs = 1_500): S3Backend =>
  createS3Backend({
    ...{ name, endpoint, region: 'us-east-1', bucket, prefix: `${name}/`, pathStyle: true, credentials: keys },
    capabilities: everything,
    clock: systemClock,
    onRequest: noteRequest,
    // Only the silence of a body that never comes is given up soon: on a busy machine everything else may take its time.
    timeouts: { connectMs: 60_000, answerMs: 60_000, stallMs },
  });

test('a source that stalls has failed, also where the target hangs up before it is called stalled', async () => {
  const proxy = await impatient(400);
  const [from, to] = [open('a', kit.server.endpoint), open('c', proxy.endpoint)];
  try {
    const bytes = someBytes(2 * 2 ** 20);
    const copyId = '01J00000000000000000000000';
    const key = storageKey('k', copyId);
    const patient = open('a', kit.server.endpoint, 60_000);
    await patient.put({ storageKey: key, sizeBytes: bytes.length, body: bodyOf(bytes) });
    patient.close();
    kit.server.faults.add({ kind: 'hang', afterBytes: 2 ** 20, match: { operation: 'GetObject', key: `a/${key}` } });
    const object = newRecord({
      ...{ key: 'k', generation: copyId, sizeBytes: bytes.length, createdAt: 0, policy: 'default' },
      copies: { a: copyId },
    });
    const outcome = await copy({ object, from, to, copyId: '01J00000000000000000000001', fleetId: 'f' });
    expect(outcome).toMatchObject({ outcome: 'source-failed', error: { backend: 'a', kind: 'timeout' } });
  } finally {
    kit.server.faults.clear();
    from.close();
    to.close();
    proxy.close();
  }
});
