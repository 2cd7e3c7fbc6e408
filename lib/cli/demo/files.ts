import { execFile } from 'node:child_process';
import { lstat, readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { promisify } from 'node:util';
import { forEachConcurrently } from '../../base/pool.ts';

/** A real file, and the key it is stored under: its path in the folder, with `/`. */
export interface SourceFile {
  readonly key: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** Put into a bucket under its plain key by somebody else, and imported there. */
  readonly importedOn?: string;
}

/** Made by tools, not by people. */
export const leftOut: ReadonlySet<string> = new Set([
  '.git',
  'node_modules',
  '.holdfast',
  'dist',
  'cdk.out',
  'coverage',
]);

/** Every regular file of a folder, in key order; with `isProject`, only those that git knows, where there is git. */
export async function sourceFiles(folder: string, isProject: boolean): Promise<SourceFile[]> {
  const paths = (isProject ? await knownToGit(folder) : null) ?? (await walk(folder));
  const files: SourceFile[] = [];
  await forEachConcurrently(paths, 16, async (path) => {
    const found = await lstat(path).catch(() => null);
    if (!found?.isFile()) return;
    files.push({ key: relative(folder, path).split(sep).join('/'), path, sizeBytes: found.size });
  });
  return files.sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function knownToGit(folder: string): Promise<string[] | null> {
  try {
    const args = ['-C', folder, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'];
    const { stdout } = await promisify(execFile)('git', args, { maxBuffer: 256 * 1024 * 1024 });
    const names = stdout
      .split('\0')
      .filter((name) => name !== '' && !name.split('/').some((part) => leftOut.has(part)));
    return names.length === 0 ? null : names.map((name) => join(folder, name));
  } catch {
    return null;
  }
}

async function walk(folder: string): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (leftOut.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) paths.push(...(await walk(path)));
    else if (entry.isFile()) paths.push(path);
  }
  return paths;
}
