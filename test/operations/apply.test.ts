import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { StoreError } from '../../lib/store/port.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const single = { default: { factor: 1 } };
const safe = { park: 'none' } as const;

async function configOf(fleet: TestFleet) {
  return (await readFleet(fleet.store, fleet.clock.now())).config!;
}

async function namesInForce(fleet: TestFleet): Promise<string[]> {
  return (await configOf(fleet)).file.backends.map(({ name }) => name);
}

test('a file that is refused claims no bucket', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'v');
  const moved = { backends: [{ name: 'a', bucket: 'elsewhere' }, 'b', 'c'] };
  await expect(fleet.apply(moved)).rejects.toThrow('it cannot become https://a.example.com bucket "elsewhere"');
  expect([...fleet.backends.c!.contents().keys()]).toEqual([]);
  expect((await fleet.tick('replicator')).outcome).toBe('success');
});

test.each([
  { what: 'another bucket', place: { bucket: 'elsewhere' } },
  { what: 'another endpoint', place: { endpoint: 'https://new.example.com' } },
  { what: 'another prefix', place: { prefix: 'below/' } },
])('a name that holds nothing cannot move to $what, in the file or out of it', async ({ place }) => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  const moved = { backends: [{ name: 'a', ...place }, 'b'], policies: single };
  await expect(fleet.apply(moved)).rejects.toThrow('another place needs another name');
  await fleet.apply({ backends: ['b'], policies: single }, safe);
  await expect(fleet.apply(moved)).rejects.toThrow('another place needs another name');
  await fleet.apply({ backends: ['a', 'b'], policies: single });
  expect(await namesInForce(fleet)).toEqual(['a', 'b']);
});

test('a put while an apply wants to move its backend stays readable', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  await fleet.client.get('nothing');
  await fleet.apply({ backends: [{ name: 'a', bucket: 'elsewhere' }, 'b'], policies: single }).catch(() => {});
  fleet.clock.advance(1_000);
  await fleet.client.put('k', 'v');
  fleet.clock.advance(10_000);
  expect(await fleet.read('k')).toBe('v');
});

test('a bucket that overlaps one which still holds objects is refused, also when that one left the file', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  await fleet.client.put('k', 'v');
  await fleet.apply({ backends: ['b'], policies: single });
  const reaching = {
    backends: ['b', { name: 'd', endpoint: 'https://a.example.com', bucket: 'bucket-a', prefix: 'below/' }],
    policies: single,
  };
  await expect(fleet.apply(reaching)).rejects.toThrow('overlaps "a", which still holds objects');
});

test('a place cannot change its name while the old name is in force [name-keeps-place]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  const renamed = {
    backends: [{ name: 'd', endpoint: 'https://a.example.com', bucket: 'bucket-a' }, 'b'],
    policies: single,
  };
  await expect(fleet.apply(renamed)).rejects.toThrow('overlaps "a", which is in the fleet file in force');
});

test('a backend that holds something leaves the file only when it may be parked, and nothing changes otherwise', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  await fleet.client.put('k', 'v');
  const before = await configOf(fleet);
  const refused = fleet.apply({ backends: ['b'], policies: single }, safe);
  await expect(refused).rejects.toThrow('Backend "a" leaves the file and still holds 1 objects and 0 queue items');
  expect(await configOf(fleet)).toEqual(before);
  await fleet.apply({ backends: ['b'], policies: single }, { park: 'any' });
  expect(await namesInForce(fleet)).toEqual(['b']);
  expect(fleet.object('k').copies).toHaveProperty('a');
  await fleet.apply({ backends: ['a', 'b'], policies: single });
  expect(await fleet.read('k')).toBe('v');
});

test('a backend that leaves takes nothing for half a minute before it is out [leaving-backends]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], policies: single });
  const began = fleet.clock.now();
  fleet.whileWaiting = async () => {
    expect(await namesInForce(fleet)).toEqual(['b', 'c', 'a']);
    expect((await configOf(fleet)).leaving).toEqual({ a: { since: began } });
    await fleet.newClient().put('k', 'v');
    await fleet.tick('replicator');
  };
  await fleet.apply({ backends: ['b', 'c'], policies: single }, safe);
  expect(fleet.clock.now() - began).toBeGreaterThanOrEqual(30_000);
  expect(await namesInForce(fleet)).toEqual(['b', 'c']);
  expect(fleet.copiesOf('k')).toEqual({ b: 'v' });
  expect((await configOf(fleet)).leaving).toEqual({});
});

test('a backend that was given something while it was about to leave stays', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  await fleet.client.get('nothing');
  const late = fleet.client;
  fleet.whileWaiting = () => late.put('k', 'v');
  const dropping = fleet.apply({ backends: ['b'], policies: single }, safe);
  await expect(dropping).rejects.toThrow('Backend "a" received something');
  expect(await namesInForce(fleet)).toEqual(['a', 'b']);
  expect((await configOf(fleet)).leaving).toEqual({});
  expect(await fleet.read('k')).toBe('v');
});

