import { expect, test } from 'vitest';
import { HoldfastError } from '../../lib/client/error.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { ownerKey } from '../../lib/fleet/owner.ts';
import { StoreError } from '../../lib/store/port.ts';
import { beginRecovery } from '../../lib/store/recovery.ts';
import { converge, crashEverywhere } from '../support/crash.ts';
import { isWhole } from '../support/extent.ts';
import { createTestFleet, type Hook, type TestFleet, type TestFleetOptions } from '../support/fleet.ts';

const day = { default: { factor: 2, deleteGraceHours: 24 } };
const short = { default: { factor: 2 } };
const hourMs = 3_600_000;

async function withDeleted(options: TestFleetOptions = { policies: day }): Promise<TestFleet> {
  const fleet = await createTestFleet(options);
  await fleet.client.put('k', 'content', {
    headers: { contentType: 'text/plain' },
    metadata: { note: 'mine' },
    copies: 2,
  });
  await fleet.client.delete('k');
  return fleet;
}

async function expectWhole(fleet: TestFleet, content: string | null = 'content'): Promise<void> {
  expect(await fleet.read('k')).toBe(content);
  await converge(fleet);
  expect(await fleet.read('k')).toBe(content);
  expect((await fleet.recount()).differences).toEqual([]);
  if (content === null) return;
  expect(Object.values(fleet.copiesOf('k'))).toEqual([content, content]);
}

test('what was deleted is back where its bytes wait, in one commit, with all that was stored beside them [undelete-in-place]', async () => {
  const fleet = await withDeleted();
  const [before] = fleet.queue();
  fleet.clock.advance(23 * hourMs);
  const waiting = await fleet.client.undeletable('k');
  expect(waiting).toMatchObject([{ generation: before!.generation, sizeBytes: 7 }]);
  const { generation, undeleted } = await fleet.client.undelete('k');
  expect(undeleted).toBe(before!.generation);
  expect(fleet.object('k')).toMatchObject({ generation, writtenAs: undeleted });
  expect(fleet.copiesOf('k')).toEqual({ a: 'content', b: 'content' });
  expect(fleet.queue()).toEqual([]);
  const { headers, metadata } = (await fleet.client.get('k'))!;
  expect({ headers, metadata }).toEqual({ headers: { contentType: 'text/plain' }, metadata: { note: 'mine' } });
  await expectWhole(fleet);
});

test('what waits of one object is found in its queue without fetching what waits of others', async () => {
  const fleet = await withDeleted();
  await fleet.client.put('other', 'content');
  await fleet.client.delete('other');
  const calls: string[] = [];
  fleet.before = ({ port, method }) => void (port === 'store' && calls.push(method));
  expect(await fleet.client.undeletable('k')).toHaveLength(1);
  expect(calls).toContain('queuedOf');
  expect(calls).not.toContain('due');
});

test('bytes wait as long as their policy says, charged, and are deleted then', async () => {
  const fleet = await withDeleted();
  const charged = async () => (await fleet.client.undeletable('k')).length;
  fleet.clock.advance(24 * hourMs - 60_000);
  await fleet.tick('cleanup-queue');
  expect(fleet.keysOn('a')).toHaveLength(1);
  expect(fleet.queue().map(({ sizeBytes }) => sizeBytes)).toEqual([7, 7]);
  expect(await charged()).toBe(1);
  fleet.clock.advance(60_000);
  await fleet.tick('cleanup-queue');
  expect([...fleet.keysOn('a'), ...fleet.keysOn('b')]).toEqual([]);
  await expect(fleet.client.undelete('k')).rejects.toMatchObject({ kind: 'not-waiting' });
});

