import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Providers, startProviders } from '../support/providers.ts';
import { runCli } from './kit.ts';
import { endWithTables, type Running, startRun } from './run-kit.ts';

let providers: Providers;
let running: Running;
let home: string;

beforeAll(async () => {
  providers = await startProviders(['east', 'west']);
  home = join(providers.dir, 'machine');
  running = startRun(providers.dir, { ...providers.env, HOLDFAST_HOME: home }, ['--metrics', '0']);
  await running.says('until a signal');
});
afterAll(async () => {
  await endWithTables(running, home);
  await providers.close();
});

/** A command on the same machine. */
const holdfast = (args: readonly string[], stdin?: string) =>
  runCli(args, { cwd: providers.dir, env: { HOLDFAST_HOME: home }, ...(stdin !== undefined && { stdin }) });

test('an empty machine keeps a fleet: tables in a folder, the file applied, copies made, figures served, an end that waits', async () => {
  expect((await holdfast(['put', 'letters/a', '--json'], 'dear reader')).code).toBe(0);
  await running.says(/replicator: success.*succeeded 1/);
  const located = (await holdfast(['locate', 'letters/a', '--json'])).json<{ copies: { backend: string }[] }>();
  expect(located.copies.map(({ backend }) => backend)).toEqual(['east', 'west']);

  const address = /http:\S+\/metrics/.exec(running.output())![0];
  expect(address).toContain('127.0.0.1');
  const figures = await (await fetch(address)).text();
  expect(figures).toMatch(/^holdfast_under_replicated \d+$/m);
  expect(figures).toMatch(/^holdfast_items_total\{worker="replicator",result="succeeded"\} 1$/m);
  expect((await fetch(address.replace('/metrics', '/'))).status).toBe(404);

  const second = await holdfast(['run']);
  expect(second.code).toBe(1);
  expect(second.stderr).toContain('is running there');

  expect(await running.end('SIGTERM')).toBe(0);
  expect(running.output()).toContain('Stopped: nothing is in flight');

  // Nobody serves the tables now: a command serves them for itself.
  expect((await holdfast(['get', 'letters/a'])).stdout).toBe('dear reader');
});

test('a folder and DynamoDB are not both where the tables are', async () => {
  const both = await runCli(['status'], { env: { HOLDFAST_HOME: home, OBJECTS_TABLE: 'my-objects' } });
  expect(both.code).toBe(2);
  expect(both.stderr).toContain('unset one of them');
});

test('a schedule that only EventBridge understands is refused before anything runs [run-ends-clean]', async () => {
  const env = { ...providers.env, HOLDFAST_HOME: home, SCRUBBER_SCHEDULE: 'cron(0 3 L * ? *)' };
  const ran = await runCli(['run'], { cwd: providers.dir, env });
  expect(ran.code).toBe(2);
  expect(ran.stderr).toContain('cron(0 3 L * ? *)');
});
