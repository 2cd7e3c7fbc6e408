import { expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { planDrain } from '../../lib/operations/drain-plan.ts';
import { readFleet, standingOf } from '../../lib/store/fleet-view.ts';
import { createMemoryFleet } from '../../lib/testing.ts';
import { createTestFleet } from '../support/fleet.ts';

const files = 500;
const nameOf = (i: number) => `folder ${i % 7}/file ${i}`;
const contentOf = (i: number) => `content of file ${i}`;

test('500 imported files stay where they are when their backend is drained, and every object is complete elsewhere', async () => {
  const fleet = await createMemoryFleet({ backends: ['a', 'b', 'c'] });
  for (let i = 0; i < files; i += 1) fleet.backends.a!.putNow(nameOf(i), Buffer.from(contentOf(i)), {});
  expect(await fleet.workers.reconcile('a', { import: true })).toMatchObject({ isComplete: true, imported: files });
  await fleet.settle(5);
  expect(await fleet.workers.drain('a')).toMatchObject({ outcome: 'draining' });
  await fleet.settle(60);
  await fleet.workers.drainStatus('a');
  fleet.advance(60_000);
  expect(await fleet.workers.drainStatus('a')).toMatchObject({ outcome: 'drained' });

  const plain = [...fleet.backends.a!.contents().keys()].filter((key) => !key.startsWith('.holdfast/'));
  expect(plain.sort()).toEqual(Array.from({ length: files }, (_, i) => nameOf(i)).sort());
  for (let i = 0; i < files; i += 1) {
    expect(Buffer.from(fleet.backends.a!.peek(nameOf(i))!.bytes).toString()).toBe(contentOf(i));
    expect((await collect((await fleet.holdfast.get(nameOf(i)))!.body)).toString()).toBe(contentOf(i));
  }
  const records = [...fleet.store.allObjects()].filter((entry) => entry.kind === 'object');
  expect(records.map(({ copies }) => Object.keys(copies).sort().join('+'))).toEqual(Array(files).fill('b+c'));
  await fleet.close();
});

test('what a drain would lead to is said before it begins: copies to make, files that stay, dollars', async () => {
  const backends = ['a', 'b', 'c'].map((name) => ({ name, egressUsdPerGb: name === 'a' ? 0.09 : 0.01 }));
  const fleet = await createMemoryFleet({ backends });
  const planOf = async (name: string) => {
    const view = await readFleet(fleet.store, fleet.now());
    const now = fleet.now();
    return planDrain({ ...view, config: view.config! }, name, (one) => standingOf(view, one, now, 600_000));
  };
  fleet.backends.a!.putNow('imported', Buffer.alloc(1_000_000), {});
  await fleet.workers.reconcile('a', { import: true });
  // Before it has another copy, its own backend is the only one to read it from.
  const alone = await planOf('a');
  expect(alone).toMatchObject({ copies: { objects: 2, bytes: 2_000_000 }, imported: { objects: 1, bytes: 1_000_000 } });
  expect(alone.egressUsd).toBeCloseTo(0.09 * 0.002, 9);
  await fleet.workers.replicate();
  const plan = await planOf('a');
  expect(plan).toMatchObject({ holds: { objects: 1 }, copies: { objects: 1, bytes: 1_000_000 } });
  expect(plan.egressUsd).toBeCloseTo(0.01 * 0.001, 9);
  // One read, one write and 4.15 write units, at list prices; the fleet file may name others.
  expect(plan).toMatchObject({ requests: 2, writeUnits: 4.15 });
  expect(plan.usd).toBeCloseTo(0.01 * 0.001 + 0.4e-6 + 5e-6 + 4.15 * 0.625e-6, 12);
  expect(await planOf('c')).toMatchObject({ holds: { objects: 0 }, copies: { objects: 0 }, egressUsd: 0 });
  await fleet.close();
});

test('a drain is priced by the copies that its policy wants apart, and by what each kind of request costs', async () => {
  const at = (name: string) => ({ name, labels: { provider: name[0]! }, requestClasses: { get: 'A' as const } });
  const backends = [
    { ...at('a1'), usdPerMillionA: 1_000_000 },
    { ...at('a2'), requestClasses: { put: 'free' as const } },
    at('b1'),
    { ...at('b2'), requestClasses: { put: 'free' as const } },
  ];
  const fleet = await createTestFleet({ backends: backends.slice(0, 3), policies: { default: { factor: 3 } } });
  await fleet.client.put('k', 'x'.repeat(100), { copies: 3 });
  await fleet.apply({ backends, policies: { default: { factor: 2, spreadOver: 'provider' } } });
  const now = fleet.clock.now();
  const view = await readFleet(fleet.store, now);
  const plan = planDrain({ ...view, config: view.config! }, 'b1', (one) => standingOf(view, one, now, 600_000));
  // Two copies remain, at one provider: the other one has another backend.
  expect(plan).toMatchObject({ copies: { objects: 1, bytes: 100 }, requests: 2 });
  // A read that is billed as class A, and a write to a backend that may be any of the others.
  expect(plan.usd).toBeCloseTo(1 + 1 + 4.15 * 0.625e-6, 9);
});