test('what was overwritten comes back over what is there, which waits in its turn', async () => {
  const fleet = await createTestFleet({ policies: day });
  const first = await fleet.client.put('k', 'first', { copies: 2 });
  fleet.clock.advance(1000);
  const second = await fleet.client.put('k', 'second', { copies: 2 });
  fleet.clock.advance(1000);
  await fleet.client.put('k', 'third', { copies: 2 });
  fleet.clock.advance(1000);
  expect((await fleet.client.undelete('k')).undeleted).toBe(second.generation);
  fleet.clock.advance(1000);
  expect(await fleet.read('k')).toBe('second');
  expect((await fleet.client.undelete('k', { generation: first.generation })).undeleted).toBe(first.generation);
  expect(await fleet.read('k')).toBe('first');
  // Whatever came back and left again can come back again.
  expect((await fleet.client.undeletable('k')).map(({ sizeBytes }) => sizeBytes)).toEqual([6, 5]);
  await fleet.client.undelete('k');
  expect(await fleet.read('k')).toBe('second');
  expect((await fleet.recount()).differences).toEqual([]);
  const told = fleet.client.undelete('k', { generation: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
  await expect(told).rejects.toThrow(
    /no bytes of generation 01ARZ3NDEKTSV4RRFFQ69G5FAV wait for their deletion; there are /,
  );
});

test('bytes that were claimed once, were given up, and tried again, are copied to a fresh key [undelete-in-place]', async () => {
  const fleet = await withDeleted({ policies: short, env: { CLEANUP_QUEUE_MAX_ATTEMPTS: '1' } });
  fleet.clock.advance(hourMs);
  fleet.before = ({ port, method }) => {
    if (method === 'delete') throw new BackendError('denied', port, 'no right to delete');
  };
  await fleet.tick('cleanup-queue');
  fleet.before = undefined;
  expect(fleet.queue().map(({ state }) => state)).toEqual(['dead', 'dead']);
  const claimed = fleet.queue().map(({ storageKey }) => storageKey);
  const { undeleted } = await fleet.client.undelete('k');
  const { copies } = fleet.object('k');
  expect(Object.values(copies)).toHaveLength(1);
  for (const copyId of Object.values(copies)) expect(claimed).not.toContain(`k!${copyId}`);
  // What is still waiting is not offered again: it is what the object has now.
  expect(await fleet.client.undeletable('k')).toEqual([]);
  expect(fleet.queue().map(({ generation }) => generation)).toEqual([undeleted, undeleted]);
  const { headers, metadata } = (await fleet.client.get('k'))!;
  expect({ headers, metadata }).toEqual({ headers: { contentType: 'text/plain' }, metadata: { note: 'mine' } });
});

test('copies that do not verify stay where they are, and nothing comes back of which none does [undelete-verified]', async () => {
  const fleet = await withDeleted();
  const [onA, onB] = fleet.queue();
  fleet.backends.a!.putNow(onA!.storageKey, Buffer.from('rotten!'));
  await fleet.client.undelete('k');
  expect(fleet.copiesOf('k')).toEqual({ b: 'content' });
  expect(fleet.queue().map(({ id }) => id)).toEqual([onA!.id]);
  await fleet.client.delete('k');
  fleet.backends.b!.putNow(onB!.storageKey, Buffer.from('wrong'));
  await expect(fleet.client.undelete('k')).rejects.toMatchObject({ kind: 'unreadable' });
  expect(await fleet.read('k')).toBe(null);
});

test('an encrypted content that came back is read, copied, scrubbed, deleted and brought back like any other', async () => {
  const fleet = await createTestFleet({
    policies: { default: { factor: 2, encrypt: true, deleteGraceHours: 24 } },
    encryption: { rawKeyEnv: 'KEY' },
    env: { KEY: Buffer.alloc(32, 7).toString('base64') },
  });
  await fleet.client.put('k', 'secret');
  for (let time = 0; time < 2; time += 1) {
    await fleet.client.delete('k');
    await fleet.client.undelete('k');
    expect(await fleet.read('k')).toBe('secret');
  }
  await fleet.tick('replicator');
  const [first] = Object.keys(fleet.object('k').copies);
  expect(Object.keys(fleet.object('k').copies)).toHaveLength(2);
  fleet.before = ({ port, method }) => {
    if (port === first && method === 'get') throw new BackendError('unavailable', port, 'not now');
  };
  expect(await fleet.read('k')).toBe('secret');
});

test('an imported file that a person deleted comes back where it is', async () => {
  const fleet = await createTestFleet({
    policies: day,
    env: { RECONCILER_IMPORT: 'true', RECONCILER_MIN_AGE_SECONDS: '0' },
  });
  fleet.backends.a!.putNow('k', Buffer.from('content'));
  fleet.clock.advance(hourMs);
  await fleet.tick('reconciler');
  expect(fleet.object('k').copies).toEqual({ a: '' });
  await fleet.client.delete('k');
  await fleet.client.undelete('k');
  expect(fleet.object('k').copies).toEqual({ a: '' });
  await fleet.settle(undefined, 10);
  expect(fleet.copiesOf('k')).toMatchObject({ a: 'content' });
  expect(fleet.backends.a!.peek('k')).toBeDefined();
});

/** What an undelete was told, beside something else that happens at one moment of it. */
async function undeleteWith(fleet: TestFleet, client = fleet.client): Promise<'back' | 'stands'> {
  try {
    await client.undelete('k');
    return 'back';
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    expect(['not-waiting', 'unreadable', 'precondition']).toContain(error.kind);
    return 'stands';
  }
}

/** Has something happen before, or after, the n-th call that the work makes; says whether there was one. */
function atCall(fleet: TestFleet, phase: 'before' | 'after', n: number, what: () => Promise<unknown>) {
  let calls = 0;
  let isOther = false;
  const hook: Hook = async () => {
    if (isOther) return;
    calls += 1;
    if (calls !== n) return;
    isOther = true;
    await what();
  };
  Object.assign(fleet, { [phase]: hook });
  return () => calls >= n;
}

const everyWay = isWhole ? 1 : 2;

test('beside a clean-up at any moment of it, an object is back, whole, or its deletion stands [undelete-in-place]', async () => {
  const told = new Set<string>();
  for (const phase of ['before', 'after'] as const) {
    for (let call = 1; ; call += 1) {
      const fleet = await withDeleted({ policies: short });
      fleet.clock.advance(hourMs);
      const client = fleet.newClient();
      const happened = atCall(fleet, phase, call, () => fleet.tick('cleanup-queue'));
      const outcome = await undeleteWith(fleet, client);
      Object.assign(fleet, { before: undefined, after: undefined });
      if (!happened()) break;
      told.add(outcome);
      await expectWhole(fleet, outcome === 'back' ? 'content' : null);
    }
  }
  expect(told).toEqual(new Set(['back', 'stands']));
});

test('at any moment of a clean-up, an object is back, whole, or its deletion stands [undelete-in-place]', async () => {
  const told = new Set<string>();
  for (const phase of ['before', 'after'] as const) {
    for (let call = 1; ; call += everyWay) {
      const fleet = await withDeleted({ policies: short });
      fleet.clock.advance(hourMs);
      let outcome: string | undefined;
      const happened = atCall(fleet, phase, call, async () => {
        outcome = await undeleteWith(fleet, fleet.newClient());
      });
      await fleet.tick('cleanup-queue');
      Object.assign(fleet, { before: undefined, after: undefined });
      if (!happened()) break;
      told.add(outcome!);
      await expectWhole(fleet, outcome === 'back' ? 'content' : null);
    }
  }
  expect(told).toEqual(new Set(['back', 'stands']));
});

test.each(['put', 'delete'] as const)('a %s at any moment of an undelete is not undone by it', async (what) => {
  for (const phase of ['before', 'after'] as const) {
    for (let call = 1; ; call += 1) {
      const fleet = await withDeleted();
      const other = fleet.newClient();
      const client = fleet.newClient();
      const happened = atCall(fleet, phase, call, () => (what === 'put' ? other.put('k', 'newer') : other.delete('k')));
      const outcome = await undeleteWith(fleet, client);
      Object.assign(fleet, { before: undefined, after: undefined });
      if (!happened()) break;
      const now = await fleet.read('k');
      if (outcome === 'stands') expect(now).toBe(what === 'put' ? 'newer' : null);
      // It looked after the other one had ended, or before it began.
      else expect([what === 'put' ? 'newer' : null, 'content']).toContain(now);
      expect((await fleet.recount()).differences).toEqual([]);
    }
  }
});

test('a put that fell silent before a delete is not promoted over what came back', async () => {
  const fleet = await createTestFleet({ policies: day });
  await fleet.client.put('k', 'content');
  let isDead = false;
  fleet.after = ({ port, method }) => {
    if (port === 'a' && method === 'put') isDead = true;
  };
  fleet.before = () => (isDead ? new Promise(() => {}) : undefined);
  void fleet.newClient().put('k', 'silent');
  while (!isDead) await new Promise((resolve) => setImmediate(resolve));
  Object.assign(fleet, { before: undefined, after: undefined });
  await fleet.client.delete('k');
  await fleet.client.undelete('k');
  await expectWhole(fleet);
});

test.each([day, short])(
  'an undelete that is cut off anywhere brings the object back, whole, or leaves it deleted',
  async (policies) => {
    const contents: Record<string, string | null> = { k: null };
    const calls = await crashEverywhere({
      options: { policies },
      arrange: async (fleet) => {
        await fleet.client.put('k', 'content', { copies: 2 });
        await fleet.client.delete('k');
        if (policies === day) return;
        // Claimed by a cleaner that stops there.
        fleet.clock.advance(hourMs);
        fleet.before = ({ method }) => {
          if (method === 'delete') throw new BackendError('throttled', 'a', 'not now');
        };
        await fleet.tick('cleanup-queue');
        fleet.before = undefined;
      },
      act: (fleet) => undeleteWith(fleet, fleet.newClient()),
      settle: async (fleet) => {
        contents.k = await fleet.read('k');
        expect([null, 'content']).toContain(contents.k);
        // What a crash left of the copy to a fresh key the reaper records, or ends.
        await fleet.settle(['pending-reaper'], 10);
        contents.k = await fleet.read('k');
        fleet.clock.advance(25 * hourMs);
      },
      contents,
      quickStep: 2,
    });
    expect(calls).toBeGreaterThan(10);
  },
);

test('bytes whose backend leaves the file while they are brought back cannot be copied from there: that is said', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b', 'c'],
    policies: { default: { factor: 1, deleteGraceHours: 24 } },
  });
  await fleet.client.put('k', 'content');
  await fleet.client.delete('k');
  // Somebody claimed them once: they are not recorded where they are.
  const [item] = fleet.queue();
  const put = { ...item!, claimedBy: 'a tick', claimedAt: fleet.clock.now() };
  fleet.store.apply([{ kind: 'queue', put, expect: { state: 'cleanup' } }]);
  fleet.after = async ({ port, method }) => {
    if (port !== 'a' || method !== 'get') return;
    fleet.after = undefined;
    await fleet.apply({ backends: ['b', 'c'], policies: { default: { factor: 1, deleteGraceHours: 24 } } });
    fleet.clock.advance(10_000);
  };
  await expect(fleet.client.undelete('k')).rejects.toMatchObject({ name: 'HoldfastError', kind: 'unreadable' });
});

