import type { Entry } from '../store/model.ts';
import type { ClientContext } from './context.ts';

/** What is recorded of a key, read consistently. */
export async function readEntry(context: ClientContext, key: string): Promise<Entry | null> {
  return (await context.deps.store.objects([key])).get(key) ?? null;
}
