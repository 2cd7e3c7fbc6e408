import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../lib/base/clock.ts';
import { createS3Backend } from '../../lib/fleet/s3-backend.ts';
import { createS3Server, type S3Server } from '../../lib/local/s3/server.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-interrupt-'));
const credentials = { accessKeyId: 'AKIA', secretAccessKey: 'secret' };
let server: S3Server;

beforeAll(async () => {
  const named = { buckets: ['tried'], credentials: [credentials], clock: systemClock };
  server = await createS3Server({ dir: join(dir, 'server'), ...named });
  const { endpoint } = server;
  const target = { name: 'mine', endpoint, region: 'us-east-1', bucket: 'tried', pathStyle: true, credentials };
  writeFileSync(join(dir, 'mine.json'), JSON.stringify([target]));
});
afterAll(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => {
  server.faults.clear();
  server.requests.clear();
  rmSync(join(dir, 'tmp'), { recursive: true, force: true });
  mkdirSync(join(dir, 'tmp'));
});

async function keysLeft(): Promise<string[]> {
  const { endpoint } = server;
  const at = { name: 'mine', endpoint, region: 'us-east-1', bucket: 'tried', prefix: '', pathStyle: true };
  const backend = createS3Backend({ ...at, credentials, clock: systemClock, capabilities: {} });
  const { items } = await backend.list({});
  backend.close();
  return items.map(({ storageKey }) => storageKey);
}

/** A run against the server here, which is sent a signal once it has written something. */
async function interrupted(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
  const script = join(import.meta.dirname, 'main.ts');
  const env = { ...process.env, TMPDIR: join(dir, 'tmp') };
  const child = spawn(process.execPath, [script, '--endpoints', join(dir, 'mine.json')], { env });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = once(child, 'close');
  while (server.requests.count({ operation: 'PutObject', status: 200 }) === 0) await server.requests.next();
  child.kill(signal);
  const [code] = (await ended) as [number | null];
  return { code, errors, folders: readdirSync(join(dir, 'tmp')) };
}

test('a run that is ended removes what it wrote, and its folder', async () => {
  const { code, errors, folders } = await interrupted('SIGTERM');
  expect([code, folders, await keysLeft()]).toEqual([143, [], []]);
  expect(errors).toMatch(/mine: nothing is left below "holdfast-real-[0-9A-Z]{26}\/"/);
});

test('where nothing can be deleted, a run that is ended names the prefix, the bucket and the endpoint', async () => {
  for (const operation of ['DeleteObject', 'DeleteObjects'])
    server.faults.add({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation } });
  const { code, errors, folders } = await interrupted('SIGINT');
  expect([code, folders]).toEqual([130, []]);
  const left = await keysLeft();
  expect(left.length).toBeGreaterThan(0);
  const prefix = `${left[0]!.split('/')[0]}/`;
  expect(errors).toContain(`remove what is below "${prefix}" in bucket "tried" at ${server.endpoint} yourself`);
});
