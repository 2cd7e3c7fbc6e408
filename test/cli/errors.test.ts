import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliLab, type Ran, runCli, spawnCli, startCli } from './kit.ts';

let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 1 });
  await lab.json(['init']);
});
afterAll(() => lab.close());

const silent = { HOLDFAST_LOG: 'silent' };

/** One sentence on stderr, nothing of a stack trace, nothing on stdout. */
function expectError(ran: Ran, code: number, sentence: string | RegExp): void {
  expect(ran.stderr).toMatch(sentence);
  expect(ran.stderr).toMatch(/^error: /);
  expect(ran.stderr).not.toMatch(/\n\s+at /);
  expect(ran.stdout).toBe('');
  expect(ran.code).toBe(code);
}

test('bad flags end with 2 [exit-codes]', async () => {
  expectError(await lab.run(['frobnicate']), 2, "error: unknown command 'frobnicate'");
  expectError(await lab.run(['put']), 2, "error: missing required argument 'key'");
  expectError(await lab.run(['status', '--verbose']), 2, "error: unknown option '--verbose'");
  expectError(await lab.run(['tick', 'replicator', '--part', '1']), 2, '--part and --of go together');
  expectError(await lab.run(['tick', 'replicator', '--part', '2', '--of', '2']), 2, '--part 2 is not below --of 2');
  expectError(await lab.run(['tick', 'replicator', '--rounds', 'x']), 2, 'It must be a whole number');
  expectError(
    await lab.run(['set', 'REMOVAL_LIMIT_RATIO', '7']),
    2,
    'REMOVAL_LIMIT_RATIO is "7"; it must be a number from 0 to 1',
  );
  expectError(await lab.run(['set', 'NONSENSE', '7']), 2, '"NONSENSE" is not a parameter');
  expectError(await lab.run(['unset', 'constructor']), 2, '"constructor" is not a parameter');
  expectError(await lab.run(['set', 'OBJECTS_TABLE', 'other']), 2, 'OBJECTS_TABLE belongs to the deployment');
});

test('an unknown worker is answered with those that there are', async () => {
  expectError(
    await lab.run(['tick', 'nobody']),
    2,
    /There is no worker "nobody"; there are replicator, .*cleanup-queue/,
  );
  expectError(await lab.run(['tick', 'constructor']), 2, 'There is no worker "constructor"');
  expectError(await lab.run(['pause', 'nobody']), 2, /There is no worker "nobody"; there are replicator, /);
});

test('bad keys end with 2 [exit-codes]', async () => {
  expectError(await lab.run(['put', ''], { stdin: 'x' }), 2, 'A key must have 1 to 997 bytes; this one is empty');
  expectError(await lab.run(['get', 'k'.repeat(998)]), 2, 'has 998 UTF-8 bytes; at most 997 are allowed');
  expectError(await lab.run(['rm', '.holdfast/owner']), 2, 'which is reserved');
});

test('a name that never was a backend’s is refused by copies, and forgotten without a word of copies', async () => {
  expectError(await lab.run(['copies', '--backend', 'nobody']), 2, 'There is no backend "nobody"; there are local-1');
  const ran = await lab.run(['forget', 'nobody']);
  expect([ran.code, ran.stderr, ran.stdout]).toEqual([0, '', 'nothing is recorded of nobody\n']);
});

test('with --json an error is a document too [one-document]', async () => {
  const ran = await lab.run(['get', 'nothing', 'file', '--json']);

  expect(ran.json()).toEqual({ error: 'There is no object "nothing"', kind: 'not-found' });
  expect(ran.stderr).toBe('error: There is no object "nothing"\n');
  expect((await lab.run(['frobnicate', '--json'])).json()).toMatchObject({ kind: 'usage' });
});

