import { randomBytes } from 'node:crypto';
import { chmod, lstat, open, readlink, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Body } from '../base/bytes.ts';

/** A file that never became whole: what a process left that was killed. */
export function isPartial(name: string): boolean {
  return /^\.holdfast-[0-9a-f]{12}\.part$/.test(name);
}

export interface WriteFileOptions {
  begins?(temporary: string): void;
  /** Where the temporary file is, on the same file system [beside the file]. */
  readonly partial?: string;
}

/**
 * Writes content to a file that appears only when all of it has come: a temporary one beside it, then a rename. A symbolic link is
 * followed, and what it leads to is written; a file that is replaced leaves its mode behind. A folder, a device or a pipe is refused.
 * The temporary file is named to `begins` first, for whoever must remove it when the process is ended.
 */
export async function writeFile(path: string, body: Body, how: WriteFileOptions = {}): Promise<void> {
  const { begins = () => {} } = how;
  const target = await behindLinks(path);
  const before = await stat(target).catch(() => null);
  if (before?.isDirectory()) throw new Error('it is a folder');
  if (before !== null && !before.isFile()) throw new Error('it is a device or a pipe, and no regular file');
  // Not named after the file: a name may be as long as the file system takes.
  const temporary = join(how.partial ?? dirname(target), `.holdfast-${randomBytes(6).toString('hex')}.part`);
  begins(temporary);
  try {
    const file = await open(temporary, 'wx');
    try {
      for await (const chunk of body) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    if (before !== null) await chmod(temporary, before.mode & 0o7777);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

const mostLinks = 40;

/** What a path leads to, whether it is there or not. */
async function behindLinks(path: string): Promise<string> {
  let target = path;
  for (let links = 0; links < mostLinks; links += 1) {
    const found = await lstat(target).catch(() => null);
    if (found === null || !found.isSymbolicLink()) return target;
    target = resolve(dirname(target), await readlink(target));
  }
  throw new Error('its symbolic links lead round in a circle');
}
