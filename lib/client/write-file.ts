import { randomBytes } from 'node:crypto';
import { open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Body } from '../base/bytes.ts';

/**
 * Writes content to a file that appears only when all of it has come: a temporary one beside it, then a rename. The
 * temporary one is named to `begins` first, for whoever must remove it when the process is ended.
 */
export async function writeFile(
  path: string,
  body: Body,
  begins: (temporary: string) => void = () => {},
): Promise<void> {
  if ((await stat(path).catch(() => null))?.isDirectory()) throw new Error('it is a folder');
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.part`);
  begins(temporary);
  try {
    const file = await open(temporary, 'wx');
    try {
      for await (const chunk of body) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
