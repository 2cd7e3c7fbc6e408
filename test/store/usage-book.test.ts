import { expect, test } from 'vitest';
import { idsFrom } from '../../lib/base/ids.ts';
import { type Store, StoreError, type StoreErrorKind } from '../../lib/store/port.ts';
import { createUsageBook } from '../../lib/store/usage-book.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import { createManualClock } from '../support/fleet.ts';
import { inMonth, usageOf } from '../support/usage.ts';

const month = '2026-01';
const amount = usageOf({ requests: 2, egressBytes: 30, ingressBytes: 400 });

function setUp() {
  const clock = createManualClock();
  const memory = createMemoryStore({ clock });
  /** What becomes of the next additions: an error, before the effect or after it. */
  const fates: { readonly kind: StoreErrorKind; readonly isDone: boolean }[] = [];
  const store: Store = {
    ...memory,
    async addUsage(...args) {
      const fate = fates.shift();
      if (fate === undefined || fate.isDone) await memory.addUsage(...args);
      if (fate !== undefined) throw new StoreError(fate.kind, 'no answer');
    },
  };
  const book = createUsageBook();
  let drawn = 0;
  const ids = idsFrom(clock, () => ((drawn++ * 7919) % 1000) / 1000);
  const flush = () => book.flush({ store, clock, ids });
  const written = async (at = month) => (await memory.usage(inMonth(at), ['a'])).get('a');
  return { clock, fates, book, flush, written };
}

test.each([true, false])('usage whose writing was not answered is written once, done or not (%s)', async (isDone) => {
  const { book, fates, flush, written } = setUp();
  book.enter({ [month]: { a: amount } });
  fates.push({ kind: 'unanswered', isDone });
  await expect(flush()).rejects.toMatchObject({ kind: 'unanswered' });
  book.enter({ [month]: { a: usageOf({ requests: 1, egressBytes: 0, ingressBytes: 0 }) } });
  await flush();
  expect(await written()).toEqual({ ...amount, requests: 3 });
});

test('usage that may be written is given up once its token may be forgotten', async () => {
  const { book, clock, fates, flush, written } = setUp();
  book.enter({ [month]: { a: amount } });
  fates.push({ kind: 'unanswered', isDone: true });
  await expect(flush()).rejects.toMatchObject({ kind: 'unanswered' });
  clock.advance(11 * 60_000);
  await flush();
  expect(await written()).toEqual(amount);
});

test('usage that was certainly not written stays, under its own month', async () => {
  const { book, fates, flush, written } = setUp();
  book.enter({ [month]: { a: amount } });
  fates.push({ kind: 'throttled', isDone: false });
  await expect(flush()).rejects.toMatchObject({ kind: 'throttled' });
  book.enter({ '2026-02': { a: amount } });
  await flush();
  await flush();
  expect(await written()).toEqual(amount);
  expect(await written('2026-02')).toEqual(amount);
});

test('two who write at once write each amount once', async () => {
  const { book, flush, written } = setUp();
  book.enter({ [month]: { a: amount } });
  const first = flush();
  book.enter({ [month]: { a: amount } });
  await Promise.all([first, flush()]);
  expect(await written()).toEqual(usageOf({ requests: 4, egressBytes: 60, ingressBytes: 800 }));
});

test('what is owed is all that is not known to be written down, also while it is being written [usage-limits-hold]', async () => {
  const { book, fates, flush, clock } = setUp();
  expect(book.owes('a')).toEqual(usageOf({}));
  book.enter({ [month]: { a: amount }, '2026-02': { a: amount } });
  expect(book.owes('a')).toEqual(usageOf({ requests: 4, egressBytes: 60, ingressBytes: 800 }));
  expect(book.owes('b')).toEqual(usageOf({}));
  const writing = flush();
  await Promise.resolve();
  expect(book.owes('a')).toEqual(usageOf({ requests: 4, egressBytes: 60, ingressBytes: 800 }));
  await writing;
  expect(book.owes('a')).toEqual(usageOf({}));
  for (const kind of ['unanswered', 'throttled'] as const) {
    book.enter({ [month]: { a: amount } });
    fates.push({ kind, isDone: false });
    await expect(flush()).rejects.toMatchObject({ kind });
    expect(book.owes('a')).toEqual(amount);
    clock.advance(11 * 60_000);
    await flush();
    expect(book.owes('a')).toEqual(usageOf({}));
  }
});
