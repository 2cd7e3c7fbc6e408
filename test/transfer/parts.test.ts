import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lengthOfPart, partCount, partSizeFor, rangeOfPart } from '../../lib/transfer/parts.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const TiB = 2 ** 40;
/** Sizes of every magnitude, up to what fits into 9000 parts of 5 GiB. */
const objectBytes = fc
  .tuple(fc.integer({ min: 0, max: 44 }), fc.double({ min: 1, max: 2, noNaN: true }))
  .map(([exponent, factor]) => Math.floor(2 ** exponent * factor));
const smallestBytes = fc.oneof(fc.integer({ min: 5 * MiB, max: 5 * GiB }), fc.constantFrom(5 * MiB, 8 * MiB, 5 * GiB));

test('whatever the size of an object, S3 allows its parts: at most 10,000, each of 5 MiB to 5 GiB but for the last', () => {
  fc.assert(
    fc.property(objectBytes, smallestBytes, (sizeBytes, smallest) => {
      const partBytes = partSizeFor(sizeBytes, smallest);
      expect(Number.isSafeInteger(partBytes)).toBe(true);
      expect(partBytes).toBeGreaterThanOrEqual(Math.max(5 * MiB, smallest));
      expect(partBytes).toBeLessThanOrEqual(5 * GiB);
      const parts = partCount(sizeBytes, partBytes);
      expect(parts).toBeGreaterThanOrEqual(1);
      expect(parts).toBeLessThanOrEqual(10_000);
      // Parts in flight stay small: no larger than asked for while the number of parts allows it.
      if (sizeBytes <= 9000 * smallest) expect(partBytes).toBe(smallest);
    }),
  );
});

test('the parts of an object cover it exactly, in order, and all but the last are of one size', () => {
  const few = fc.integer({ min: 1, max: 5000 });
  fc.assert(
    fc.property(few, fc.integer({ min: 1, max: 700 }), (sizeBytes, partBytes) => {
      const count = partCount(sizeBytes, partBytes);
      const ranges = Array.from({ length: count }, (_, i) => rangeOfPart(sizeBytes, partBytes, i + 1));
      let next = 0;
      for (const [i, [first, last]] of ranges.entries()) {
        expect(first).toBe(next);
        expect(lengthOfPart(sizeBytes, partBytes, i + 1)).toBe(last - first + 1);
        if (i < count - 1) expect(last - first + 1).toBe(partBytes);
        else expect(last).toBeGreaterThanOrEqual(first);
        next = last + 1;
      }
      expect(next).toBe(sizeBytes);
    }),
  );
});

test('also the last part of the biggest object ends with its last byte', () => {
  fc.assert(
    fc.property(objectBytes, smallestBytes, (sizeBytes, smallest) => {
      const partBytes = partSizeFor(sizeBytes, smallest);
      const count = partCount(sizeBytes, partBytes);
      const [first, last] = rangeOfPart(sizeBytes, partBytes, count);
      expect(last).toBe(sizeBytes - 1);
      expect(first).toBe((count - 1) * partBytes);
      expect(lengthOfPart(sizeBytes, partBytes, count)).toBeGreaterThanOrEqual(1);
    }),
  );
});

test('an object that no number of parts can hold is refused by its size', () => {
  fc.assert(
    fc.property(fc.integer({ min: 50 * TiB, max: Number.MAX_SAFE_INTEGER }), smallestBytes, (sizeBytes, smallest) => {
      expect(() => partSizeFor(sizeBytes, smallest)).toThrow(`${sizeBytes} bytes`);
    }),
  );
});
