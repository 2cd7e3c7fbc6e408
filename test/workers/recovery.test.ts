import { expect, test } from 'vitest';
import { idsFrom } from '../../lib/base/ids.ts';
import { createClient } from '../../lib/client/client.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { apply } from '../../lib/operations/apply.ts';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { recount } from '../../lib/operations/recount.ts';
import { undrain } from '../../lib/operations/undrain.ts';
import { readFleet } from '../../lib/store/fleet-view.ts';
import { passName, rangesOfPass } from '../../lib/store/pass-rows.ts';
import { createMemoryStore, type MemoryStore } from '../../lib/testing/store/memory-store.ts';
import { markFor, markName } from '../../lib/transfer/mark.ts';
import { createTestFleet, seeded, sha256, type TestFleet } from '../support/fleet.ts';
import { takenOver } from '../support/taken-over.ts';

const hourMs = 3_600_000;

function fleetIdOf(fleet: TestFleet): string {
  return fleet.backends.a!.peek('.holdfast/owner')!.metadata['holdfast-owner']!.split(' ')[0]!;
}

/** Bytes at a storage key of an object with a mark: whoever can write to a bucket can make them. */
function forge(fleet: TestFleet, backend: string, key: string, generation: string, text: string, says = text): string {
  const storage = `${key}!${fleet.ids.ulid()}`;
  const mark = { fleetId: fleetIdOf(fleet), generation, sha256: sha256(says), isEncrypted: false };
  fleet.backends[backend]!.putNow(storage, Buffer.from(text), {
    metadata: { [markName]: markFor(mark, backend, storage) },
  });
  return storage;
}

/** Bytes that rotted where they are: the same mark, the same ETag. */
function rot(fleet: TestFleet, backend: string, key: string, text = 'rotten'): void {
  const storage = `${key}!${fleet.object(key).copies[backend]}`;
  const stored = fleet.backends[backend]!.peek(storage)!;
  fleet.backends[backend]!.putNow(
    storage,
    Buffer.from(text.padEnd(stored.bytes.length).slice(0, stored.bytes.length)),
    {
      metadata: stored.metadata,
      headers: stored.headers,
      etag: stored.etag,
    },
  );
}

function withoutSha256InMarks(fleet: TestFleet): void {
  for (const backend of Object.values(fleet.backends)) {
    for (const [storage, object] of [...backend.contents()]) {
      const [fleetId, generation] = object.metadata[markName]?.split(' ') ?? [];
      if (generation === undefined) continue;
      const mark = markFor({ fleetId: fleetId!, generation }, backend.name, storage);
      backend.putNow(storage, object.bytes, { ...object, metadata: { ...object.metadata, [markName]: mark } });
    }
  }
}

async function filled(options: Parameters<typeof createTestFleet>[0] = {}, count = 12): Promise<TestFleet> {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], ...options });
  for (let i = 0; i < count; i += 1) await fleet.client.put(`k${i}`, `content ${i}`);
  await fleet.tick('replicator');
  fleet.clock.advance(2 * hourMs);
  return fleet;
}

const orders = [
  ['a', 'b', 'c'],
  ['c', 'b', 'a'],
  ['b', 'a', 'c'],
];

test.each(orders)(
  'after the tables are lost, rot on the first backend is not believed: %s, %s, %s',
  async (...order) => {
    for (const hasSha256 of [true, false]) {
      const fleet = await filled({ policies: { default: { factor: 3 } } });
      for (let i = 0; i < 12; i += 1) rot(fleet, order[i % 3]!, `k${i}`);
      if (!hasSha256) withoutSha256InMarks(fleet);
      const before = Object.fromEntries(Object.keys(fleet.backends).map((name) => [name, fleet.keysOn(name)]));
      const after = await takenOver(fleet);
      for (const name of order) await after.recover([name]);
      for (let i = 0; i < 12; i += 1) expect(await after.read(`k${i}`)).toBe(`content ${i}`);
      fleet.clock.advance(8 * 24 * hourMs);
      for (const worker of ['reconciler', 'cleanup-queue', 'reconciler', 'cleanup-queue'] as const)
        await after.tick(worker);
      for (const [name, keys] of Object.entries(before)) expect(fleet.keysOn(name)).toEqual(keys);
      expect(await after.isPending()).toBe(false);
      expect((await recount({ ...fleet.deps, store: after.store }, false)).differences).toEqual([]);
    }
  },
);

