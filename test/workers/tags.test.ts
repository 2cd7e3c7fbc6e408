import { expect, test } from 'vitest';
import { BackendError, type BackendErrorKind } from '../../lib/fleet/backend.ts';
import { ownerKey } from '../../lib/fleet/owner.ts';
import { createTestFleet } from '../support/fleet.ts';

const tagged = { 'made by': 'a+b' };

/** Three objects on `a` with tags, which are to be kept. */
async function fleetWithTags() {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { PRESERVE_TAGS: 'true' } });
  for (const key of ['k1', 'k2', 'k3']) await fleet.client.put(key, `content of ${key}`);
  for (const key of fleet.keysOn('a')) {
    const { bytes, headers, metadata } = fleet.backends.a!.peek(key)!;
    fleet.backends.a!.putNow(key, bytes, { headers, metadata, tags: tagged });
  }
  return fleet;
}

test('tags travel with an object', async () => {
  const fleet = await fleetWithTags();
  await fleet.tick('replicator');
  for (const key of fleet.keysOn('b')) expect(fleet.backends.b!.peek(key)!.tags).toEqual(tagged);
});

test.each(['unsupported', 'denied', 'rejected'] as const)(
  'objects are copied without tags from a backend whose answer to tags is %s',
  async (kind) => {
    const fleet = await fleetWithTags();
    fleet.before = ({ port, method }) => {
      if (port === 'a' && method === 'tags') throw new BackendError(kind, 'a', `It answers ${kind}`);
    };
    expect(await fleet.tick('replicator')).toMatchObject({ outcome: 'success', succeeded: 3 });
    for (const key of ['k1', 'k2', 'k3']) expect(Object.keys(fleet.object(key).copies)).toEqual(['a', 'b']);
  },
);

test.each(['unavailable', 'timeout'] as const)(
  'what is %s is not taken for having no tags',
  async (kind: BackendErrorKind) => {
    const fleet = await fleetWithTags();
    fleet.before = ({ port, method, args }) => {
      if (port === 'a' && method === 'tags' && args[0] !== ownerKey)
        throw new BackendError(kind, 'a', `It answers ${kind}`);
    };
    expect((await fleet.tick('replicator')).succeeded).toBe(0);
    fleet.before = undefined;
    fleet.clock.advance(3_600_000);
    await fleet.settle();
    for (const key of fleet.keysOn('b')) expect(fleet.backends.b!.peek(key)!.tags).toEqual(tagged);
  },
);
