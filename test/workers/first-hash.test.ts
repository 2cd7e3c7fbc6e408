import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { allowSmallParts, unit } from '../support/small-parts.ts';

const hourMs = 3_600_000;
const content = 'the content of a file that nobody hashed yet';
const sha256 = createHash('sha256').update(content).digest('hex');

/** A file of an external client's, recovered and never read. `etag`: in place of its MD5. */
async function recovered(options: { readonly etag?: string } = {}): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_IMPORT: 'true' } });
  fleet.backends.a!.putNow('file', Buffer.from(content), options);
  fleet.clock.advance(2 * hourMs);
  await fleet.tick('reconciler');
  expect(fleet.object('file').sha256).toBeUndefined();
  return fleet;
}

/** The next `times` reads of the file give other bytes of the same length, each time others. */
function misread(fleet: TestFleet, times: number): void {
  const { get } = fleet.backends.a!;
  let left = times;
  fleet.backends.a!.get = async (key, ...rest) => {
    const found = await get(key, ...rest);
    if (key !== 'file' || left === 0) return found;
    left -= 1;
    return { ...found, body: bodyOf(Buffer.from(content.replace('content', `${left}-ntent`))) };
  };
}

test.each([
  { what: 'the MD5', etag: undefined },
  { what: 'no MD5', etag: '"as-of-parts-2"' },
])('the scrubber records no hash of one misread of a file whose ETag is $what', async ({ etag }) => {
  const fleet = await recovered(etag === undefined ? {} : { etag });
  misread(fleet, 1);
  await fleet.tick('scrubber');
  expect(fleet.object('file').sha256).toBeUndefined();
  fleet.clock.advance(31 * 24 * hourMs);
  await fleet.tick('scrubber');
  expect(fleet.object('file').sha256).toBe(sha256);
});