test.each([
  ['round', (from: string) => (from === '1' ? '2' : '1')],
  ['ever on', (from: string) => String(Number(from) + 1)],
])(
  'an object whose copies are listed in pages that go %s is not decided by them, and holds up no other',
  async (_how, nextOf) => {
    const fleet = await filled({}, 6);
    const after = await takenOver(fleet);
    const { list } = fleet.backends.b!;
    let pages = 0;
    fleet.backends.b!.list = async (options, signal) => {
      const page = await list(options, signal);
      if (options?.prefix !== 'k3!') return page;
      pages += 1;
      if (pages > 5_000) throw new Error('it goes on for ever');
      return {
        ...page,
        next: { token: nextOf('token' in (options.from ?? {}) ? (options.from as { token: string }).token : '0') },
      };
    };
    await after.recover();
    for (const key of ['k0', 'k1', 'k2', 'k4', 'k5']) expect(await after.read(key)).toMatch(/^content/);
    fleet.backends.b!.list = list;
    // It was reported; asked again, it is looked at again.
    fleet.clock.advance(hourMs);
    await after.recover();
    expect(await after.isPending()).toBe(false);
    expect(await after.read('k3')).toBe('content 3');
  },
);

test('until a recovery is complete nothing it recorded is copied or cleaned, and nothing is deleted [recovery-decides-nothing-final]', async () => {
  const fleet = await filled();
  const after = await takenOver(fleet);
  await after.recover(['a']);
  expect(after.object('k1').condition).toBe('recovering');
  const before = after.store.snapshot().objects;
  for (const worker of ['replicator', 'over-replication-cleaner', 'rebalancer', 'cleanup-queue'] as const)
    await after.tick(worker);
  expect(after.store.snapshot().objects).toEqual(before);
  expect(await after.isPending()).toBe(true);
  expect((await after.recover()).figures.passComplete).toBe(1);
  expect(await after.isPending()).toBe(false);
  expect(after.object('k1').condition).toBe('sound');
});

test('single copies, and content that only two copies agree on, are recovered; what is torn between two is kept undecided [recovery-takes-what-is-proven]', async () => {
  const fleet = await filled({}, 6);
  const storageOf = (key: string, name: string) => `${key}!${fleet.object(key).copies[name]}`;
  fleet.backends.a!.deleteNow(storageOf('k0', 'a'));
  fleet.backends.b!.deleteNow(storageOf('k1', 'b'));
  withoutSha256InMarks(fleet);
  // Neither ETag says anything of the bytes of k2, and they differ.
  for (const name of ['a', 'b']) {
    const stored = fleet.backends[name]!.peek(storageOf('k2', name))!;
    fleet.backends[name]!.putNow(storageOf('k2', name), Buffer.from(`of ${name}`), { ...stored, etag: '"parts-2"' });
  }
  const after = await takenOver(fleet);
  await after.recover();
  expect(await after.read('k0')).toBe('content 0');
  expect(await after.read('k1')).toBe('content 1');
  expect(after.object('k2')).toMatchObject({ condition: 'damaged' });
  await expect(after.read('k2')).rejects.toThrow();
  expect(await after.named('undecided-contradiction')).toContain('k2');
  expect(fleet.backends.a!.peek(storageOf('k2', 'a'))).toBeDefined();
  expect(fleet.backends.b!.peek(storageOf('k2', 'b'))).toBeDefined();
  // A person takes the wrong one away, and recovers again.
  fleet.backends.a!.deleteNow(storageOf('k2', 'a'));
  await after.recover();
  expect(await after.read('k2')).toBe('of b');
});

