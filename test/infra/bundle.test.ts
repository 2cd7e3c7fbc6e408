import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import type { Actor } from '../../infra/actors.ts';
import { type Bundle, bundle, bundleFunction, projectRoot } from '../../infra/bundle.ts';
import { createClient } from '../../lib/client/client.ts';
import { workerNames } from '../../lib/config/parameters.ts';
import { startStack } from '../../lib/local/stack.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess } from '../../lib/process/process.ts';
import { shardOf } from '../../lib/store/keys.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-bundle-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const bare = bundle('test/bench/bare-clients.ts', join(dir, 'bare'));

const functions = [...workerNames, 'apply', 'importer'] as const;
const bundles = new Map<Actor, Bundle>();

/** A function's code as it is deployed: built once, looked at by several tests. */
function deployed(name: Actor): Bundle {
  const built = bundles.get(name) ?? bundleFunction(name, join(dir, 'deployed', name));
  bundles.set(name, built);
  return built;
}

const codeIn = (home: string) => readdirSync(home).filter((file) => file.endsWith('.mjs'));

test.each(functions)('%s: loads at most 150 KiB beyond the two bare SDK clients', (name) => {
  const built = deployed(name);
  expect(built.coldBytes).toBeLessThanOrEqual(bare.coldBytes + 150 * 1024);
  expect(readdirSync(built.dir)).toEqual(expect.arrayContaining(['index.mjs', 'index.mjs.map']));
  for (const file of codeIn(built.dir)) {
    // What an ES module cannot load, and would only find out when it is called.
    expect(readFileSync(join(built.dir, file), 'utf8')).not.toContain('Dynamic require of');
  }
});

interface Loaded {
  readonly file: string;
  readonly names: readonly string[];
  readonly error?: string;
}

/**
 * Lambda imports the code itself, with Node alone: no test runner's way of loading things helps it. One process loads one file
 * after the other, as a handler does what it needs later.
 */
async function loadedByNode(home: string, files: readonly string[]): Promise<readonly [Loaded, ...Loaded[]]> {
  const code = `const [home, ...files] = process.argv.slice(1);
    const all = [];
    for (const file of files)
      await import(home + '/' + file).then(
        (m) => all.push({ file, names: Object.keys(m) }),
        (e) => all.push({ file, names: [], error: String(e) }),
      );
    process.stdout.write(JSON.stringify(all), () => process.exit());`;
  const args = ['--input-type=module', '--eval', code, home, ...files];
  const env = { AWS_REGION: 'us-east-1' };
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: tmpdir(), env });
  return JSON.parse(stdout);
}

test.each(functions)('%s: a plain Node loads the bundle, and whatever of it is loaded later', async (name) => {
  const { dir: home } = deployed(name);
  // Others never load the keys: their SDK is not deployed beside them.
  const needsKeys = (file: string) => readFileSync(join(home, file), 'utf8').includes('@aws-crypto/client-node');
  const later = codeIn(home).filter((file) => file !== 'index.mjs' && (name === 'scrubber' || !needsKeys(file)));
  const loaded = await loadedByNode(home, ['index.mjs', ...later]);
  expect(loaded.filter(({ error }) => error !== undefined)).toEqual([]);
  expect(loaded.map(({ file }) => file)).toEqual(['index.mjs', ...later]);
  expect(loaded[0].names).toContain('handler');
});

test('the encryption SDK lies beside the code of the scrubber, and a plain Node finds its names', async () => {
  const { dir: home } = deployed('scrubber');
  const [{ names }] = await loadedByNode(home, ['node_modules/@aws-crypto/client-node/index.mjs']);
  expect(names).toEqual(expect.arrayContaining(['buildClient', 'KmsKeyringNode', 'RawAesKeyringNode']));
});

test('the deployed scrubber compares plaintext, and fails where it cannot have its key', async () => {
  const stack = await startStack({ dir: join(dir, 'stack'), backends: 1, fleetText: encryptedFleet });
  try {
    const env = { ...stack.env, FLEET_KEY: randomBytes(32).toString('base64') };
    const process = createProcess({ env });
    await process.createTables();
    await apply(process, stack.fleet);
    await createClient(process).put('k', 'the plaintext');
    const file = join(deployed('scrubber').dir, 'index.mjs');
    /** In a cycle of its own: each division into parts has one. */
    const tick = (of: number, more: Record<string, string>) =>
      runHandler(file, { part: Number(shardOf('k')) % of, of }, { ...stack.env, ...more });
    expect(await tick(1, { FLEET_KEY: env.FLEET_KEY })).toMatchObject({
      result: { outcome: 'success', reasons: { good: 1 } },
    });
    const another = { FLEET_KEY: randomBytes(32).toString('base64') };
    expect(await tick(2, another)).toMatchObject({ error: { name: 'TickFailed' } });
    expect(await tick(4, {})).toMatchObject({ error: { message: expect.stringContaining('FLEET_KEY') } });
    await process.close();
  } finally {
    await stack.close();
  }
});

const encryptedFleet = JSON.stringify({
  backends: [{ name: 'a', endpoint: 'https://a.example.com', bucket: 'bucket-a', credentials: 'role' }],
  policies: { default: { factor: 1, encrypt: true } },
  encryption: { rawKeyEnv: 'FLEET_KEY' },
});

/** One invocation in a process of its own; its outcome. */
async function runHandler(file: string, event: object, env: Readonly<Record<string, string>>): Promise<unknown> {
  const runner = join(projectRoot, 'test', 'infra', 'support', 'run-handler.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [runner, file, JSON.stringify(event)], {
    env: { ...env },
  });
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
}

test('infra imports of the project only what says what to deploy: config, metric names, table definitions', () => {
  const allowed = /^\.\.\/lib\/(config\/[a-z-]+|base\/(metric-names|defined)|store\/tables)\.ts$/;
  for (const file of readdirSync(join(projectRoot, 'infra')).filter((name) => name.endsWith('.ts'))) {
    const text = readFileSync(join(projectRoot, 'infra', file), 'utf8');
    const outside = [...text.matchAll(/from '(\.\.\/[^']+)'/g)].map(([, path]) => path!);
    expect(
      outside.filter((path) => !allowed.test(path)),
      file,
    ).toEqual([]);
  }
});
