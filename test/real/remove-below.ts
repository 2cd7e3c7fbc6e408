import { createS3Backend } from '../../lib/fleet/s3-backend.ts';
import { optionsFor, type Target } from './target.ts';

/** What a run wrote goes, by whatever name the server lists it. What cannot be deleted is left. */
export async function removeBelow(target: Target, below: string): Promise<void> {
  const backend = createS3Backend({ ...optionsFor(target, below), capabilities: {} });
  try {
    for (let before = ''; ; ) {
      const { items } = await backend.list({});
      const keys = items.map(({ storageKey }) => storageKey).join('\n');
      if (items.length === 0 || keys === before) return;
      await backend.delete(items);
      before = keys;
    }
  } finally {
    backend.close();
  }
}