test('encrypted objects are recovered as such, whatever marks say; ciphertext is never content', async () => {
  const key = Buffer.alloc(32, 7).toString('base64');
  const fleet = await filled(
    {
      policies: { default: { factor: 2, encrypt: true } },
      encryption: { rawKeyEnv: 'KEY' },
      env: { KEY: key },
    },
    3,
  );
  withoutSha256InMarks(fleet);
  const { copies, generation } = fleet.object('k2');
  for (const [name, copyId] of Object.entries(copies)) {
    const storage = `k2!${copyId}`;
    const stored = fleet.backends[name]!.peek(storage)!;
    const mark = markFor({ fleetId: fleetIdOf(fleet), generation, isEncrypted: false }, name, storage);
    fleet.backends[name]!.putNow(storage, stored.bytes, { ...stored, metadata: { [markName]: mark } });
  }
  const after = await takenOver(fleet);
  await after.recover();
  expect(await after.read('k0')).toBe('content 0');
  expect(after.object('k0').encryption).toMatchObject({ keyId: 'env:KEY', plaintextBytes: 9 });
  await expect(after.read('k2')).rejects.toThrow();
  expect(await after.named('undecided-not-as-marked')).toContain('k2');
});

test('a forged mark, late generation included, changes no live object [marks-change-no-live-record]', async () => {
  const fleet = await filled();
  const before = fleet.store.snapshot().objects;
  forge(fleet, 'a', 'k1', fleet.ids.ulid(), 'forged now');
  forge(fleet, 'a', 'k2', '7ZZZZZZZZZZZZZZZZZZZZZZZZZ', 'forged for ever');
  forge(fleet, 'a', 'k3', fleet.object('k3').generation, 'same generation');
  const ask = () => fleet.tick('reconciler', { reconcile: { kind: 'recover', backends: ['a', 'b', 'c'] } });
  await ask();
  for (const [key, entry] of before) expect(fleet.store.snapshot().objects.get(key)).toEqual(entry);
  expect(fleet.queue()).toEqual([]);
});

test.each(['live', 'restored'])(
  'bytes with a mark of a generation that %s tables know are its copies only if they are all that is recorded of it [marks-change-no-live-record]',
  async (tables) => {
    const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 1 } } });
    const keys = ['other headers', 'other headers elsewhere', 'other bytes', 'other bytes elsewhere'];
    for (const key of keys) await fleet.client.put(key, key, { headers: { contentType: 'text/plain' } });
    fleet.clock.advance(2 * hourMs);
    for (const key of keys) {
      const backend = key.endsWith('elsewhere') ? 'b' : 'a';
      const text = key.startsWith('other headers') ? key : 'forged bytes';
      forge(fleet, backend, key, fleet.object(key).generation, text);
    }
    const before = new Map(keys.map((key) => [key, fleet.object(key)]));
    const after = tables === 'live' ? null : await takenOver(fleet, fleet.store.snapshot());
    if (after === null) await fleet.tick('reconciler', { reconcile: { kind: 'recover', backends: ['a', 'b'] } });
    else await after.recover();
    for (const key of keys) {
      const { copies, condition, sha256, headersSha256 } = before.get(key)!;
      const entry = after === null ? fleet.object(key) : after.object(key);
      expect(entry, key).toMatchObject({ condition, sha256, headersSha256 });
      expect(entry.copies, key).toEqual(copies);
      expect(after === null ? await fleet.read(key) : await after.read(key)).toBe(key);
    }
  },
);

