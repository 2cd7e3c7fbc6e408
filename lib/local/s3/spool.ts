import { rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Bytes received in full and not yet anybody's: in memory when small, else in a temporary file. */
export interface Spooled {
  readonly sizeBytes: number;
  /** The file that holds the bytes; written now if they were in memory. */
  toFile(): string;
  discard(): void;
}

/** Below this, one synchronous write is cheaper than three trips to the thread pool. */
const IN_MEMORY_BYTES = 128 * 1024;

/** Collects `source`. When it throws, nothing is left on disk. */
export async function spool(source: AsyncIterable<Buffer>, path: string): Promise<Spooled> {
  let held: Buffer[] = [];
  let sizeBytes = 0;
  let file: FileHandle | undefined;
  try {
    for await (const piece of source) {
      sizeBytes += piece.length;
      held.push(piece);
      if (!file && sizeBytes <= IN_MEMORY_BYTES) continue;
      file ??= await open(path, 'wx');
      await writeAll(file, held);
      held = [];
    }
    await file?.close();
  } catch (error) {
    await file?.close().catch(() => {});
    if (file) rmSync(path, { force: true });
    throw error;
  }
  let isOnDisk = file !== undefined;
  return {
    sizeBytes,
    toFile() {
      if (!isOnDisk) writeFileSync(path, held.length === 1 ? (held[0] as Buffer) : Buffer.concat(held));
      isOnDisk = true;
      return path;
    },
    discard() {
      if (isOnDisk) rmSync(path, { force: true });
    },
  };
}

async function writeAll(file: FileHandle, pieces: Buffer[]): Promise<void> {
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length) at += (await file.write(piece, at)).bytesWritten;
  }
}
