import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { SourceSilence } from '../../lib/fleet/errors.ts';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { StoreError } from '../../lib/store/port.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const single = { default: { factor: 1 } };

/** Lets a step happen once, right after the put at work has recorded what it wrote. */
function afterTheCommit(fleet: TestFleet, step: () => Promise<unknown>): void {
  fleet.after = async ({ port, method, args }) => {
    if (port !== 'store' || method !== 'transact' || !JSON.stringify(args[0]).includes('"kind":"object"')) return;
    fleet.after = undefined;
    await step();
    fleet.clock.advance(10_000);
  };
}

test('a put whose backend leaves the file right after its commit is put again elsewhere [puts-look-again]', async () => {
  const fleet = await createTestFleet({ policies: single });
  afterTheCommit(fleet, () => fleet.apply({ backends: ['b', 'c'], policies: single }));
  const { generation } = await fleet.client.put('k', 'v');
  expect(fleet.object('k')).toMatchObject({ generation, copies: { a: expect.any(String), b: expect.any(String) } });
  expect(await fleet.read('k')).toBe('v');
});

test('a process that goes on running obeys a new fleet file within 5 seconds [one-fleet-file]', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b'], policies: single });
  await fleet.client.put('before', 'v');
  await fleet.apply({ backends: ['b', 'a'], policies: single });
  fleet.clock.advance(5_000);
  await fleet.client.put('after', 'v');
  expect(fleet.copiesOf('before')).toEqual({ a: 'v' });
  expect(fleet.copiesOf('after')).toEqual({ b: 'v' });
});

test('a put that is put again elsewhere never overwrites what was written meanwhile, and its bytes are deleted', async () => {
  const fleet = await createTestFleet({ policies: single });
  afterTheCommit(fleet, async () => {
    await fleet.apply({ backends: ['b', 'c'], policies: single });
    let isNewer = false;
    fleet.before = async ({ port, method }) => {
      if (port !== 'b' || method !== 'put' || isNewer) return;
      isNewer = true;
      await fleet.newClient().put('k', 'newer');
    };
  });
  await fleet.client.put('k', 'v');
  expect(await fleet.read('k')).toBe('newer');
  fleet.before = undefined;
  await fleet.settle(['cleanup-queue', 'pending-reaper'], 90);
  expect(await fleet.read('k')).toBe('newer');
  expect(fleet.keysOn('b')).toHaveLength(1);
});

test('a put that is put again elsewhere keeps the copies that others made of it', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'] });
  afterTheCommit(fleet, async () => {
    await fleet.tick('replicator');
    await fleet.apply({ backends: ['b', 'c'] });
  });
  await fleet.client.put('k', 'v');
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
});

test('a copy that someone else made counts for a put only if it reads as what was put', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'] });
  afterTheCommit(fleet, async () => {
    await fleet.tick('replicator');
    fleet.backends.b!.putNow(`k!${fleet.object('k').copies.b}`, Buffer.from('x'));
    await fleet.apply({ backends: ['b', 'c'] });
  });
  await fleet.client.put('k', 'v');
  expect(fleet.copiesOf('k')).toMatchObject({ a: 'v', c: 'v' });
});

test('a put that only backends out of force took is not acknowledged', async () => {
  const fleet = await createTestFleet({ backends: ['a', { name: 'b', maxObjectBytes: 1 }], policies: single });
  afterTheCommit(fleet, () => fleet.apply({ backends: [{ name: 'b', maxObjectBytes: 1 }], policies: single }));
  await expect(fleet.client.put('k', 'large')).rejects.toMatchObject({ kind: 'undecided' });
});