test('restored tables: what was put since is there, what verifies gives way to no mark in one bucket', async () => {
  const fleet = await filled({}, 6);
  const yesterday = fleet.store.snapshot();
  fleet.clock.advance(24 * hourMs);
  await fleet.client.put('k0', 'today');
  await fleet.client.put('fresh', 'new');
  await fleet.client.delete('k1');
  await fleet.settle(['replicator', 'cleanup-queue']);
  // Two copies stand against what restored tables say, though its bytes are there.
  await fleet.client.put('k2', 'today too');
  await fleet.tick('replicator');
  forge(fleet, 'a', 'k3', fleet.ids.ulid(), 'forged');
  fleet.clock.advance(2 * hourMs);
  const after = await takenOver(fleet, yesterday);
  await after.recover();
  expect(await after.read('k0')).toBe('today');
  expect(await after.read('fresh')).toBe('new');
  expect(await after.read('k2')).toBe('today too');
  expect(await after.read('k3')).toBe('content 3');
  expect(await after.named('newer-than-record')).toContain('k3');
  await after.recover(undefined, { acceptNewer: ['k3'] });
  expect(await after.read('k3')).toBe('forged');
  expect(await after.read('k4')).toBe('content 4');
  expect(after.store.snapshot().queue.size).toBe(0);
  expect((await recount({ ...fleet.deps, store: after.store }, false)).differences).toEqual([]);
});

test.each(['lost', 'restored'])(
  'what was put under a clock that was far ahead is kept and named, and a person may accept it, after tables were %s',
  async (how) => {
    const fleet = await filled({}, 3);
    const yesterday = fleet.store.snapshot();
    const ahead = { ...fleet.clock, now: () => fleet.clock.now() + 5 * hourMs };
    const client = createClient({ ...fleet.deps, ids: idsFrom(ahead, seeded(9)) });
    for (const key of ['only', 'k0']) await client.put(key, 'by a clock ahead');
    await fleet.tick('replicator');
    const after = await takenOver(fleet, how === 'lost' ? undefined : yesterday);
    await after.recover();
    expect(await after.named(how === 'lost' ? 'recovered-older' : 'newer-than-record')).toContain('k0');
    expect(await after.named('undecided-from-the-future')).toEqual(['only']);
    await expect(after.read('only')).rejects.toMatchObject({ kind: 'unreadable' });
    expect(await after.read('k0')).toBe('content 0');
    await after.recover(undefined, { acceptNewer: ['only'] });
    expect(await after.read('only')).toBe('by a clock ahead');
    expect((await recount({ ...fleet.deps, store: after.store }, false)).differences).toEqual([]);
  },
);

test('a recovery that was under way when the tables were restored begins anew, and none ends by its place in the keys', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1 } } });
  for (const key of ['b', 'y']) await fleet.client.put(key, `old ${key}`);
  // It is half way through the keys of a live fleet, and its time is up.
  fleet.after = ({ port, method }) => {
    if (port === 'a' && method === 'head') fleet.clock.advance(3_600_000);
  };
  const backends = ['a'];
  await fleet.tick('reconciler', { reconcile: { kind: 'recover', backends } });
  fleet.after = undefined;
  const name = passName({ kind: 'recover', backends });
  const [range] = await rangesOfPass(fleet.store, name);
  const then = fleet.store.snapshot();
  const rows = then.rows.map((row) =>
    row.pk.includes(name) && row.sk === `range/${range!.id}`
      ? { ...row, data: { ...row.data, position: { phase: 'listing', from: { afterKey: 'x' }, lastKey: 'x' } } }
      : row,
  );
  const header = rows.find(({ sk }) => sk.startsWith('pass/') && sk.includes('recover'))!;
  const running = { ...header, data: { ...header.data, isRunning: true } };
  fleet.clock.advance(hourMs);
  await fleet.client.put('b', 'new b');
  await fleet.client.put('z', 'new z');
  await fleet.settle(['cleanup-queue']);
  const recovering = await takenOver(fleet, {
    ...then,
    rows: rows.map((row) => (row === header ? running : row)),
  });
  expect(await recovering.recover()).toMatchObject({ figures: { passComplete: 1 } });
  expect(await recovering.isPending()).toBe(false);
  expect(await recovering.read('b')).toBe('new b');
  expect(await recovering.read('z')).toBe('new z');
});

