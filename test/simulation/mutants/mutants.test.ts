import { expect, test } from 'vitest';
import { mutants } from './all.ts';
import { mutated } from './mutated.ts';
import { createFindScopes, libraryFiles } from './source.ts';

const files = libraryFiles();
const find = createFindScopes(files);

test('every mutant has a name of its own', () => {
  expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
});

test.each(mutants)('there is one place for each edit of the mutant "$name"', (mutant) => {
  const changed = mutated(mutant, find);
  expect(changed.size).toBeGreaterThan(0);
  for (const [path, code] of changed) expect(code).not.toBe(files.find((file) => file.path === path)!.code);
});
