import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { forEachConcurrently } from '../../base/pool.ts';
import type { Holdfast } from '../../client/client.ts';
import type { SourceFile } from './files.ts';

/** What is put, overwritten and deleted in the demo. */
export interface Load {
  readonly files: readonly SourceFile[];
  /** Keys that get other content first, which the file then replaces. */
  readonly overwritten: readonly string[];
  /** Objects that are put and deleted again. */
  readonly deleted: readonly string[];
  /** Content of those objects, and of what is overwritten. */
  readonly doomed: Uint8Array;
}

/** How far the load has got. */
export interface LoadProgress {
  put: number;
  putBytes: number;
  overwritten: number;
  deleted: number;
  /** Files that could not be put, with the reason. */
  readonly failures: string[];
  /** When each key was put. */
  readonly putAt: Map<string, number>;
}

const concurrency = 16;
const fileAttempts = 5;
const doomedBytes = 64 * 1024;

export function planLoad(files: readonly SourceFile[]): Load {
  const step = Math.max(1, Math.ceil(files.length / 40));
  return {
    files,
    overwritten: files.filter((_, i) => i % step === 0).map(({ key }) => key),
    deleted: Array.from({ length: 20 }, (_, i) => `to be deleted/${i + 1}`),
    doomed: Buffer.alloc(doomedBytes, 'These bytes are replaced or deleted; the cleanup queue takes them away.\n'),
  };
}

/** Puts every file through the library, with overwrites and deletes among them. */
export async function runLoad(
  holdfast: Holdfast,
  load: Load,
  progress: LoadProgress,
  now: () => number,
  signal: AbortSignal,
): Promise<void> {
  const attempt = async (key: string, act: () => Promise<void>) => {
    if (signal.aborted) return;
    try {
      await act();
    } catch (error) {
      progress.failures.push(`"${key}": ${(error as Error).message}`);
    }
  };
  await forEachConcurrently([...load.overwritten, ...load.deleted], concurrency, (key) =>
    attempt(key, async () => {
      await holdfast.put(key, load.doomed);
    }),
  );
  const isOverwritten = new Set(load.overwritten);
  await forEachConcurrently(load.files, concurrency, ({ key, path }) =>
    attempt(key, async () => {
      const { at, sizeBytes } = await putFile(holdfast, key, path, now);
      progress.putAt.set(key, at);
      progress.put += 1;
      progress.putBytes += sizeBytes;
      if (isOverwritten.has(key)) progress.overwritten += 1;
    }),
  );
  await forEachConcurrently(load.deleted, concurrency, (key) =>
    attempt(key, async () => {
      await holdfast.delete(key);
      progress.deleted += 1;
    }),
  );
}

/** Somebody may be at work on the folder: a file that changes while it is read is read again. */
export async function putFile(
  holdfast: Holdfast,
  key: string,
  path: string,
  now: () => number,
): Promise<{ at: number; sizeBytes: number }> {
  for (let attempt = 1; ; attempt += 1) {
    const at = now();
    const before = await stat(path);
    try {
      await holdfast.put(key, { sizeBytes: before.size, open: () => createReadStream(path) });
      return { at, sizeBytes: before.size };
    } catch (error) {
      const after = await stat(path);
      if (attempt === fileAttempts || after.mtimeMs === before.mtimeMs) throw error;
    }
  }
}
