import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { systemClock } from '../../lib/base/clock.ts';
import { startDynamo } from '../../lib/local/dynamodb.ts';
import { createTables } from '../../lib/store/dynamodb/create-tables.ts';
import { given, objectAt, putObject, record } from '../contracts/store-fixtures.ts';
import { localClient, newTableNames, storeOn } from '../contracts/store-on-dynamodb.ts';
import { listenOnLoopback } from '../support/loopback.ts';

test('tables kept in a folder outlive the server, and keep their identity', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-dynamo-'));
  const tables = newTableNames();
  const first = await startDynamo({ dir: join(dir, 'new') });
  const before = storeOn(localClient(first.endpoint), tables);
  await createTables(localClient(first.endpoint), tables, systemClock);
  await given(before, putObject(record('a')));
  const identity = await before.identity();
  await first.close();
  const second = await startDynamo({ dir: join(dir, 'new') });
  const after = storeOn(localClient(second.endpoint), tables);
  expect(await objectAt(after, 'a')).toEqual(record('a'));
  expect(await after.identity()).toBe(identity);
  await second.close();
  expect(await readdir(join(dir, 'new'))).toContain('dynamodb.sqlite');
  await rm(dir, { recursive: true });
});

test('several servers run side by side, and each is gone once it is closed', async () => {
  const listening = process.listenerCount('SIGTERM');
  const servers = await Promise.all([startDynamo(), startDynamo(), startDynamo()]);
  expect(new Set(servers.map(({ endpoint }) => endpoint)).size).toBe(3);
  for (const server of servers) {
    await server.close();
    await server.close();
    expect(isRunning(server.pid)).toBe(false);
  }
  expect(process.listenerCount('SIGTERM')).toBe(listening);
});

test('a given port that is taken is an error that says so', async () => {
  const other = createServer((_, response) => response.end('healthy'));
  const port = Number(new URL(await listenOnLoopback(other)).port);
  await expect(startDynamo({ port })).rejects.toThrow(`port ${port} is already in use`);
  other.close();
});

test.each([
  ['forgets it', 'server.unknown', 0, null],
  ['is told to end', 'process.kill(process.pid, "SIGTERM"); keepAlive()', null, 'SIGTERM'],
  ['is interrupted', 'process.kill(process.pid, "SIGINT"); keepAlive()', null, 'SIGINT'],
  ['throws', 'throw new Error("expected by a test")', 1, null],
  [
    'ends after a shutdown of its own',
    'process.once("SIGTERM", () => fetch(server.endpoint).then((a) => process.exit(a.status)));process.kill(process.pid, "SIGTERM");keepAlive()',
    200,
    null,
  ],
])('the server ends with a process that %s', async (_, ending, code, signal) => {
  const launcher = new URL('../../lib/local/dynamodb.ts', import.meta.url).href;
  const script = `import { startDynamo } from ${JSON.stringify(launcher)};
    const keepAlive = () => setInterval(() => {}, 1000);
    const server = await startDynamo();
    process.stdout.write(String(server.pid) + '\\n', () => { ${ending} });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const ended = await new Promise((resolve) => child.once('close', (...end) => resolve(end)));
  expect(ended).toEqual([code, signal]);
  const pid = Number(output);
  expect(pid).toBeGreaterThan(0);
  await expect.poll(() => isRunning(pid)).toBe(false);
});

function isRunning(pid: number): boolean {
  try {
    // Where nothing collects orphans, one that has ended stays as a zombie.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
