import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet } from '../support/fleet.ts';

test('a file that is refused claims no bucket', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'v');
  const moved = { backends: [{ name: 'a', bucket: 'elsewhere' }, 'b', 'c'] };
  await expect(fleet.apply(moved)).rejects.toThrow('it cannot become https://a.example.com bucket "elsewhere"');
  expect([...fleet.backends.c!.contents().keys()]).toEqual([]);
  expect((await fleet.tick('replicator')).outcome).toBe('success');
});

test('a bucket that overlaps one which still holds objects is refused, also when that one left the file', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'v');
  await fleet.apply({ backends: ['b'], policies: { default: { factor: 1 } } });
  const reaching = {
    backends: ['b', { name: 'd', endpoint: 'https://a.example.com', bucket: 'bucket-a', prefix: 'below/' }],
    policies: { default: { factor: 1 } },
  };
  await expect(fleet.apply(reaching)).rejects.toThrow('overlaps "a", which still holds objects');
});

test('an outage of a backend that is known does not keep the rest of a fleet from being changed', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  const { head } = fleet.backends.a!;
  fleet.backends.a!.head = async () => {
    throw new BackendError('unavailable', 'a', 'Backend "a" refused the connection');
  };
  await fleet.apply({ policies: { default: { factor: 3 } } });
  await expect(fleet.apply({ backends: ['a', 'b', 'c', 'd'] })).resolves.toBeUndefined();
  fleet.backends.a!.head = head;
  expect((await fleet.tick('replicator')).outcome).toBe('success');
});

test('the bucket of another fleet is refused, naming it', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  const other = await createTestFleet({ backends: ['x'], policies: { default: { factor: 1 } }, seed: 2 });
  const owner = other.backends.x!.peek('.holdfast/owner')!;
  fleet.backends.a!.putNow('.holdfast/owner', owner.bytes, { metadata: owner.metadata });
  await expect(fleet.apply({ backends: ['a'], policies: { default: { factor: 1 } } })).rejects.toThrow(
    'belongs to another fleet',
  );
  expect(await fleet.tick('replicator')).toMatchObject({
    outcome: 'error',
    message: expect.stringContaining('belongs to another fleet'),
  });
  await expect(fleet.newClient().put('k', 'v')).rejects.toMatchObject({ kind: 'no-backend' });
  expect(fleet.keysOn('a')).toEqual([]);
});
