import { lane, shardOf } from '../store/keys.ts';
import type { Entry, QueueCause, QueueItem } from '../store/model.ts';
import { bornAs } from '../store/records.ts';
import type { ClientContext, Fleet } from './context.ts';

/** A content that was deleted or overwritten, and whose bytes wait for their deletion. */
export interface WaitingContent {
  readonly generation: string;
  readonly sizeBytes: number;
  /** When it was deleted or overwritten, in milliseconds since the epoch. */
  readonly since: number;
  /** When the first of its bytes may be deleted. */
  readonly until: number;
  readonly items: readonly QueueItem[];
}

/** What takes a whole content away; bytes that wait for other reasons may belong to it as well. */
const endings: ReadonlySet<QueueCause> = new Set(['deleted', 'replaced', 'overwritten']);
const states = ['cleanup', 'dead'] as const;

/**
 * The contents of a key that wait for their deletion, those that left last first. What the object has now, under whichever
 * generation, is none of them. The index may be a moment behind; what it names is read again, consistently.
 *
 * The queue is in no order of keys: DynamoDB looks through a shard of it, and charges for that. Of a million items that is 40 MB,
 * for less than a tenth of a cent. Only the ids of this key's items are sent here.
 */
export async function findWaiting(
  context: ClientContext,
  fleet: Fleet,
  key: string,
  entry: Entry | null,
): Promise<readonly WaitingContent[]> {
  const { store } = context.deps;
  const names = new Set([...fleet.file.backends.map(({ name }) => name), ...fleet.view.namedBackends()]);
  const lanes = [...names].flatMap((name) => states.map((state) => lane(state, name, shardOf(key))));
  const ids = await Promise.all(lanes.map((one) => idsIn(context, one, key)));
  const items = [...(await store.queueItems(ids.flat())).values()];
  const now = entry?.kind === 'object' ? [entry.generation, bornAs(entry)] : [];
  const able = items.filter((item) => isTakeable(item) && !now.includes(item.generation));
  const contents = [...Map.groupBy(able, ({ generation }) => generation)].flatMap(([generation, its]) => {
    const [first] = its.filter(({ cause }) => endings.has(cause));
    if (first === undefined) return [];
    const until = Math.min(...its.map(({ dueAt }) => dueAt));
    return [{ generation, sizeBytes: first.sizeBytes, since: first.createdAt, until, items: its }];
  });
  return contents.sort((a, b) => b.since - a.since || (a.generation < b.generation ? 1 : -1));
}

async function idsIn({ deps }: ClientContext, one: string, key: string): Promise<string[]> {
  const found: string[] = [];
  let after: string | undefined;
  do {
    const page = await deps.store.queuedOf(one, key, after);
    found.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return found;
}

/** Not what a drain, or a copy on its way, has its own plans with. */
function isTakeable({ state, drainSince, copiedBy }: QueueItem): boolean {
  return (state === 'cleanup' || state === 'dead') && drainSince === undefined && copiedBy === undefined;
}
