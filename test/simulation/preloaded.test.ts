import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
/** The simulated world has backends and tables of its own, and plays nothing of these. */
const notPlayed = /^lib\/(cli|config|console|fleet|local|process|store\/dynamodb)\//;

test('what histories load on first use is loaded before them', () => {
  const preloaded = readFileSync(join(root, 'test/simulation/preloaded.ts'), 'utf8');
  const missing = readdirSync(join(root, 'lib'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .flatMap((entry) => {
      const text = readFileSync(join(entry.parentPath, entry.name), 'utf8');
      return [...text.matchAll(/import\('(\.[^']+)'\)/g)].map(([, path]) =>
        relative(root, resolve(entry.parentPath, path!)),
      );
    })
    .filter((file) => !notPlayed.test(file) && !preloaded.includes(`'../../${file}'`));
  expect(missing).toEqual([]);
});
