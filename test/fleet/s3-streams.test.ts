import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { openSource } from '../../lib/fleet/s3/upload-source.ts';
import { inChunks, kindOf, someBytes } from '../contracts/backend-bytes.ts';
import { createManualClock } from '../support/fleet.ts';
import { s3ForFile } from './s3-kit.ts';

const mib = 1024 * 1024;
/** For what never comes: however late it is given up, it is given up. */
const hasty = { stallMs: 300 };

describe('S3 backend, bytes in flight', () => {
  const { kit, backend } = s3ForFile({ attempts: 1 });

  const put = (storageKey: string, bytes: Uint8Array, on = backend) =>
    on.put({ storageKey, sizeBytes: bytes.length, body: inChunks(bytes, [65536]) });

  describe('reading', () => {
    it.each([0, 1, 70_000, 3 * mib - 1])('a body cut after %i bytes is truncated', async (afterBytes) => {
      const bytes = someBytes(3 * mib);
      await put('k', bytes);
      kit.server.faults.add({ kind: 'truncate', afterBytes, match: { operation: 'GetObject' } });
      const { sizeBytes, body } = await backend.get('k');
      expect(sizeBytes).toBe(bytes.length);
      const seen: Uint8Array[] = [];
      const reading = (async () => {
        for await (const chunk of body) seen.push(chunk);
      })();
      expect(await kindOf(reading)).toBe('truncated');
      expect(bytes.subarray(0, afterBytes).equals(Buffer.concat(seen).subarray(0, afterBytes))).toBe(true);
    });

    it('a listing that is cut is an error, never a shorter listing', async () => {
      for (const key of ['a', 'b', 'c']) await put(key, someBytes(3));
      kit.server.faults.add({ kind: 'truncate', afterBytes: 500, match: { operation: 'ListObjectsV2' } });
      expect(await kindOf(backend.list({}))).toBe('unavailable');
    });

    it('bytes that stop coming are a timeout, in a body and in a listing', async () => {
      await put('k', someBytes(mib));
      kit.server.faults.add({ kind: 'hang', afterBytes: 100 });
      const impatient = kit.connect({ attempts: 1, timeouts: hasty });
      const { body } = await impatient.get('k');
      expect(await kindOf(collect(body))).toBe('timeout');
      expect(await kindOf(impatient.list({}))).toBe('timeout');
    });

    it('a consumer that takes its time is not a silent backend', async () => {
      const bytes = someBytes(6 * mib);
      await put('k', bytes);
      const clock = createManualClock();
      const { body } = await kit.connect({ clock }).get('k');
      const seen: Uint8Array[] = [];
      for await (const chunk of body) {
        seen.push(chunk);
        clock.advance(3_600_000);
        await new Promise(setImmediate);
      }
      expect(Buffer.concat(seen).equals(bytes)).toBe(true);
    });

    it('bodies that are read side by side do not mix', async () => {
      const all = Array.from({ length: 8 }, (_, i) => someBytes(2 * mib + i, i + 1));
      for (const [i, bytes] of all.entries()) await put(`side/${i}`, bytes);
      const seen = await Promise.all(all.map(async (_, i) => collect((await backend.get(`side/${i}`)).body)));
      expect(seen.map((bytes, i) => bytes.equals(all[i]!))).toEqual(all.map(() => true));
    });

    it('a chunk that is lent holds no memory once the next has come, the last one excepted; others keep theirs', async () => {
      const bytes = someBytes(3 * mib);
      await put('k', bytes);
      for (const reusesBuffers of [true, false]) {
        const seen: Uint8Array[] = [];
        const copies: Buffer[] = [];
        for await (const chunk of (await backend.get('k', { reusesBuffers })).body) {
          seen.push(chunk);
          copies.push(Buffer.from(chunk));
        }
        expect(Buffer.concat(copies).equals(bytes)).toBe(true);
        expect(seen.length).toBeGreaterThan(1);
        const last = seen.at(-1)!.byteLength;
        expect(last).toBeGreaterThan(0);
        expect(seen.reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(reusesBuffers ? last : bytes.length);
      }
    });

    it('bytes that are not those stored come through: a digest is the reader\u2019s to check', async () => {
      const bytes = someBytes(1000);
      await put('k', bytes);
      kit.server.faults.add({ kind: 'corrupt', atByte: 10, bytes: 1 });
      const read = await collect((await backend.get('k')).body);
      expect(read.length).toBe(1000);
      expect(read.equals(bytes)).toBe(false);
    });

    it('leaving early closes the connection, before the first byte too', async () => {
      await put('k', someBytes(20 * mib));
      kit.server.requests.clear();
      const unread = (await backend.get('k')).body[Symbol.asyncIterator]();
      await unread.return!();
      for await (const _ of (await backend.get('k')).body) break;
      await settled(() => kit.server.requests.count({ operation: 'GetObject' }) === 2);
      for (const { bytesOut } of kit.server.requests.matching({ operation: 'GetObject' }))
        expect(bytesOut).toBeLessThan(20 * mib);
    });

    it('cancelling midway is cancelled, and no outage', async () => {
      await put('k', someBytes(20 * mib));
      const stop = new AbortController();
      const { body } = await backend.get('k', {}, stop.signal);
      const reading = (async () => {
        for await (const _ of body) stop.abort();
      })();
      expect(await kindOf(reading)).toBe('cancelled');
    });
  });

  describe('writing', () => {
    it('cancelling midway is cancelled, and stores nothing', async () => {
      const stop = new AbortController();
      const bytes = someBytes(4 * mib);
      const body = (async function* () {
        yield bytes.subarray(0, mib);
        stop.abort();
        yield bytes.subarray(mib);
      })();
      const request = { storageKey: 'k', sizeBytes: bytes.length, body };
      expect(await kindOf(backend.put(request, stop.signal))).toBe('cancelled');
      expect(await backend.head('k')).toBeNull();
    });

    it('a source that is left is told so', async () => {
      kit.server.faults.add({ kind: 'error', status: 403, code: 'AccessDenied' });
      let isLeft = false;
      const body = (async function* () {
        try {
          for (;;) yield someBytes(65536);
        } finally {
          isLeft = true;
        }
      })();
      expect(await kindOf(backend.put({ storageKey: 'k', sizeBytes: 40 * mib, body }))).toBe('denied');
      await settled(() => isLeft);
    });

    it('a source that takes its time is not a silent backend', async () => {
      const bytes = someBytes(mib);
      const clock = createManualClock();
      const body = (async function* () {
        yield bytes.subarray(0, 1000);
        clock.advance(3_600_000);
        await new Promise(setImmediate);
        yield bytes.subarray(1000);
      })();
      await kit.connect({ clock }).put({ storageKey: 'k', sizeBytes: bytes.length, body });
      expect((await collect((await backend.get('k')).body)).equals(bytes)).toBe(true);
    });

    it('a backend that stops taking bytes is a timeout', async () => {
      kit.server.faults.add({ kind: 'hang' });
      const impatient = kit.connect({ timeouts: { ...hasty, answerMs: 300 } });
      expect(await kindOf(put('k', someBytes(16 * mib), impatient))).toBe('timeout');
    });

    it('a big chunk goes in pieces, so that a backend which takes it slowly is not a silent one', async () => {
      const bytes = someBytes(3 * mib + 1);
      const clock = createManualClock();
      const timeouts = { connectMs: 2_000, answerMs: 30_000, stallMs: 30_000 };
      const source = openSource({ sizeBytes: bytes.length, body: bodyOf(bytes) }, { clock, timeouts, cut: () => {} });
      const taken: Uint8Array[] = [];
      for await (const piece of source.pieces) {
        taken.push(piece);
        clock.advance(10_000);
        await new Promise(setImmediate);
      }
      expect(Buffer.concat(taken).equals(bytes)).toBe(true);
      expect(taken.length).toBeGreaterThan(6);
      expect(source.silence()).toBeUndefined();
      expect(source.isSpent()).toBe(true);
      await source.close();
    });

    it('a put whose answer was lost may have had its effect', async () => {
      const bytes = someBytes(mib);
      kit.server.faults.add({ kind: 'lose-answer' });
      expect(await kindOf(put('k', bytes))).toBe('unavailable');
      kit.server.faults.clear();
      expect((await collect((await backend.get('k')).body)).equals(bytes)).toBe(true);
    });

    it('the SHA-256 of a streamed body is checked by the signature where checksums are not known', async () => {
      const sha256 = createHash('sha256').update('other').digest('hex');
      const plain = kit.connect({ capabilities: {} });
      const request = { storageKey: 'k', sizeBytes: mib, sha256, body: bodyOf(someBytes(mib)) };
      expect(await kindOf(plain.put(request))).toBe('bad-digest');
      expect(await backend.head('k')).toBeNull();
    });

    it('a backend attests the SHA-256 that it was sent', async () => {
      const bytes = someBytes(mib);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      await backend.put({ storageKey: 'k', sizeBytes: mib, sha256, body: bodyOf(bytes) });
      expect((await backend.head('k'))?.sha256).toBe(sha256);
    });
  });
});

/** Waits for what happens on the other side of a socket. */
async function settled(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate);
}