test.each([
  { what: 'the MD5', etag: undefined },
  { what: 'no MD5', etag: '"as-of-parts-2"' },
])('the replicator records no copy of one misread of a file whose ETag is $what', async ({ etag }) => {
  const fleet = await recovered(etag === undefined ? {} : { etag });
  misread(fleet, 1);
  await fleet.tick('replicator');
  expect(fleet.object('file')).toMatchObject({ copies: { a: '' } });
  expect(fleet.queue()).toMatchObject([{ backend: 'b', reason: 'unproven', state: 'cleanup' }]);
  await fleet.settle(['replicator', 'cleanup-queue']);
  expect(fleet.object('file').sha256).toBe(sha256);
  expect(fleet.copiesOf('file')).toEqual({ a: content, b: content });
  expect(fleet.keysOn('b')).toHaveLength(1);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('an ETag that is the MD5 of what was read spares the second read [first-hash-proven]', async () => {
  const fleet = await recovered();
  let reads = 0;
  fleet.after = ({ method, args }) => {
    if (method === 'get' && args[0] === 'file') reads += 1;
  };
  await fleet.tick('replicator');
  expect(fleet.object('file').sha256).toBe(sha256);
  expect(reads).toBe(1);
});

test('one misread of a file that its owner touched makes no new generation of it', async () => {
  const fleet = await recovered();
  await fleet.settle(['replicator', 'scrubber']);
  const { generation } = fleet.object('file');
  fleet.backends.a!.putNow('file', Buffer.from(content), { etag: '"touched-2"' });
  misread(fleet, 1);
  fleet.clock.advance(2 * hourMs);
  expect((await fleet.tick('reconciler')).reasons).toMatchObject({ 'plain-unreadable': 1 });
  expect(fleet.object('file')).toMatchObject({ generation, sha256 });
  fleet.clock.advance(25 * hourMs);
  expect((await fleet.tick('reconciler')).reasons).toMatchObject({ 'plain-renewed': 1 });
  expect(fleet.object('file')).toMatchObject({ generation, sha256, plainEtags: { a: '"touched-2"' } });
});

test.each([
  { what: 'the MD5', etag: undefined },
  { what: 'no MD5', etag: '"as-of-parts-2"' },
])('a reader is never given one misread of a file whose ETag is $what', async ({ etag }) => {
  const fleet = await recovered(etag === undefined ? {} : { etag });
  misread(fleet, 1);
  await expect(fleet.client.get('file')).rejects.toMatchObject({ kind: 'unreadable' });
  expect(await fleet.read('file')).toBe(content);
});

describe('a file that is copied in parts', () => {
  allowSmallParts();
  const big = Buffer.from(Array.from({ length: 12 * unit }, (_, i) => (i * 7 + (i >> 12)) % 251));
  const bigHash = createHash('sha256').update(big).digest('hex');
  const partEtag = (partBytes: number) => {
    const parts = [];
    for (let at = 0; at < big.length; at += partBytes)
      parts.push(
        createHash('md5')
          .update(big.subarray(at, at + partBytes))
          .digest(),
      );
    return `"${createHash('md5').update(Buffer.concat(parts)).digest('hex')}-${parts.length}"`;
  };
  const kinds: readonly [string, { readonly etag?: string; readonly firstPartBytes?: number }, number][] = [
    ['its MD5', {}, 1],
    ['that of its parts', { etag: partEtag(7 * unit), firstPartBytes: 7 * unit }, 1],
    ['that of parts that nobody can tell', { etag: partEtag(7 * unit) }, 2],
    ['no hash', { etag: '"whatever"' }, 2],
  ];

  async function imported(options: { readonly etag?: string; readonly firstPartBytes?: number }): Promise<TestFleet> {
    const env = { RECONCILER_IMPORT: 'true', MULTIPART_ABOVE_BYTES: String(5 * unit), PART_BYTES: String(5 * unit) };
    const fleet = await createTestFleet({ backends: ['a', 'b'], env, minPartBytes: 5 * unit });
    fleet.backends.a!.putNow('file', big, options);
    fleet.clock.advance(2 * hourMs);
    await fleet.tick('reconciler');
    expect(fleet.object('file').sha256).toBeUndefined();
    return fleet;
  }

  /** Counts the bytes read of the file; of the one chunk in which a byte is passed, that many times, one bit is another. */
  function watchReads(fleet: TestFleet, flips: number): { readonly bytes: () => number } {
    const { get } = fleet.backends.a!;
    let left = flips;
    let bytes = 0;
    fleet.backends.a!.get = async (key, ...rest) => {
      const found = await get(key, ...rest);
      if (key !== 'file') return found;
      const watched = async function* () {
        for await (const chunk of found.body) {
          bytes += chunk.length;
          const isFlipped = left > 0;
          left -= 1;
          yield isFlipped ? Buffer.from(chunk.map((byte, i) => (i === 5 ? byte ^ 1 : byte))) : chunk;
        }
      };
      return { ...found, body: watched() };
    };
    return { bytes: () => bytes };
  }

  test.each(kinds)('is hashed by as many reads as its ETag asks for: %s', async (_, options, reads) => {
    const fleet = await imported(options);
    const { bytes } = watchReads(fleet, 0);
    await fleet.settle(['replicator'], 5);
    expect(fleet.object('file').sha256).toBe(bigHash);
    expect(Object.keys(fleet.object('file').copies)).toEqual(['a', 'b']);
    expect(bytes()).toBe(reads * big.length);
  });

  test.each(kinds)('never has a misread for its hash, where its ETag is %s', async (_, options) => {
    const fleet = await imported(options);
    watchReads(fleet, 1);
    await fleet.tick('replicator');
    expect(fleet.object('file').sha256 ?? bigHash).toBe(bigHash);
    for (let hour = 0; hour < 30; hour += 1) {
      await fleet.settle(['replicator', 'cleanup-queue'], 1);
      fleet.clock.advance(hourMs);
    }
    expect(fleet.object('file').sha256).toBe(bigHash);
    const { copies } = fleet.object('file');
    expect(Object.keys(copies)).toEqual(['a', 'b']);
    expect(Buffer.compare(fleet.backends.b!.peek(`file!${copies.b}`)!.bytes, big)).toBe(0);
    expect((await fleet.recount()).differences).toEqual([]);
  });

  test('whose hash the scrubber found meanwhile is sent anew when it was misread', async () => {
    const fleet = await imported({ etag: '"whatever"' });
    watchReads(fleet, 1);
    let isDone = false;
    fleet.before = async ({ port, method, args }) => {
      const put = (args[0] as { put?: { transfer?: { needsProof?: boolean } } } | undefined)?.put;
      if (isDone || port !== 'store' || method !== 'write' || put?.transfer?.needsProof !== true) return;
      isDone = true;
      const before = fleet.object('file');
      fleet.store.apply([{ kind: 'object', put: { ...before, rev: before.rev + 1, sha256: bigHash }, expect: before }]);
    };
    for (let hour = 0; hour < 30; hour += 1) {
      await fleet.settle(['replicator', 'cleanup-queue'], 1);
      fleet.clock.advance(hourMs);
    }
    expect(isDone).toBe(true);
    const { copies, sha256: recorded } = fleet.object('file');
    expect(recorded).toBe(bigHash);
    expect(Buffer.compare(fleet.backends.b!.peek(`file!${copies.b}`)!.bytes, big)).toBe(0);
  });
});
