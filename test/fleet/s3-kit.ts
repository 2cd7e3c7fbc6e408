import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { defined } from '../../lib/base/defined.ts';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import { connectS3 } from '../../lib/fleet/s3/connection.ts';
import { createS3Backend, type S3Backend, type S3BackendOptions } from '../../lib/fleet/s3-backend.ts';
import { createS3Server, type S3Server } from '../../lib/local/s3/server.ts';
import { everything as inMemory } from '../../lib/testing/backend/memory-backend.ts';

export const keys = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/with+odd=chars' };
export const bucket = 'bucket-a';
/** At the same endpoint; nobody empties it. */
export const otherBucket = 'bucket-b';

export const everything: Capabilities = {
  ...inMemory,
  startsAfterKeys: true,
  listsHeadEtags: true,
  tags: true,
  maxParts: 10_000,
  metadataBytes: 2048,
  maxKeyBytes: 1024,
  pagesWhole: true,
  keepsHeaders: true,
  keepsKeys: true,
  takesDotSegments: true,
  takesEmptySegments: true,
  takesTrailingSlash: true,
  takesBackslashes: true,
  takesControlCharacters: true,
  takesNestedKeys: true,
  discardsTruncated: true,
  namesGoneUploads: true,
};

/** An embedded S3 server, and backends on it. */
export interface S3Kit {
  readonly server: S3Server;
  /** What `connect` starts from. */
  readonly options: S3BackendOptions;
  connect(options?: Partial<S3BackendOptions>): S3Backend;
  /** Keys of all versions and delete markers in the bucket. */
  versions(): Promise<string[]>;
  /** Removes all objects, uploads and faults. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** A kit for all tests of a file, emptied before each, and a backend on it. */
export function s3ForFile(options: Partial<S3BackendOptions>): { readonly kit: S3Kit; readonly backend: S3Backend } {
  let kit: S3Kit;
  let backend: S3Backend;
  beforeAll(async () => {
    kit = await startS3();
    backend = kit.connect(options);
  });
  beforeEach(() => kit.reset());
  afterAll(() => kit.close());
  // They stand for what runs just then.
  return {
    kit: new Proxy({} as S3Kit, { get: (_, name) => Reflect.get(kit, name) }),
    backend: new Proxy({} as S3Backend, { get: (_, name) => Reflect.get(backend, name) }),
  };
}

/** `clock`: of the server and the backends; requests are signed by the machine's, whatever it says. */
export async function startS3(clock: Clock = systemClock, minPartBytes?: number): Promise<S3Kit> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-fleet-'));
  const server = await createS3Server({
    dir,
    buckets: [bucket, otherBucket],
    credentials: [keys],
    clock,
    ...defined({ minPartBytes }),
    ...(clock !== systemClock && { maxClockSkewMs: Number.POSITIVE_INFINITY }),
  });
  const open: S3Backend[] = [];
  const options: S3BackendOptions = {
    name: 'cold-1',
    endpoint: server.endpoint,
    region: 'us-east-1',
    bucket,
    prefix: '',
    pathStyle: true,
    credentials: keys,
    capabilities: everything,
    clock,
  };
  const connect = (more: Partial<S3BackendOptions> = {}): S3Backend => {
    const backend = createS3Backend({ ...options, ...more });
    open.push(backend);
    return backend;
  };
  const sweeper = connect({ name: 'sweeper' });
  return {
    server,
    options,
    connect,
    async versions() {
      const s3 = connectS3(options);
      const page = await (await s3.sdk()).once.send(new ListObjectVersionsCommand({ Bucket: bucket }));
      s3.close();
      return [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].map((entry) => entry.Key ?? '');
    },
    async reset() {
      server.faults.clear();
      for (;;) {
        const { items, next } = await sweeper.list({});
        await sweeper.delete(items);
        if (next === undefined) return;
      }
    },
    async close() {
      for (const backend of open) backend.close();
      await server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
