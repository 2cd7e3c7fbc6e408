import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { bundle, bundleFunction, entryOf, projectRoot } from '../../infra/bundle.ts';
import { createClient } from '../../lib/client/client.ts';
import { workerNames } from '../../lib/config/parameters.ts';
import { startStack } from '../../lib/local/stack.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess } from '../../lib/process/process.ts';
import { shardOf } from '../../lib/store/keys.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-bundle-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const bare = bundle('test/bench/bare-clients.ts', join(dir, 'bare'));

test.each([...workerNames, 'apply', 'importer'] as const)(
  '%s: loads at most 150 KiB beyond the two bare SDK clients',
  (name) => {
    const built = bundle(entryOf(name), join(dir, name));
    expect(built.coldBytes).toBeLessThanOrEqual(bare.coldBytes + 150 * 1024);
    const files = readdirSync(built.dir);
    expect(files).toContain('index.mjs');
    expect(files).toContain('index.mjs.map');
    for (const file of files.filter((file) => file.endsWith('.mjs'))) {
      // What an ES module cannot load, and would only find out when it is called.
      expect(readFileSync(join(built.dir, file), 'utf8')).not.toContain('Dynamic require of');
    }
  },
);

/** Lambda imports the code itself, with Node alone: no test runner's way of loading things helps it. */
async function loadedByNode(
  home: string,
  file: string,
): Promise<{ readonly names: string[]; readonly error?: string }> {
  const code = `const { names, error } = await import(process.argv[1]).then((m) => ({ names: Object.keys(m) }), (e) => ({ names: [], error: String(e) }));
    process.stdout.write(JSON.stringify({ names, error }), () => process.exit());`;
  const args = ['--input-type=module', '--eval', code, join(home, file)];
  const env = { AWS_REGION: 'us-east-1' };
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: tmpdir(), env });
  return JSON.parse(stdout);
}

test.each([...workerNames, 'apply', 'importer'] as const)(
  '%s: a plain Node loads the bundle, and whatever of it is loaded later',
  async (name) => {
    const { dir: home } = bundleFunction(name, join(dir, 'deployed', name));
    for (const file of readdirSync(home).filter((one) => one.endsWith('.mjs'))) {
      // Others never load the keys: their SDK is not deployed beside them.
      if (name !== 'scrubber' && readFileSync(join(home, file), 'utf8').includes('@aws-crypto/client-node')) continue;
      const { names, error } = await loadedByNode(home, file);
      expect({ file, error }).toEqual({ file });
      if (file === 'index.mjs') expect(names).toContain('handler');
    }
  },
);

test('the encryption SDK lies beside the code of the scrubber, and a plain Node finds its names', async () => {
  const { dir: home } = bundleFunction('scrubber', join(dir, 'encrypting'));
  const { names } = await loadedByNode(home, 'node_modules/@aws-crypto/client-node/index.mjs');
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
    const { dir: home } = bundleFunction('scrubber', join(dir, 'on-a-stack'));
    const file = join(home, 'index.mjs');
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
