import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parameters } from '../../lib/config/parameters.ts';
import { parametersDocument } from './parameters-document.ts';

const existing = readFileSync(new URL('../../docs/parameters.md', import.meta.url), 'utf8');

test('docs/parameters.md is what the schema says: otherwise, npm run docs', () => {
  expect(existing).toBe(parametersDocument());
});

test('docs/parameters.md names every parameter in exactly one row', () => {
  for (const name of Object.keys(parameters)) {
    expect(existing.split('\n').filter((line) => line.startsWith(`| \`${name}\` |`))).toHaveLength(1);
  }
});
