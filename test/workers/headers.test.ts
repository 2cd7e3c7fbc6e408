import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { headersDigest } from '../../lib/transfer/headers-digest.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const headers = { contentType: 'text/html', cacheControl: 'no-store' };
const metadata = { owner: 'me' };
const hourMs = 3_600_000;

async function twoCopies(content: Uint8Array | string = 'content'): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'] });
  await fleet.client.put('k', content, { headers, metadata });
  await fleet.tick('replicator');
  return fleet;
}

/** Puts the bytes of a recorded copy again, in place, with other things beside them. */
function putAgain(
  fleet: TestFleet,
  backend: string,
  change: { headers?: object; metadata?: Record<string, string> },
): void {
  const storage = `k!${fleet.object('k').copies[backend]}`;
  const stored = fleet.backends[backend]!.peek(storage)!;
  fleet.backends[backend]!.putNow(storage, stored.bytes, {
    headers: { ...stored.headers, ...change.headers },
    metadata: { ...stored.metadata, ...change.metadata },
  });
}

test.each([Buffer.from('small'), Buffer.alloc(9 * 2 ** 20, 'big')])(
  'bytes that were put again with other headers are not served: another copy is',
  async (content) => {
    const fleet = await twoCopies(content);
    putAgain(fleet, 'a', { headers: { contentType: 'application/x-evil' } });
    const found = await fleet.newClient().get('k');
    expect(found).toMatchObject({ headers, metadata });
    expect((await collect(found!.body)).equals(content)).toBe(true);
  },
);

test('bytes that were put again with other metadata are quarantined like wrong bytes, and replaced [headers-are-content]', async () => {
  const fleet = await twoCopies();
  putAgain(fleet, 'a', { metadata: { owner: 'somebody else' } });
  expect(await fleet.tick('scrubber')).toMatchObject({ reasons: { quarantined: 1, good: 1 } });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
  await fleet.tick('replicator');
  fleet.clock.advance(10 * 24 * hourMs);
  for (const name of Object.keys(fleet.object('k').copies)) {
    const stored = fleet.backends[name]!.peek(`k!${fleet.object('k').copies[name]}`)!;
    expect(stored).toMatchObject({ headers, metadata });
  }
  expect(Object.keys(fleet.object('k').copies)).toHaveLength(2);
});

test('an only copy that was put again with other headers is reported, not served, and kept', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'content', { headers, metadata });
  putAgain(fleet, 'a', { headers: { contentType: 'application/x-evil' } });
  await expect(fleet.newClient().get('k')).rejects.toMatchObject({
    kind: 'unreadable',
    message: expect.stringContaining('on "a" has other headers or user metadata than are recorded'),
  });
  await fleet.tick('scrubber');
  expect(fleet.object('k')).toMatchObject({ condition: 'damaged', copies: { a: expect.any(String) } });
});

test('a copy with other headers is not copied on', async () => {
  const fleet = await twoCopies();
  putAgain(fleet, 'a', { headers: { contentType: 'application/x-evil' } });
  const { b: _gone, ...copies } = fleet.object('k').copies;
  await fleet.apply({ backends: ['a', 'b', 'c'], policies: { default: { factor: 3 } } });
  fleet.clock.advance(60_000);
  await fleet.settle(['replicator'], 3);
  for (const [name, copyId] of Object.entries(fleet.object('k').copies)) {
    if (copies[name] === copyId) continue;
    expect(fleet.backends[name]!.peek(`k!${copyId}`)).toMatchObject({ headers, metadata });
  }
});

test('what a backend fills in where nothing was said is no difference', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  await fleet.client.put('k', 'content');
  await fleet.tick('replicator');
  expect(fleet.object('k').headersSha256).toBe(headersDigest({}, {}));
  putAgain(fleet, 'a', { headers: { contentType: 'binary/octet-stream' } });
  expect(await fleet.tick('scrubber')).toMatchObject({ reasons: { good: 2 } });
});

test('a backend that stores metadata otherwise than it was sent does not take such objects', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 1 } } });
  const { put } = fleet.backends.a!;
  fleet.backends.a!.put = (request, signal) =>
    put(
      {
        ...request,
        metadata: Object.fromEntries(Object.entries(request.metadata!).map(([n, v]) => [n, v.replace('ü', '?')])),
      },
      signal,
    );
  await fleet.client.put('k', 'content', { metadata: { note: 'grün' } });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
  expect(await fleet.newClient().get('k')).toMatchObject({ metadata: { note: 'grün' } });
  await fleet.client.put('plain', 'content', { metadata: { note: 'green' } });
  expect(Object.keys(fleet.object('plain').copies)).toEqual(['a']);
});

test('metadata under a name that no header can have, or that is ours, is refused', async () => {
  const fleet = await createTestFleet();
  for (const name of ['holdfast', 'Upper', 'with space', ''])
    await expect(fleet.client.put('k', 'v', { metadata: { [name]: 'x' } })).rejects.toMatchObject({
      kind: 'bad-metadata',
    });
  expect(fleet.queue()).toEqual([]);
});

