import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bodyOf, collect } from '../../lib/base/bytes.ts';
import { defined } from '../../lib/base/defined.ts';
import type { Backend, BackendError, Capabilities, PutRequest, PutResult } from '../../lib/fleet/backend.ts';
import { createMemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import { putVerified } from '../../lib/transfer/put-verified.ts';
import { type S3Kit, s3ForFile } from '../fleet/s3-kit.ts';
import { createManualClock } from '../support/fleet.ts';

const bytes = Buffer.from('what was sent');
const others = Buffer.from('what was kept');
const hex = (algorithm: string, of: Uint8Array) => createHash(algorithm).update(of).digest('hex');
const sha256 = hex('sha256', bytes);
const md5 = `"${hex('md5', bytes)}"`;

/** A target that stores these bytes instead of those it was sent, and answers as it likes. */
function target(stored: Uint8Array, answer: PutResult, can: Capabilities = {}) {
  const memory = createMemoryBackend({ name: 'to', clock: createManualClock(), capabilities: can });
  let reads = 0;
  const backend: Backend = {
    ...memory,
    async put(request: PutRequest) {
      expect(await collect(request.body)).toEqual(bytes);
      memory.putNow(request.storageKey, stored);
      return answer;
    },
    get(...args) {
      reads += 1;
      return memory.get(...args);
    },
  };
  return { backend, reads: () => reads };
}

async function store(to: Backend, known: string | undefined): Promise<string> {
  const expected = { sizeBytes: bytes.length, ...defined({ sha256: known }) };
  const mark = { fleetId: 'f', generation: 'g' };
  return (await putVerified(to, { storageKey: 'k', body: bodyOf(bytes), expected, what: 'It', mark })).outcome;
}

const checks = { checksumSha256: true };
const nothing = { checksumSha256: false };

test.each([
  ['an attested SHA-256 proves what was stored', checks, { etag: '"x"', sha256 }, sha256, 0],
  ['an ETag that is the MD5 proves it, where the SHA-256 is not known', checks, { etag: md5 }, undefined, 0],
  ['an ETag that is the MD5 proves it, where no SHA-256 is checked', nothing, { etag: md5 }, sha256, 0],
  ['no answer but these is taken for a proof: the bytes are read back', nothing, { etag: '"x"' }, sha256, 1],
  ['what was to be attested and was not is read back', checks, { etag: md5 }, sha256, 1],
])('%s', async (_, can, answer, known, reads) => {
  const to = target(bytes, answer, can);
  expect(await store(to.backend, known)).toBe('stored');
  expect(to.reads()).toBe(reads);
});

test.each([
  ['attests nothing', checks, { etag: '"x"' }, sha256],
  ['attests the SHA-256 of what it stored', checks, { etag: '"x"', sha256: hex('sha256', others) }, sha256],
  ['answers with the MD5 of what it stored', nothing, { etag: `"${hex('md5', others)}"` }, sha256],
  ['answers so, and the SHA-256 is not known', checks, { etag: `"${hex('md5', others)}"` }, undefined],
])('a target that stores other bytes and %s is found out', async (_, can, answer, known) => {
  expect(await store(target(others, answer, can).backend, known)).toBe('wrong');
});

/** A target on the wire whose first answer to a write is lost, after it has stored what it was sent. */
function losingOne(kit: S3Kit): Backend {
  kit.server.faults.add({ kind: 'lose-answer', match: { operation: 'PutObject' }, times: 1 });
  return kit.connect({ name: 'to' });
}

describe('a write to an absent key whose first answer is lost', () => {
  const { kit } = s3ForFile({});
  const write = (to: Backend, metadata = {}) =>
    putVerified(to, {
      ...{ storageKey: 'k', body: bodyOf(bytes), expected: { sizeBytes: bytes.length, sha256 }, what: 'It' },
      ...{ mark: { fleetId: 'f', generation: 'g' }, metadata, ifAbsent: true },
    });

  test('is sent again, refused for what it stored itself, and found to be stored', async () => {
    const to = losingOne(kit);
    expect(await write(to, { name: 'value' })).toMatchObject({ outcome: 'stored', digest: { sha256 } });
    expect(kit.server.requests.count({ operation: 'PutObject' })).toBe(2);
    expect(await collect((await to.get('k')).body)).toEqual(bytes);
  });

  test.each([
    ['other bytes', others, {}],
    ['other headers', bytes, { cacheControl: 'no-store' }],
    ['no mark', bytes, {}],
  ])('is refused where what stands there has %s', async (_, standing, headers) => {
    const to = losingOne(kit);
    const lost: Backend = {
      ...to,
      async put(request, signal) {
        const answer = to.put(request, signal).catch(async (error: unknown) => {
          // Somebody else wrote there between the two.
          await kit.connect().put({ storageKey: 'k', sizeBytes: standing.length, body: bodyOf(standing), headers });
          throw error;
        });
        return answer;
      },
    };
    await expect(write(lost)).rejects.toMatchObject({ kind: 'precondition', attempts: 2, storesNothing: false });
    expect(await collect((await to.get('k')).body)).toEqual(standing);
  });
});

test.each([
  ['stands already', 'other bytes', 'precondition'],
  ['does not stand', undefined, 'stored'],
])('a put in parts to an absent key that %s', async (_, standing, answer) => {
  const clock = createManualClock();
  const to = createMemoryBackend({ name: 'to', clock, minPartBytes: 1 });
  if (standing !== undefined) to.putNow('k', Buffer.from(standing));
  const parts = { aboveBytes: 5, partBytes: 5, clock };
  const expected = { sizeBytes: bytes.length, sha256 };
  const request = { storageKey: 'k', body: bodyOf(bytes), expected, what: 'It', ifAbsent: true, parts };
  const ended = await putVerified(to, request).catch((error: unknown) => error as BackendError);
  expect('outcome' in ended ? ended.outcome : ended.kind).toBe(answer);
  expect(Buffer.from(to.peek('k')!.bytes).toString()).toBe(standing ?? bytes.toString());
  expect(await to.openUploads('k')).toEqual([]);
});
