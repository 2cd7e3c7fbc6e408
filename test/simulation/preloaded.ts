import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/**
 * What the code under test loads on first use is loaded before any history: a file comes from the disk, which is no part of
 * one, and a history must be the same however often it is played in one process.
 */
const lib = resolve(import.meta.dirname, '../../lib');
const played = [
  'base',
  'client',
  'fleet',
  'operations',
  'plans',
  'steps',
  'store',
  'testing',
  'tick',
  'transfer',
  'workers',
];

for (const folder of played) {
  for (const entry of readdirSync(join(lib, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const text = readFileSync(join(entry.parentPath, entry.name), 'utf8');
    for (const [, path] of text.matchAll(/import\('(\.[^']+)'\)/g)) {
      // The simulated world has backends of its own.
      const file = resolve(entry.parentPath, path!);
      if (!file.startsWith(join(lib, 'fleet')) && !file.startsWith(join(lib, 'store', 'dynamodb'))) await import(file);
    }
  }
}
await import('hash-wasm');
