import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { createTestFleet } from '../support/fleet.ts';

const text = async (body: AsyncIterable<Uint8Array>) => (await collect(body)).toString();

test('ifAbsent puts over nothing and over a deleted object, and over no other; nothing is left of the one that was refused [conditional-puts]', async () => {
  const fleet = await createTestFleet();
  const { client } = fleet;
  await client.put('k', 'first', { ifAbsent: true });
  await expect(client.put('k', 'second', { ifAbsent: true })).rejects.toMatchObject({ kind: 'precondition' });
  expect(await fleet.read('k')).toBe('first');
  await client.delete('k');
  await client.put('k', 'third', { ifAbsent: true });
  expect(await fleet.read('k')).toBe('third');
  await fleet.settle();
  fleet.clock.advance(3_600_000);
  await fleet.settle();
  expect(fleet.keysOn('a').filter((key) => key.startsWith('k!'))).toHaveLength(1);
});

test('ifGeneration puts over that very generation alone [conditional-puts]', async () => {
  const { client, ...fleet } = await createTestFleet();
  const first = await client.put('k', 'first');
  const second = await client.put('k', 'second', { ifGeneration: first.generation });
  await expect(client.put('k', 'third', { ifGeneration: first.generation })).rejects.toMatchObject({
    kind: 'precondition',
    message: expect.stringContaining(second.generation),
  });
  await expect(client.put('other', 'x', { ifGeneration: first.generation })).rejects.toThrow('no such object');
  expect(await fleet.read('k')).toBe('second');
});

test('of many that put at once on a condition exactly one succeeds, and what the others wrote is deleted [conditional-puts]', async () => {
  const fleet = await createTestFleet();
  const puts = await Promise.allSettled(
    Array.from({ length: 8 }, (_, i) => fleet.newClient().put('lock', `writer ${i}`, { ifAbsent: true })),
  );
  const won = puts.flatMap((put, i) => (put.status === 'fulfilled' ? [i] : []));
  expect(won).toHaveLength(1);
  for (const put of puts) if (put.status === 'rejected') expect(put.reason).toMatchObject({ kind: 'precondition' });
  expect(await fleet.read('lock')).toBe(`writer ${won[0]}`);
  fleet.clock.advance(2 * 3_600_000);
  await fleet.settle();
  expect(fleet.keysOn('a')).toHaveLength(1);
  expect(fleet.queue()).toEqual([]);
});

test('what another writes between the look and the commit is seen by the commit', async () => {
  const fleet = await createTestFleet();
  const first = await fleet.client.put('k', 'first');
  let isWritten = false;
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'put' || isWritten) return;
    isWritten = true;
    await fleet.newClient().put('k', 'between');
  };
  await expect(fleet.newClient().put('k', 'mine', { ifGeneration: first.generation })).rejects.toMatchObject({
    kind: 'precondition',
  });
  expect(isWritten).toBe(true);
  expect(await fleet.read('k')).toBe('between');
});

test('a conditional put whose intent expired while others wrote does not pass for one that happened', async () => {
  const fleet = await createTestFleet();
  let isFrozen = false;
  fleet.after = async ({ port, method, args }) => {
    const [request] = args as [{ storageKey?: string }];
    if (method !== 'put' || port !== 'a' || isFrozen || request.storageKey?.startsWith('.holdfast')) return;
    isFrozen = true;
    // The process sleeps: the intent is settled by the reaper, after somebody else's put.
    await fleet.newClient().put('k', 'theirs');
    fleet.clock.advance(3_600_000);
    await fleet.tick('pending-reaper');
  };
  await expect(fleet.newClient().put('k', 'mine', { ifAbsent: true })).rejects.toMatchObject({
    kind: expect.stringMatching(/^(undecided|precondition)$/),
  });
  expect(await fleet.read('k')).toBe('theirs');
});