test('a put that its writer left behind is recorded with its headers', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'] });
  fleet.before = ({ port, method, args }) => {
    const changes = method === 'transact' && port === 'store' ? (args[0] as { kind: string }[]) : [];
    if (changes.some(({ kind }) => kind === 'object')) throw new Error('the writer dies');
  };
  await expect(fleet.client.put('k', 'content', { headers, metadata })).rejects.toThrow('the writer dies');
  fleet.before = undefined;
  await fleet.settle(['pending-reaper'], 10);
  expect(fleet.object('k').headersSha256).toBe(headersDigest(headers, metadata));
});

async function imported(files: Record<string, { headers?: object; metadata?: Record<string, string> }>) {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { RECONCILER_IMPORT: 'true' } });
  for (const [name, beside] of Object.entries(files))
    fleet.backends[name]!.putNow('file', Buffer.from('content'), beside);
  fleet.clock.advance(2 * hourMs);
  await fleet.settle(['reconciler'], 3);
  return fleet;
}

test('an imported file whose owner changed its headers, and nothing else, is a new generation with them [overwritten-files]', async () => {
  const fleet = await imported({ a: { headers, metadata } });
  await fleet.settle(['replicator', 'scrubber'], 3);
  const before = fleet.object('file');
  expect(before.headersSha256).toBe(headersDigest(headers, metadata));
  expect(Object.keys(before.copies)).toHaveLength(2);
  const changed = { contentType: 'text/plain' };
  fleet.backends.a!.putNow('file', Buffer.from('content'), { headers: changed, metadata });
  fleet.clock.advance(31 * 24 * hourMs);
  await fleet.settle(['scrubber', 'replicator', 'cleanup-queue'], 90);
  const after = fleet.object('file');
  expect(after.generation).not.toBe(before.generation);
  expect(Object.keys(after.copies)).toHaveLength(2);
  for (const [name, copyId] of Object.entries(after.copies)) {
    const stored = fleet.backends[name]!.peek(copyId === '' ? 'file' : `file!${copyId}`)!;
    expect(stored.headers).toEqual(changed);
  }
  expect(await fleet.newClient().get('file')).toMatchObject({ headers: changed, metadata });
});

test('two imported files that are one object but for their headers do not replace each other', async () => {
  const fleet = await imported({ a: { headers }, b: { headers: { contentType: 'text/plain' } } });
  await fleet.settle(['scrubber', 'replicator', 'reconciler'], 5);
  const { generation, copies } = fleet.object('file');
  expect(copies).toEqual({ a: '', b: '' });
  for (let day = 0; day < 40; day += 1) {
    fleet.clock.advance(24 * hourMs);
    for (const worker of ['scrubber', 'reconciler', 'replicator', 'over-replication-cleaner'] as const)
      await fleet.tick(worker);
  }
  expect(fleet.object('file')).toMatchObject({ generation, copies: { a: '', b: '' }, condition: 'sound' });
  expect(await fleet.read('file')).toBe('content');
});

test('a file over which somebody copied bytes of ours, mark and all, is neither served nor copied on nor new content', async () => {
  const fleet = await imported({ a: { headers } });
  await fleet.settle(['scrubber', 'replicator'], 3);
  const { generation, copies } = fleet.object('file');
  await fleet.client.put('other', 'ciphertext, perhaps');
  const other = fleet.object('other').copies.a!;
  const { bytes, metadata: marked } = fleet.backends.a!.peek(`other!${other}`)!;
  expect(marked.holdfast).toBeDefined();
  fleet.backends.a!.putNow('file', bytes, { metadata: marked });
  fleet.clock.advance(31 * 24 * hourMs);
  await fleet.settle(['scrubber', 'replicator', 'reconciler', 'cleanup-queue'], 60);
  const after = fleet.object('file');
  expect(after).toMatchObject({ generation, condition: 'sound' });
  expect(Object.values(after.copies)).toHaveLength(2);
  expect(Object.values(after.copies)).not.toContain('');
  expect(after.copies.b).toBe(copies.b);
  expect(await fleet.read('file')).toBe('content');
  expect(Buffer.from(fleet.backends.a!.peek('file')!.bytes).equals(Buffer.from(bytes))).toBe(true);
});

test('an only file over which somebody copied bytes of ours is reported, not served, and left alone', async () => {
  const fleet = await createTestFleet({
    backends: ['a'],
    policies: { default: { factor: 1 } },
    env: { RECONCILER_IMPORT: 'true' },
  });
  fleet.backends.a!.putNow('file', Buffer.from('content'), {});
  fleet.clock.advance(2 * hourMs);
  await fleet.settle(['reconciler', 'scrubber'], 3);
  await fleet.client.put('other', 'ciphertext, perhaps');
  const { bytes, metadata: marked } = fleet.backends.a!.peek(`other!${fleet.object('other').copies.a}`)!;
  fleet.backends.a!.putNow('file', bytes, { metadata: marked });
  await expect(fleet.newClient().get('file')).rejects.toMatchObject({ kind: 'unreadable' });
  fleet.clock.advance(31 * 24 * hourMs);
  await fleet.settle(['scrubber'], 2);
  expect(fleet.object('file')).toMatchObject({ condition: 'damaged', copies: { a: '' } });
});

