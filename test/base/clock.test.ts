import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hourOf, systemClock } from '../../lib/base/clock.ts';

test('the hour of a moment is that of its date, in whatever order moments are asked for', () => {
  const moments = fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true });
  fc.assert(
    fc.property(fc.array(moments, { minLength: 1 }), (dates) => {
      for (const date of dates) expect(hourOf(date.getTime())).toBe(date.toISOString().slice(0, 13));
    }),
  );
  const firstOfMarch = Date.UTC(2028, 2);
  expect([firstOfMarch - 1, firstOfMarch].map(hourOf)).toEqual(['2028-02-29T23', '2028-03-01T00']);
});

test('a sleep that is aborted rejects with the reason of its signal, at once where it is aborted already', async () => {
  const stop = new AbortController();
  const sleep = systemClock.sleep(60_000, stop.signal);
  stop.abort('enough');
  await expect(sleep).rejects.toBe('enough');
  await expect(systemClock.sleep(60_000, stop.signal)).rejects.toBe('enough');
});
