import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { bodyOf } from '../../lib/base/bytes.ts';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import { bucket, everything, type S3Kit, startS3 } from './s3-kit.ts';

let kit: S3Kit;
beforeAll(async () => {
  kit = await startS3();
});
beforeEach(() => kit.reset());
afterAll(() => kit.close());

const names = Array.from({ length: 12 }, (_, i) => `k${i}`);
const requests = names.map((storageKey) => ({ storageKey }));

async function stored(can: Partial<Capabilities> = {}) {
  const backend = kit.connect({ attempts: 1, capabilities: { ...everything, ...can } });
  for (const storageKey of names) await backend.put({ storageKey, sizeBytes: 1, body: bodyOf(Buffer.from('x')) });
  return backend;
}

async function left(backend: Awaited<ReturnType<typeof stored>>): Promise<string[]> {
  return (await backend.list({})).items.map(({ storageKey }) => storageKey);
}

test.each([
  [500, 'InternalError'],
  [403, 'AccessDenied'],
  [400, 'InvalidArgument'],
  [501, 'NotImplemented'],
])('asked one by one, a key that is answered %i %s fails, and all others are deleted', async (status, code) => {
  const backend = await stored({ bulkDelete: false });
  kit.server.faults.add({ kind: 'error', status, code, match: { operation: 'DeleteObject', bucket, key: 'k7' } });
  const outcomes = await backend.delete(requests);
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(names.map((key) => (key === 'k7' ? 'failed' : 'deleted')));
  expect(await left(backend)).toEqual(['k7']);
});

test('of a request for many keys that is refused as a whole nothing is known, key by key', async () => {
  const backend = await stored();
  kit.server.faults.add({ kind: 'error', status: 500, code: 'InternalError', match: { operation: 'DeleteObjects' } });
  const outcomes = await backend.delete(requests);
  expect(new Set(outcomes.map(({ outcome }) => outcome))).toEqual(new Set(['unsettled']));
  expect((await backend.delete([{ storageKey: 'k7' }])).map(({ outcome }) => outcome)).toEqual(['deleted']);
  expect(await left(backend)).toHaveLength(11);
});

test('a condition that failed where there is nothing is a deletion that is done', async () => {
  const backend = await stored();
  const match = { operation: 'DeleteObject', bucket };
  kit.server.faults.add({ kind: 'error', status: 412, code: 'PreconditionFailed', match });
  const ifMatch = '"00000000000000000000000000000000"';
  const outcomes = await backend.delete([
    { storageKey: 'never was', ifMatch },
    { storageKey: 'k1', ifMatch },
  ]);
  expect(outcomes).toEqual([{ outcome: 'deleted' }, { outcome: 'changed' }]);
  // Where nobody can tell, it counts as changed: nothing is forgotten that may be there.
  kit.server.faults.add({ kind: 'error', status: 500, code: 'InternalError', match: { operation: 'HeadObject' } });
  expect(await backend.delete([{ storageKey: 'never was', ifMatch }])).toEqual([{ outcome: 'changed' }]);
});
