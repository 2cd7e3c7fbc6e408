import { createCipheriv, createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { forEachConcurrently } from '../../lib/base/pool.ts';
import { parseFleetText } from '../../lib/config/parse-fleet-file.ts';
import { createHoldfast } from '../../lib/index.ts';
import { apply } from '../../lib/operations/apply.ts';
import { recount } from '../../lib/operations/recount.ts';
import { createProcess, type HoldfastProcess } from '../../lib/process/process.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { replicator } from '../../lib/workers/replicator/replicator.ts';
import { seeded } from '../support/fleet.ts';
import { type LocalStack, startLocalStack } from './local-stack.ts';

const objects = Number(process.env.BULK_OBJECTS ?? 10_000);
const putsAtOnce = 32;
const dir = mkdtempSync(join(tmpdir(), 'holdfast-bulk-'));
const tuning = { REPLICATOR_BATCH_SIZE: '1000', REPLICATOR_CONCURRENCY: '16' };
let stack: LocalStack;
let holdfastProcess: HoldfastProcess;
let env: Record<string, string>;

beforeAll(async () => {
  const backends = ['a', 'b'].map((name) => ({ name, bucket: `bulk-${name}`, credentials: 'role' }));
  stack = await startLocalStack(dir, { backends, policies: { default: { factor: 2 } } });
  env = { ...stack.env, ...tuning };
  holdfastProcess = createProcess({ env });
  await holdfastProcess.createTables();
  await apply(holdfastProcess, fleet());
});

afterAll(async () => {
  await holdfastProcess?.close();
  await stack?.close();
  rmSync(dir, { recursive: true, force: true });
});

const fleet = () => parseFleetText(readFileSync(stack.env.HOLDFAST_FLEET!, 'utf8'));
const random = seeded(20261123);
const sizes = Array.from({ length: objects }, () => 1024 + Math.floor(random() * 99 * 1024));
const keyOf = (i: number) => `bulk/${i % 100}/${i}`;

/** Bytes that no compression or coincidence makes alike; the same for the same number. */
function contentOf(i: number): Buffer {
  const seed = Buffer.alloc(16);
  seed.writeUInt32BE(i);
  return createCipheriv('aes-128-ctr', seed, Buffer.alloc(16)).update(Buffer.alloc(sizes[i]!));
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Says how many objects a second something took, and the CPU time of this process for each. */
async function measured(what: string, act: () => Promise<void>): Promise<void> {
  const from = performance.now();
  const cpu = process.cpuUsage();
  await act();
  const seconds = (performance.now() - from) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const cpuMs = (user + system) / 1000 / objects;
  process.stdout.write(
    `${what}: ${objects} objects in ${seconds.toFixed(1)} s, ${(objects / seconds).toFixed(0)}/s, ${cpuMs.toFixed(2)} ms of CPU each\n`,
  );
}

/** Hashes of everything in a bucket, by object key: with a plain S3 client. */
async function hashesOn(backend: ReturnType<typeof fleet>['backends'][number]): Promise<Map<string, string>> {
  const { endpoint, bucket, credentials } = backend;
  const keys = credentials as { accessKeyId: string; secretAccessKey: string };
  const s3 = new S3Client({ endpoint: endpoint!, credentials: keys, region: 'us-east-1', forcePathStyle: true });
  const hashes = new Map<string, string>();
  let token: string | undefined;
  do {
    const page = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'bulk/', ContinuationToken: token }));
    await forEachConcurrently(page.Contents ?? [], 16, async ({ Key }) => {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key }));
      const key = Key!.slice(0, Key!.lastIndexOf('!'));
      expect(hashes.has(key)).toBe(false);
      hashes.set(key, sha256(await Body!.transformToByteArray()));
    });
    token = page.NextContinuationToken;
  } while (token !== undefined);
  s3.destroy();
  return hashes;
}

test(`${objects} objects of 1 to 100 KiB at factor 2 stand byte-identical on two backends, and the ledger is exact`, async () => {
  const expected = new Map<string, string>();
  const holdfast = createHoldfast({ env });
  await measured('put', () =>
    forEachConcurrently(sizes.keys(), putsAtOnce, async (i) => {
      const content = contentOf(i);
      expected.set(keyOf(i), sha256(content));
      await holdfast.put(keyOf(i), content);
    }),
  );
  await holdfast.close();
  await measured('replicate', async () => {
    const report = await runTick(holdfastProcess, replicator, { deadline: Date.now() + 1_000_000 });
    expect(report).toMatchObject({ outcome: 'success', succeeded: objects, failed: 0, skipped: 0, deferred: 0 });
  });
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  process.stdout.write(`peak memory of the process that put and replicated: ${peakMiB.toFixed(0)} MiB\n`);
  await measured('verify both copies', async () => {
    for (const backend of fleet().backends) {
      const hashes = await hashesOn(backend);
      expect(hashes.size).toBe(objects);
      for (const [key, hash] of expected)
        if (hashes.get(key) !== hash) throw new Error(`"${key}" differs on ${backend.name}`);
    }
  });
  await measured('recount', async () => {
    expect(await recount(holdfastProcess, false)).toMatchObject({ differences: [], moved: [] });
  });
});
