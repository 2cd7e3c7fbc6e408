import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bundle, projectRoot } from '../../infra/bundle.ts';
import { workerNames } from '../../lib/config/parameters.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-bundle-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const bare = bundle('test/bench/bare-clients.ts', join(dir, 'bare'));

test.each([...workerNames, 'apply'])('%s: loads at most 150 KiB beyond the two bare SDK clients', (name) => {
  const built = bundle(`functions/${name}.ts`, join(dir, name));
  expect(built.coldBytes).toBeLessThanOrEqual(bare.coldBytes + 150 * 1024);
  const files = readdirSync(built.dir);
  expect(files).toContain('index.mjs');
  expect(files).toContain('index.mjs.map');
  for (const file of files.filter((file) => file.endsWith('.mjs'))) {
    // What an ES module cannot load, and would only find out when it is called.
    expect(readFileSync(join(built.dir, file), 'utf8')).not.toContain('Dynamic require of');
  }
});

test('the encryption SDK lies beside the code, and loads from there', async () => {
  const { dir: home } = bundle('functions/scrubber.ts', join(dir, 'encrypting'), { withEncryption: true });
  const sdk = await import(join(home, 'node_modules', '@aws-crypto', 'client-node', 'index.cjs'));
  expect(Object.keys(sdk)).toEqual(expect.arrayContaining(['buildClient', 'KmsKeyringNode', 'RawAesKeyringNode']));
});

test('infra imports of the project only what says what to deploy: config, metric names, table definitions', () => {
  const allowed = /^\.\.\/lib\/(config\/[a-z-]+|base\/metric-names|store\/tables)\.ts$/;
  for (const file of readdirSync(join(projectRoot, 'infra')).filter((name) => name.endsWith('.ts'))) {
    const text = readFileSync(join(projectRoot, 'infra', file), 'utf8');
    const outside = [...text.matchAll(/from '(\.\.\/[^']+)'/g)].map(([, path]) => path!);
    expect(
      outside.filter((path) => !allowed.test(path)),
      file,
    ).toEqual([]);
  }
});
