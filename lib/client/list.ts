import { compareUtf8 } from '../base/bytes.ts';
import { shards } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { ClientContext } from './context.ts';

const pageSize = 200;

/**
 * Objects whose key begins with a prefix, in UTF-8 byte order. The index is eventually consistent: an object made or deleted
 * within the last second may be missed or still be met; every record itself is read consistently.
 */
export async function* list(context: ClientContext, prefix = ''): AsyncGenerator<ObjectRecord> {
  const heads = shards.map((shard) => keysOf(context, shard, prefix));
  const first = await Promise.all(heads.map((keys) => keys.next()));
  const open = first.flatMap((next, i) => (next.done ? [] : [{ key: next.value, keys: heads[i]! }]));
  let page: string[] = prefix === '' ? [] : [prefix];
  while (open.length > 0) {
    let least = 0;
    for (let i = 1; i < open.length; i += 1) if (compareUtf8(open[i]!.key, open[least]!.key) < 0) least = i;
    const head = open[least]!;
    page.push(head.key);
    const next = await head.keys.next();
    if (next.done) open.splice(least, 1);
    else head.key = next.value;
    if (page.length >= pageSize) {
      yield* records(context, page);
      page = [];
    }
  }
  yield* records(context, page);
}

/** Keys after the prefix itself, which is asked for by name. */
async function* keysOf(context: ClientContext, shard: string, prefix: string): AsyncGenerator<string> {
  let after: string | undefined = prefix === '' ? undefined : prefix;
  do {
    const page = await context.deps.store.byKey(shard, after, pageSize);
    for (const key of page.items) {
      // In byte order, what begins with the prefix stands together.
      if (!key.startsWith(prefix)) return;
      yield key;
    }
    after = page.next;
  } while (after !== undefined);
}

async function* records(context: ClientContext, keys: readonly string[]): AsyncGenerator<ObjectRecord> {
  const entries = await context.deps.store.objects(keys);
  for (const key of keys) {
    const entry = entries.get(key);
    if (entry?.kind === 'object') yield entry;
  }
}
