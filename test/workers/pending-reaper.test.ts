import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

/** A put whose process dies just before its commit; the returned function lets it wake up again. */
async function deadPut(
  fleet: TestFleet,
  key: string,
  body: string,
  copies = 1,
): Promise<{ wake: () => Promise<unknown> }> {
  let wakeUp = () => {};
  let reached = () => {};
  const asleep = new Promise<void>((resolve) => {
    wakeUp = resolve;
  });
  const atCommit = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const outer = fleet.before;
  fleet.before = async ({ port, method, args }) => {
    const changes = args[0] as { kind: string }[];
    if (port !== 'store' || method !== 'transact' || !changes.some((c) => c.kind === 'object')) return;
    fleet.before = outer;
    reached();
    await asleep;
  };
  const call = fleet.newClient().put(key, body, { timeoutMs: 24 * 3_600_000, copies });
  await atCommit;
  return {
    wake: () => {
      wakeUp();
      return call;
    },
  };
}

const lateMs = 301_000;

test('pending reaper promotes a put whose process died after its bytes arrived [reaper-promotes]', async () => {
  const fleet = await createTestFleet();
  await deadPut(fleet, 'k', 'v');
  expect(await fleet.read('k')).toBeNull();
  expect((await fleet.tick('pending-reaper')).outcome).toBe('empty');
  fleet.clock.advance(lateMs);
  expect(await fleet.tick('pending-reaper')).toMatchObject({ succeeded: 1, reasons: { promoted: 1 } });
  expect(await fleet.read('k')).toBe('v');
  expect(fleet.queue()).toEqual([]);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('pending reaper promotes over an object of which a worker made a copy meanwhile', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'one');
  await deadPut(fleet, 'k', 'two');
  await fleet.tick('replicator');
  expect(fleet.copiesOf('k')).toEqual({ a: 'one', b: 'one' });
  fleet.clock.advance(lateMs);
  expect(await fleet.tick('pending-reaper')).toMatchObject({ reasons: { promoted: 1 } });
  expect(await fleet.read('k')).toBe('two');
  await fleet.settle();
  expect(fleet.copiesOf('k')).toEqual({ a: 'two', b: 'two' });
  expect(fleet.keysOn('a')).toHaveLength(1);
});

test('one tick settles all copies of a put that died, though each changes the same record', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'] });
  await fleet.client.put('k', 'one');
  await deadPut(fleet, 'k', 'two', 3);
  fleet.clock.advance(lateMs);
  let reads = 0;
  fleet.before = async ({ method, args }) => {
    if (method === 'get' && String(args[0]).startsWith('k!')) reads += 1;
  };
  expect(await fleet.tick('pending-reaper')).toMatchObject({ succeeded: 3, reasons: { promoted: 3 } });
  expect(fleet.copiesOf('k')).toEqual({ a: 'two', b: 'two', c: 'two' });
  expect(fleet.queue().map(({ state, cause }) => ({ state, cause }))).toEqual([
    { state: 'cleanup', cause: 'replaced' },
  ]);
  // Whoever loses to its sibling does not read its bytes again.
  expect(reads).toBe(3);
});

test.each(['overwritten', 'deleted'])(
  'a put that died is superseded in the tick in which its object is %s',
  async (what) => {
    const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
    await fleet.client.put('k', 'one');
    await deadPut(fleet, 'k', 'two');
    fleet.clock.advance(lateMs);
    // Between the reaper's reading of the record and its commit.
    fleet.before = async ({ port, method, args }) => {
      const changes = args[0] as { kind: string }[];
      if (port !== 'store' || method !== 'transact' || !changes.some(({ kind }) => kind === 'object')) return;
      fleet.before = async () => {};
      await (what === 'overwritten' ? fleet.client.put('k', 'three') : fleet.client.delete('k'));
    };
    expect(await fleet.tick('pending-reaper')).toMatchObject({ succeeded: 1, reasons: { superseded: 1 } });
    expect(await fleet.read('k')).toBe(what === 'overwritten' ? 'three' : null);
    await fleet.settle();
    expect(fleet.keysOn('a')).toHaveLength(what === 'overwritten' ? 1 : 0);
  },
);

