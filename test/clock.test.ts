import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

function sources(): string[] {
  return ['functions', 'infra', 'lib'].flatMap((top) =>
    readdirSync(join(root, top), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name)),
  );
}

test('no file of lib takes its time or randomness from anywhere but the clock and the ids', () => {
  const allowed = new Set(['lib/base/clock.ts', 'lib/base/ids.ts']);
  // Programs of their own, in a terminal or in a browser: nobody simulates them.
  const programs = ['lib/local/', 'lib/cli/', 'lib/console/page/'];
  const wrong = sources()
    .map((file) => relative(root, file))
    .filter(
      (file) => file.startsWith('lib/') && !programs.some((folder) => file.startsWith(folder)) && !allowed.has(file),
    )
    .filter((file) =>
      /Date\.now\(\)|Math\.random\(\)|new Date\(\)|setTimeout\(|setInterval\(/.test(
        readFileSync(join(root, file), 'utf8'),
      ),
    );
  expect(wrong).toEqual([]);
});
