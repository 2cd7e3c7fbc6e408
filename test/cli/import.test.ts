import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProcess } from '../../lib/process/process.ts';
import { type CliLab, startCli } from './kit.ts';

const fleetText = JSON.stringify({
  backends: ['full', 'second'].map((name) => ({
    name,
    bucket: `bucket-${name}`,
    credentials: 'role',
    egressUsdPerGb: name === 'full' ? 0.09 : 0.01,
  })),
  policies: { default: { factor: 2 }, secret: { prefix: 'secret/', factor: 2, encrypt: true } },
  encryption: { rawKeyEnv: 'FLEET_KEY' },
});
const files = 25;
const fileBytes = 4_000;
let lab: CliLab;
let put: (backend: string, key: string, body: string) => Promise<void>;

beforeAll(async () => {
  lab = await startCli({ fleetText });
  await lab.json(['init']);
  const clients = new Map(
    lab.stack.fleet.backends.map(({ name, endpoint, credentials }) => [
      name,
      new S3Client({
        endpoint: endpoint!,
        region: 'us-east-1',
        forcePathStyle: true,
        credentials: credentials as { accessKeyId: string; secretAccessKey: string },
      }),
    ]),
  );
  put = async (backend, key, body) => {
    await clients.get(backend)!.send(new PutObjectCommand({ Bucket: `bucket-${backend}`, Key: key, Body: body }));
  };
  for (let i = 0; i < files; i += 1) await put('full', `photos/${i}.jpg`, `${i} `.padEnd(fileBytes, 'x'));
  await put('second', 'photos/1.jpg', '1 '.padEnd(fileBytes, 'x'));
  await put('second', 'photos/2.jpg', 'something else');
});
afterAll(() => lab.close());

const unencrypted =
  'warning: Policy "secret" encrypts what is put. A file that is imported is not encrypted, and neither are the copies that are made of it\n';

interface Planned {
  readonly isComplete: boolean;
  readonly warnings: readonly string[];
  readonly listed: number;
  readonly found: Readonly<Record<string, number>>;
  readonly import: {
    readonly listRequests: number;
    readonly readUnits: number;
    readonly writeUnits: number;
    readonly usd: number;
  };
  readonly replication: {
    readonly copies: number;
    readonly bytes: number;
    readonly egress: readonly { readonly backend: string; readonly bytes: number; readonly usd: number }[];
    readonly usd: number;
  };
}

/** Everything in the tables but what requests cost. */
async function tables(): Promise<unknown[]> {
  const holdfastProcess = createProcess({ env: lab.stack.env });
  const { rows, counters } = await holdfastProcess.store.control('fleet');
  const entries = await holdfastProcess.store.everyEntry(undefined, 1000);
  const leases = await holdfastProcess.store.leases('reconciler');
  await holdfastProcess.close();
  return [rows, counters, entries, leases];
}

test('a dry run counts and prices, with each backend’s own price of egress, and writes nothing [dry-runs-change-nothing]', async () => {
  const before = await tables();
  const planned = await lab.json<Planned>(['import', 'full', 'second', '--dry-run']);
  expect(await tables()).toEqual(before);
  expect(planned).toMatchObject({
    isComplete: true,
    listed: files + 2,
    found: { 'would-import': files, 'would-join': 1, 'would-conflict': 1 },
    import: { listRequests: 1, readUnits: files + 2 },
    replication: { copies: files - 1, bytes: (files - 1) * fileBytes },
  });
  expect(planned.import.writeUnits / files).toBeGreaterThan(4);
  expect(planned.import.writeUnits / files).toBeLessThan(4.6);
  const egress = ((files - 1) * fileBytes) / 1e9;
  expect(planned.replication.egress).toEqual([
    { backend: 'full', bytes: (files - 1) * fileBytes, usd: expect.closeTo(egress * 0.09, 9) },
  ]);
  const tooDear = await lab.run(['import', 'full', 'second', '--max-usd', '0', '--json']);
  expect(tooDear.code).toBe(1);
  expect(tooDear.json()).toMatchObject({ kind: 'over-max-usd', error: expect.stringMatching(/nothing was begun$/) });
  expect(await tables()).toEqual(before);
  const people = await lab.run(['import', 'full', 'second', '--dry-run']);
  expect(people.code).toBe(0);
  expect([people.stderr.includes('encrypts'), planned.warnings]).toEqual([
    false,
    [unencrypted.slice('warning: '.length, -1)],
  ]);
  expect(people.stdout).toContain('Warning: Policy "secret" encrypts what is put. A file that is imported is not');
  expect(people.stdout).toMatch(/would-import +25 .*\n[\s\S]*first replication: egress of full +93\.8 KiB +0\.00/);
});

test('who stops the count of an import that is to cost no more than so much has begun nothing', async () => {
  const before = await tables();
  const { server } = lab.stack.backends.find(({ name }) => name === 'full')!;
  server.requests.clear();
  server.faults.add({ kind: 'hang', id: 'hang', match: { operation: 'ListObjectsV2' } });
  const running = lab.run(['import', 'full', '--max-usd', '100', '--json']);
  while (server.requests.count({ operation: 'HeadObject' }) === 0) await server.requests.next();
  process.emit('SIGINT', 'SIGINT');
  server.faults.clear('hang');
  const { code, stderr } = await running;
  expect([code, stderr]).toEqual([130, expect.stringContaining('SIGINT: what is in flight ends first')]);
  expect(await tables()).toEqual(before);
});

test('an import ends with a table that accounts for every listed key, and every object is under-replicated until the replicator’s next tick [imports-account-for-keys]', async () => {
  const ran = await lab.run(['import', 'full', 'second', '--json']);
  expect(ran.code).toBe(0);
  expect(ran.json()).toMatchObject({
    isComplete: true,
    listed: files + 2,
    bytes: (files + 1) * fileBytes + 'something else'.length,
    found: { imported: files, joined: 1, conflict: 1 },
    named: [{ what: 'conflict', backend: 'second', key: 'photos/2.jpg' }],
  });
  // What was left alone is named there, and nowhere else.
  expect(ran.stderr).toBe(unencrypted);
  expect(await lab.json(['status'])).toMatchObject({ objects: files, underReplicated: files - 1 });
  expect(await lab.json(['tick', 'replicator'])).toMatchObject({ succeeded: files - 1 });
  expect(await lab.json(['status'])).toMatchObject({ underReplicated: 0, queue: { dead: { objects: 0 } } });
  expect(await lab.json(['recount'])).toMatchObject({ differences: [] });
});

test('once more, everything is known: plain lines where there is no terminal, and what is not to be imported is said', async () => {
  await put('full', `${'long/'.repeat(204)}`, 'x');
  const ran = await lab.run(['import', 'full']);
  expect(ran.code).toBe(0);
  expect(ran.stderr.replace(unencrypted, '')).toMatch(
    /^26 files · \d+ a second · [\d.]+ KiB · about 100 % of the keys\n$/,
  );
  expect(ran.stdout).toMatch(/known +25 /);
  expect(ran.stdout).toMatch(/too-long +1 /);
  expect(ran.stdout).toMatch(/too-long +full +long\/long\//);
  const none = await lab.run(['import', 'full', '--prefix', 'no such/']);
  expect(none).toMatchObject({
    code: 0,
    stdout: 'No listed key begins with "no such/" on full: nothing was imported\n',
  });
  const again = await lab.json<Planned>(['import', 'full', '--prefix', 'photos/1', '--dry-run']);
  expect(again).toMatchObject({ found: { known: 11 }, warnings: [], replication: { copies: 0, usd: 0 } });
});
