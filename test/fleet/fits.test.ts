import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import { partCount, partSizeFor } from '../../lib/transfer/parts.ts';
import { kindOf } from '../contracts/backend-bytes.ts';
import { type S3Kit, startS3 } from './s3-kit.ts';

let kit: S3Kit;
beforeAll(async () => {
  kit = await startS3();
});
beforeEach(() => kit.reset());
afterAll(() => kit.close());

const calls = (can: Capabilities, storageKey: string, metadata: Record<string, string> = {}) => {
  const backend = kit.connect({ prefix: 'p/', capabilities: can });
  const source = { backend: 'cold-1', bucket: kit.options.bucket, prefix: '', storageKey: 'source' };
  return [
    backend.put({ storageKey, sizeBytes: 1, body: bodyOf(Buffer.from('x')), metadata }),
    backend.createUpload({ storageKey, metadata }),
    backend.copyFrom({ storageKey, metadata, source }),
  ];
};

test.each([
  ['the whole key', { maxKeyBytes: 12 }, 'k'.repeat(11), {}],
  ['the whole key, in bytes', { maxKeyBytes: 12 }, '\u00e9'.repeat(6), {}],
  ['a part of the key', { maxSegmentBytes: 5 }, 'a/longer/b', {}],
  ['metadata', { metadataBytes: 9 }, 'k', { name: 'longer' }],
] as const)('what is too long (%s) is refused before anything is sent', async (_what, can, storageKey, metadata) => {
  kit.server.requests.clear();
  for (const call of calls(can, storageKey, metadata)) expect(await kindOf(call)).toBe('unacceptable');
  expect(kit.server.requests.all()).toEqual([]);
});

test.each([
  ['takesDotSegments', ['..', '../up', 'a/../b', './here', 'a/.']],
  ['takesEmptySegments', ['/a', 'a//b']],
  ['takesTrailingSlash', ['ends/']],
  ['takesBackslashes', ['back\\slash']],
  ['takesControlCharacters', ['tab\t', 'line\nbreak', 'bell\u0007', 'delete\u007f', 'none\uffff']],
] as const)('without %s keys of that form are refused before anything is sent', async (form, storageKeys) => {
  kit.server.requests.clear();
  for (const storageKey of storageKeys)
    for (const call of calls({ [form]: false }, storageKey)) expect(await kindOf(call)).toBe('unacceptable');
  expect(kit.server.requests.all()).toEqual([]);
  const backend = kit.connect({ prefix: 'p/', capabilities: { [form]: false } });
  for (const storageKey of ['a.b/..c/d..', '...', 'a b'])
    await backend.put({ storageKey, sizeBytes: 1, body: bodyOf(Buffer.from('x')) });
});

test('what just fits is sent', async () => {
  await kit.connect().put({ storageKey: 'source', sizeBytes: 1, body: bodyOf(Buffer.from('x')) });
  const can = { maxKeyBytes: 12, maxSegmentBytes: 10, metadataBytes: 10 };
  for (const call of calls(can, 'k'.repeat(10), { name: 'longer'.slice(0, 6) }))
    expect(await kindOf(call)).toBe('none');
});

test('a backend without tags is sent none and asked for none', async () => {
  const backend = kit.connect({ capabilities: { tags: false } });
  kit.server.faults.add({ kind: 'reject-feature', feature: 'tagging' });
  await backend.put({ storageKey: 'k', sizeBytes: 1, body: bodyOf(Buffer.from('x')), tags: { a: 'b' } });
  expect(await backend.tags('k')).toEqual({});
});

test('no upload is cut into more parts than its backend takes', () => {
  for (const sizeBytes of [1, 2 ** 30, 2 ** 40]) {
    for (const maxParts of [1000, 10_000, undefined]) {
      const partBytes = partSizeFor(sizeBytes, 16 * 2 ** 20, maxParts);
      expect(partCount(sizeBytes, partBytes)).toBeLessThanOrEqual(Math.min(maxParts ?? 9000, 9000));
    }
  }
  expect(kit.connect({ capabilities: { maxParts: 1000 } }).maxParts).toBe(1000);
});
