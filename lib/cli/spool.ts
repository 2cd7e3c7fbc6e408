import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import type { PutBody } from '../client/put.ts';
import { writeFile } from '../client/write-file.ts';
import { CommandError, fileProblem } from './failure.ts';
import type { Session } from './session.ts';

/** A file as content to put. What is no regular file (a pipe, a device) is spooled first. */
export async function fileBody(session: Session, path: string): Promise<PutBody> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw new Error('it is a folder');
    if (!found.isFile()) return await spooled(session, createReadStream(path));
    // Opened once now, so that what cannot be read is said before anything is written.
    await (await open(path)).close();
    return { sizeBytes: found.size, open: () => createReadStream(path) };
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError('file', `Cannot read "${path}": ${fileProblem(error)}`);
  }
}

/** A stream as content to put: it is written to a temporary file first, because it may have to be sent more than once. */
export async function spooled(session: Session, source: Readable): Promise<PutBody> {
  const dir = spoolFolder();
  session.atEnd(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'stdin');
  await pipeline(source, createWriteStream(path, { mode: 0o600 })).catch((error: NodeJS.ErrnoException) => {
    if (error.syscall !== 'write' && error.syscall !== 'open') throw error;
    throw notKept(error);
  });
  const { size } = await stat(path);
  return { sizeBytes: size, open: () => createReadStream(path) };
}

function spoolFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'holdfast-put-'));
  } catch (error) {
    throw notKept(error);
  }
}

function notKept(error: unknown): CommandError {
  const sentence = `Cannot keep what comes in "${tmpdir()}": ${fileProblem(error)}; TMPDIR names another folder for it`;
  return new CommandError('file', sentence);
}

/** Writes content to a file that appears only when all of it has come. */
export async function writeWhole(session: Session, path: string, body: Body, partial?: string): Promise<void> {
  try {
    const begins = (temporary: string) => session.atEnd(() => rmSync(temporary, { force: true }));
    await writeFile(path, body, { begins, ...defined({ partial }) });
  } catch (error) {
    if (error instanceof Error && !('kind' in error))
      throw new CommandError('file', `Cannot write "${path}": ${fileProblem(error)}`);
    throw error;
  }
}