test.each(['scrubber', 'replicator'] as const)(
  'a file that carries a mark when it is imported leaves the records with the first read, of the %s, and does not come back',
  async (worker) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'], env: { RECONCILER_IMPORT: 'true' } });
    await fleet.client.put('other', 'ciphertext, perhaps');
    const { bytes, metadata: marked } = fleet.backends.a!.peek(`other!${fleet.object('other').copies.a}`)!;
    fleet.backends.a!.putNow('file', bytes, { metadata: marked });
    fleet.clock.advance(2 * hourMs);
    await fleet.tick('reconciler');
    expect(fleet.object('file')).toMatchObject({ copies: { a: '' } });
    await fleet.tick(worker);
    expect(fleet.entry('file')).toMatchObject({ kind: 'tombstone' });
    expect(await fleet.client.get('file')).toBeNull();
    for (let day = 0; day < 3; day += 1) {
      fleet.clock.advance(25 * hourMs);
      await fleet.settle(['reconciler', 'scrubber', 'replicator', 'cleanup-queue'], 3);
    }
    expect(fleet.entry('file')).toMatchObject({ kind: 'tombstone' });
    // Nor when a person asks for it: its mark is looked for then.
    await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['a'] } });
    expect(fleet.entry('file')).toMatchObject({ kind: 'tombstone' });
    expect(fleet.backends.a!.peek('file')).toBeDefined();
    expect(fleet.keysOn('b').filter((key) => key.startsWith('file'))).toEqual([]);
    expect(fleet.queue()).toEqual([]);
    // Its owner puts content there: an object like others.
    fleet.backends.a!.putNow('file', Buffer.from('content'));
    fleet.clock.advance(25 * hourMs);
    await fleet.tick('reconciler');
    await fleet.settle(['scrubber', 'replicator'], 2);
    expect(await fleet.read('file')).toBe('content');
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test.each([
  ['other headers', { headers: { contentType: 'image/png' }, metadata }, 'conflict'],
  ['other metadata', { headers, metadata: { owner: 'them' } }, 'conflict'],
  ['the same', { headers, metadata }, 'joined'],
] as const)(
  'a file with the bytes of what was put and %s beside them never takes its place',
  async (_, beside, what) => {
    const fleet = await twoCopies();
    const { generation } = fleet.object('k');
    fleet.backends.c!.putNow('k', Buffer.from('content'), beside);
    fleet.clock.advance(3 * hourMs);
    const { reasons } = await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['c'] } });
    expect(reasons).toMatchObject({ [what]: 1 });
    for (let month = 0; month < 2; month += 1) {
      fleet.clock.advance(31 * 24 * hourMs);
      await fleet.settle(['scrubber', 'reconciler', 'replicator', 'over-replication-cleaner', 'cleanup-queue'], 10);
    }
    expect(fleet.object('k')).toMatchObject({ generation, condition: 'sound' });
    expect(fleet.object('k').copies.c).toBe(what === 'joined' ? '' : undefined);
    expect(await fleet.newClient().get('k')).toMatchObject({ generation, headers, metadata });
    expect(fleet.backends.c!.peek('k')).toBeDefined();
  },
);

test('a file with the bytes and the mark of what was put joins no object, alone or beside another file', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], env: { RECONCILER_IMPORT: 'true' } });
  await fleet.client.put('k', 'content');
  const { bytes, metadata: marked } = fleet.backends.a!.peek(`k!${fleet.object('k').copies.a}`)!;
  fleet.backends.c!.putNow('k', bytes, { metadata: marked });
  // Nothing that a listing shows says that these are equal, so both are read; one has a mark.
  fleet.backends.b!.putNow('file', Buffer.from('content'), { etag: '"parts-2"' });
  fleet.backends.c!.putNow('file', bytes, { metadata: marked, etag: '"other-2"' });
  fleet.clock.advance(2 * hourMs);
  const { reasons } = await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['b', 'c'] } });
  expect(reasons).toMatchObject({ 'foreign-mark': 2, imported: 1 });
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a']);
  expect(fleet.object('file').copies).toEqual({ b: '' });
  expect(await fleet.read('file')).toBe('content');
});

test('a second file with the bytes of what was put joins it only with what was put beside them, as the first did', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c', 'd'] });
  await fleet.client.put('k', 'content', { headers, metadata });
  await fleet.tick('replicator');
  fleet.backends.c!.putNow('k', Buffer.from('content'), { headers, metadata });
  fleet.clock.advance(3 * hourMs);
  await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['c'] } });
  expect(fleet.object('k').copies.c).toBe('');
  // Its ETag says that its bytes are those of the first one.
  fleet.backends.d!.putNow('k', Buffer.from('content'), { headers: { contentType: 'image/png' } });
  fleet.clock.advance(3 * hourMs);
  const { reasons } = await fleet.tick('reconciler', { reconcile: { kind: 'import', backends: ['d'] } });
  expect(reasons).toMatchObject({ conflict: 1 });
  expect(fleet.object('k').copies.d).toBeUndefined();
});
