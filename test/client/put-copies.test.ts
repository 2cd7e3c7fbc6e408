import { expect, test, vi } from 'vitest';
import { type Body, collect } from '../../lib/base/bytes.ts';
import { TooFewCopiesError } from '../../lib/client/error.ts';
import { BackendError } from '../../lib/fleet/backend.ts';
import { crashEverywhere } from '../support/crash.ts';
import { createTestFleet, type Hook, type TestFleet } from '../support/fleet.ts';

const two = { default: { factor: 2, putCopies: 2 } };

/** What one of three backends does when it is sent bytes, or asked anything. */
const troubles: Record<string, (fleet: TestFleet, name: string) => Hook> = {
  'is unreachable':
    (_fleet, name) =>
    ({ port }) => {
      if (port === name) throw new BackendError('unreachable', name, 'no connection');
    },
  'refuses what it is sent':
    (_fleet, name) =>
    ({ port, method }) => {
      if (port === name && method === 'put') throw new BackendError('denied', name, 'not here');
    },
  'dies in the midst of the body':
    (_fleet, name) =>
    async ({ port, method, args }) => {
      if (port !== name || method !== 'put') return;
      await (args[0] as { body: Body }).body[Symbol.asyncIterator]().next();
      throw new BackendError('timeout', name, 'no answer');
    },
  'takes the bytes and says that it failed':
    (fleet, name) =>
    async ({ port, method, args }) => {
      if (port !== name || method !== 'put') return;
      const { storageKey, body } = args[0] as { storageKey: string; body: Body };
      fleet.backends[name]!.putNow(storageKey, await collect(body));
      throw new BackendError('timeout', name, 'no answer');
    },
};

/** Every byte on every backend is recorded, or has a queue item. */
function expectAllNamed(fleet: TestFleet): void {
  const named = new Set(fleet.queue().map(({ id }) => id));
  for (const entry of fleet.store.allObjects())
    if (entry.kind === 'object')
      for (const [name, copyId] of Object.entries(entry.copies)) named.add(`${name}/${entry.key}!${copyId}`);
  for (const name of Object.keys(fleet.backends))
    for (const key of fleet.keysOn(name)) expect(named).toContain(`${name}/${key}`);
}

test.each(Object.keys(troubles).flatMap((trouble) => ['a', 'b', 'c'].map((name) => [trouble, name] as const)))(
  'a put of two copies stands on two of three backends when one %s (%s) [put-copies]',
  async (trouble, name) => {
    const fleet = await createTestFleet({ policies: two });
    fleet.before = troubles[trouble]!(fleet, name);
    const { generation } = await fleet.client.put('k', 'content');
    fleet.before = undefined;
    expect(fleet.object('k').generation).toBe(generation);
    expect(Object.keys(fleet.copiesOf('k'))).not.toContain(name);
    expect(Object.values(fleet.copiesOf('k'))).toEqual(['content', 'content']);
    expectAllNamed(fleet);
    await fleet.settle(undefined, 90);
    expect(fleet.queue()).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test.each(Object.keys(troubles))(
  'a put of three copies says which two stand when the third backend %s, and the replicator makes the third [put-copies]',
  async (trouble) => {
    const fleet = await createTestFleet({ policies: { default: { factor: 3, putCopies: 3 } } });
    fleet.before = troubles[trouble]!(fleet, 'b');
    const told = await fleet.client.put('k', 'content').catch((error: unknown) => error);
    fleet.before = undefined;
    expect(told).toBeInstanceOf(TooFewCopiesError);
    const { recorded, generation, kind, message } = told as TooFewCopiesError;
    expect({ recorded: [...recorded].sort(), kind }).toEqual({ recorded: ['a', 'c'], kind: 'too-few-copies' });
    expect(message).toMatch(/^"k" was put on 2 of 3 backends \("[ac]", "[ac]"\), and no further one takes it: /);
    expect(fleet.object('k').generation).toBe(generation);
    expect(fleet.copiesOf('k')).toEqual({ a: 'content', c: 'content' });
    expectAllNamed(fleet);
    await fleet.settle(undefined, 90);
    expect(fleet.copiesOf('k')).toEqual({ a: 'content', b: 'content', c: 'content' });
  },
);

test('a slow backend is waited for, and holds up neither the others nor the life of their intents', async () => {
  const fleet = await createTestFleet({ policies: two });
  const ends: string[] = [];
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'put') return;
    // Longer than an intent may be silent; the heart beats meanwhile.
    for (let minute = 0; minute < 20; minute += 1) {
      await fleet.clock.advance(60_000);
      await new Promise((resolve) => setImmediate(resolve));
      const { reasons } = await fleet.tick('pending-reaper');
      expect(reasons).toEqual({});
    }
  };
  fleet.after = ({ port, method }) => void (method === 'put' && ends.push(port));
  await fleet.client.put('k', 'content', { timeoutMs: 3_600_000 });
  Object.assign(fleet, { before: undefined, after: undefined });
  expect(ends.filter((port) => ['a', 'b', 'c'].includes(port))).toEqual(['b', 'a']);
  expect(fleet.copiesOf('k')).toEqual({ a: 'content', b: 'content' });
});

