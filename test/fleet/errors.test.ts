import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BackendError, type BackendErrorKind, errorTable } from '../../lib/fleet/errors.ts';

const kinds = Object.keys(errorTable) as BackendErrorKind[];

test('what counts for a breaker is what speaks of the backend, or may', () => {
  const counting = kinds.filter((kind) => errorTable[kind].countsForBreaker !== 'never');
  expect(counting.sort()).toEqual(
    kinds.filter((kind) => ['backend', 'unclear'].includes(errorTable[kind].speaksOf)).sort(),
  );
  // What was not answered may have happened.
  for (const kind of kinds)
    if (errorTable[kind].isUnanswered && kind !== 'unreachable') expect(errorTable[kind].storesNothing).toBe(false);
});

test('a request that was sent several times has had its chance, and may have stored something', () => {
  for (const kind of kinds) {
    const several = new BackendError(kind, 'a', 'no', undefined, { attempts: 3 });
    expect([several.isWorthRetry, several.storesNothing]).toEqual([false, false]);
    const once = new BackendError(kind, 'a', 'no');
    const { isWorthRetry, storesNothing } = errorTable[kind];
    expect([once.isWorthRetry, once.storesNothing]).toEqual([isWorthRetry, storesNothing]);
  }
});

test('no other list of kinds stands in the code [errors-have-one-table]', () => {
  const quoted = new RegExp(`'(${kinds.join('|')})'`, 'g');
  const lists = globSync('lib/**/*.ts')
    .filter((file) => !file.startsWith('lib/local/') && !/lib\/fleet\/(errors|s3\/errors)\.ts$/.test(file))
    .flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/\[[^\][]*\]/g)]
        // Those of the metadata store have a kind that no backend has.
        .filter(([list]) => (list.match(quoted) ?? []).length >= 2 && !list.includes("'unanswered'"))
        .map(([list]) => `${file}: ${list}`),
    );
  expect(lists).toEqual([]);
});