test('an apply that dies while backends leave is gone on with, or undone, by the next one', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  fleet.whileWaiting = () => {
    throw new StoreError('unreachable', 'the process is gone');
  };
  await expect(fleet.apply({ backends: ['b'], policies: single }, safe)).rejects.toThrow('the process is gone');
  expect(Object.keys((await configOf(fleet)).leaving)).toEqual(['a']);
  fleet.whileWaiting = undefined;
  await fleet.apply({ backends: ['a', 'b'], policies: single });
  expect((await configOf(fleet)).leaving).toEqual({});
  fleet.whileWaiting = () => {
    throw new StoreError('unreachable', 'the process is gone');
  };
  await expect(fleet.apply({ backends: ['b'], policies: single }, safe)).rejects.toThrow();
  fleet.whileWaiting = undefined;
  await fleet.apply({ backends: ['b'], policies: single }, safe);
  expect(await namesInForce(fleet)).toEqual(['b']);
});

test('two files applied at once: one of them is in force, whole [one-fleet-file]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], policies: single });
  fleet.whileWaiting = async () => {
    fleet.whileWaiting = undefined;
    await fleet.apply({ backends: ['a', 'b', 'c'], policies: { default: { factor: 3 } } });
  };
  const dropping = fleet.apply({ backends: ['b', 'c'], policies: single }, safe);
  await expect(dropping).rejects.toThrow('another version was applied meanwhile');
  expect(await namesInForce(fleet)).toEqual(['a', 'b', 'c']);
});

test('a rollback of a deployment parks what was put since, and only the file before counts as one [deployments-apply-first]', async () => {
  const before = { backends: ['a'], policies: single };
  const fleet = await createTestFleet(before);
  await fleet.apply({ backends: ['b', 'a'], policies: single });
  await fleet.apply({ backends: ['b', 'a'], policies: single });
  await fleet.newClient().put('k', 'v');
  expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
  await expect(
    fleet.apply(
      { backends: ['a'], policies: { default: { factor: 1 }, x: { prefix: 'x', factor: 1 } } },
      { park: 'rollback' },
    ),
  ).rejects.toThrow('drain it first');
  await fleet.apply(before, { park: 'rollback' });
  expect(await namesInForce(fleet)).toEqual(['a']);
  expect(fleet.object('k').copies).toHaveProperty('b');
});

test('a backend that was drained leaves without a wait', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  await drain(fleet.deps, 'a');
  await drainStatus(fleet.deps, 'a');
  fleet.clock.advance(1_300_000);
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'drained' });
  const before = fleet.clock.now();
  await fleet.apply({ backends: ['b'], policies: single }, safe);
  expect(fleet.clock.now()).toBe(before);
});

test('keys that a new prefix makes too long and quotas below what is used are said, and the file is applied', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  await fleet.client.put('x'.repeat(990), 'v');
  await fleet.client.put('short', 'twelve bytes');
  await fleet.apply({
    backends: [{ name: 'a', quotaBytes: 5 }, 'b', { name: 'c', prefix: 'deep/below/' }],
    policies: single,
  });
  const warnings = fleet.logs.filter(({ level }) => level === 'warn').map(({ warning }) => warning);
  expect(warnings).toEqual([
    'Backend "a" holds 13 bytes, more than its quota of 5: it takes nothing more',
    expect.stringContaining('1 objects have keys of more than 986 bytes'),
  ]);
  expect(await namesInForce(fleet)).toEqual(['a', 'b', 'c']);
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

test('of two fleets that claim one bucket at once, the one whose owner object did not stay is told so', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: single });
  const other = await createTestFleet({ backends: ['x'], policies: single, seed: 2 });
  const theirs = other.backends.x!.peek('.holdfast/owner')!;
  const before = await configOf(fleet);
  fleet.whileFindingCapabilities = (name) => {
    if (name === 'b') fleet.backends.b!.putNow('.holdfast/owner', theirs.bytes, { metadata: theirs.metadata });
  };
  await expect(fleet.apply({ backends: ['a', 'b'], policies: single })).rejects.toThrow('now belongs to');
  expect(await configOf(fleet)).toEqual(before);
});

test('the bucket of another fleet is refused, naming it', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: single });
  const other = await createTestFleet({ backends: ['x'], policies: single, seed: 2 });
  const owner = other.backends.x!.peek('.holdfast/owner')!;
  fleet.backends.a!.putNow('.holdfast/owner', owner.bytes, { metadata: owner.metadata });
  await expect(fleet.apply({ backends: ['a'], policies: single })).rejects.toThrow('belongs to another fleet');
  expect(await fleet.tick('replicator')).toMatchObject({
    outcome: 'error',
    message: expect.stringContaining('belongs to another fleet'),
  });
  await expect(fleet.newClient().put('k', 'v')).rejects.toMatchObject({ kind: 'no-backend' });
  expect(fleet.keysOn('a')).toEqual([]);
});