test.each(['overwritten', 'deleted', 'deleted before it ever existed'])(
  'a dead put of an object that was %s since is not resurrected: its bytes go',
  async (what) => {
    const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
    if (what !== 'deleted before it ever existed') await fleet.client.put('k', 'one');
    await deadPut(fleet, 'k', 'two');
    if (what === 'overwritten') await fleet.client.put('k', 'three');
    else await fleet.client.delete('k');
    fleet.clock.advance(lateMs);
    expect(await fleet.tick('pending-reaper')).toMatchObject({ reasons: { superseded: 1 } });
    await fleet.settle();
    expect(await fleet.read('k')).toBe(what === 'overwritten' ? 'three' : null);
    expect(fleet.keysOn('a')).toHaveLength(what === 'overwritten' ? 1 : 0);
    expect(fleet.queue()).toEqual([]);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test('a promoted put that wakes after a delete does not write again', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  const put = await deadPut(fleet, 'k', 'v');
  fleet.clock.advance(lateMs);
  await fleet.tick('pending-reaper');
  await fleet.client.delete('k');
  await put.wake();
  expect(await fleet.read('k')).toBeNull();
  await fleet.settle();
  expect(fleet.keysOn('a')).toEqual([]);
});

test('a put that is promoted under its writer succeeds once', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  const put = await deadPut(fleet, 'k', 'v');
  fleet.clock.advance(lateMs);
  await fleet.tick('pending-reaper');
  await put.wake();
  expect(await fleet.read('k')).toBe('v');
  expect(fleet.keysOn('a')).toHaveLength(1);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('a put slower than the minimum age succeeds: its writer says that it lives', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  let arrived = () => {};
  const uploading = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  let finish = () => {};
  const slow = new Promise<void>((resolve) => {
    finish = resolve;
  });
  fleet.before = async ({ port, method }) => {
    if (port !== 'a' || method !== 'put') return;
    arrived();
    await slow;
  };
  const call = fleet.client.put('k', 'v', { timeoutMs: 3_600_000 });
  await uploading;
  for (let minute = 0; minute < 20; minute += 1) {
    fleet.clock.advance(60_000);
    await new Promise(setImmediate);
    await fleet.tick('pending-reaper');
    expect(fleet.queue()).toMatchObject([{ state: 'intent' }]);
  }
  finish();
  await call;
  expect(await fleet.read('k')).toBe('v');
});

test('bytes that never arrived, or arrived short, become a deletion an hour later [queue-items-settle]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await deadPut(fleet, 'never', 'v');
  fleet.backends.a!.deleteNow(fleet.keysOn('a')[0]!);
  await deadPut(fleet, 'short', 'value');
  const short = fleet.keysOn('a')[0]!;
  fleet.backends.a!.putNow(short, Buffer.from('val'));
  fleet.clock.advance(lateMs);
  const now = fleet.clock.now();
  expect(await fleet.tick('pending-reaper')).toMatchObject({ reasons: { 'never-arrived': 1, 'wrong-size': 1 } });
  expect(fleet.queue().map((i) => [i.key, i.state, i.dueAt - now])).toEqual([
    ['never', 'cleanup', 3_600_000],
    ['short', 'cleanup', 3_600_000],
  ]);
  await fleet.settle(undefined, 70);
  expect(fleet.keysOn('a')).toEqual([]);
});

test('an intent older than five days is never promoted [reaper-supersedes]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await deadPut(fleet, 'k', 'v');
  fleet.clock.advance(5 * 24 * 3_600_000 + lateMs);
  expect(await fleet.tick('pending-reaper')).toMatchObject({ reasons: { 'too-old': 1 } });
  expect(fleet.queue()).toMatchObject([{ state: 'cleanup' }]);
});

test('an answer that tells nothing leaves the intent and does not starve the next one [reaper-unsure]', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await deadPut(fleet, 'k', 'v');
  fleet.clock.advance(lateMs);
  fleet.before = ({ port, method, args }) => {
    if (port === 'a' && method === 'head' && args[0] !== '.holdfast/owner')
      throw new BackendError('denied', 'a', '403');
  };
  expect(await fleet.tick('pending-reaper')).toMatchObject({ failed: 1, outcome: 'failed' });
  expect(fleet.queue()).toMatchObject([{ state: 'intent' }]);
  fleet.before = undefined;
  fleet.clock.advance(lateMs);
  await fleet.tick('pending-reaper');
  expect(await fleet.read('k')).toBe('v');
});

test('bytes of the right size that are not those that were put are never promoted', async () => {
  const fleet = await createTestFleet({ policies: { default: { factor: 1 } } });
  await fleet.client.put('k', 'good');
  const good = fleet.keysOn('a')[0]!;
  await deadPut(fleet, 'k', 'next');
  const stored = fleet.keysOn('a').find((key) => key !== good)!;
  fleet.backends.a!.putNow(stored, Buffer.from('NEXT'));
  fleet.clock.advance(lateMs);
  expect(await fleet.tick('pending-reaper')).toMatchObject({ reasons: { 'wrong-bytes': 1 } });
  expect(await fleet.read('k')).toBe('good');
  await fleet.settle(undefined, 70);
  expect(fleet.keysOn('a')).toEqual([good]);
  expect((await fleet.recount()).differences).toEqual([]);
});
