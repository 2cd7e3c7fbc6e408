import fc from 'fast-check';
import { expect, test } from 'vitest';
import { exceedsThreshold } from '../../lib/plans/exceeds-threshold.ts';

const stats = {
  a: { usedBytes: 60, limitBytes: 100 },
  b: { usedBytes: 50, limitBytes: 100 },
  c: { usedBytes: 5, limitBytes: 0 },
};

test('exceedsThreshold compares the range of utilisation, and equality exceeds [rebalancer-threshold]', () => {
  expect(exceedsThreshold(stats, ['a', 'b', 'c'], 0.1)).toBe(true);
  expect(exceedsThreshold(stats, ['a', 'b', 'c'], 0.11)).toBe(false);
});

test('exceedsThreshold needs two limited backends among the names considered', () => {
  expect(exceedsThreshold(stats, ['a', 'c'], 0)).toBe(false);
  expect(exceedsThreshold(stats, ['a', 'a'], 0)).toBe(false);
  expect(exceedsThreshold(stats, ['a', 'unknown', 'constructor'], 0)).toBe(false);
  expect(exceedsThreshold({}, [], 0)).toBe(false);
});

const use = fc.record({ usedBytes: fc.nat({ max: 1000 }), limitBytes: fc.nat({ max: 1000 }) });

test('exceedsThreshold does not depend on the order, and a higher threshold is never easier to exceed', () => {
  const ratio = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), use), ratio, ratio, (all, x, y) => {
      const names = Object.keys(all);
      const [low, high] = [Math.min(x, y), Math.max(x, y)];
      expect(exceedsThreshold(all, names.toReversed(), low)).toBe(exceedsThreshold(all, names, low));
      if (exceedsThreshold(all, names, high)) expect(exceedsThreshold(all, names, low)).toBe(true);
    }),
  );
});

test('max - min of used/limit over two or more limited backends is at least the threshold, to the last byte', () => {
  const thousandths = fc.nat({ max: 1000 });
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), use), thousandths, (all, threshold) => {
      const limited = Object.values(all).filter(({ limitBytes }) => limitBytes > 0);
      // x/m - y/n >= t/1000, without dividing.
      const isExceeded = limited.some((x) =>
        limited.some(
          (y) =>
            x !== y &&
            1000 * (x.usedBytes * y.limitBytes - y.usedBytes * x.limitBytes) >= threshold * x.limitBytes * y.limitBytes,
        ),
      );
      expect(exceedsThreshold(all, Object.keys(all), threshold / 1000)).toBe(isExceeded);
    }),
    { numRuns: 500 },
  );
});
