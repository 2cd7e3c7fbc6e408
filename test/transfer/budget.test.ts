import fc from 'fast-check';
import { expect, test } from 'vitest';
import { noUsage } from '../../lib/base/usage.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { readBudget } from '../../lib/transfer/budget.ts';

/** A month of 100 bytes of egress on `a` and of ingress on `b`, nothing spent yet. */
function openBudget() {
  const place = (name: string) => ({
    name,
    endpoint: `https://${name}.example.com`,
    bucket: `bucket-${name}`,
    credentials: 'role',
  });
  const file = parseFleetFile({
    backends: [
      { ...place('a'), limits: { egressBytes: 100 } },
      { ...place('b'), limits: { ingressBytes: 100 } },
    ],
    policies: { default: { factor: 1 } },
  });
  return readBudget({
    config: file,
    of: 1,
    meter: { spent: () => noUsage },
    deps: { store: { usage: async () => new Map() } },
    now: () => 0,
  });
}

const copyOf = (bytes: number) => [
  { backend: 'a', egressBytes: bytes },
  { backend: 'b', ingressBytes: bytes },
];

test('spends that are begun in the same moment never exceed a limit together [usage-limits-hold]', async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(sizes, async (all) => {
      const budget = await openBudget();
      let running = 0;
      let most = 0;
      const spent = all.map((bytes) =>
        budget.spend(copyOf(bytes), async () => {
          running += bytes;
          most = Math.max(most, running);
          await new Promise(setImmediate);
          running -= bytes;
        }),
      );
      await Promise.all(spent);
      expect(most).toBeLessThanOrEqual(100);
      // All is given back.
      expect(budget.refuses('a', { egressBytes: 100 })).toBeNull();
      expect(budget.refuses('b', { ingressBytes: 100 })).toBeNull();
    }),
  );
});

test('a spend that one end does not allow takes nothing of the other, and says which', async () => {
  const budget = await openBudget();
  const release = budget.reserve('b', { ingressBytes: 80 });
  const refused = await budget.spend(copyOf(30), async () => 'begun');
  expect(refused).toEqual({ outcome: 'over-limit', backend: 'b', reason: 'over-ingress' });
  expect(budget.refuses('a', { egressBytes: 100 })).toBeNull();
  release();
  expect(await budget.spend(copyOf(30), async () => 'begun')).toEqual({ outcome: 'spent', value: 'begun' });
});

test('a spend that fails is given back', async () => {
  const budget = await openBudget();
  const failing = budget.spend(copyOf(100), async () => {
    throw new Error('broken');
  });
  await expect(failing).rejects.toThrow('broken');
  expect(await budget.spend(copyOf(100), async () => 'begun')).toMatchObject({ outcome: 'spent' });
});
