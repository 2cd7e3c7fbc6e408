import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** What moves bytes and keeps records. */
const engine = ['lib/transfer', 'lib/fleet', 'lib/store', 'lib/base', 'lib/config'];

/** Each folder, and the folders its files may import from besides their own. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'lib/config': [],
  'lib/base': ['lib/config'],
  'lib/fleet': ['lib/base', 'lib/config'],
  'lib/store': ['lib/base', 'lib/config'],
  'lib/transfer': ['lib/fleet', 'lib/store', 'lib/base', 'lib/config'],
  'lib/plans': ['lib/base', 'lib/config'],
  'lib/tick': ['lib/plans', ...engine],
  'lib/steps': ['lib/tick', 'lib/plans', ...engine],
  'lib/workers': ['lib/steps', 'lib/tick', 'lib/plans', ...engine],
  'lib/operations': ['lib/steps', 'lib/tick', 'lib/plans', ...engine],
  'lib/process': engine,
  // The in-memory implementations, for tests.
  'lib/testing': ['lib/fleet', 'lib/store', 'lib/base', 'lib/config'],
  // Entry points.
  'lib/client': ['lib/process', ...engine],
  'lib/cli': ['lib', 'lib/local', 'lib/client', 'lib/process', 'lib/workers', 'lib/operations', 'lib/tick', ...engine],
  functions: ['lib/process', 'lib/workers', 'lib/operations', 'lib/tick', ...engine],
  // The embedded stack is used by the command line and by tests alone.
  'lib/local': ['lib/base', 'lib/config'],
  infra: ['lib/config', 'lib/base'],
  lib: ['lib/client', 'lib/process', 'lib/workers', 'lib/plans', 'lib/fleet', 'lib/store', 'lib/base', 'lib/config'],
};

function folderOf(file: string): string {
  const parts = relative(root, file).split('/');
  return parts[0] === 'lib' ? parts.slice(0, parts.length > 2 ? 2 : 1).join('/') : parts[0]!;
}

function sources(): string[] {
  return ['functions', 'infra', 'lib'].flatMap((top) =>
    readdirSync(join(root, top), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name)),
  );
}

/** Relative imports of a file, types included. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => resolve(dirname(file), match[1]!));
}

test('every file imports only from its own folder or from one to its right', () => {
  const wrong = sources().flatMap((file) => {
    const from = folderOf(file);
    return importsOf(file)
      .map(folderOf)
      .filter((to) => to !== from && !(mayImport[from] ?? []).includes(to))
      .map((to) => `${relative(root, file)} imports from ${to}`);
  });
  expect(wrong).toEqual([]);
});

test('no file of lib takes its time or randomness from anywhere but the clock and the ids', () => {
  const allowed = new Set(['lib/base/clock.ts', 'lib/base/ids.ts']);
  const wrong = sources()
    .map((file) => relative(root, file))
    .filter(
      (file) =>
        file.startsWith('lib/') && !file.startsWith('lib/local/') && !file.startsWith('lib/cli/') && !allowed.has(file),
    )
    .filter((file) =>
      /Date\.now\(\)|Math\.random\(\)|new Date\(\)|setTimeout\(|setInterval\(/.test(
        readFileSync(join(root, file), 'utf8'),
      ),
    );
  expect(wrong).toEqual([]);
});
