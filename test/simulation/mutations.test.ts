import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { mutated } from './mutated.ts';
import { mutations } from './mutations.ts';

test('every mutant has a name of its own, and fits the code as it is', () => {
  expect(new Set(mutations.map(({ name }) => name)).size).toBe(mutations.length);
  for (const mutation of mutations) {
    for (const { file } of mutation.edits) {
      const source = readFileSync(new URL(`../../lib/${file}`, import.meta.url), 'utf8');
      expect(mutated(mutation, file, source), mutation.name).not.toBe(source);
    }
  }
});
