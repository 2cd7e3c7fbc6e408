import { forEachConcurrently } from '../../lib/base/pool.ts';
import { createHoldfast } from '../../lib/index.ts';
import type { Work } from './measured.ts';

/** The objects of a folder deleted by the library, many at a time. */
export async function deletionOf(folder: string): Promise<Work> {
  const holdfast = createHoldfast({ env: process.env });
  const keys: string[] = [];
  for await (const { key } of holdfast.list(folder)) keys.push(key);
  return async () => {
    await forEachConcurrently(keys, 64, async (key) => void (await holdfast.delete(key)));
    return { copied: keys.length };
  };
}
