import { posix } from 'node:path';
import type { Context } from './context.ts';
import { S3Error } from './errors.ts';
import type { RequestFaults } from './faults.ts';
import type { Operation } from './operations.ts';
import type { StoredBucket } from './store.ts';

/** The key that a server with these faults makes of a key it was told; throws where it takes none like it. */
export function keyAsTaken(key: string, faults: RequestFaults): string {
  const refuses = faults.take('refuse-keys', ({ pattern }) => new RegExp(pattern, 'u').test(key));
  if (refuses) throw new S3Error('InvalidArgument', { message: 'Object name contains unsupported characters.' });
  if (key === '' || !faults.take('resolve-paths')) return key;
  return posix.normalize(key.replaceAll('\\', '/')).replace(/^(\.\.?(\/|$))+|^\/+/, '') || key;
}

const CREATING: ReadonlySet<Operation> = new Set(['PutObject', 'CopyObject', 'CreateMultipartUpload']);

/** A file is no folder, and a folder no file. */
export function assertNotNested({ request, store, faults }: Context): void {
  if (!CREATING.has(request.operation)) return;
  const bucket = store.find(request.bucket);
  if (bucket === undefined || !isNested(bucket, request.key) || !faults.take('refuse-nested')) return;
  throw new S3Error('InvalidRequest', 'Object is part of another as a folder.');
}

function isNested(bucket: StoredBucket, key: string): boolean {
  const { keys } = bucket;
  if (keys.at(keys.firstFrom(`${key}/`))?.startsWith(`${key}/`)) return true;
  const folders = key.split('/').slice(0, -1);
  return folders.some((_, i) => {
    const folder = folders.slice(0, i + 1).join('/');
    return keys.at(keys.firstFrom(folder)) === folder;
  });
}
