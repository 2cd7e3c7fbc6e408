import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { bareEnv, entry, runCli } from './kit.ts';

let dir: string;
const running: ChildProcess[] = [];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-local-'));
});
afterEach(async () => {
  for (const child of running.splice(0))
    if (child.exitCode === null && child.signalCode === null) await end(child, 'SIGTERM');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Ready {
  readonly dynamodbEndpoint: string;
  readonly fleet: string;
  readonly env: Record<string, string>;
}

/** `holdfast local` as a child, once it has said that it is ready. */
async function local(folder: string, env: Record<string, string> = {}): Promise<{ child: ChildProcess; ready: Ready }> {
  const child = spawn(process.execPath, [entry, 'local', folder, '--json'], { env: bareEnv(env), cwd: dir });
  running.push(child);
  let stdout = '';
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`holdfast local ended with ${code}: ${stderr}`)));
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk;
      if (stdout.endsWith('}\n')) resolve({ child, ready: JSON.parse(stdout) as Ready });
    });
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const ended = once(child, 'exit');
  child.kill(signal);
  return ((await ended) as [number | null])[0];
}

test('local serves a fleet, ends with 0 at SIGTERM, and keeps everything for the next start', async () => {
  const first = await local('kept');
  const { env } = first.ready;
  expect(first.ready.fleet).toBe(join(dir, 'kept', 'fleet.json'));
  expect((await runCli(['init'], { env })).code).toBe(0);
  expect((await runCli(['put', 'k'], { env, stdin: 'content' })).code).toBe(0);

  const code = await end(first.child, 'SIGTERM');
  const unreachable = await runCli(['status'], { env });
  const second = await local('kept', env);
  const got = await runCli(['get', 'k'], { env: second.ready.env });

  expect(code).toBe(0);
  expect(unreachable.stderr).toContain('DynamoDB is unreachable');
  expect(second.ready.env).toEqual(env);
  expect(got.stdout).toBe('content');
});

test('after kill -9 the next start ends what was left and goes on', async () => {
  const first = await local('killed');
  await runCli(['init'], { env: first.ready.env });
  await runCli(['put', 'k'], { env: first.ready.env, stdin: 'content' });

  await end(first.child, 'SIGKILL');
  const second = await local('killed');
  const got = await runCli(['get', 'k'], { env: second.ready.env });

  expect(got.stdout).toBe('content');
});

test('a folder is served by one process only', async () => {
  const { child } = await local('shared');

  const ran = await runCli(['local', 'shared'], { cwd: dir });

  expect(ran.code).toBe(1);
  expect(ran.stderr).toMatch(`error: The folder "${join(dir, 'shared')}" is in use by process ${child.pid}`);
});

test('local serves the fleet file that it is given, with its own endpoints and credentials', async () => {
  const fleet = {
    backends: [
      {
        name: 'b2',
        endpoint: 'https://s3.example.com',
        bucket: 'photos',
        prefix: 'p/',
        credentials: 'role',
        quotaBytes: 1000,
      },
      { name: 'oci', endpoint: 'https://oci.example.com', bucket: 'photos', credentials: { secretArn: 'arn:x' } },
    ],
    policies: { default: { factor: 2 } },
  };

  const { ready } = await local('given', { HOLDFAST_FLEET: JSON.stringify(fleet) });
  await runCli(['init'], { env: ready.env });
  await runCli(['put', 'k'], { env: ready.env, stdin: 'content' });
  const located = (await runCli(['locate', 'k', '--json'], { env: ready.env })).json<{
    copies: { storageKey: string }[];
  }>();
  const big = await runCli(['put', 'big'], { env: ready.env, stdin: 'x'.repeat(1001) });
  const where = (await runCli(['locate', 'big', '--json'], { env: ready.env })).json<{
    copies: { backend: string }[];
  }>();

  expect(located.copies[0]!.storageKey).toMatch(/^p\/k!/);
  expect(big.code).toBe(0);
  expect(where.copies.map(({ backend }) => backend)).toEqual(['oci']);
});
