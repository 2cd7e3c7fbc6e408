import { createReadStream } from 'node:fs';
import { mkdtemp, open as openFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Body, bodyOf } from '../base/bytes.ts';

/** Content that can be read any number of times until it is disposed of. */
export interface Spooled {
  readonly sizeBytes: number;
  readonly open: () => Body;
  dispose(): Promise<void>;
}

/** More than this goes to a temporary file. */
const memoryBytes = 8 * 1024 * 1024;

/** Reads a stream to its end and keeps it. `bad` makes the error for a chunk that is neither bytes nor text. */
export async function spool(
  stream: AsyncIterable<Uint8Array | string>,
  bad: (what: string) => Error,
): Promise<Spooled> {
  const held: Uint8Array[] = [];
  let sizeBytes = 0;
  const chunks = stream[Symbol.asyncIterator]();
  try {
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
      const chunk = bytesOf(next.value, bad);
      // A stream may use its buffer again.
      held.push(Buffer.from(chunk));
      sizeBytes += chunk.length;
      if (sizeBytes > memoryBytes) return await spoolToFile(held, chunks, bad);
    }
  } catch (error) {
    await chunks.return?.();
    throw error;
  }
  const bytes = Buffer.concat(held);
  return { sizeBytes, open: () => bodyOf(bytes), dispose: async () => {} };
}

async function spoolToFile(
  held: readonly Uint8Array[],
  chunks: AsyncIterator<Uint8Array | string>,
  bad: (what: string) => Error,
): Promise<Spooled> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'));
  const dispose = () => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, 'content');
    const file = await openFile(path, 'wx', 0o600);
    let sizeBytes = 0;
    const write = async (chunk: Uint8Array) => {
      await file.writeFile(chunk);
      sizeBytes += chunk.length;
    };
    try {
      for (const chunk of held) await write(chunk);
      for (let next = await chunks.next(); !next.done; next = await chunks.next())
        await write(bytesOf(next.value, bad));
    } finally {
      await file.close();
    }
    return { sizeBytes, open: () => createReadStream(path), dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function bytesOf(chunk: unknown, bad: (what: string) => Error): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk);
  throw bad(chunk === null || chunk === undefined ? String(chunk) : `${typeof chunk}s`);
}
