import { type FileHandle, open, stat } from 'node:fs/promises';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { forEachConcurrently } from '../../base/pool.ts';
import type { SourceFile } from './files.ts';

/** How a bucket is reached: all that the check knows of the fleet. */
export interface Bucket {
  readonly name: string;
  readonly endpoint: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface BucketCheck {
  readonly name: string;
  copies: number;
  bytes: number;
  /** Copies whose bytes are those of the file on disk. */
  verified: number;
}

export interface Check {
  readonly buckets: readonly BucketCheck[];
  readonly problems: readonly string[];
  /** Files that somebody changed on disk while the demo ran: there is nothing to compare with. */
  readonly changedFiles: readonly string[];
}

/** What the run knows that no bucket says. */
export interface Known {
  /** When each file was read. */
  readonly putAt: ReadonlyMap<string, number>;
  /** Bytes that are queued for deletion and not due yet. */
  readonly waiting: readonly { readonly backend: string; readonly storageKey: string }[];
}

const concurrency = 16;
/** `<object key>!<copy id>`: all that has to be known of how Holdfast names its bytes. */
const storageKeyPattern = /^(.+)!([0-9A-HJKMNP-TV-Z]{26})$/s;

/**
 * Reads every copy in every bucket with a plain S3 client and compares it with the file on disk, byte for byte. What
 * is there is what the buckets list.
 */
export async function verifyCopies(
  buckets: readonly Bucket[],
  files: readonly SourceFile[],
  factor: number,
  { putAt, waiting }: Known,
  onCopy: () => void,
): Promise<Check> {
  const byKey = new Map(files.map((file) => [file.key, file]));
  const copies = new Map<string, string[]>();
  const problems: string[] = [];
  const changed = new Set<string>();
  const checks = buckets.map(({ name }): BucketCheck => ({ name, copies: 0, bytes: 0, verified: 0 }));
  for (const [i, bucket] of buckets.entries()) {
    const s3 = plainClient(bucket);
    const check = checks[i]!;
    const doomed = new Set(waiting.flatMap(({ backend, storageKey }) => (backend === bucket.name ? [storageKey] : [])));
    const listed = (await listAll(s3, bucket.bucket)).filter((storageKey) => !doomed.has(storageKey));
    await forEachConcurrently(listed, concurrency, async (storageKey) => {
      const key = storageKeyPattern.exec(storageKey)?.[1] ?? storageKey;
      const file = byKey.get(key);
      if (file === undefined || (key === storageKey && file.importedOn !== bucket.name)) {
        problems.push(`${bucket.name} holds "${storageKey}", which should not be there`);
        return;
      }
      copies.set(key, [...(copies.get(key) ?? []), bucket.name]);
      check.copies += 1;
      check.bytes += file.sizeBytes;
      onCopy();
      if (await isSame(s3, bucket.bucket, storageKey, file)) check.verified += 1;
      else if (await hasChanged(file, putAt.get(key) ?? 0)) changed.add(key);
      else problems.push(`${bucket.name}: "${storageKey}" differs from ${file.path}`);
    });
    s3.destroy();
  }
  for (const { key } of files) {
    const on = copies.get(key) ?? [];
    if (on.length !== factor || new Set(on).size !== factor)
      problems.push(`"${key}" has ${on.length} copies (${on.join(', ') || 'none'}) instead of ${factor}`);
  }
  return { buckets: checks, problems, changedFiles: [...changed] };
}

/** An S3 client as anybody would make it. */
export function plainClient({ endpoint, accessKeyId, secretAccessKey }: Bucket): S3Client {
  const credentials = { accessKeyId, secretAccessKey };
  return new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
}

/** Keys of a bucket, those for Holdfast's own use aside. */
export async function listAll(s3: S3Client, bucket: string, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  let token: string | undefined;
  do {
    const page = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ContinuationToken: token }));
    for (const { Key } of page.Contents ?? []) if (Key !== undefined && !Key.startsWith('.holdfast/')) keys.push(Key);
    token = page.NextContinuationToken;
  } while (token !== undefined);
  return keys;
}

async function hasChanged({ path }: SourceFile, since: number): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found === null || found.mtimeMs > since;
}

async function isSame(s3: S3Client, bucket: string, storageKey: string, file: SourceFile): Promise<boolean> {
  const disk = await open(file.path).catch(() => null);
  if (disk === null) return false;
  try {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: storageKey }));
    let offset = 0;
    let isEqual = true;
    for await (const chunk of Body as AsyncIterable<Uint8Array>) {
      // The answer is read to its end, so that its connection can be used again.
      isEqual &&= (await readAt(disk, offset, chunk.length)).equals(chunk);
      offset += chunk.length;
    }
    return isEqual && (await disk.stat()).size === offset;
  } finally {
    await disk.close();
  }
}

async function readAt(disk: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await disk.read(buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) return buffer.subarray(0, filled);
    filled += bytesRead;
  }
  return buffer;
}
