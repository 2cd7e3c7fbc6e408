import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import { resolve } from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recount } from '../../lib/operations/recount.ts';
import { rangesOfPass } from '../../lib/store/pass-rows.ts';
import { seeded } from '../support/fleet.ts';
import { expireLeases, type Lab, openLab } from '../support/lab.ts';
import { listenOnLoopback } from '../support/loopback.ts';

const bin = resolve(import.meta.dirname, '../../bin/holdfast.js');
const files = 600;
const kills = 10;
const pass = 'import/local-1';
let lab: Lab;
let front: Server;
let frontEndpoint: string;
/** Told of every transaction before it is passed on. */
let onTransaction: () => void = () => {};

beforeAll(async () => {
  lab = await openLab();
  const { hostname, port } = new URL(lab.stack.dynamodbEndpoint);
  front = createServer((from, answer) => {
    if (String(from.headers['x-amz-target']).endsWith('TransactWriteItems')) onTransaction();
    const to = request({ hostname, port, method: from.method, path: from.url, headers: from.headers }, (reply) => {
      answer.writeHead(reply.statusCode!, reply.headers);
      reply.pipe(answer);
    });
    to.on('error', () => answer.destroy());
    from.on('error', () => to.destroy());
    from.pipe(to);
  });
  frontEndpoint = await listenOnLoopback(front);
  const { endpoint, credentials, bucket } = lab.stack.fleet.backends[0]!;
  const keys = credentials as { accessKeyId: string; secretAccessKey: string };
  const s3 = new S3Client({ endpoint: endpoint!, credentials: keys, region: 'us-east-1', forcePathStyle: true });
  for (let i = 0; i < files; i += 1)
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key: `photos/${String(i).padStart(4, '0')}`, Body: `${i}` }));
  s3.destroy();
});
afterAll(async () => {
  front?.closeAllConnections();
  front?.close();
  await lab?.close();
});

/** Runs the import as its own process, and sends it a signal when it sends so many transactions; returns what it said. */
async function importSignalledAt(
  transactions: number,
  signal: 'SIGINT' | 'SIGKILL',
  ...flags: readonly string[]
): Promise<{ code: number | null; stdout: string }> {
  const env = { ...lab.env, AWS_ENDPOINT_URL_DYNAMODB: frontEndpoint, RECONCILER_BATCH_SIZE: '20' };
  const child = spawn(process.execPath, [bin, 'import', 'local-1', ...flags], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += String(chunk);
  });
  let seen = 0;
  onTransaction = () => {
    seen += 1;
    if (seen === transactions) child.kill(signal);
  };
  const [code] = (await once(child, 'close')) as [number | null];
  onTransaction = () => {};
  return { code, stdout };
}

/** Kills the import, if it does not end before; what it held is given back as its time would. */
async function importKilledAt(transactions: number): Promise<{ code: number | null; stdout: string }> {
  const ran = await importSignalledAt(transactions, 'SIGKILL', '--json');
  await expireAll();
  return ran;
}

/** Gives back what a process held that is gone, as its time would. */
async function expireAll(): Promise<void> {
  await expireLeases(lab, 'reconciler');
  const { store } = lab.holdfastProcess;
  for (const { version, id, holder: _holder, heldUntil: _until, ...state } of await rangesOfPass(store, pass)) {
    const data = JSON.parse(JSON.stringify(state)) as Record<string, unknown>;
    const put = { pk: `pass/${pass}`, sk: `range/${id}`, version: version + 1, data };
    await store.write({ kind: 'row', put, expect: version });
  }
}

async function generations(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (let i = 0; i < files; i += 100) {
    const keys = Array.from({ length: 100 }, (_, j) => `photos/${String(i + j).padStart(4, '0')}`);
    for (const [key, entry] of await lab.holdfastProcess.store.objects(keys)) found.set(key, entry.generation);
  }
  return found;
}

test('Ctrl-C ends an import after what is in flight, and says how to go on; nobody waits to go on', async () => {
  const interrupted = await importSignalledAt(4, 'SIGINT');
  expect(interrupted.code).toBe(130);
  expect(interrupted.stdout).toContain('The pass did not reach its end: `holdfast import local-1` goes on from here');
  const [, some = 'none'] = /imported +(\d+)/.exec(interrupted.stdout) ?? [];
  // What was in flight is recorded and counted, and its ranges are held by nobody: no row waits for a time to pass.
  expect((await generations()).size).toBe(Number(some));
  expect(Number(some)).toBeLessThan(files);
  const ranges = await rangesOfPass(lab.holdfastProcess.store, pass);
  expect(ranges.filter(({ holder }) => holder !== undefined)).toEqual([]);
  expect((await recount(lab.holdfastProcess, false)).differences).toEqual([]);
  const again = await importSignalledAt(4, 'SIGINT');
  expect(again.stdout).toMatch(/goes on from here/);
  expect((await generations()).size).toBeGreaterThan(Number(some));
});

test('kill -9 at ten moments of an import: going on loses nothing and imports nothing twice, and the ledger is exact [imports-go-on]', async () => {
  const random = seeded(20261128);
  let before = new Map<string, string>();
  for (let kill = 0; kill < kills; kill += 1) {
    const { code } = await importKilledAt(2 + Math.floor(random() * 6));
    if (code === 0) break;
    const after = await generations();
    for (const [key, generation] of before) expect(after.get(key)).toBe(generation);
    expect((await recount(lab.holdfastProcess, false)).differences).toEqual([]);
    before = after;
  }
  expect(before.size).toBeGreaterThan(0);
  const { code, stdout } = await importKilledAt(Number.POSITIVE_INFINITY);
  expect(code).toBe(0);
  const { isComplete, listed, found } = JSON.parse(stdout) as {
    isComplete: boolean;
    listed: number;
    found: Record<string, number>;
  };
  expect({ isComplete, listed }).toEqual({ isComplete: true, listed: files });
  expect((found.imported ?? 0) + (found.known ?? 0)).toBe(files);
  const after = await generations();
  expect(after.size).toBe(files);
  for (const [key, generation] of before) expect(after.get(key)).toBe(generation);
  expect((await recount(lab.holdfastProcess, false)).differences).toEqual([]);
});