test('a drain that restored tables show as done keeps no copy from being recovered, and is not done before the recovery is [recovery-takes-what-is-proven]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], policies: { default: { factor: 2 } } });
  await drain(fleet.deps, 'c', { deleteImported: true });
  await drainStatus(fleet.deps, 'c');
  fleet.clock.advance(2 * hourMs);
  expect(await drainStatus(fleet.deps, 'c')).toMatchObject({ outcome: 'drained' });
  const yesterday = fleet.store.snapshot();
  await undrain({ ...fleet.deps, clock: fleet.operatorClock }, 'c');
  await fleet.apply({ backends: ['a', 'b', 'c'], policies: { default: { factor: 3 } } });
  for (const key of ['everywhere', 'on c alone']) await fleet.client.put(key, key);
  await fleet.tick('replicator');
  for (const name of ['a', 'b'])
    fleet.backends[name]!.deleteNow(`on c alone!${fleet.object('on c alone').copies[name]}`);
  fleet.clock.advance(2 * hourMs);

  const after = await takenOver(fleet, yesterday);
  const deps = { ...fleet.deps, store: after.store };
  expect(await drainStatus(deps, 'c')).toMatchObject({ outcome: 'recovering' });
  await after.recover();
  expect(await after.isPending()).toBe(false);
  for (const key of ['everywhere', 'on c alone']) expect(await after.read(key)).toBe(key);
  expect(Object.keys(after.object('everywhere').copies).sort()).toEqual(['a', 'b', 'c']);
  // It drains anew: what it holds is copied first, and files of others stay before a person asks again.
  const view = await readFleet(after.store, fleet.clock.now());
  expect(view.drain('c')).toEqual({ since: expect.any(Number) });
  expect(await drainStatus(deps, 'c')).toMatchObject({ outcome: 'draining', copies: { objects: 2 } });
});

test('whoever is about to close a drain when the tables are taken over closes nothing', async () => {
  const fleet = await filled({ policies: { default: { factor: 1 } } }, 2);
  await drain(fleet.deps, 'c');
  const store = createMemoryStore({ clock: fleet.clock, identity: 'new tables', from: fleet.store.snapshot() });
  const deps = { ...fleet.deps, store };
  const file = (await readFleet(store, fleet.clock.now())).config!.file;
  const findCapabilities = async ({ name }: { name: string }) => fleet.backends[name]!.capabilities;
  let hasRead = 0;
  const slow = {
    ...store,
    async control(pk: string) {
      const read = await store.control(pk);
      hasRead += 1;
      if (hasRead === 2) await apply({ ...deps, findCapabilities }, file, { takeOver: true });
      return read;
    },
  };
  await drainStatus({ ...deps, store: slow }, 'c');
  expect((await readFleet(store, fleet.clock.now())).drain('c')?.isClosed).toBeUndefined();
});

test('what restored tables had queued for a drain rejoins no record when the drain is ended: it may be deleted by now', async () => {
  const fleet = await filled({ policies: { default: { factor: 2 } } }, 1);
  await drain(fleet.deps, 'a');
  await fleet.settle(['replicator', 'over-replication-cleaner']);
  const yesterday = fleet.store.snapshot();
  const [item] = yesterday.queue.values();
  expect(item).toMatchObject({ backend: 'a', drainSince: expect.any(Number) });
  fleet.backends.a!.deleteNow(item!.storageKey);
  const after = await takenOver(fleet, yesterday);
  await after.recover();
  const deps = { ...fleet.deps, store: after.store, clock: fleet.operatorClock };
  expect(await undrain(deps, 'a')).toMatchObject({ outcome: 'undrained', rejoined: 0 });
  expect(Object.keys(after.object('k0').copies).sort()).toEqual(['b', 'c']);
});

test('a backend that is about to leave the file keeps no other copy from being recovered', async () => {
  const fleet = await filled({ policies: { default: { factor: 2 } } }, 1);
  const after = await takenOver(fleet);
  const config = after.store.snapshot().rows.find(({ sk }) => sk === 'config')!;
  const data = { ...config.data, leaving: { a: { since: fleet.clock.now() } } };
  const put = { ...config, version: config.version + 1, data };
  await after.store.write({ kind: 'row', put, expect: config.version });
  await after.recover();
  expect(await after.read('k0')).toBe('content 0');
  expect(Object.keys(after.object('k0').copies)).toEqual(['b']);
});