test('an object whose backend leaves once it is back is copied with all that was stored beside it', async () => {
  const policies = { default: { factor: 1, deleteGraceHours: 24 } };
  const fleet = await createTestFleet({ policies });
  await fleet.client.put('k', 'content', { headers: { contentType: 'text/plain' }, metadata: { note: 'mine' } });
  await fleet.client.delete('k');
  const [left] = fleet.queue();
  let end = () => {};
  let leaving: Promise<void> | undefined;
  fleet.after = async ({ port, method, args }) => {
    if (port !== 'store' || method !== 'transact' || !JSON.stringify(args[0]).includes('"kind":"object"')) return;
    fleet.after = undefined;
    // It is still read from: it leaves the file in a moment.
    await new Promise<void>((isLeaving) => {
      fleet.whileWaiting = () =>
        new Promise<void>((resolve) => {
          end = resolve;
          isLeaving();
        });
      leaving = fleet.apply({ backends: ['b', 'c'], policies });
    });
    fleet.clock.advance(6_000);
  };
  await fleet.client.undelete('k');
  end();
  await leaving;
  expect(left!.backend).toBe('a');
  const { headers, metadata } = (await fleet.client.get('k'))!;
  expect({ headers, metadata }).toEqual({ headers: { contentType: 'text/plain' }, metadata: { note: 'mine' } });
});

