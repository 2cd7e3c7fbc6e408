import { constants } from 'node:fs';
import { lstat, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Where the file of a key belongs below a folder: `path` · `no-name` the key is none that a file below it can have, and why. What a
 * key says never leads out of the folder.
 */
export type Place =
  | { readonly outcome: 'path'; readonly path: string }
  | { readonly outcome: 'no-name'; readonly why: string };

/** What file systems take between two slashes, in bytes, with room for a temporary name beside it. */
const mostNameBytes = 255 - '...part'.length - 12;

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
  const what = found.isDirectory() ? 'a folder' : found.isSymbolicLink() ? 'a symbolic link' : 'no regular file';
  return { outcome: 'other', what };
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