test('tables restored to the midst of a recovery are recovered from the beginning, also what that recovery had gone through', async () => {
  const fleet = await filled({}, 4);
  const first = await takenOver(fleet);
  await first.recover(['a']);
  const midway = first.store.snapshot();
  await first.recover();
  expect(await first.isPending()).toBe(false);
  const client = createClient({ ...fleet.deps, store: first.store });
  fleet.clock.advance(hourMs);
  for (const key of ['k0', 'fresh']) await client.put(key, 'put since');
  await first.tick('replicator');
  for (const key of ['k0', 'fresh'])
    for (const name of ['b', 'c']) fleet.backends[name]!.deleteNow(`${key}!${first.object(key).copies[name]}`);
  fleet.clock.advance(hourMs);
  const second = await takenOver(fleet, midway, 'restored tables');
  await second.recover();
  expect(await second.isPending()).toBe(false);
  expect(await second.read('fresh')).toBe('put since');
  // What one backend alone holds replaces nothing that verifies: it is said by name.
  expect([await second.read('k0'), await second.named('newer-than-record')]).toEqual(['content 0', ['k0']]);
});

test.each([false, true])(
  'what was brought back stays the content when its tables are restored, whatever it had been replaced by; encrypted: %s',
  async (encrypt) => {
    const fleet = await createTestFleet({
      policies: { default: { factor: 2, deleteGraceHours: 24, encrypt } },
      ...(encrypt && { encryption: { rawKeyEnv: 'KEY' }, env: { KEY: Buffer.alloc(32, 7).toString('base64') } }),
    });
    const first = await fleet.client.put('k', 'first', { copies: 2 });
    await fleet.client.put('k', 'second', { copies: 2 });
    await fleet.client.undelete('k', { generation: first.generation });
    const before = fleet.object('k');
    expect(before).toMatchObject({ writtenAs: first.generation });
    fleet.clock.advance(2 * hourMs);
    const after = await takenOver(fleet, fleet.store.snapshot());
    await after.recover();
    expect(await after.isPending()).toBe(false);
    const { generation, writtenAs, copies } = before;
    expect(after.object('k')).toMatchObject({ generation, writtenAs, copies });
    expect(await after.read('k')).toBe('first');
  },
);

test('a tombstone of restored tables hides nothing that was put since', async () => {
  const fleet = await filled({}, 2);
  await fleet.client.delete('k0');
  const yesterday = fleet.store.snapshot();
  fleet.clock.advance(24 * hourMs);
  await fleet.client.put('k0', 'again');
  await fleet.settle(['replicator', 'cleanup-queue']);
  const after = await takenOver(fleet, yesterday);
  await after.recover();
  expect(await after.read('k0')).toBe('again');
});

test('a backend that does not answer holds back the end, not the others; what it holds is judged when it does', async () => {
  const fleet = await filled({ policies: { default: { factor: 2 } } }, 4);
  // The newest content of k1 is on c alone.
  await fleet.client.put('k1', 'newest');
  const { copies } = fleet.object('k1');
  const stored = fleet.backends.a!.peek(`k1!${copies.a}`)!;
  forge(fleet, 'c', 'k1', fleet.object('k1').generation, 'newest');
  fleet.backends.a!.deleteNow(`k1!${copies.a}`);
  expect(stored).toBeDefined();
  const after = await takenOver(fleet);
  const real = { ...fleet.backends.c! };
  fleet.before = undefined;
  let isDown = true;
  for (const method of ['list', 'head', 'get'] as const) {
    const call = real[method] as (...args: unknown[]) => Promise<unknown>;
    (fleet.backends.c! as unknown as Record<string, unknown>)[method] = async (...args: unknown[]) => {
      if (isDown)
        throw new (await import('../../lib/fleet/backend.ts')).BackendError('unreachable', 'c', 'no connection');
      return call(...args);
    };
  }
  expect((await after.recover()).figures.passComplete).toBeUndefined();
  expect(await after.read('k2')).toBe('content 2');
  expect(await after.isPending()).toBe(true);
  isDown = false;
  fleet.clock.advance(hourMs);
  for (let ticks = 0; ticks < 4 && (await after.isPending()); ticks += 1) {
    await after.tick('replicator');
    await after.recover();
    fleet.clock.advance(hourMs);
  }
  expect(await after.isPending()).toBe(false);
  expect(await after.read('k1')).toBe('newest');
});

