import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { type Bucket, openBucket } from './bucket.ts';
import { bucketPaths } from './disk-layout.ts';
import { S3Error } from './errors.ts';
import { createIds, type Ids } from './ids.ts';
import { openUploads, type Uploads } from './uploads.ts';

export interface StoredBucket extends Bucket {
  readonly uploads: Uploads;
}

/** All buckets of one folder. */
export interface Store {
  readonly ids: Ids;
  names(): string[];
  find(name: string): StoredBucket | undefined;
  /** Throws NoSuchBucket. */
  bucket(name: string): StoredBucket;
  create(name: string): StoredBucket;
  delete(bucket: StoredBucket): void;
  close(): void;
}

export function openStore(dir: string, clock: Clock): Store {
  mkdirSync(dir, { recursive: true });
  const ids = createIds(dir);
  const deps = { clock, ids, isCaseBlind: isCaseBlind(dir) };
  const buckets = new Map<string, StoredBucket>();

  const open = (name: string): StoredBucket => {
    const paths = bucketPaths(dir, name);
    const bucket: StoredBucket = { ...openBucket(deps, name, paths), uploads: openUploads(deps, paths) };
    buckets.set(name, bucket);
    return bucket;
  };
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory() && existsSync(bucketPaths(dir, entry.name).bucket)) open(entry.name);
  }

  return {
    ids,
    names: () => [...buckets.keys()].sort(),
    find: (name) => buckets.get(name),
    bucket(name) {
      const bucket = buckets.get(name);
      if (!bucket) throw new S3Error('NoSuchBucket', { fields: { BucketName: name } });
      return bucket;
    },
    create(name) {
      assertBucketName(name);
      if (buckets.has(name)) throw new S3Error('BucketAlreadyOwnedByYou', { fields: { BucketName: name } });
      return open(name);
    },
    delete(bucket) {
      if (bucket.keys.size > 0) throw new S3Error('BucketNotEmpty', { fields: { BucketName: bucket.name } });
      buckets.delete(bucket.name);
      bucket.close();
      rmSync(bucket.paths.root, { recursive: true, force: true });
    },
    close() {
      for (const bucket of buckets.values()) bucket.close();
      buckets.clear();
    },
  };
}

function assertBucketName(name: string): void {
  const isValid =
    /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes('..') && !/^\d+(\.\d+){3}$/.test(name);
  if (!isValid) throw new S3Error('InvalidBucketName', { fields: { BucketName: name } });
}

/** Whether this file system takes `a` and `A` for the same name. */
function isCaseBlind(dir: string): boolean {
  const lookup = join(dir, '.case-check');
  writeFileSync(lookup, '');
  const isBlind = existsSync(join(dir, '.CASE-PROBE'));
  rmSync(lookup, { force: true });
  return isBlind;
}