test('nothing comes back of a bucket that other tables own, nor in place of what restored tables name', async () => {
  const fleet = await withDeleted();
  const owner = fleet.backends.a!.peek(ownerKey)!;
  const metadata = { ...owner.metadata, 'holdfast-owner': 'another a' };
  for (const name of ['a', 'b']) fleet.backends[name]!.putNow(ownerKey, owner.bytes, { metadata });
  await expect(fleet.newClient().undelete('k')).rejects.toThrow(/belongs to another fleet/);
  const restored = await withDeleted();
  const before = restored.queue().map(({ storageKey }) => storageKey);
  await beginRecovery(restored.store, restored.clock.now());
  restored.clock.advance(10_000);
  await restored.client.undelete('k');
  expect(Object.values(restored.copiesOf('k'))).toEqual(['content']);
  for (const copyId of Object.values(restored.object('k').copies)) expect(before).not.toContain(`k!${copyId}`);
});

test('an undelete whose copy may yet be recorded does not say that it came to nothing', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: { default: { factor: 1, deleteGraceHours: 24 } } });
  await fleet.client.put('k', 'content');
  await fleet.client.delete('k');
  const put = { ...fleet.queue()[0]!, claimedBy: 'a tick', claimedAt: fleet.clock.now() };
  fleet.store.apply([{ kind: 'queue', put, expect: { state: 'cleanup' } }]);
  fleet.after = ({ port, method }) => {
    if (method === 'put') throw new BackendError('timeout', port, 'no answer');
  };
  fleet.before = ({ method, args }) => {
    if (method !== 'transact' || !JSON.stringify(args[0]).includes('put-failed')) return;
    fleet.clock.advance(400_000);
    throw new StoreError('unreachable', 'no answer');
  };
  const told = await fleet.client.undelete('k').catch((error: unknown) => error);
  Object.assign(fleet, { before: undefined, after: undefined });
  await fleet.settle(['pending-reaper'], 10);
  expect(await fleet.read('k')).toBe('content');
  expect(told).toMatchObject({ kind: 'undecided' });
});

