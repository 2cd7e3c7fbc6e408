import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { systemClock } from '../../lib/base/clock.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import { createHoldfast, type Holdfast } from '../../lib/index.ts';
import { type Stack, startStack } from '../../lib/local/stack.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess, type HoldfastProcess } from '../../lib/process/process.ts';

/** A running embedded stack with its tables and fleet, a library, and plain S3 clients to check with. */
export interface Lab {
  readonly stack: Stack;
  readonly env: Record<string, string>;
  readonly holdfastProcess: HoldfastProcess;
  readonly holdfast: Holdfast;
  /** Sizes of what a bucket lists, by key, owner object aside: with a plain S3 client. */
  listed(backend: string): Promise<Map<string, number>>;
  /** SHA-256 of an object's bytes, read with a plain S3 client. */
  hashOf(backend: string, storageKey: string): Promise<string>;
  /** Until one of the backends has seen another request. */
  nextRequest(): Promise<void>;
  close(): Promise<void>;
}

/**
 * `fleetOf` makes the fleet of the running stack's. A second `apply` that moves or drops a backend waits until no process
 * knows the former place any more: half a minute.
 */
export async function openLab(
  tuning: Record<string, string> = {},
  fleetOf: (stack: Stack) => FleetFile | Promise<FleetFile> = ({ fleet }) => fleet,
): Promise<Lab> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-lab-'));
  const stack = await startStack({ dir });
  const env = { ...(process.env as Record<string, string>), ...stack.env, ...tuning };
  const holdfastProcess = createProcess({ env });
  await holdfastProcess.createTables();
  await apply(holdfastProcess, await fleetOf(stack));
  const holdfast = createHoldfast({ env });
  const raw = JSON.parse(await readFile(stack.fleetPath, 'utf8')) as {
    backends: {
      name: string;
      endpoint: string;
      bucket: string;
      credentials: { accessKeyId: string; secretAccessKey: string };
    }[];
  };
  const clients = new Map(
    raw.backends.map(({ name, endpoint, bucket, credentials }) => [
      name,
      { bucket, s3: new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true }) },
    ]),
  );
  return {
    stack,
    env,
    holdfastProcess,
    holdfast,
    async listed(backend) {
      const { s3, bucket } = clients.get(backend)!;
      const found = new Map<string, number>();
      let token: string | undefined;
      do {
        const page = await s3.send(new ListObjectsV2Command({ Bucket: bucket, ContinuationToken: token }));
        for (const { Key, Size } of page.Contents ?? []) if (!Key!.startsWith('.holdfast/')) found.set(Key!, Size!);
        token = page.NextContinuationToken;
      } while (token !== undefined);
      return found;
    },
    async hashOf(backend, storageKey) {
      const { s3, bucket } = clients.get(backend)!;
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: storageKey }));
      const hash = createHash('sha256');
      for await (const chunk of Body as AsyncIterable<Uint8Array>) hash.update(chunk);
      return hash.digest('hex');
    },
    nextRequest: () => Promise.race(stack.backends.map(({ server }) => server.requests.next())),
    async close() {
      await holdfast.close();
      await holdfastProcess.close();
      for (const { s3 } of clients.values()) s3.destroy();
      await stack.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Gives every lease back, as its expiry would: so that a test need not wait for it. */
export async function expireLeases(lab: Lab, worker: string): Promise<void> {
  for (const lease of await lab.holdfastProcess.store.leases(worker)) {
    if (lease.expiresAt > systemClock.now()) await lab.holdfastProcess.store.updateLease(lease, { expiresAt: 0 });
  }
}
