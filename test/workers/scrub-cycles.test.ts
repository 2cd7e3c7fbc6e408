import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';

const hourMs = 3_600_000;

/** Objects with a copy on each of two backends, as they are read from now on: by storage key, how often. */
async function filled(objects: number, env: Record<string, string> = {}) {
  const fleet = await createTestFleet({ backends: ['a', 'b'], env: { SCRUBBER_BATCH_SIZE: '1', ...env } });
  for (let i = 0; i < objects; i += 1) await fleet.client.put(`k${i}`, Buffer.alloc(1000, i));
  await fleet.settle(['replicator'], 3);
  await fleet.client.close();
  const reads = { a: new Map<string, number>(), b: new Map<string, number>() };
  fleet.before = ({ port, method, args }) => {
    if ((port !== 'a' && port !== 'b') || method !== 'get' || String(args[0]).startsWith('.')) return;
    reads[port].set(String(args[0]), (reads[port].get(String(args[0])) ?? 0) + 1);
  };
  return { fleet, reads };
}

/** A tick every three hours, over some days; the figures of the last of them. */
async function scrubFor(fleet: TestFleet, days: number): Promise<Readonly<Record<string, number>>> {
  let figures: Readonly<Record<string, number>> = {};
  for (let hour = 0; hour < 24 * days; hour += 3) {
    const report = await fleet.tick('scrubber');
    if (report.figures.oldestUnverifiedSeconds !== undefined) figures = report.figures;
    fleet.clock.advance(3 * hourMs);
  }
  return figures;
}

const daysOf = ({ oldestUnverifiedSeconds = 0 }: Readonly<Record<string, number>>) => oldestUnverifiedSeconds / 86_400;

test('where a month allows a third of the copies, the next month goes on with the others', {
  timeout: 120_000,
}, async () => {
  const { fleet, reads } = await filled(60);
  while (new Date(fleet.clock.now()).getUTCMonth() === 0) fleet.clock.advance(hourMs);
  const limits = { egressBytes: 20_500 };
  await fleet.apply({ backends: [{ name: 'a', limits }, 'b'], policies: { default: { factor: 2 } } });
  await scrubFor(fleet, 27);
  expect(reads.a.size).toBe(20);
  expect(reads.b.size).toBe(60);
  const figures = await scrubFor(fleet, 62);
  expect(reads.a.size).toBe(60);
  expect([...reads.a.values()].every((times) => times === 1)).toBe(true);
  // What was read of a last was read a moment ago, and what was read first three months ago.
  expect(daysOf(figures)).toBeGreaterThan(80);
  expect(daysOf(figures)).toBeLessThan(125);
});

test('the copies of a backend that is away are not reported as read, and are read when it is back [scrubber-cycle]', async () => {
  const { fleet, reads } = await filled(10);
  const outer = fleet.before;
  fleet.before = (call) => {
    if (call.port === 'a' && call.method !== 'name') throw new BackendError('unavailable', 'a', 'away');
    return outer?.(call);
  };
  const away = await scrubFor(fleet, 40);
  expect(reads.a.size).toBe(0);
  expect(reads.b.size).toBe(10);
  expect(daysOf(away)).toBeGreaterThan(39);
  fleet.before = outer;
  const back = await scrubFor(fleet, 31);
  expect(reads.a.size).toBe(10);
  expect(daysOf(back)).toBeLessThan(40);
});

test('copies that cannot be read stop nobody, and the oldest is known by them', async () => {
  const { fleet, reads } = await filled(40);
  const unreadable = new Set(fleet.keysOn('a').slice(0, 20));
  const outer = fleet.before;
  fleet.before = (call) => {
    if (call.port === 'a' && call.method === 'get' && unreadable.has(String(call.args[0])))
      throw new BackendError('rejected', 'a', 'not this one');
    return outer?.(call);
  };
  const figures = await scrubFor(fleet, 90);
  expect([...reads.a.keys()].sort()).toEqual(fleet.keysOn('a').filter((key) => !unreadable.has(key)));
  expect(reads.b.size).toBe(40);
  expect(daysOf(figures)).toBeGreaterThan(85);
  // They can be read again: within a cycle nothing is old any more.
  unreadable.clear();
  expect(daysOf(await scrubFor(fleet, 65))).toBeLessThan(62);
  expect(reads.a.size).toBe(40);
});

test('a cursor that cannot be read begins the cycles anew', async () => {
  const { fleet, reads } = await filled(5);
  await fleet.tick('scrubber');
  const [lease] = await fleet.store.leases('scrubber');
  await fleet.store.updateLease(lease!, { cursor: '{"cycles": 5' });
  await scrubFor(fleet, 2);
  expect(reads.a.size).toBe(5);
});
