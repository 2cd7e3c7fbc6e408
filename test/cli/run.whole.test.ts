import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Providers, startProviders } from '../support/providers.ts';
import { runCli } from './kit.ts';
import { endWithTables, type Running, startRun } from './run-kit.ts';

const files = Number(process.env.HOLDFAST_RUN_FILES ?? 1_000);
const tuning = {
  BREAKER_OPEN_SECONDS: '2',
  BREAKER_FAILURES: '3',
  UNHEALTHY_AFTER_SECONDS: '0',
  DRAIN_SETTLE_SECONDS: '1',
  CLEANUP_QUEUE_GRACE_SECONDS: '1',
  REPLICATOR_CONCURRENCY: '16',
  OVER_REPLICATION_CLEANER_CONCURRENCY: '16',
};
let providers: Providers;
let running: Running;
let home: string;

const env = () => ({ ...tuning, HOLDFAST_HOME: home });
const start = async () => {
  running = startRun(providers.dir, { ...providers.env, ...env() });
  await running.says('until a signal');
};

beforeAll(async () => {
  providers = await startProviders(['east', 'west', 'north']);
  home = join(providers.dir, 'machine');
  mkdirSync(join(providers.dir, 'files', 'deep'), { recursive: true });
  for (let i = 0; i < files; i += 1) writeFileSync(join(providers.dir, 'files', nameOf(i)), contentOf(i));
});
afterAll(async () => {
  await endWithTables(running, home);
  await providers.close();
});

const nameOf = (i: number) => `${i % 3 === 0 ? 'deep/' : ''}file ${i}.txt`;
const contentOf = (i: number) => `content of file ${i} `.repeat(1 + (i % 50));

async function holdfast<T = Record<string, unknown>>(...args: string[]): Promise<T> {
  const ran = await runCli([...args, '--json'], { cwd: providers.dir, env: env() });
  if (ran.code !== 0)
    throw new Error(
      `holdfast ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}\n${running.output().slice(-2000)}`,
    );
  return ran.json<T>();
}

interface Status {
  readonly objects: number;
  readonly underReplicated: number;
  readonly overReplicated: number;
  readonly queue: Readonly<Record<string, { readonly objects: number }>>;
}

/** The process is at work by itself: it is only watched. */
async function until(is: (status: Status) => boolean): Promise<void> {
  while (!is(await holdfast<Status>('status'))) await delay(500);
}

const isAtRest = ({ objects, underReplicated, overReplicated, queue }: Status) =>
  objects === files &&
  underReplicated === 0 &&
  overReplicated === 0 &&
  Object.values(queue).every((state) => state.objects === 0);

test('one machine and three providers keep every file at two copies through an outage, a drain and kill -9; then everything is exported, byte for byte', async () => {
  await start();
  expect(await holdfast('put', '-r', 'files', 'all')).toMatchObject({ done: files, isComplete: true });
  await until(isAtRest);

  // Copies that cannot be reached are made elsewhere, and what is surplus once they can is taken away.
  await providers.down('west');
  await until(({ underReplicated }) => underReplicated > 0);
  await until(({ underReplicated }) => underReplicated === 0);
  await providers.up('west');
  await until(isAtRest);

  // Killed in the middle of a drain; leases run out within a minute or so, and nobody does anything by hand.
  await runCli(['drain', 'north'], { cwd: providers.dir, env: env() });
  await running.says(/replicator: (success|partial).*succeeded [1-9]/);
  await running.end('SIGKILL');
  await start();
  while ((await holdfast<{ outcome: string }>('drain', 'north')).outcome !== 'drained') await delay(1_000);
  await until(isAtRest);
  expect(await holdfast('recount')).toEqual({ differences: [], moved: [], repaired: 0 });

  expect(await holdfast('export', '', 'out')).toMatchObject({ done: files, isComplete: true });
  for (let i = 0; i < files; i += 1)
    expect(readFileSync(join(providers.dir, 'out', 'all', nameOf(i)), 'utf8')).toBe(contentOf(i));
  const lines = readFileSync(join(providers.dir, 'out', '.holdfast-export', 'manifest.jsonl'), 'utf8')
    .trim()
    .split('\n');
  expect(lines).toHaveLength(files);
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ headers: { contentType: 'text/plain' } });
});

test('the folder as it was before the last start is noticed: nothing runs on it before a take-over', async () => {
  expect(await running.end('SIGTERM')).toBe(0);
  const backup = join(providers.dir, 'backup');
  cpSync(home, backup, { recursive: true });
  await start();
  expect(await running.end('SIGTERM')).toBe(0);
  rmSync(home, { recursive: true });
  cpSync(backup, home, { recursive: true });

  const refused = await runCli(['run'], { cwd: providers.dir, env: { ...providers.env, ...env() } });
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('knows a later start of this fleet than the tables');
  const put = await runCli(['put', 'k'], { cwd: providers.dir, env: env(), stdin: 'x' });
  expect(put.code).toBe(1);
  expect(
    (await runCli(['init', '--take-over'], { cwd: providers.dir, env: { ...providers.env, ...env() } })).code,
  ).toBe(0);
  await start();
});
