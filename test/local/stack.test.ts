import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { collect } from '../../lib/base/bytes.ts';
import { createHoldfast } from '../../lib/client/holdfast.ts';
import { type Stack, type StackOptions, startStack } from '../../lib/local/stack.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess } from '../../lib/process/process.ts';
import { listenOnLoopback } from '../support/loopback.ts';

let dir: string;
let stacks: Stack[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-stack-'));
  stacks = [];
});
afterEach(async () => {
  for (const stack of stacks) await stack.close();
  rmSync(dir, { recursive: true, force: true });
});

async function start(options: Omit<StackOptions, 'dir'> = {}): Promise<Stack> {
  const stack = await startStack({ backends: 2, ...options, dir });
  stacks.push(stack);
  return stack;
}

async function init(stack: Stack): Promise<void> {
  const holdfastProcess = createProcess({ env: stack.env });
  await holdfastProcess.createTables();
  await apply(holdfastProcess, stack.fleet);
  await holdfastProcess.close();
}

test('a stack that is started again has its objects, tables, ports and fleet', async () => {
  const first = await start();
  await init(first);
  const before = createHoldfast({ env: first.env });
  await before.put('k', 'content');
  await before.close();
  await first.close();

  const second = await start();
  const after = createHoldfast({ env: second.env });
  const found = await after.get('k');
  const content = await collect(found!.body);
  await after.close();

  expect(content.toString()).toBe('content');
  expect(second.env).toEqual(first.env);
  expect(second.fleet).toEqual(first.fleet);
});

test('a fresh stack has nothing of the one before', async () => {
  const first = await start();
  await init(first);
  await first.close();

  const second = await start({ isFresh: true, backends: 1 });

  expect(second.fleet.backends).toHaveLength(1);
  const holdfast = createHoldfast({ env: second.env });
  await expect(holdfast.head('k')).rejects.toMatchObject({ kind: 'missing-table' });
  await holdfast.close();
});

test('what a person changed in the fleet file is served, at the same place', async () => {
  const first = await start();
  await first.close();
  const file = JSON.parse(readFileSync(first.fleetPath, 'utf8')) as { backends: { quotaBytes?: number }[] };
  file.backends[0]!.quotaBytes = 77;
  writeFileSync(first.fleetPath, JSON.stringify(file));

  const second = await start();

  expect(second.fleet.backends[0]).toEqual({ ...first.fleet.backends[0], quotaBytes: 77 });
});

test('a port that is taken is left to who has it: what is new is served on another', async () => {
  const other = createServer();
  const taken = Number(new URL(await listenOnLoopback(other)).port);
  let asked = 0;
  const newPort = () => {
    asked += 1;
    return asked % 2 === 1 ? taken : randomInt(20_000, 30_000);
  };

  const stack = await start({ newPort });
  await init(stack);
  await new Promise((done) => other.close(done));

  expect(asked).toBeGreaterThanOrEqual(6);
  const endpoints = [stack.dynamodbEndpoint, ...stack.backends.map(({ server }) => server.endpoint)];
  expect(endpoints).not.toContain(`http://127.0.0.1:${taken}`);
});

test('a folder in use is refused, and free again once it is closed', async () => {
  const first = await start();

  await expect(start()).rejects.toThrow(`is in use by process ${process.pid}`);

  await first.close();
  await start();
});

test('the lock of a process that is gone is taken over', async () => {
  // No process has this id and this start time.
  writeFileSync(join(dir, 'stack.lock'), `${process.pid} 1`);

  await start();
});

test('a backend whose port was taken is not moved: its objects are recorded there', async () => {
  const first = await start();
  await first.close();
  const port = Number(new URL(first.backends[0]!.server.endpoint).port);
  const other = createServer();
  await new Promise<void>((done) => other.listen(port, '127.0.0.1', done));

  const refused = expect(start()).rejects.toThrow(`Port ${port} is taken by another program`);

  await refused;
  await new Promise((done) => other.close(done));
  await start();
});
