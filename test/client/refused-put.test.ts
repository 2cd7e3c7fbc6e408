import { expect, test } from 'vitest';
import { BackendError, type BackendErrorKind } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { allowSmallParts } from '../support/small-parts.ts';

allowSmallParts();

/** A fleet of which one backend answers so to some calls. */
async function answering(kind: BackendErrorKind, methods: readonly string[], attempts = 1): Promise<TestFleet> {
  const env = { MULTIPART_ABOVE_BYTES: '100' };
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 1 } }, env });
  fleet.before = ({ port, method }) => {
    if (port === 'a' && methods.includes(method)) throw new BackendError(kind, 'a', 'no', undefined, { attempts });
  };
  return fleet;
}

const stateOf = (fleet: TestFleet) => fleet.queue().map(({ backend, state }) => `${state} ${backend}`);

test.each([
  ['small', 'put', 50],
  ['in parts', 'createUpload', 500],
] as const)(
  'a put %s that is refused leaves nothing in the queue, and a drain of that backend ends [refused-puts-leave-nothing]',
  async (_, method, sizeBytes) => {
    const fleet = await answering('rejected', [method]);
    await fleet.client.put('k', Buffer.alloc(sizeBytes));
    expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
    expect(stateOf(fleet)).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test('a put that every backend refuses leaves no record and nothing in the queue [refused-puts-leave-nothing]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 1 } } });
  fleet.before = ({ port, method }) => {
    if (method === 'put' && port !== 'store') throw new BackendError('unacceptable', port, 'no such key here');
  };
  await expect(fleet.client.put('k', 'v')).rejects.toMatchObject({ kind: 'no-backend' });
  expect(stateOf(fleet)).toEqual([]);
  expect(fleet.entry('k')).toBeUndefined();
  expect((await fleet.recount()).differences).toEqual([]);
});

test.each([
  ['got no answer', 'unavailable', ['put'], 50, 1],
  ['was sent twice', 'rejected', ['put'], 50, 2],
  ['was stored and cannot be read back', 'denied', ['get'], 50, 1],
  ['was refused a part of an upload that is open', 'rejected', ['uploadPart'], 500, 1],
] as const)('bytes of a put that %s are queued for deletion', async (_, kind, methods, sizeBytes, attempts) => {
  const fleet = await answering(kind, methods, attempts);
  Object.assign(fleet.backends.a!, { checksSha256: false });
  const { put } = fleet.backends.a!;
  // An ETag that is no MD5, so that the bytes are read back.
  fleet.backends.a!.put = async (...args) => ({ etag: (await put(...args)).etag.replace(/"$/, '-x"') });
  await fleet.client.put('k', Buffer.alloc(sizeBytes));
  expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
  expect(stateOf(fleet)).toEqual(['cleanup a']);
});
