import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { BackendError, type DeleteOutcome } from '../../lib/fleet/backend.ts';
import type { S3Backend } from '../../lib/fleet/s3-backend.ts';
import { inChunks, kindOf, someBytes } from '../contracts/backend-bytes.ts';
import { s3ForFile } from './s3-kit.ts';

/** What became of keys that were to be deleted, as an error where it is one. */
function thrown(outcomes: readonly DeleteOutcome[]): void {
  for (const outcome of outcomes) if ('error' in outcome) throw outcome.error;
}

const mib = 1024 * 1024;
/** For what never comes: however late it is given up, it is given up. */
const hasty = { answerMs: 300, stallMs: 300 };

describe('S3 backend under faults', () => {
  const { kit, backend } = s3ForFile({ attempts: 1 });

  const put = (storageKey: string, bytes: Uint8Array, on = backend, signal?: AbortSignal) =>
    on.put({ storageKey, sizeBytes: bytes.length, body: inChunks(bytes, [65536]) }, signal);
  const calls: Record<string, (on: S3Backend, signal?: AbortSignal) => Promise<unknown>> = {
    get: async (on, signal) => collect((await on.get('k', {}, signal)).body),
    head: (on, signal) => on.head('k', signal),
    list: (on, signal) => on.list({}, signal),
    'small put': (on, signal) => put('k', someBytes(10), on, signal),
    'streamed put': (on, signal) => put('k', someBytes(mib), on, signal),
    'single delete': (on, signal) => on.delete([{ storageKey: 'k' }], signal).then(thrown),
    'bulk delete': (on, signal) => on.delete([{ storageKey: 'k' }, { storageKey: 'l' }], signal).then(thrown),
    createUpload: (on, signal) => on.createUpload({ storageKey: 'k' }, signal),
    openUploads: (on, signal) => on.openUploads('k', signal),
  };
  const everyCall = Object.entries(calls);

  it.each([
    [500, 'InternalError', 'unavailable'],
    [502, 'BadGateway', 'unavailable'],
    [503, 'ServiceUnavailable', 'unavailable'],
    [503, 'SlowDown', 'throttled'],
    [429, 'TooManyRequests', 'throttled'],
    [400, 'RequestTimeout', 'timeout'],
    [401, 'Unauthorized', 'denied'],
    [403, 'AccessDenied', 'denied'],
    [403, 'InvalidAccessKeyId', 'credentials'],
    [403, 'SignatureDoesNotMatch', 'signature'],
    [400, 'ExpiredToken', 'credentials'],
    [403, 'RequestTimeTooSkewed', 'signature'],
    [400, 'KeyTooLongError', 'unacceptable'],
    [400, 'constructor', 'rejected'],
    [500, '__proto__', 'unavailable'],
    [404, 'NoSuchBucket', 'no-bucket'],
    [404, 'NoSuchKey', 'not-found'],
    [412, 'PreconditionFailed', 'precondition'],
    [409, 'ConditionalRequestConflict', 'precondition'],
    [413, 'EntityTooLarge', 'too-large'],
    [400, 'EntityTooLarge', 'too-large'],
    [403, 'QuotaExceeded', 'no-room'],
    [507, 'XMinioStorageFull', 'no-room'],
    [400, 'BadDigest', 'bad-digest'],
    [501, 'NotImplemented', 'unsupported'],
    [405, 'MethodNotAllowed', 'unsupported'],
    [400, 'InvalidArgument', 'rejected'],
    [418, 'Teapot', 'rejected'],
  ] as const)('an answer of %i %s is of kind %s', async (status, code, kind) => {
    kit.server.faults.add({ kind: 'error', status, code });
    // By itself: what one was throttled by would slow down all that follows.
    const asked = kit.connect({ attempts: 1 });
    for (const call of [calls.get!, calls['small put']!, calls['streamed put']!]) {
      const error = await call(asked).catch((e: unknown) => e as BackendError);
      expect(error).toBeInstanceOf(BackendError);
      expect(error).toMatchObject({ kind, backend: 'cold-1' });
    }
  });

  it('a HEAD answer has no code: its status has to do', async () => {
    for (const [status, kind] of [
      [403, 'denied'],
      [500, 'unavailable'],
      [503, 'unavailable'],
      [429, 'throttled'],
    ] as const) {
      kit.server.faults.add({ id: 'one', kind: 'error', status, code: 'Whatever' });
      expect(await kindOf(kit.connect({ attempts: 1 }).head('k'))).toBe(kind);
    }
  });

  it('throttling is throttling in every call', async () => {
    kit.server.faults.add({ kind: 'throttle' });
    for (const [name, call] of everyCall)
      if (name !== 'head')
        expect([name, await kindOf(call(kit.connect({ attempts: 1 })))]).toEqual([name, 'throttled']);
  });

  it('a message says what was done, to which key, where, and what is so [messages-name-the-cause]', async () => {
    kit.server.faults.add({ kind: 'error', status: 403, code: 'AccessDenied', message: 'Not you.' });
    await expect(backend.get('a/"b"')).rejects.toThrow(
      'Cannot read "a/\\"b\\"" on "cold-1": the backend answered 403 AccessDenied (Not you.)',
    );
  });

  it.each(everyCall)('a connection that is cut makes %s unavailable', async (_name, call) => {
    kit.server.faults.add({ kind: 'refuse', match: {} });
    expect(await kindOf(call(backend))).toBe('unavailable');
  });

  it.each(everyCall)('a refused connection makes %s unreachable', async (_name, call) => {
    const nobody = kit.connect({ endpoint: 'http://127.0.0.1:1', attempts: 1 });
    expect(await kindOf(call(nobody))).toBe('unreachable');
  });

  it.each(everyCall)('an answer that does not come makes %s a timeout', async (_name, call) => {
    kit.server.faults.add({ kind: 'hang' });
    expect(await kindOf(call(kit.connect({ attempts: 1, timeouts: hasty })))).toBe('timeout');
  });

  it.each(everyCall.filter(([name]) => name !== 'head'))(
    'an answer lost after the effect makes %s unavailable',
    async (_name, call) => {
      await put('k', someBytes(5));
      kit.server.faults.add({ kind: 'lose-answer', times: 1 });
      expect(await kindOf(call(backend))).toBe('unavailable');
    },
  );

  it('keys that are not known there count for the breaker, a signature that does not match is not clear yet', async () => {
    const nobody = kit.connect({ credentials: { accessKeyId: 'NOBODY', secretAccessKey: 'x' } });
    expect(((await nobody.list({}).catch((e: unknown) => e)) as BackendError).countsForBreaker).toBe(true);
    const other = kit.connect({ credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'wrong' } });
    for (const [name, call] of everyCall.filter(([one]) => one !== 'single delete')) {
      const error = await call(other).catch((e: unknown) => e as BackendError);
      expect([name, (error as BackendError).kind]).toEqual([name, name === 'head' ? 'denied' : 'signature']);
    }
    expect(((await other.list({}).catch((e: unknown) => e)) as BackendError).speaksOf).toBe('unclear');
  });

  it('credentials that this process cannot get are not the fault of the backend', async () => {
    const cause = new Error('no such secret');
    const lost = kit.connect({ credentials: () => Promise.reject(cause) });
    for (const [name, call] of everyCall)
      expect([name, await kindOf(call(lost))]).toEqual([name, 'missing-credentials']);
    expect(((await lost.list({}).catch((e: unknown) => e)) as BackendError).countsForBreaker).toBe(false);
    await expect(lost.list({})).rejects.toThrow('this process has no credentials for "cold-1"');
  });

  it('a missing bucket is not a missing key', async () => {
    const missing = kit.connect({ bucket: 'missing-bucket' });
    for (const [name, call] of everyCall)
      if (name !== 'head') expect([name, await kindOf(call(missing))]).toEqual([name, 'no-bucket']);
    expect(await missing.head('k')).toBeNull();
  });

  it('an object past what the backend takes is too large', async () => {
    kit.server.faults.add({ kind: 'max-object-bytes', bytes: 100 });
    expect(await kindOf(put('k', someBytes(101)))).toBe('too-large');
    expect(await kindOf(put('k', someBytes(mib)))).toBe('too-large');
    await put('k', someBytes(100));
  });

  it('cancelling while an answer is awaited ends every call', async () => {
    kit.server.faults.add({ kind: 'hang' });
    for (const [name, call] of everyCall) {
      const stop = new AbortController();
      const patient = kit.connect({ onRequest: () => setImmediate(() => stop.abort()) });
      expect([name, await kindOf(call(patient, stop.signal))]).toEqual([name, 'cancelled']);
    }
  });

  describe('retries', () => {
    // Keys of their own: what hung in a test before may reach the server only now.
    it('send again what can be sent again, and tell every request', async () => {
      const told: [string, number][] = [];
      const stubborn = kit.connect({ onRequest: (operation, sentBytes) => told.push([operation, sentBytes]) });
      kit.server.faults.add({ kind: 'error', status: 500, code: 'InternalError', times: 2, match: { key: 'retried' } });
      await put('retried', someBytes(10), stubborn);
      kit.server.faults.add({ kind: 'refuse', times: 1, match: { key: 'retried' } });
      expect((await collect((await stubborn.get('retried')).body)).equals(someBytes(10))).toBe(true);
      expect(told).toEqual([
        ['PutObject', 10],
        ['PutObject', 10],
        ['PutObject', 10],
        ['GetObject', 0],
        ['GetObject', 0],
      ]);
    });

    // The project's own requests, and those of the SDK.
    it.each(['get', 'small put', 'list', 'createUpload'])(
      'of %s end with the kind of the last answer',
      async (name) => {
        const { sleep } = systemClock;
        onTestFinished(() => void vi.restoreAllMocks());
        vi.spyOn(systemClock, 'sleep').mockImplementation((ms, signal) => sleep(Math.min(ms, 5), signal));
        vi.spyOn(Math, 'random').mockReturnValue(0);
        for (const [status, code, kind] of [
          [503, 'ServiceUnavailable', 'unavailable'],
          [503, 'SlowDown', 'throttled'],
        ] as const) {
          kit.server.requests.clear();
          kit.server.faults.add({ id: 'one', kind: 'error', status, code });
          expect(await kindOf(calls[name]!(kit.connect()))).toBe(kind);
          expect(kit.server.requests.count({ status })).toBe(3);
        }
      },
    );

    it('never send a streamed body, an overwrite on a condition or a completion twice [resends-are-safe]', async () => {
      const stubborn = kit.connect();
      const { uploadId } = await stubborn.createUpload({ storageKey: 'sent once' });
      kit.server.requests.clear();
      kit.server.faults.add({ kind: 'error', status: 500, code: 'InternalError', match: { key: 'sent once' } });
      const parts = [{ partNumber: 1, etag: '"x"', sizeBytes: 1 }];
      expect(await kindOf(put('sent once', someBytes(mib), stubborn))).toBe('unavailable');
      expect(
        await kindOf(
          stubborn.put({ storageKey: 'sent once', sizeBytes: 0, body: bodyOf(Buffer.alloc(0)), ifMatch: '"seen"' }),
        ),
      ).toBe('unavailable');
      expect(await kindOf(stubborn.completeUpload({ storageKey: 'sent once', uploadId, parts }))).toBe('unavailable');
      expect(kit.server.requests.matching({ key: 'sent once' }).map((request) => request.operation)).toEqual([
        'PutObject',
        'PutObject',
        'CompleteMultipartUpload',
      ]);
    });
  });

  it('a queue of our own is not a silent backend', async () => {
    const narrow = kit.connect({ maxSockets: 1, attempts: 1, timeouts: { answerMs: 3_000 } });
    kit.server.faults.add({ kind: 'hang', times: 1 });
    const kinds = await Promise.all(Array.from({ length: 6 }, () => kindOf(narrow.list({}))));
    // The others waited behind it for as long as it was waited for.
    expect(kinds).toEqual(['timeout', 'none', 'none', 'none', 'none', 'none']);
  });

  it('uploads of exactly one key are found where their listing encodes keys without saying so', async () => {
    kit.server.faults.add({ kind: 'hide-encoding' });
    for (const storageKey of ['a b', 'a+b', 'a%20b', 'a%2Bb', '\u00e9']) {
      const { uploadId } = await backend.createUpload({ storageKey });
      expect(await backend.openUploads(storageKey)).toContain(uploadId);
      await backend.abortUpload(storageKey, uploadId);
    }
  });

  it('a batch that is refused for one of its keys leaves nothing known of any', async () => {
    await put('good', someBytes(1));
    kit.server.faults.add({ kind: 'refuse-keys', pattern: 'bad' });
    const outcomes = await backend.delete([{ storageKey: 'good' }, { storageKey: 'bad' }]);
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['unsettled', 'unsettled']);
    expect(await backend.delete([{ storageKey: 'good' }])).toEqual([{ outcome: 'deleted' }]);
  });
});
