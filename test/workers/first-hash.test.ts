import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

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

test('an ETag that is the MD5 of what was read spares the second read', async () => {
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
