import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-directions-'));
  cpSync(join(root, 'biome.json'), join(dir, 'biome.json'));
  cpSync(join(root, '.gitignore'), join(dir, '.gitignore'));
  symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** What the linter of this project finds in a project of these files, by rule and file. */
async function findings(files: Record<string, string>): Promise<string[]> {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  const biome = join(root, 'node_modules/.bin/biome');
  const args = ['lint', '--reporter=json', '--max-diagnostics=none', ...Object.keys(files)];
  const { stdout } = await promisify(execFile)(biome, args, { cwd: dir }).catch((error) => error);
  const { diagnostics } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
    diagnostics: { category: string; location: { path: string | { file: string } } }[];
  };
  return diagnostics.map(({ category, location: { path } }) => {
    const file = typeof path === 'string' ? path : path.file;
    return `${category.split('/').at(-1)} ${file}`;
  });
}

const uses = (path: string) => `import type { X } from '${path}';\n\nexport type Y = X;\n`;

test('the linter refuses two files that import each other, by types alone as well, and across folders', async () => {
  const found = await findings({
    'lib/store/one.ts': uses('./two.ts'),
    'lib/store/two.ts': uses('./one.ts'),
    'test/three.ts': `export const three = () => import('./four.ts');\n`,
    'test/four.ts': uses('./three.ts'),
  });
  expect(found.sort()).toEqual([
    'noImportCycles lib/store/one.ts',
    'noImportCycles lib/store/two.ts',
    'noImportCycles test/four.ts',
    'noImportCycles test/three.ts',
  ]);
});

test('the linter refuses an import that runs upward, and one worker that imports another', async () => {
  const found = await findings({
    'lib/base/a.ts': uses('../store/b.ts'),
    'lib/store/b.ts': uses('../fleet/c.ts'),
    'lib/fleet/c.ts': uses('../tick/d.ts'),
    'lib/tick/d.ts': uses('../../functions/e.ts'),
    'lib/workers/reconciler/f.ts': uses('../scrubber/g.ts'),
  });
  expect(found.sort()).toEqual([
    'noRestrictedImports lib/base/a.ts',
    'noRestrictedImports lib/fleet/c.ts',
    'noRestrictedImports lib/store/b.ts',
    'noRestrictedImports lib/tick/d.ts',
    'noRestrictedImports lib/workers/reconciler/f.ts',
  ]);
});
