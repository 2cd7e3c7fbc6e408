import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cleanupBackoffMs } from '../../lib/plans/backoff.ts';

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

test('a failed deletion waits 1, 2, 4, ... minutes by the attempts before it', () => {
  const minutes = Array.from({ length: 11 }, (_, attempts) => cleanupBackoffMs(attempts) / minuteMs);
  expect(minutes).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
});

test('below 0 and above 10 attempts it waits a day', () => {
  const outside = fc.oneof(
    fc.integer({ max: -1 }),
    fc.integer({ min: 11 }),
    fc.double({ min: 10, minExcluded: true, noNaN: true }),
    fc.double({ max: 0, maxExcluded: true, noNaN: true }).filter((n) => n < 0),
  );
  fc.assert(
    fc.property(outside, (attempts) => {
      expect(cleanupBackoffMs(attempts)).toBe(dayMs);
    }),
  );
});

test('whatever it is asked, it waits from a minute to a day, and longer after more attempts', () => {
  const anyNumber = fc.oneof(
    fc.double(),
    fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  );
  fc.assert(
    fc.property(anyNumber, fc.double({ min: 0, noNaN: true }), (any, attempts) => {
      expect(cleanupBackoffMs(any)).toBeGreaterThanOrEqual(minuteMs);
      expect(cleanupBackoffMs(any)).toBeLessThanOrEqual(dayMs);
      expect(cleanupBackoffMs(attempts + 1)).toBeGreaterThanOrEqual(cleanupBackoffMs(attempts));
    }),
  );
});
