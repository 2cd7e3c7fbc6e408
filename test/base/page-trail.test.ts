import { expect, test } from 'vitest';
import { createPageWatch, mostIdlePages } from '../../lib/base/page-trail.ts';

const limit = 100_000;

/** How many pages are read of a listing that goes on at these places. */
function pagesRead(placeOf: (page: number) => string, namesNew: (page: number) => boolean): number {
  const watch = createPageWatch();
  let page = 1;
  while (page < limit && watch.comesToAnEnd(placeOf(page), namesNew(page))) page += 1;
  return page;
}

test.each([1, 2, 3, 7, 100, 1_000])(
  'a circle of %i places is found after a few rounds, whatever it names',
  (length) => {
    const round = (page: number) => String(page % length);
    expect(pagesRead(round, () => true)).toBeLessThanOrEqual(3 * length + 1);
    const behindOthers = (page: number) => String(page < 17 ? -page : page % length);
    expect(pagesRead(behindOthers, () => true)).toBeLessThanOrEqual(3 * (length + 17));
  },
);

test('places that are always new end a listing once it has named nothing new for long, and never while it names something', () => {
  expect(pagesRead(String, () => false)).toBe(mostIdlePages);
  expect(pagesRead(String, (page) => page % mostIdlePages === 0)).toBe(limit);
  expect(pagesRead(String, (page) => page < 500)).toBe(499 + mostIdlePages);
});