test('a fleet file is refused with every problem at once', async () => {
  const fleet = JSON.stringify({
    backends: [{ name: 'B2', bucket: 'x', credentials: 'magic', quotaBytes: -1 }],
    policies: { default: { factor: 0 } },
    colour: 'blue',
  });

  const ran = await lab.run(['apply'], { env: { HOLDFAST_FLEET: fleet } });

  expectError(ran, 2, 'error: The fleet file has problems:');
  for (const part of [
    '"B2" is not a name',
    '"x" is not a bucket name',
    'must be {"secretArn"}',
    '-1 is below 0',
    'colour',
  ]) {
    expect(ran.stderr).toContain(part);
  }
  expectError(await lab.run(['apply'], { env: { HOLDFAST_FLEET: '' } }), 2, 'HOLDFAST_FLEET is not set');
  expectError(
    await lab.run(['apply'], { env: { HOLDFAST_FLEET: 'no/such.json' } }),
    2,
    /"no\/such.json": no such file/,
  );
  writeFileSync(join(lab.dir, 'half.json'), '{"backends": [');
  expectError(await lab.run(['apply', '--fleet', 'half.json']), 2, 'it is not JSON');
});

test('missing tables point to init, also without a fleet', async () => {
  const env = { CONTROL_TABLE: 'other-control', OBJECTS_TABLE: 'other-objects', QUEUE_TABLE: 'other-queue' };

  expectError(
    await lab.run(['status'], { env }),
    1,
    'table "other-control" does not exist; check AWS_REGION and the names of the tables, or run `holdfast init`',
  );
  expectError(await lab.run(['put', 'k'], { env, stdin: 'x' }), 1, 'run `holdfast init`');
  const tick = await lab.run(['tick', 'replicator', '--json'], { env: { ...env, ...silent } });
  expect(tick.code).toBe(1);
  expect(tick.json()).toMatchObject({ outcome: 'error', message: expect.stringContaining('run `holdfast init`') });
});

test('an unreachable DynamoDB is named as such', async () => {
  const env = { AWS_ENDPOINT_URL_DYNAMODB: 'http://127.0.0.1:1' };

  expectError(await lab.run(['status'], { env }), 1, /DynamoDB is unreachable .*ECONNREFUSED 127.0.0.1:1/);
});

test('an unreachable backend is named by put, and by apply, which goes on with what is known of it', async () => {
  const [backend] = lab.stack.backends;
  backend!.server.faults.add({ kind: 'refuse', id: 'unreachable' });

  const put = await lab.run(['put', 'k'], { stdin: 'x', env: silent });
  const apply = await lab.run(['apply'], { env: silent });

  backend!.server.faults.clear('unreachable');
  expectError(put, 1, /Cannot put "k" \(1 bytes\): no backend can take it: Cannot .* on "local-1"/);
  expect(apply.stdout).toContain('Warning: Backend "local-1" does not answer: it keeps the capabilities it had');
  expect([apply.code, apply.stderr]).toEqual([0, '']);
});

test('a wrong secret is named by apply, with its key and region, although a HEAD says nothing of it [messages-name-the-cause]', async () => {
  const file = JSON.parse(readFileSync(lab.stack.fleetPath, 'utf8')) as { backends: { credentials: object }[] };
  const [first, ...others] = file.backends;
  const wrong = { ...first!, credentials: { ...first!.credentials, secretAccessKey: 'wrong' } };
  const HOLDFAST_FLEET = JSON.stringify({ ...file, backends: [wrong, ...others] });

  const apply = await lab.run(['apply'], { env: { ...silent, HOLDFAST_FLEET } });

  expectError(
    apply,
    1,
    /SignatureDoesNotMatch.*check the secret key that belongs to access key "LOCALLOCAL-1".*`region`/,
  );
});