test('copies go side by side, from one reading, to places that their policy keeps apart [copies-kept-apart]', async () => {
  const at = (name: string, provider: string) => ({ name, labels: { provider } });
  const fleet = await createTestFleet({
    backends: [at('a', 'p'), at('b', 'p'), at('c', 'q')],
    policies: { default: { factor: 2, spreadOver: 'provider', putCopies: 2 } },
  });
  let opened = 0;
  const under = new Set<string>();
  let most = 0;
  const isPut = (call: { port: string; method: string }) => call.method === 'put' && call.port !== 'store';
  fleet.before = (call) => {
    if (isPut(call)) under.add(call.port);
    most = Math.max(most, under.size);
  };
  fleet.after = (call) => void (isPut(call) && under.delete(call.port));
  const open = async function* () {
    opened += 1;
    yield Buffer.from('con');
    yield Buffer.from('tent');
  };
  await fleet.client.put('k', { sizeBytes: 7, open });
  Object.assign(fleet, { before: undefined, after: undefined });
  expect(fleet.copiesOf('k')).toEqual({ a: 'content', c: 'content' });
  // Once for the hash, once for both backends.
  expect({ opened, most }).toEqual({ opened: 2, most: 2 });
});

test('a call asks for other copies than its policy, and for no more than the policy allows', async () => {
  const policies = { default: { factor: 2, putCopies: 2, excludeBackends: ['c'] } };
  const fleet = await createTestFleet({ policies });
  await fleet.client.put('k', 'v', { copies: 1 });
  expect(Object.keys(fleet.object('k').copies)).toHaveLength(1);
  const told = fleet.client.put('k', 'v', { copies: 3 });
  await expect(told).rejects.toThrow('Cannot put "k" on 3 backends: its policy "default" allows 1 to 2');
});

test('content that cannot be read again is an error of the caller, with nothing left that could be recorded', async () => {
  const fleet = await createTestFleet({ policies: two });
  let opened = 0;
  const open = async function* () {
    opened += 1;
    yield Buffer.from('con');
    if (opened === 2) throw new Error('The file went away');
    yield Buffer.from('tent');
  };
  await expect(fleet.client.put('k', { sizeBytes: 7, open })).rejects.toThrow('The file went away');
  await fleet.settle(undefined, 90);
  expect(fleet.entry('k')).toBeUndefined();
  expect(['a', 'b', 'c'].flatMap(fleet.keysOn)).toEqual([]);
});

/** Lets the reaper come before the put can record what it wrote; where it cannot ask `b`, it leaves what is there. */
function reaperComesFirst(fleet: TestFleet, then: () => unknown = () => {}, asksAll = true): void {
  let isReaping = false;
  fleet.before = async ({ port, method, args }) => {
    if (isReaping && !asksAll && port === 'b') throw new BackendError('unavailable', 'b', 'no answer');
    if (isReaping || port !== 'store' || method !== 'transact') return;
    if (!JSON.stringify(args[0]).includes('"kind":"object"')) return;
    isReaping = true;
    fleet.clock.advance(400_000);
    await fleet.tick('pending-reaper');
    fleet.before = undefined;
    await then();
  };
}

test('what the reaper recorded for a put that slept counts, each copy of its own generation [put-copies]', async () => {
  for (const asksAll of [true, false]) {
    const fleet = await createTestFleet({ policies: two });
    await fleet.client.put('k', 'old');
    reaperComesFirst(fleet, undefined, asksAll);
    const { generation } = await fleet.client.put('k', 'new', { timeoutMs: 3_600_000 });
    expect(fleet.object('k').generation).toBe(generation);
    expect(fleet.copiesOf('k')).toEqual({ a: 'new', b: 'new' });
  }
});

test('a copy that others made meanwhile stands in for that of a put that slept [put-copies]', async () => {
  const fleet = await createTestFleet({ policies: two });
  const other = vi.fn();
  reaperComesFirst(fleet, () => fleet.tick('replicator').then(() => other(fleet.object('k').copies.b)), false);
  const { generation } = await fleet.client.put('k', 'new', { timeoutMs: 3_600_000 });
  expect(fleet.object('k').generation).toBe(generation);
  expect(fleet.object('k').copies.b).toBe(other.mock.lastCall![0]);
  expect(fleet.copiesOf('k')).toEqual({ a: 'new', b: 'new' });
  await fleet.settle(undefined, 90);
  expect(fleet.queue()).toEqual([]);
  expectAllNamed(fleet);
});

test('a put of which the reaper recorded a copy, and which was overwritten since, does not come back [put-copies]', async () => {
  for (const asksAll of [true, false]) {
    const fleet = await createTestFleet({ policies: two });
    await fleet.client.put('k', 'old');
    reaperComesFirst(fleet, () => fleet.newClient().put('k', 'newer'), asksAll);
    await fleet.client.put('k', 'new', { timeoutMs: 3_600_000 });
    expect(await fleet.read('k')).toBe('newer');
    await fleet.settle(undefined, 90);
    expect(await fleet.read('k')).toBe('newer');
    expect((await fleet.recount()).differences).toEqual([]);
  }
});

test('a put of two copies that is cut off anywhere leaves the old content or the new, and nothing unnamed', async () => {
  const contents: Record<string, string | null> = { k: 'new' };
  const calls = await crashEverywhere({
    options: { policies: two },
    arrange: (fleet) => fleet.client.put('k', 'old'),
    act: (fleet) => fleet.newClient().put('k', 'new'),
    settle: async (fleet) => {
      expectAllNamed(fleet);
      await fleet.settle(['pending-reaper'], 90);
      contents.k = await fleet.read('k');
      expect(['old', 'new']).toContain(contents.k);
    },
    contents,
    quickStep: 1,
  });
  expect(calls).toBeGreaterThan(8);
});