test('a sweep does not take unnamed bytes of what came back for those of another content', async () => {
  const fleet = await createTestFleet({ policies: day });
  await fleet.client.put('k', 'content');
  await fleet.client.delete('k');
  await fleet.client.undelete('k');
  fleet.before = ({ method, args }) => {
    if (method !== 'transact' || !JSON.stringify(args[0]).includes('"kind":"object"')) return;
    fleet.clock.advance(400_000);
    throw new StoreError('unreachable', 'no answer');
  };
  await fleet.tick('replicator');
  fleet.before = undefined;
  const [unnamed] = fleet.keysOn('b');
  const { copies } = fleet.object('k');
  expect({ copies: Object.keys(copies), queue: fleet.queue() }).toEqual({ copies: ['a'], queue: [] });
  const good = fleet.backends.a!.peek(`k!${copies.a}`)!;
  fleet.backends.a!.putNow(`k!${copies.a}`, Buffer.from('rotten!'), good);
  fleet.clock.advance(2 * hourMs);
  const { reasons } = await fleet.tick('reconciler');
  expect(reasons).toMatchObject({ 'record-does-not-verify': 1 });
  expect(fleet.queue().map(({ storageKey }) => storageKey)).not.toContain(unnamed);
});

test('an imported file that its owner wrote back since is brought back as it is now', async () => {
  const fleet = await createTestFleet({
    policies: day,
    env: { RECONCILER_IMPORT: 'true', RECONCILER_MIN_AGE_SECONDS: '0' },
  });
  const generations: string[] = [];
  for (const content of ['first', 'second']) {
    fleet.clock.advance(25 * hourMs);
    fleet.backends.a!.putNow('k', Buffer.from(content));
    await fleet.tick('reconciler');
    generations.push(fleet.object('k').generation);
    await fleet.client.delete('k');
  }
  fleet.backends.a!.putNow('k', Buffer.from('first'));
  await fleet.client.undelete('k', { generation: generations[0]! });
  expect(fleet.object('k').copies).toEqual({ a: '' });
  expect(await fleet.read('k')).toBe('first');
});