test('a stream of unknown length is put, in memory or through a file, and one that breaks puts nothing [refused-puts-leave-nothing]', async () => {
  const fleet = await createTestFleet();
  const { client } = fleet;
  await client.put('text', Readable.from(['one ', 'two']));
  expect(await fleet.read('text')).toBe('one two');
  const big = Buffer.alloc(9 * 1024 * 1024, 'large ');
  const { sizeBytes } = await client.put('big', Readable.from([big.subarray(0, 5_000_000), big.subarray(5_000_000)]));
  expect(sizeBytes).toBe(big.length);
  expect((await collect((await client.get('big'))!.body)).equals(big)).toBe(true);
  const broken = (async function* () {
    yield Buffer.from('begun');
    throw new Error('the source broke');
  })();
  await expect(client.put('text', broken)).rejects.toThrow('the source broke');
  expect(await fleet.read('text')).toBe('one two');
});

test.each([
  [undefined, 'undefined'],
  [null, 'null'],
  [42, 'a number'],
  [{}, 'an object that cannot be read'],
  [{ sizeBytes: -1, open: () => Readable.from([]) }, 'of -1 bytes'],
  [{ open: () => Readable.from([]) }, 'of undefined bytes'],
  [Readable.from([{ an: 'object' }]), 'a stream of objects'],
])('a content of %s is refused in words [messages-name-the-cause]', async (body, what) => {
  const fleet = await createTestFleet();
  await expect(fleet.client.put('k', body as unknown as string)).rejects.toMatchObject({
    kind: 'bad-body',
    message: expect.stringContaining(what),
  });
  expect(fleet.queue()).toEqual([]);
});

test('reserved or impossible metadata, a key that is none, and calls after close are refused in words', async () => {
  const { client } = await createTestFleet();
  await expect(client.put('k', 'x', { metadata: { holdfast: 'x' } })).rejects.toThrow('"holdfast" is reserved');
  await expect(client.put('k', 'x', { metadata: { n: 3 as unknown as string } })).rejects.toThrow('"n" is no text');
  await expect(client.get(undefined as unknown as string)).rejects.toMatchObject({ kind: 'bad-key' });
  await client.close();
  await client.close();
  for (const call of [client.put('k', 'x'), client.get('k'), client.head('k'), client.delete('k')])
    await expect(call).rejects.toMatchObject({ kind: 'closed' });
  await expect(client.list()[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    kind: 'closed',
  });
});

test('a part of a small object comes from the whole, verified; a wrong copy is passed over', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', '0123456789', { metadata: { a: 'b' } });
  await fleet.tick('replicator');
  const part = async (...range: [number, number?]) => text((await fleet.newClient().get('k', { range }))!.body);
  expect(await part(2, 4)).toBe('234');
  expect(await part(7)).toBe('789');
  expect(await part(-3)).toBe('789');
  expect(await part(0, 0)).toBe('0');
  expect(await part(8, 100)).toBe('89');
  const [key] = fleet.keysOn('a');
  const { metadata } = fleet.backends.a!.peek(key!)!;
  fleet.backends.a!.putNow(key!, Buffer.from('01234X6789'), { metadata });
  const got = (await fleet.newClient().get('k', { range: [4, 6] }))!;
  expect({ range: got.range, isVerified: got.isVerified, metadata: got.metadata }).toEqual({
    range: [4, 6],
    isVerified: true,
    metadata: { a: 'b' },
  });
  expect(await text(got.body)).toBe('456');
  for (const range of [[10], [5, 4], [0.5], [-3, 2]] as [number, number?][])
    await expect(fleet.client.get('k', { range })).rejects.toMatchObject({ kind: 'bad-range' });
  expect(await fleet.client.get('none', { range: [0] })).toBeNull();
});

test('of a large object only the part is read, from another copy where one fails, and it says that it is not verified [ranges-say-unverified]', async () => {
  const fleet = await createTestFleet();
  const bytes = Buffer.alloc(9 * 1024 * 1024);
  for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE(i, i);
  await fleet.client.put('big', bytes, { copies: 2 });
  const range = [5_000_000, 5_000_999] as const;
  const before = await fleet.newClient().get('big', { range: [...range] });
  expect(before!.isVerified).toBe(false);
  expect((await collect(before!.body)).equals(bytes.subarray(5_000_000, 5_001_000))).toBe(true);
  const { BackendError } = await import('../../lib/fleet/backend.ts');
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'get') throw new BackendError('unavailable', 'a', 'down');
  };
  const after = await fleet.newClient().get('big', { range: [...range] });
  expect((await collect(after!.body)).equals(bytes.subarray(5_000_000, 5_001_000))).toBe(true);
});
