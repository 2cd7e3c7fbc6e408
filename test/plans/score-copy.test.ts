import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CopyStanding, scoreCopy } from '../../lib/workers/score-copy.ts';
import { surplusOf, type WeighedCopy } from '../../lib/workers/surplus.ts';

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
  ['draining and dark', { draining: true, breaker: 'open' }, 0],
  ['dark', { breaker: 'open' }, 1],
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

test('a healthy copy outranks a dark one however full its backend is, and fuller is never better', () => {
  fc.assert(
    fc.property(amount, amount, amount, (usedBytes, moreBytes, limitBytes) => {
      const score = scoreCopy({ ...healthy, usedBytes, limitBytes });
      expect(score).toBeGreaterThan(scoreCopy({ ...healthy, breaker: 'open', usedBytes, limitBytes }));
      expect(score).toBeGreaterThanOrEqual(scoreCopy({ ...healthy, usedBytes: usedBytes + moreBytes, limitBytes }));
    }),
  );
});

const copy = (backend: string, score: number, change: Partial<WeighedCopy> = {}): WeighedCopy => ({
  backend,
  score,
  mayGo: true,
  isSafe: true,
  ...change,
});

test('the lowest score goes first, and of equals the later name', () => {
  expect(surplusOf([copy('a', 2.5), copy('b', 2.5), copy('c', 2.9)], 1)).toEqual(['b', 'a']);
});

test('a plain copy stays, and counts', () => {
  expect(surplusOf([copy('a', 0, { mayGo: false }), copy('b', 2), copy('c', 3)], 2)).toEqual(['b']);
});

test('a copy that is not safe goes only while the safe ones reach the factor', () => {
  const dark = { isSafe: false };
  expect(surplusOf([copy('a', 1, dark), copy('b', 2), copy('c', 3)], 2)).toEqual(['a']);
  expect(surplusOf([copy('a', 1, dark), copy('b', 0, dark), copy('c', 3)], 2)).toEqual([]);
});

const weighed = fc.uniqueArray(
  fc.record({
    backend: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
    score: fc.constantFrom(0, 1, 2, 2.5, 3),
    mayGo: fc.boolean(),
    isSafe: fc.boolean(),
  }),
  { selector: ({ backend }) => backend },
);

test('what goes leaves at least the factor of copies and of safe copies, and nothing that could go is left over', () => {
  fc.assert(
    fc.property(weighed, fc.integer({ min: 1, max: 5 }), (copies, factor) => {
      const leaving = surplusOf(copies, factor);
      const left = copies.filter(({ backend }) => !leaving.includes(backend));
      expect(copies.filter((c) => leaving.includes(c.backend) && !c.mayGo)).toEqual([]);
      if (leaving.length === 0) return;
      expect(left.length).toBeGreaterThanOrEqual(factor);
      expect(left.filter(({ isSafe }) => isSafe).length).toBeGreaterThanOrEqual(factor);
      expect(surplusOf(left, factor)).toEqual([]);
    }),
  );
});
