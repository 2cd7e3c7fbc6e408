import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PlacementRule } from '../../lib/config/placement-rule.ts';
import { type CopyStanding, scoreCopy } from '../../lib/plans/score-copy.ts';
import { surplusOf, type WeighedCopy } from '../../lib/plans/surplus.ts';

const healthy: CopyStanding = {
  configured: true,
  draining: false,
  breaker: 'closed',
  usedBytes: 25,
  limitBytes: 100,
};

test.each([
  ['unconfigured', { configured: false }, 0],
  ['draining', { draining: true }, 0],
  ['draining and unreachable', { draining: true, breaker: 'open' }, 0],
  ['unreachable', { breaker: 'open' }, 1],
  ['being probed', { breaker: 'half-open' }, 1],
  ['a quarter full', {}, 2.75],
  ['full', { usedBytes: 100 }, 2],
  ['over its limit', { usedBytes: 150 }, 1.5],
  ['empty', { usedBytes: 0 }, 3],
  ['without a limit', { limitBytes: 0 }, 2.5],
] as const)('a copy on a backend that is %s', (_, change, score) => {
  expect(scoreCopy({ ...healthy, ...change })).toBe(score);
});

const amount = fc.nat({ max: 10_000 });

test('a healthy copy outranks an unreachable one however full its backend is, and fuller is never better', () => {
  fc.assert(
    fc.property(amount, amount, amount, (usedBytes, moreBytes, limitBytes) => {
      const score = scoreCopy({ ...healthy, usedBytes, limitBytes });
      expect(score).toBeGreaterThan(scoreCopy({ ...healthy, breaker: 'open', usedBytes, limitBytes }));
      expect(score).toBeGreaterThanOrEqual(scoreCopy({ ...healthy, usedBytes: usedBytes + moreBytes, limitBytes }));
    }),
  );
});

const standings: fc.Arbitrary<CopyStanding> = fc.record({
  configured: fc.boolean(),
  draining: fc.boolean(),
  breaker: fc.constantFrom('closed', 'open', 'half-open'),
  usedBytes: fc.nat({ max: 100 }),
  limitBytes: fc.oneof(fc.constant(0), fc.nat({ max: 100 })),
});

test('draining or unconfigured 0, breaker not closed 1, else 2 + (1 - used/limit), without a limit 2.5, never below unreachable', () => {
  fc.assert(
    fc.property(standings, (standing) => {
      const { configured, draining, breaker, usedBytes, limitBytes } = standing;
      const score = scoreCopy(standing);
      if (!configured || draining) expect(score).toBe(0);
      else if (breaker !== 'closed') expect(score).toBe(1);
      else if (limitBytes === 0) expect(score).toBe(2.5);
      else if (usedBytes / limitBytes < 1.9) expect(score).toBeCloseTo(2 + (1 - usedBytes / limitBytes), 12);
      else expect(score).toBeGreaterThan(1);
    }),
  );
});

const copy = (backend: string, score: number, change: Partial<WeighedCopy> = {}): WeighedCopy => ({
  backend,
  score,
  mayGo: true,
  isPlaced: true,
  isSafe: true,
  ...change,
});

/** As many copies as that, on any backends, each a place of its own. */
const anywhere = (factor: number): PlacementRule => ({ factor, allows: () => true, groupOf: (name) => name });

test('the lowest score goes first, and of equals the later name', () => {
  expect(surplusOf([copy('a', 2.5), copy('b', 2.5), copy('c', 2.9)], anywhere(1))).toEqual(['b', 'a']);
});

test('a plain copy stays, and counts', () => {
  expect(surplusOf([copy('a', 0, { mayGo: false }), copy('b', 2), copy('c', 3)], anywhere(2))).toEqual(['b']);
});

test('a copy that is not safe goes only while the safe ones reach the factor', () => {
  const unreachable = { isSafe: false };
  expect(surplusOf([copy('a', 1, unreachable), copy('b', 2), copy('c', 3)], anywhere(2))).toEqual(['a']);
  expect(surplusOf([copy('a', 1, unreachable), copy('b', 0, unreachable), copy('c', 3)], anywhere(2))).toEqual([]);
});

const weighed = fc.uniqueArray(
  fc
    .record({
      backend: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
      score: fc.constantFrom(0, 1, 2, 2.5, 3),
      mayGo: fc.boolean(),
      isPlaced: fc.boolean(),
      isSafe: fc.boolean(),
    })
    .map((one) => ({ ...one, isSafe: one.isSafe && one.isPlaced })),
  { selector: ({ backend }) => backend },
);

test('what goes leaves at least the factor of copies and of safe copies, and nothing that could go is left over', () => {
  fc.assert(
    fc.property(weighed, fc.integer({ min: 1, max: 5 }), (copies, factor) => {
      const leaving = surplusOf(copies, anywhere(factor));
      const left = copies.filter(({ backend }) => !leaving.includes(backend));
      expect(copies.filter((c) => leaving.includes(c.backend) && !c.mayGo)).toEqual([]);
      if (leaving.length === 0) return;
      expect(left.length).toBeGreaterThanOrEqual(factor);
      expect(left.filter(({ isSafe }) => isSafe).length).toBeGreaterThanOrEqual(factor);
      expect(surplusOf(left, anywhere(factor))).toEqual([]);
    }),
  );
});

test('what goes is, each time, the copy with the lowest score of those that can be spared, of equals the later name', () => {
  const firstToGo = (left: readonly WeighedCopy[], factor: number) => {
    const isSpare = (one: WeighedCopy) =>
      one.mayGo && left.length > factor && left.filter((other) => other !== one && other.isSafe).length >= factor;
    const spare = left.filter(isSpare);
    const lowest = Math.min(...spare.map(({ score }) => score));
    return spare
      .filter(({ score }) => score === lowest)
      .find((a, _, equals) => equals.every((b) => b.backend <= a.backend));
  };
  fc.assert(
    fc.property(weighed, fc.integer({ min: 1, max: 5 }), (copies, factor) => {
      const wanted: string[] = [];
      let left: readonly WeighedCopy[] = copies;
      for (let next = firstToGo(left, factor); next !== undefined; next = firstToGo(left, factor)) {
        const { backend } = next;
        wanted.push(backend);
        left = left.filter((copy) => copy.backend !== backend);
      }
      expect(surplusOf(copies, anywhere(factor))).toEqual(wanted);
    }),
  );
});