test('no region and no credentials for the tables are each said with what to set [messages-name-the-cause]', async () => {
  const nothing = { AWS_CONFIG_FILE: '/none', AWS_SHARED_CREDENTIALS_FILE: '/none' };
  expectError(
    await lab.run(['status'], { env: { ...nothing, AWS_REGION: '' } }),
    1,
    'no AWS region is configured; set AWS_REGION',
  );
  const keyless = { ...nothing, AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' };
  expectError(
    await lab.run(['status'], { env: keyless }),
    1,
    'this process has no AWS credentials; set AWS_ACCESS_KEY_ID',
  );
});

test('a credential that this process lacks is named', async () => {
  const file = JSON.parse(readFileSync(lab.stack.fleetPath, 'utf8')) as { backends: object[] };
  const fleet = JSON.stringify({
    ...file,
    backends: file.backends.map((b) => ({ ...b, credentials: { env: 'MY_B2' } })),
  });
  const env = { HOLDFAST_FLEET: fleet };

  const ran = await lab.run(['apply'], { env: { ...env, MY_B2_ACCESS_KEY_ID: 'x' } });

  expectError(ran, 1, 'Cannot open backend "local-1": MY_B2_SECRET_ACCESS_KEY is not set in this process');
});

test('a bucket that belongs to another fleet is taken over only when that is asked for', async () => {
  const env = { CONTROL_TABLE: 'new-control', OBJECTS_TABLE: 'new-objects', QUEUE_TABLE: 'new-queue' };

  const refused = await lab.run(['init'], { env });
  const taken = await lab.run(['init', '--take-over', '--json'], { env });
  const old = await lab.run(['put', 'k'], { stdin: 'x', env: silent });

  expectError(refused, 1, /The bucket of backend "local-1" belongs to another fleet .*`init --take-over` claims it/);
  expect(taken.code).toBe(0);
  expectError(old, 1, 'The bucket of backend "local-1" belongs to another fleet');
  expect((await lab.run(['init', '--take-over'])).code).toBe(0);
});

test('files that cannot be read or written are named', async () => {
  await lab.holdfast.put('there', 'x');

  expectError(await lab.run(['put', 'k', 'no-such-file']), 1, 'Cannot read "no-such-file": no such file or directory');
  expectError(await lab.run(['put', 'k', lab.dir]), 1, 'it is a folder');
  expectError(
    await lab.run(['get', 'there', 'no/dir/file']),
    1,
    'Cannot write "no/dir/file": no such file or directory',
  );
  expectError(await lab.run(['get', 'there', lab.dir]), 1, 'it is a folder');
});

test('a bad log level and a bad parameter in the environment are named', async () => {
  expectError(await lab.run(['status'], { env: { HOLDFAST_LOG: 'loud' } }), 2, 'HOLDFAST_LOG is "loud"');
  expectError(await lab.run(['status'], { env: { BREAKER_FAILURES: 'many' } }), 2, 'BREAKER_FAILURES is "many"');
});

test('help and version need nothing at all', async () => {
  expect((await spawnCli(['--help'])).stdout).toContain('Usage: holdfast');
  expect((await spawnCli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test('an endpoint that is private, in whatever spelling, is refused until its backend is named', async () => {
  const fleet = (endpoint: string) =>
    JSON.stringify({
      backends: [{ name: 'near', endpoint, bucket: 'bucket', pathStyle: true, credentials: { env: 'NEAR' } }],
    });
  for (const endpoint of ['http://s3.example.com', 'https://localhost.', 'https://[::a9fe:a9fe]', 'https://0x7f.1'])
    expectError(
      await lab.run(['apply'], { env: { HOLDFAST_FLEET: fleet(endpoint), HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: 'other' } }),
      2,
      new RegExp(`Backend "near": endpoint ${endpoint.replace(/[[\]]/g, '.')}\\S* is (not https|loopback)`),
    );
  const waived = await lab.run(['apply', '--allow-private-endpoint', 'near'], {
    env: { HOLDFAST_FLEET: fleet('http://127.0.0.1:9'), HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: '' },
  });
  expect(waived.stderr).not.toContain('is loopback');
  expect(waived.code).toBe(1);
});

test('a server on this machine needs no leave where the tables are on it too, and only then', async () => {
  const backend = { endpoint: 'http://127.0.0.1:9', bucket: 'bucket', pathStyle: true };
  const fleet = (...credentials: unknown[]) =>
    JSON.stringify({ backends: credentials.map((one, i) => ({ ...backend, name: `near-${i}`, credentials: one })) });
  const apply = (env: Record<string, string>) =>
    lab.run(['apply'], { env: { HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: '', ...env } });
  const beside = await apply({ HOLDFAST_FLEET: fleet({ env: 'NEAR' }) });
  expect(beside.stderr).not.toContain('is loopback');
  expect(beside.stderr).toContain('near-0');
  const role = await apply({ HOLDFAST_FLEET: fleet('role') });
  expectError(role, 2, 'Backend "near-0": credentials "role" is for buckets on AWS');
  for (const elsewhere of ['https://dynamodb.us-east-1.amazonaws.com', 'http://10.0.0.7:8000', ''])
    expectError(
      await apply({ HOLDFAST_FLEET: fleet({ env: 'NEAR' }), AWS_ENDPOINT_URL_DYNAMODB: elsewhere }),
      2,
      'Backend "near-0": endpoint http://127.0.0.1:9 is loopback, private or link-local',
    );
});

test('a role is shown to S3 alone, whoever else answers below amazonaws.com [roles-stay-home]', async () => {
  const backends = [
    { name: 'api', endpoint: 'https://abc.execute-api.us-east-1.amazonaws.com', bucket: 'bucket', credentials: 'role' },
  ];
  expectError(
    await lab.run(['apply'], {
      env: { HOLDFAST_FLEET: JSON.stringify({ backends }), HOLDFAST_ALLOW_PRIVATE_ENDPOINTS: '' },
    }),
    2,
    'Backend "api": credentials "role" is for buckets on AWS',
  );
});

test('what would be unseen in a terminal is written out, whoever it comes from [unseen-text-is-shown]', async () => {
  const key = 'evil\u001b[2J\u2028\u202ekey';
  const ran = await lab.run(['locate', key]);
  expect(ran.code).toBe(1);
  expect(ran.stderr).toContain('evil\\u001b[2J\\u2028\\u202ekey');
  const asJson = await lab.run(['locate', key, '--json']);
  for (const unseen of ['\u001b', '\u2028', '\u202e']) expect(asJson.stdout).not.toContain(unseen);
  expect((asJson.json() as { error: string }).error).toContain('evil');
});

test('help of no verb is refused as that verb is; a key like a flag is told how to be given [exit-codes]', async () => {
  expectError(await lab.run(['help', 'nonsense']), 2, "error: unknown command 'nonsense'");
  expect((await lab.run(['help', 'nonsense', '--json'])).json()).toMatchObject({ kind: 'usage' });
  expect((await lab.run(['help', 'put'])).code).toBe(0);
  expectError(await lab.run(['rm', '-dash']), 2, "error: unknown option '-dash'; a name that begins with a dash comes");
  expect((await lab.run(['--json', 'rm', '--', '-dash'])).json()).toEqual({ key: '-dash', deleted: false });
});

test('a folder without tables says so, and what is in it is its owner’s alone, whoever made it [messages-name-the-cause]', async () => {
  const home = join(lab.dir, 'home');
  mkdirSync(home, { mode: 0o755 });
  const env = { HOLDFAST_HOME: home };
  expectError(
    await runCli(['status'], { env }),
    1,
    `error: The folder "${home}" holds no tables yet: \`holdfast run\``,
  );
  expect(statSync(join(home, 'dynamodb.sqlite')).mode & 0o777).toBe(0o600);
  chmodSync(join(home, 'dynamodb.sqlite'), 0o644);
  expect((await runCli(['ls'], { env })).code).toBe(1);
  expect(statSync(join(home, 'dynamodb.sqlite')).mode & 0o777).toBe(0o600);
  const notOne = join(lab.dir, 'half.json');
  expectError(
    await runCli(['status'], { env: { HOLDFAST_HOME: notOne } }),
    1,
    `error: Cannot make the folder "${notOne}": file already exists`,
  );
});

test('content that cannot be kept on its way is said with the folder, and how to name another [messages-name-the-cause]', async () => {
  const before = process.env.TMPDIR;
  process.env.TMPDIR = '/no/such';
  const ran = await lab.run(['put', 'kept'], { stdin: 'x' });
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
  expectError(ran, 1, 'error: Cannot keep what comes in "/no/such": no such file or directory; TMPDIR names another');
});

test('a take-over asks what it claimed: a breaker that was open keeps nobody waiting', async () => {
  const { faults } = lab.stack.backends[0]!.server;
  faults.add({ kind: 'refuse', id: 'dark' });
  const breaker = async () =>
    (await lab.json<{ backends: { breaker: string }[] }>(['status'], { env: silent })).backends[0]!.breaker;
  for (let tries = 0; tries < 8 && (await breaker()) === 'closed'; tries += 1)
    await lab.run(['tick', 'replicator'], { env: silent });
  expect(await breaker()).toBe('open');
  faults.clear('dark');
  await lab.json(['init', '--take-over'], { env: silent });
  expect(await breaker()).toBe('closed');
});
