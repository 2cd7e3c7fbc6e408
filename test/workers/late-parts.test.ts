import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { allowSmallParts, unit } from '../support/small-parts.ts';

allowSmallParts();

const partBytes = 5 * unit;
const content = Buffer.from(Uint8Array.from({ length: 27 * unit }, (_, i) => (i * 31 + (i >>> 7)) & 0xff));

/** A fleet in which a copy in parts takes several ticks of 20 s. */
async function slowFleet(): Promise<TestFleet> {
  const fleet = await createTestFleet({
    backends: [{ name: 'a', maxBytesPerSecond: unit }, 'b'],
    minPartBytes: partBytes,
    env: { MULTIPART_ABOVE_BYTES: String(partBytes), PART_BYTES: String(partBytes) },
  });
  await fleet.client.put('k', content);
  return fleet;
}

const tick = (fleet: TestFleet) => fleet.tick('replicator', { deadline: fleet.clock.now() + 20_000 });

/** A part that a turn which was cut off had sent arrives only now, with other bytes under its number. */
async function arriveLate(fleet: TestFleet, partNumber: number): Promise<void> {
  const [item] = fleet.queue();
  const { storageKey, transfer } = item!;
  const body = bodyOf(Buffer.alloc(partBytes, 'late'));
  await fleet.backends.b!.uploadPart({
    storageKey,
    uploadId: transfer!.uploadId,
    partNumber,
    sizeBytes: partBytes,
    body,
  });
}

/** Has a part arrive late right before its upload is completed; returns whether it has. */
function lateAtCompletion(fleet: TestFleet): () => boolean {
  let isLate = false;
  fleet.before = async ({ port, method }) => {
    if (isLate || port !== 'b' || method !== 'completeUpload') return;
    isLate = true;
    await arriveLate(fleet, 2);
  };
  return () => isLate;
}

/** Goes on until the object has two copies, and shows that both are what was put. */
async function settles(fleet: TestFleet): Promise<void> {
  for (let i = 0; i < 60 && Object.keys(fleet.object('k').copies).length < 2; i += 1) {
    await tick(fleet);
    fleet.clock.advance(60_000);
  }
  const { copies, sha256 } = fleet.object('k');
  expect(Object.keys(copies)).toEqual(['a', 'b']);
  const stored = fleet.backends.b!.peek(`k!${copies.b}`)!.bytes;
  expect(createHash('sha256').update(stored).digest('hex')).toBe(sha256);
  expect(Buffer.from(stored).equals(content)).toBe(true);
}

test('a part of a turn that was cut off, arriving before the others are sent, is never recorded as verified', async () => {
  const fleet = await slowFleet();
  await tick(fleet);
  expect(fleet.queue()[0]!.transfer!.partsDone).toBeGreaterThan(0);
  await arriveLate(fleet, 1);
  await settles(fleet);
});

test('a part that arrives between the list of parts and the completion is never recorded as verified', async () => {
  const fleet = await slowFleet();
  const hasArrived = lateAtCompletion(fleet);
  await settles(fleet);
  expect(hasArrived()).toBe(true);
});

test('a backend that completes whatever parts it has, under the numbers it is told, is read back', async () => {
  const fleet = await slowFleet();
  const { completeUpload, listParts } = fleet.backends.b!;
  fleet.backends.b!.completeUpload = async ({ storageKey, uploadId }, signal) =>
    completeUpload({ storageKey, uploadId, parts: await listParts(storageKey, uploadId) }, signal);
  const hasArrived = lateAtCompletion(fleet);
  await settles(fleet);
  expect(hasArrived()).toBe(true);
});

test('a backend whose list of parts shows other ETags than its answers is read back, and the copy ends', async () => {
  const fleet = await slowFleet();
  const { listParts, completeUpload } = fleet.backends.b!;
  fleet.backends.b!.listParts = async (...args) =>
    (await listParts(...args)).map((part) => ({ ...part, etag: `"x${part.partNumber}"` }));
  fleet.backends.b!.completeUpload = async ({ storageKey, uploadId }, signal) =>
    completeUpload({ storageKey, uploadId, parts: await listParts(storageKey, uploadId) }, signal);
  let readBack = 0;
  fleet.before = ({ port, method, args }) => {
    if (port === 'b' && method === 'get' && String(args[0]).startsWith('k!')) readBack += 1;
  };
  await settles(fleet);
  expect(readBack).toBeGreaterThan(0);
});

test('a copy whose parts are all as they were sent is not read back', async () => {
  const fleet = await slowFleet();
  let readBack = 0;
  fleet.before = ({ port, method, args }) => {
    if (port === 'b' && method === 'get' && String(args[0]).startsWith('k!')) readBack += 1;
  };
  await settles(fleet);
  expect(readBack).toBe(0);
});