test('a recovery that is killed at any write goes on, and ends the same', async () => {
  for (let nth = 0; nth < 24; nth += 1) {
    const fleet = await filled({}, 5);
    rot(fleet, 'a', 'k1');
    const after = await takenOver(fleet);
    const { transact } = after.store;
    let count = 0;
    after.store.transact = async (changes, token) => {
      const answer = await transact(changes, token);
      count += 1;
      if (count > nth) throw new Error('the process is gone');
      return answer;
    };
    await after.recover().catch(() => {});
    after.store.transact = transact;
    for (let ticks = 0; ticks < 4 && (await after.isPending()); ticks += 1) {
      fleet.clock.advance(hourMs);
      await after.recover();
    }
    expect(await after.isPending()).toBe(false);
    for (let i = 0; i < 5; i += 1) expect(await after.read(`k${i}`)).toBe(`content ${i}`);
    expect((await recount({ ...fleet.deps, store: after.store }, false)).differences).toEqual([]);
  }
});

test('what a recovery passed over is deleted only once a person says so, and only what is older than a record that verifies', async () => {
  const fleet = await filled({}, 4);
  const older = forge(fleet, 'c', 'k1', '01BX5ZZKBKACTAV9WEVGEMMVRZ', 'an older content');
  const orphan = forge(fleet, 'c', 'k2', fleet.object('k2').generation, 'content 2');
  const after = await takenOver(fleet);
  await after.recover();
  fleet.clock.advance(2 * hourMs);
  await after.tick('reconciler');
  expect([...after.store.allQueueItems()]).toEqual([]);
  await after.tick('reconciler', { reconcile: { kind: 'delete-superseded', backends: ['a', 'b', 'c'] } });
  const items = [...after.store.allQueueItems()];
  expect(items.map(({ storageKey, cause }) => [storageKey, cause])).toContainEqual([older, 'superseded']);
  for (const { dueAt } of items) expect(dueAt).toBeGreaterThan(fleet.clock.now() + 6 * 24 * hourMs);
  for (let i = 0; i < 4; i += 1) expect(await after.read(`k${i}`)).toBe(`content ${i}`);
  expect(fleet.keysOn('c')).toContain(orphan);
});

test('a file at the key of what is recovered is another copy only if it says the same of its bytes and carries no mark', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'] });
  for (const key of ['same', 'other', 'marked']) await fleet.client.put(key, 'content', { metadata: { owner: 'me' } });
  await fleet.tick('replicator');
  const storage = `marked!${fleet.object('marked').copies.a}`;
  const bytes = Buffer.from('content');
  fleet.backends.c!.putNow('same', bytes, { metadata: { owner: 'me' } });
  fleet.backends.c!.putNow('other', bytes, { metadata: { owner: 'them' } });
  fleet.backends.c!.putNow('marked', bytes, { metadata: fleet.backends.a!.peek(storage)!.metadata });
  const after = await takenOver(fleet);
  await after.recover();
  expect(after.object('same').copies).toMatchObject({ c: '' });
  for (const key of ['other', 'marked']) expect(Object.keys(after.object(key).copies).sort()).toEqual(['a', 'b']);
  const generation = after.object('other').generation;
  fleet.clock.advance(31 * 24 * hourMs);
  for (const worker of ['scrubber', 'reconciler', 'scrubber'] as const) await after.tick(worker);
  expect(after.object('other').generation).toBe(generation);
});

