import fc from 'fast-check';
import { expect, test } from 'vitest';
import { routeOrder, type Source, sourceOrder, type Target } from '../../lib/fleet/routing.ts';

const targets: fc.Arbitrary<Target[]> = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    usedBytes: fc.nat({ max: 30 }),
    limitBytes: fc.oneof(fc.constant(0), fc.nat({ max: 30 })),
  }),
  { selector: ({ name }) => name },
);

test('pack tries targets in the order of the fleet file [replicator-targets]', () => {
  fc.assert(
    fc.property(targets, (all) => {
      expect(routeOrder(all, 'pack')).toEqual(all);
    }),
  );
});

test('spread tries the lowest used / limit first, no limit being the lowest, and equals in the order of the file', () => {
  fc.assert(
    fc.property(targets, (all) => {
      const before = [...all];
      const order = routeOrder(all, 'spread');
      expect(all).toEqual(before);
      expect(order.toSorted(byName)).toEqual(all.toSorted(byName));
      for (const [i, a] of order.entries()) {
        for (const b of order.slice(i + 1)) {
          // used/limit compared without dividing.
          const [left, right] = [a.usedBytes * (b.limitBytes || 1), b.usedBytes * (a.limitBytes || 1)];
          const [x, y] = [a.limitBytes === 0 ? 0 : left, b.limitBytes === 0 ? 0 : right];
          expect(x).toBeLessThanOrEqual(y);
          if (x === y) expect(all.indexOf(a)).toBeLessThan(all.indexOf(b));
        }
      }
    }),
  );
});

const sources: fc.Arbitrary<Source[]> = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    isReachable: fc.boolean(),
    egressUsdPerGb: fc.constantFrom(0, 0.01, 0.09),
  }),
  { selector: ({ name }) => name },
);

test('a reachable copy is read before any other, of those the cheapest, and the order of the input does not matter [replicator-sources]', () => {
  fc.assert(
    fc.property(sources, (all) => {
      const order = sourceOrder(all);
      expect(order.toSorted(byName)).toEqual(all.toSorted(byName));
      for (const [i, a] of order.entries()) {
        for (const b of order.slice(i + 1)) {
          expect(a.isReachable || !b.isReachable).toBe(true);
          if (a.isReachable === b.isReachable) expect(a.egressUsdPerGb).toBeLessThanOrEqual(b.egressUsdPerGb);
        }
      }
      expect(sourceOrder(all.toReversed())).toEqual(order);
    }),
  );
});

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}
