import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import type { Capabilities } from '../../lib/fleet/backend.ts';
import { createS3Backend, type S3Backend, type S3BackendOptions } from '../../lib/fleet/s3-backend.ts';
import { createS3Server, type S3Server } from '../../lib/local/s3/server.ts';

export const keys = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/with+odd=chars' };
export const bucket = 'bucket-a';

export const everything: Capabilities = {
  conditionalPut: true,
  conditionalDelete: true,
  checksumSha256: true,
  bulkDelete: true,
  keepsVersions: false,
  partCopy: true,
  listsInByteOrder: true,
  keepsMetadata: true,
};

/** An embedded S3 server, and backends on it. */
export interface S3Kit {
  readonly server: S3Server;
  connect(options?: Partial<S3BackendOptions>): S3Backend;
  /** Removes all objects, uploads and faults. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export async function startS3(): Promise<S3Kit> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-fleet-'));
  const server = await createS3Server({ dir, buckets: [bucket], credentials: [keys], clock: systemClock });
  const open: S3Backend[] = [];
  const connect = (options: Partial<S3BackendOptions> = {}): S3Backend => {
    const backend = createS3Backend({
      name: 'cold-1',
      endpoint: server.endpoint,
      region: 'us-east-1',
      bucket,
      prefix: '',
      pathStyle: true,
      credentials: keys,
      capabilities: everything,
      clock: systemClock,
      ...options,
    });
    open.push(backend);
    return backend;
  };
  const sweeper = connect({ name: 'sweeper' });
  return {
    server,
    connect,
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
