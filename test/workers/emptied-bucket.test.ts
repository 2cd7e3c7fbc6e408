import { expect, test } from 'vitest';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const minuteMs = 60_000;

/** A bucket is emptied, or made anew under the same name: nothing in it, the owner object gone too. */
async function empty(fleet: TestFleet, name: string): Promise<void> {
  const backend = fleet.backends[name]!;
  await backend.delete([...backend.contents().keys()].map((storageKey) => ({ storageKey })));
}

test('an emptied bucket is unhealthy, nothing is written there, and its copies are made anew elsewhere', async () => {
  const fleet = await createTestFleet();
  for (let i = 0; i < 30; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
  await fleet.settle(undefined, 3);
  await empty(fleet, 'a');
  const messages: string[] = [];
  for (let minute = 0; minute < 60; minute += 5) {
    for (const name of [
      'replicator',
      'cleanup-queue',
      'pending-reaper',
      'scrubber',
      'over-replication-cleaner',
    ] as const)
      messages.push((await fleet.tick(name)).message ?? '');
    if (minute === 5) await fleet.newClient().put('while', 'it is empty');
    fleet.clock.advance(5 * minuteMs);
  }
  expect(fleet.keysOn('a')).toEqual([]);
  expect(messages.join()).toContain('"a" has no owner object');
  const breaker = fleet.store.rowAt('fleet', 'breaker/a')?.data;
  expect(breaker).toHaveProperty('unhealthySince');
  for (let i = 0; i < 30; i += 1) expect(fleet.copiesOf(`k${i}`), `k${i}`).toMatchObject({ b: `v${i}`, c: `v${i}` });
  expect(fleet.copiesOf('while')).toEqual({ b: 'it is empty', c: 'it is empty' });
});

test('an apply writes no owner object into a bucket that was emptied, and a take-over does', async () => {
  const fleet = await createTestFleet();
  await fleet.client.put('k', 'v');
  await empty(fleet, 'a');
  await expect(fleet.apply({})).rejects.toThrow('has no owner object, although objects are recorded there');
  expect(fleet.backends.a!.peek('.holdfast/owner')).toBeUndefined();
  await fleet.apply({}, { takeOver: true });
  expect(fleet.backends.a!.peek('.holdfast/owner')).toBeDefined();
});

test.each(['scrubber', 'reconciler'] as const)(
  'a bucket that is emptied while the %s is at work there is no evidence against its copies',
  async (worker) => {
    const fleet = await createTestFleet({ env: { REMOVAL_LIMIT_MIN_COUNT: '1000' } });
    for (let i = 0; i < 4; i += 1) await fleet.client.put(`k${i}`, `v${i}`);
    await fleet.settle(undefined, 3);
    fleet.clock.advance(40 * 24 * 60 * minuteMs);
    let isEmptied = false;
    fleet.after = async ({ port, method, args }) => {
      // Its owner object has just been seen.
      if (isEmptied || port !== 'a' || method !== 'head' || args[0] !== '.holdfast/owner') return;
      isEmptied = true;
      await empty(fleet, 'a');
    };
    await fleet.tick(worker);
    fleet.after = undefined;
    expect(isEmptied).toBe(true);
    for (let i = 0; i < 4; i += 1) expect(fleet.object(`k${i}`).copies, `k${i}`).toHaveProperty('a');
  },
);

test('files that were imported and never read stay recorded when their bucket is emptied while a pass looks for them', async () => {
  const fleet = await createTestFleet({
    backends: ['a', 'b'],
    policies: { default: { factor: 1 } },
    env: { RECONCILER_IMPORT: 'true' },
  });
  for (const key of ['x', 'y']) fleet.backends.a!.putNow(key, Buffer.from(key));
  fleet.clock.advance(2 * 60 * minuteMs);
  await fleet.tick('reconciler');
  expect(fleet.object('x').copies).toEqual({ a: '' });
  fleet.clock.advance(25 * 60 * minuteMs);
  let isEmptied = false;
  fleet.after = async ({ port, method, args }) => {
    if (isEmptied || port !== 'a' || method !== 'head' || args[0] !== '.holdfast/owner') return;
    isEmptied = true;
    await empty(fleet, 'a');
  };
  await fleet.tick('reconciler');
  expect([isEmptied, fleet.object('x').copies, fleet.object('y').copies]).toEqual([true, { a: '' }, { a: '' }]);
});
