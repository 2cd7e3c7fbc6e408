import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { examples } from './examples.ts';

const folder = new URL('examples/', import.meta.url);

test('the TypeScript of the pages is compiled as it stands there: otherwise, npm run docs', () => {
  const present = existsSync(folder) ? readdirSync(folder) : [];
  const kept = new Map(present.map((name) => [name, readFileSync(new URL(name, folder), 'utf8')]));
  expect(Object.fromEntries(kept)).toEqual(Object.fromEntries(examples()));
});
