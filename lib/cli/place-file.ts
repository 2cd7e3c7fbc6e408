import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { CommandError, fileProblem } from './failure.ts';

/**
 * Where the file of a key belongs below a folder: `path` · `no-name` the key is none that a file below it can have, and why. What a
 * key says never leads out of the folder.
 */
export type Place =
  | { readonly outcome: 'path'; readonly path: string }
  | { readonly outcome: 'no-name'; readonly why: string };

/** What file systems take between two slashes, in bytes. */
const mostNameBytes = 255;

/** The place of a key, by its name alone. Pure. */
export function placeOfKey(folder: string, key: string): Place {
  const noName = (why: string): Place => ({ outcome: 'no-name', why });
  if (key.includes('\0')) return noName('a file name cannot hold a NUL');
  if (!key.isWellFormed()) return noName('it is not valid Unicode');
  if (key.startsWith('/')) return noName('it begins with a slash');
  const names = key.split('/');
  if (names.includes('..') || names.includes('.')) return noName('"." and ".." are no names of files');
  if (names.includes(''))
    return noName(key.endsWith('/') ? 'it ends with a slash' : 'there is nothing between two slashes');
  const tooLong = names.find((name) => Buffer.byteLength(name) > mostNameBytes);
  if (tooLong !== undefined) return noName(`a file name cannot have ${Buffer.byteLength(tooLong)} bytes`);
  return { outcome: 'path', path: join(folder, ...names) };
}

/**
 * Makes a folder to write to, and those above it. Throws `CommandError` where it cannot stand. The `recursive` of `mkdir` is not
 * relied on: it does not say that a file system is read-only, and goes round for ever where a folder takes no other.
 */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await makeAll(resolve(folder));
  } catch (error) {
    throw new CommandError('file', `Cannot write to the folder "${folder}": ${fileProblem(error)}`);
  }
}

async function makeAll(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const found = await stat(path).catch(() => null);
    if (found?.isDirectory()) return;
    if (found !== null) throw new Error('it is no folder');
    const above = dirname(path);
    const isMissing =
      (error as NodeJS.ErrnoException).code === 'ENOENT' && (await stat(above).catch(() => null)) === null;
    if (!isMissing || above === path) throw error;
    await makeAll(above);
    await mkdir(path);
  }
}

/**
 * Makes the folders above a place. Null when they stand; else why they cannot: a file is in the way, or a symbolic link, which
 * could lead out of the folder.
 */
export async function makeFolders(folder: string, key: string): Promise<string | null> {
  let at = folder;
  for (const name of key.split('/').slice(0, -1)) {
    at = join(at, name);
    const found = await lstat(at).catch(() => null);
    if (found === null) await mkdir(at).catch((error) => (error.code === 'EEXIST' ? undefined : Promise.reject(error)));
    else if (found.isSymbolicLink()) return `"${at}" is a symbolic link: it may lead out of the folder`;
    else if (!found.isDirectory()) return `"${at}" is a file, and would have to be a folder`;
  }
  return null;
}

/** What stands at a path: `nothing` · `file` of so many bytes · `other` a folder, a device or whatever else is not written over. */
export type Standing =
  | { readonly outcome: 'nothing' }
  | { readonly outcome: 'file'; readonly sizeBytes: number; readonly mtimeMs: number }
  | { readonly outcome: 'other'; readonly what: string };

export async function standingAt(path: string): Promise<Standing> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  if (found === null) return { outcome: 'nothing' };
  if (found.isFile()) return { outcome: 'file', sizeBytes: found.size, mtimeMs: found.mtimeMs };
  return { outcome: 'other', what: kindOf(found) };
}

/** What something is that is no regular file. */
export function kindOf(found: Stats): string {
  if (found.isDirectory()) return 'a folder';
  if (found.isSymbolicLink()) return 'a symbolic link';
  if (found.isFIFO()) return 'a pipe, no regular file';
  return found.isSocket() ? 'a socket, no regular file' : 'a device, no regular file';
}

/** Whether names that differ in case alone are one name in a folder: found by trying. */
export async function foldsCase(folder: string): Promise<boolean> {
  const path = join(folder, `.holdfast-Case-${process.pid}`);
  const file = await open(path, constants.O_CREAT | constants.O_WRONLY, 0o600);
  await file.close();
  const { rm } = await import('node:fs/promises');
  try {
    return (await lstat(path.replace('Case', 'cASE')).catch(() => null)) !== null;
  } finally {
    await rm(path, { force: true });
  }
}
