import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { examples } from '../../lib/cli/examples.ts';
import { listenOnLoopback } from '../support/loopback.ts';
import { type Providers, startProviders } from '../support/providers.ts';
import { type CliLab, runCli, startCli } from './kit.ts';

let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 3 });
  writeFileSync(join(lab.dir, 'cat.jpg'), 'a cat');
});
afterAll(() => lab.close());

/** As a shell does it, for what the examples need of one. */
const words = (line: string) =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!).slice(1);

/** They run until a signal: their own tests start them. */
const servers = ['run', 'local', 'console'];

test('every verb has an example, which its help shows', async () => {
  const help = (await runCli(['--help'])).stdout.split('Commands:')[1]!;
  const verbs = [...help.matchAll(/^ {2}([a-z-]+)[ [<]/gm)].map(([, verb]) => verb!).filter((verb) => verb !== 'help');
  expect([...new Set(verbs)].sort()).toEqual(Object.keys(examples).sort());
  for (const [verb, example] of Object.entries(examples)) {
    expect(words(example)[0]).toBe(verb);
    expect((await runCli(['help', verb])).stdout).toContain(`Example:\n  ${example}`);
  }
});

describe('the example of each verb runs, for a person and with --json:', () => {
  test.each(Object.keys(examples).filter((verb) => !servers.includes(verb)))('%s', async (verb) => {
    const args = words(examples[verb]!);
    const ran = await lab.run(args);
    expect({ verb, code: ran.code, stderr: ran.stderr }).toMatchObject({ verb, code: 0 });
    expect(ran.stdout.trim()).not.toBe('');
    expect(ran.stdout + ran.stderr).not.toMatch(/^\{"time"/m);
    const again = await lab.run([...args, '--json']);
    // What the first call deleted is not there for the second.
    expect({ verb, code: again.code }).toEqual({ verb, code: verb === 'rm' ? 1 : 0 });
    expect(again.json()).toBeDefined();
  });
});

test('settings say what is in force and where it comes from', async () => {
  await lab.json(['set', 'SCRUBBER_BATCH_SIZE', '7']);
  const env = { REPLICATOR_BATCH_SIZE: '9', SCRUBBER_BATCH_SIZE: '8' };
  const settings = await lab.json<{ name: string; value: string; source: string }[]>(['settings'], { env });
  const of = (name: string) => settings.find((one) => one.name === name);
  expect(of('SCRUBBER_BATCH_SIZE')).toMatchObject({ value: '7', source: 'set' });
  expect(of('REPLICATOR_BATCH_SIZE')).toMatchObject({ value: '9', source: 'environment' });
  expect(of('SCRUBBER_CYCLE_DAYS')).toMatchObject({ value: '30', source: 'default' });
});

test('apply --dry-run shows the difference and changes nothing; keys are not shown [dry-runs-change-nothing]', async () => {
  const file = JSON.parse(readFileSync(lab.stack.fleetPath, 'utf8')) as {
    backends: { quotaBytes?: number; credentials: { secretAccessKey: string } }[];
    policies: Record<string, unknown>;
  };
  file.backends[0]!.quotaBytes = 5_000_000;
  file.policies.archive = { prefix: 'archive/', factor: 1 };
  const env = { HOLDFAST_FLEET: JSON.stringify(file) };
  const before = await lab.json<{ version: number }>(['status']);
  const { changes } = await lab.json<{ changes: object[] }>(['apply', '--dry-run'], { env });
  expect(changes).toContainEqual({ change: 'changed', path: 'backends.local-1.quotaBytes', from: '0', to: '5000000' });
  expect(changes).toContainEqual({ change: 'added', path: 'policies.archive.prefix', to: '"archive/"' });
  expect(await lab.json(['status'])).toMatchObject({ version: before.version });
  // Below the new prefix may be nothing, or all of it.
  const dear = { ...file, policies: { ...file.policies, archive: { prefix: 'archive/', factor: 3 } } };
  const tooDear = await lab.run(['apply', '--max-usd', '0', '--json'], {
    env: { HOLDFAST_FLEET: JSON.stringify(dear) },
  });
  const dryRun = await lab.run(['apply', '--dry-run'], { env: { HOLDFAST_FLEET: JSON.stringify(dear) } });
  expect(dryRun.stdout).toMatch(/The work that follows: (nothing to do|at most .* written, .* read, .*; \$\d+\.\d\d)/);
  expect(await lab.json(['status'])).toMatchObject({ version: before.version });
  expect(tooDear.json()).toMatchObject({ kind: 'over-max-usd' });
  file.backends[0]!.credentials.secretAccessKey = 'another secret';
  const refused = await lab.run(['apply', '--dry-run'], { env: { HOLDFAST_FLEET: JSON.stringify(file) } });
  expect(refused.stdout + refused.stderr).not.toContain('another secret');
});

test('copies and under-replicated list what status counts', async () => {
  await lab.holdfast.put('listed/one', 'x');
  const { underReplicated } = await lab.json<{ underReplicated: number }>(['status']);
  const short = await lab.json<{ key: string }[]>(['under-replicated']);
  expect(short).toHaveLength(underReplicated);
  expect(short).toContainEqual(
    expect.objectContaining({ key: 'listed/one', backends: ['local-1'], counted: 1, wanted: 2 }),
  );
  const held = await lab.json<{ key: string }[]>(['copies', '--backend', 'local-1']);
  expect(held.map(({ key }) => key)).toContain('listed/one');
});

test('no verb, and nothing else, is a sentence', async () => {
  const ran = await runCli(['--json']);
  expect(ran.code).toBe(2);
  expect(ran.json()).toEqual({ error: 'Name a verb: `holdfast --help` lists them', kind: 'usage' });
});

test('a stack.json that no stack wrote is named', async () => {
  for (const text of ['{', '[]', '{"backends": {"a": {}}}', '{"backends": {}, "dynamodbPort": "x"}']) {
    writeFileSync(join(lab.dir, 'stack.json'), text);
    const ran = await runCli(['local', lab.dir]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('is not what a stack wrote');
    expect(ran.stderr).not.toContain('TypeError');
  }
});

describe('what is wrong with a provider is said in words:', () => {
  let providers: Providers;
  beforeAll(async () => {
    providers = await startProviders(['one']);
  });
  afterAll(() => providers.close());

  const init = async (change: (backend: Record<string, unknown>) => void) => {
    const fleet = JSON.parse(providers.env.HOLDFAST_FLEET!) as { backends: Record<string, unknown>[] };
    change(fleet.backends[0]!);
    const env = {
      ...lab.stack.env,
      HOLDFAST_FLEET: JSON.stringify({ ...fleet, policies: { default: { factor: 1 } } }),
    };
    const tables = { OBJECTS_TABLE: 'other-o', QUEUE_TABLE: 'other-q', CONTROL_TABLE: 'other-c' };
    const ran = await runCli(['init'], { env: { ...env, ...tables } });
    expect(ran.code).toBe(1);
    return ran.stderr;
  };

  test('a wrong secret [messages-name-the-cause]', async () => {
    const stderr = await init((backend) => {
      backend.credentials = { accessKeyId: 'PROVIDER', secretAccessKey: 'wrong' };
    });
    expect(stderr).toContain('SignatureDoesNotMatch');
    expect(stderr).not.toContain('UnknownError');
  });

  test('https where http is spoken', async () => {
    const stderr = await init((backend) => {
      backend.endpoint = String(backend.endpoint).replace('http:', 'https:');
    });
    expect(stderr).toContain('there is no TLS there');
    expect(stderr).not.toMatch(/OPENSSL|openssl/);
  });

  test('a refusal without a reason', async () => {
    const server = createServer((_request, response) => response.writeHead(403).end());
    const endpoint = await listenOnLoopback(server);
    const stderr = await init((backend) => {
      backend.endpoint = endpoint;
    });
    server.close();
    expect(stderr).toContain('the backend answered 403');
    expect(stderr).not.toContain('UnknownError');
  });

  test('no AWS credentials', async () => {
    const ran = await runCli(['status'], {
      env: { AWS_REGION: 'us-east-1', AWS_SHARED_CREDENTIALS_FILE: '/none', HOME: '/none' },
    });
    expect(ran.stderr === '' ? '' : ran.stderr).not.toContain('access to');
  });
});
