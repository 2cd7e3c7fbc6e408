import { expect, test } from 'vitest';
import { drain, drainStatus } from '../../lib/operations/drain.ts';
import { StoreError } from '../../lib/store/port.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const single = { default: { factor: 1 } };
const limited = [
  { name: 'a', quotaBytes: 1000 },
  { name: 'b', quotaBytes: 1000 },
];

/** A fleet whose rebalancer wants to move half of what is on a to b. */
async function uneven(): Promise<TestFleet> {
  const env = { REBALANCER_STRATEGY: 'spread' };
  const fleet = await createTestFleet({ backends: limited, policies: single, env });
  for (let i = 0; i < 8; i += 1) await fleet.client.put(`k${i}`, Buffer.alloc(100, 'x'));
  return fleet;
}

async function expectAllReadable(fleet: TestFleet): Promise<void> {
  for (let i = 0; i < 8; i += 1) expect(await fleet.read(`k${i}`), `k${i}`).toBe('x'.repeat(100));
}

/** Lets a step happen once, before the nth put of bytes to b. */
function beforePut(fleet: TestFleet, nth: number, step: () => Promise<unknown>): void {
  let puts = 0;
  fleet.before = async ({ port, method }) => {
    if (port !== 'b' || method !== 'put') return;
    puts += 1;
    if (puts === nth) await step();
  };
}

test.each([1, 2, 3, 4])(
  'no move is recorded onto a backend that left the file before copy %i of the batch',
  async (nth) => {
    const fleet = await uneven();
    beforePut(fleet, nth, () => fleet.apply({ backends: [limited[0]!], policies: single }));
    const { reasons } = await fleet.tick('rebalancer');
    fleet.before = undefined;
    expect(reasons).toMatchObject({ 'not-taking': 4 });
    await fleet.settle(['replicator', 'cleanup-queue'], 30);
    await expectAllReadable(fleet);
    expect((await fleet.recount()).differences).toEqual([]);
  },
);

test('no copy is recorded onto a backend that is about to leave, and its bytes are deleted when it comes back', async () => {
  const fleet = await createTestFleet({ backends: ['a', 'b', 'c'], policies: single });
  await fleet.client.put('k', 'v');
  await fleet.apply({ backends: ['a', 'b', 'c'] });
  beforePut(fleet, 1, () => fleet.apply({ backends: ['a', 'c'] }));
  await fleet.tick('replicator');
  fleet.before = undefined;
  expect(Object.keys(fleet.object('k').copies)).toEqual(['a']);
  await fleet.settle(undefined, 10);
  expect(fleet.copiesOf('k')).toEqual({ a: 'v', c: 'v' });
  await fleet.apply({ backends: ['a', 'b', 'c'] });
  await fleet.settle(undefined, 20);
  expect(fleet.keysOn('b')).toEqual([]);
});

test('a move whose answer is lost is not sent again once its destination may have left', async () => {
  const fleet = await uneven();
  let sends = 0;
  fleet.before = async ({ port, method, args }) => {
    if (port !== 'store' || method !== 'transact' || !JSON.stringify(args[0]).includes('"copies":{"b"')) return;
    sends += 1;
    if (sends > 1) return;
    fleet.clock.advance(6_000);
    throw new StoreError('unanswered', 'it never arrived');
  };
  const { reasons } = await fleet.tick('rebalancer');
  fleet.before = undefined;
  expect(sends).toBe(1);
  expect(reasons).toMatchObject({ undecided: 4 });
  await expectAllReadable(fleet);
});

test('a move waits while the fleet cannot be read again', async () => {
  const fleet = await uneven();
  let isCut = false;
  fleet.before = ({ port, method }) => {
    if (port === 'b' && method === 'put' && !isCut) {
      isCut = true;
      fleet.clock.advance(20_000);
    }
    if (isCut && port === 'store' && method === 'control') throw new StoreError('throttled', 'busy');
  };
  const { reasons } = await fleet.tick('rebalancer').catch(() => ({ reasons: {} }));
  fleet.before = undefined;
  expect(reasons).not.toHaveProperty('moved');
  await expectAllReadable(fleet);
});

test('the intent of a put that was cut short keeps a drain from being closed', async () => {
  const fleet = await createTestFleet({ policies: single, env: { DRAIN_SETTLE_SECONDS: '0' } });
  fleet.before = ({ port, method, args }) => {
    const isRecord = method === 'transact' && JSON.stringify(args[0]).includes('"kind":"object"');
    if (port === 'store' && isRecord) throw new StoreError('denied', 'the process is gone');
  };
  await expect(fleet.client.put('k', 'v')).rejects.toThrow('the process is gone');
  fleet.before = undefined;
  await drain(fleet.deps, 'a');
  expect(await drainStatus(fleet.deps, 'a')).toMatchObject({ outcome: 'draining', queue: { intent: { objects: 1 } } });
});