test('what a recovery passed over stays also where the clock of whoever copied it was far ahead', async () => {
  const fleet = await filled({}, 2);
  const ahead = idsFrom({ ...fleet.clock, now: () => fleet.clock.now() + 9 * hourMs }, seeded(5));
  const older = forge({ ...fleet, ids: ahead }, 'c', 'k1', '01BX5ZZKBKACTAV9WEVGEMMVRZ', 'an older content');
  fleet.clock.advance(hourMs);
  const after = await takenOver(fleet);
  await after.recover();
  for (let day = 0; day < 2; day += 1) {
    fleet.clock.advance(25 * hourMs);
    for (const worker of ['reconciler', 'cleanup-queue'] as const) await after.tick(worker);
  }
  expect([...after.store.allQueueItems()]).toEqual([]);
  expect(fleet.keysOn('c')).toContain(older);
});

test('every object is counted once, whichever backend it was met on', async () => {
  const fleet = await filled({}, 60);
  const after = await takenOver(fleet);
  const report = await after.recover();
  expect(report.reasons).toEqual({ recovered: 60 });
});

// Of one object: it is read once, and that shows whether it is encrypted, too.
test.each([
  [100, 150],
  [40_000, 41_000],
])(
  'a recovery that a month’s limit holds back says which, recovers what it may read, and ends when the limit is raised: objects of %i bytes',
  async (sizeBytes, egressBytes) => {
    const backends = [{ name: 'a', limits: { egressBytes } }];
    const fleet = await createTestFleet({
      backends,
      policies: { default: { factor: 1 } },
      env: { RECONCILER_CONCURRENCY: '1' },
    });
    for (const key of ['k', 'l', 'm']) await fleet.client.put(key, 'x'.repeat(sizeBytes));
    const now = await takenOver(fleet);
    expect((await now.recover()).figures.passComplete).not.toBe(1);
    const recovered = () => ['k', 'l', 'm'].filter((key) => now.store.snapshot().objects.has(key));
    expect(recovered()).toHaveLength(1);
    const [range] = await rangesOfPass(now.store, passName({ kind: 'recover', backends: ['a'] }));
    expect(range).toMatchObject({ problem: 'over-egress' });
    expect(await now.isPending()).toBe(true);
    const row = now.store.rowAt('fleet', 'config')!;
    const file = row.data.file as FleetFile;
    const raised = file.backends.map((backend) => ({
      ...backend,
      limits: { requests: 0, egressBytes: 0, ingressBytes: 0 },
    }));
    const data = { ...row.data, file: { ...file, backends: raised } };
    await now.store.write({ kind: 'row', put: { ...row, version: row.version + 1, data }, expect: row.version });
    expect((await now.recover()).figures.passComplete).toBe(1);
    expect(recovered()).toHaveLength(3);
    expect(await now.isPending()).toBe(false);
  },
);

test('no backend leaves the fleet file before a recovery has gone through it: it may hold what was put last', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'old');
  const saved = fleet.store.snapshot();
  fleet.before = ({ port, method }) => {
    if (port === 'a' && method === 'put') throw new BackendError('no-room', 'a', 'full');
  };
  await fleet.client.put('k', 'new');
  fleet.before = undefined;
  expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
  fleet.clock.advance(hourMs);
  const file = saved.rows.find(({ sk }) => sk === 'config')!.data.file as FleetFile;
  const withoutB = { ...file, backends: file.backends.filter(({ name }) => name !== 'b') };
  const deps = (store: MemoryStore) => {
    const findCapabilities = async ({ name }: { readonly name: string }) => fleet.backends[name]!.capabilities;
    return { ...fleet.deps, store, clock: fleet.operatorClock, findCapabilities };
  };
  const restored = createMemoryStore({ clock: fleet.clock, identity: 'new tables', from: saved });
  await expect(apply(deps(restored), withoutB, { takeOver: true })).rejects.toThrow(/"b" leaves the file, and what it/);
  const now = await takenOver(fleet, saved);
  await expect(apply(deps(now.store), withoutB)).rejects.toThrow(/`holdfast recover` first/);
  await now.recover();
  await now.recover(['a', 'b'], { acceptNewer: ['k'] });
  expect(await now.read('k')).toBe('new');
  await expect(apply(deps(now.store), withoutB)).rejects.toThrow(/still holds 1 objects/);
});