test('a copy that the reaper records for a silent put joins what the put had recorded', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'] });
  afterTheCommit(fleet, async () => {
    await fleet.apply({ backends: ['b', 'c'] });
    fleet.before = ({ port, method, args }) => {
      const isJoin = method === 'transact' && JSON.stringify(args[0]).includes('"kind":"object"');
      if (port === 'store' && isJoin) throw new StoreError('denied', 'the process is gone');
    };
  });
  await expect(fleet.client.put('k', 'v')).rejects.toThrow('the process is gone');
  fleet.before = undefined;
  expect(fleet.queue()).toMatchObject([{ state: 'intent', backend: 'b' }]);
  fleet.clock.advance(10 * 60_000);
  await fleet.tick('replicator');
  await fleet.tick('pending-reaper');
  expect(fleet.queue().filter(({ state }) => state === 'intent')).toEqual([]);
  expect(Object.keys(fleet.object('k').copies)).toContain('a');
  expect(fleet.copiesOf('k')).toMatchObject({ b: 'v' });
});

test('a put that was told that no backend takes it does not happen later [acknowledged-writes]', async () => {
  const fleet = await createTestFleet({ backends: ['a'], policies: single });
  await fleet.client.put('k', 'old');
  let isDown = false;
  fleet.after = ({ port, method }) => {
    if (port !== 'a' || method !== 'put') return;
    isDown = true;
    throw new BackendError('timeout', 'a', 'no answer');
  };
  fleet.before = ({ port, method, args }) => {
    if (!isDown || port !== 'store' || method !== 'transact' || !JSON.stringify(args[0]).includes('put failed')) return;
    fleet.clock.advance(20_000);
    throw new StoreError('unanswered', 'lost');
  };
  const told = await fleet.client.put('k', 'new').catch((error: { kind?: string }) => error.kind);
  Object.assign(fleet, { before: undefined, after: undefined });
  expect(told).toBe('undecided');
});

test('a put of two copies resolves with both, verified and recorded [put-on-one-backend]', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v', { copies: 2 });
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', b: 'v' });
  await fleet.client.put('k', 'again', { copies: 3 });
  expect(fleet.copiesOf('k')).toEqual({ a: 'again', b: 'again', c: 'again' });
  await expect(fleet.client.put('k', 'v', { copies: 4 })).rejects.toMatchObject({ kind: 'no-backend' });
  await fleet.settle(undefined, 10);
  expect((await fleet.recount()).differences).toEqual([]);
});

test('nothing is recorded on a backend whose drain was closed while the put was under way', async () => {
  const fleet = await createTestFleet({ policies: single, env: { DRAIN_SETTLE_SECONDS: '0' } });
  afterTheCommit(fleet, async () => {
    await drain(fleet.deps, 'a');
    await fleet.settle(['replicator', 'over-replication-cleaner', 'cleanup-queue'], 10);
    await drainStatus(fleet.deps, 'a');
  });
  await fleet.client.put('k', 'v');
  expect(Object.keys(fleet.object('k').copies)).toEqual(['b']);
});

test('a common put asks nothing more than it did before its last look was added', async () => {
  const fleet = await createTestFleet({ policies: single });
  await fleet.client.put('warm', 'up');
  const calls: string[] = [];
  fleet.before = ({ port, method }) => void calls.push(`${port} ${method}`);
  await fleet.client.put('k', 'v');
  expect(calls).toEqual(['store objects', 'store transact', 'a put', 'store transact']);
});

test('content that falls silent until the backend hangs up is an error of its own: the other backends are not asked, and nothing is recorded', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'old');
  const asked: string[] = [];
  fleet.before = ({ port, method, args }) => {
    if (method !== 'put' || String((args[0] as { storageKey: string }).storageKey).startsWith('.holdfast/')) return;
    asked.push(port);
    const silence = new SourceSilence('the source of its bytes was silent for 21000 ms');
    throw new BackendError('body', port, `Cannot write on "${port}": ${silence.message}`, silence);
  };
  await expect(fleet.client.put('k', 'new')).rejects.toMatchObject({
    name: 'HoldfastError',
    kind: 'silent-body',
    message: expect.stringMatching(/^Cannot put "k": its content stopped coming: .*silent for 21000 ms/),
    cause: expect.any(SourceSilence),
  });
  expect(asked).toHaveLength(1);
  fleet.before = undefined;
  expect(fleet.copiesOf('k')).toMatchObject({ a: 'old' });
});
