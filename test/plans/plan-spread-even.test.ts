import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planSpreadEven } from '../../lib/plans/plan-spread-even.ts';
import { expectLegal, planBackend, planInputs, planObject, planTheLongWay, replay } from './moves.ts';

test('spread moves from the most over to the most under, and passes over what would overshoot [rebalancer-spread]', () => {
  const input = {
    backends: [planBackend('a', 80), planBackend('b', 20)],
    objects: { a: [planObject('k1', 30, 'a'), planObject('k2', 20, 'a')] },
    batchSize: 10,
  };
  expect(planSpreadEven(input)).toEqual([{ key: 'k1', from: 'a', to: 'b', sizeBytes: 30 }]);
  const bigFirst = { ...input, objects: { a: [planObject('k1', 31, 'a'), planObject('k2', 20, 'a')] } };
  expect(planSpreadEven(bigFirst)).toEqual([{ key: 'k2', from: 'a', to: 'b', sizeBytes: 20 }]);
});

test('spread weighs backends of different size by ratio', () => {
  // The target is 0.3: of 10 bytes over on a and 60 over on b, b is further over in ratio too; c has the most room in ratio.
  const backends = [
    planBackend('a', 40),
    planBackend('b', 120, { limitBytes: 200 }),
    planBackend('c', 0, { limitBytes: 150 }),
    planBackend('d', 20, { limitBytes: 150 }),
  ];
  const objects = { a: [planObject('k1', 10, 'a')], b: [planObject('k2', 10, 'b'), planObject('k3', 10, 'b', 'c')] };
  expect(planSpreadEven({ backends, objects, batchSize: 9 })).toEqual([
    { key: 'k2', from: 'b', to: 'c', sizeBytes: 10 },
    { key: 'k3', from: 'b', to: 'd', sizeBytes: 10 },
    { key: 'k1', from: 'a', to: 'c', sizeBytes: 10 },
  ]);
});

test.each([
  ['nothing is limited', [planBackend('a', 80, { limitBytes: 0 }), planBackend('b', 0, { limitBytes: 0 })]],
  ['only one is limited', [planBackend('a', 80), planBackend('b', 0, { limitBytes: 0 })]],
  ['nothing is used', [planBackend('a', 0), planBackend('b', 0)]],
  ['all are equally full', [planBackend('a', 50), planBackend('b', 50)]],
  ['the emptier one is draining', [planBackend('a', 80), planBackend('b', 0, { draining: true })]],
  ['the emptier one is unreachable', [planBackend('a', 80), planBackend('b', 0, { reachable: false })]],
  ['the fuller one is unreachable', [planBackend('a', 80, { reachable: false }), planBackend('b', 0)]],
  ['orphans fill the emptier one', [planBackend('a', 80), planBackend('b', 0, { orphanBytes: 95 })]],
  ['the emptier one holds more orphans than it may', [planBackend('a', 80), planBackend('b', 0, { orphanBytes: 200 })]],
])('spread moves nothing when %s', (_, backends) => {
  const objects = { a: [planObject('k', 10, 'a')], b: [planObject('l', 10, 'b')] };
  expect(planSpreadEven({ backends, objects, batchSize: 10 })).toEqual([]);
});

test('a spread plan is legal, and overshoots the target at neither end of any move', () => {
  fc.assert(
    fc.property(planInputs, (input) => {
      const moves = planSpreadEven(input);
      expectLegal(input, moves);
      const limited = input.backends.filter(({ limitBytes }) => limitBytes > 0);
      const sum = (of: 'usedBytes' | 'limitBytes') => limited.reduce((total, b) => total + b[of], 0);
      const target = sum('usedBytes') / sum('limitBytes');
      const ratio = replay(input, moves, ({ from, to }, before) => {
        expect(before(from)).toBeGreaterThan(target);
        expect(before(to)).toBeLessThan(target);
      });
      for (const { from, to } of moves) {
        expect(ratio(from)).toBeGreaterThanOrEqual(target);
        expect(ratio(to)).toBeLessThanOrEqual(target);
      }
      const backwards = moves.filter(({ to }) => moves.some(({ from }) => from === to));
      expect(backwards).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

test('a spread plan made with a larger batch begins with the plan of a smaller one', () => {
  fc.assert(
    fc.property(planInputs, (input) => {
      const all = planSpreadEven({ ...input, batchSize: 100 });
      expect(planSpreadEven(input)).toEqual(all.slice(0, input.batchSize));
    }),
  );
});

test('spread goes from the most over to the most under that can give and take anything, and stops when nothing can', () => {
  fc.assert(
    fc.property(planInputs, (input) => {
      const limited = input.backends.filter(({ limitBytes }) => limitBytes > 0);
      const sum = (of: 'usedBytes' | 'limitBytes') => limited.reduce((total, b) => total + b[of], 0);
      const wanted = planTheLongWay(
        input,
        (from, to, ratio) => {
          const fullestFirst = from.toSorted((a, b) => ratio(b.name) - ratio(a.name));
          const emptiestFirst = to.toSorted((a, b) => ratio(a.name) - ratio(b.name));
          return fullestFirst.flatMap((source) => emptiestFirst.map((target) => [source, target] as const));
        },
        ([from, to], sizeBytes, ratio) => {
          // used/limit against total used/total limit, as whole numbers.
          const overBytes = ({ name, limitBytes }: typeof from, more: number) =>
            (Math.round(ratio(name) * limitBytes) + more) * sum('limitBytes') - sum('usedBytes') * limitBytes;
          return overBytes(from, -sizeBytes) >= 0 && overBytes(to, sizeBytes) <= 0;
        },
      );
      expect(planSpreadEven(input)).toEqual(wanted);
    }),
    { numRuns: 200 },
  );
});
