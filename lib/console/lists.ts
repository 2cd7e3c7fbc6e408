import { compareUtf8 } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { placementRule } from '../config/placement-rule.ts';
import { type ListingCursor, objectsOf, queueItemsOf } from '../operations/find-objects.ts';
import type { PlacementTotal } from '../store/fleet-view.ts';
import { shards } from '../store/keys.ts';
import { type ObjectRecord, type QueueItem, type QueueState, queueStates } from '../store/model.ts';
import { placementsOf } from './attention.ts';
import { type ConsoleDeps, type FleetNow, fleetNow } from './deps.ts';
import type { AttentionName, ObjectLine, ObjectList, QueueLine, QueueList } from './protocol.ts';
import { WrongQuestion } from './replies.ts';

/** Of one page; a person asks for the next one. */
const limits = { limit: 50, queries: 64 };

/** What a list of objects is asked for; everything narrows it. */
export interface ObjectQuery {
  readonly which?: AttentionName;
  readonly backend?: string;
  readonly placement?: string;
  /** Counted copies. */
  readonly copies?: number;
  readonly after?: string;
}

/** The objects behind a figure, a page at a time. */
export async function listObjects(deps: ConsoleDeps, query: ObjectQuery): Promise<ObjectList> {
  const now = await fleetNow(deps);
  const placements = chosen(now, query);
  const page = await objectsOf(deps.store, placements, limits, cursorOf(query.after));
  return {
    objects: page.items.map((object) => objectLine(now, object)),
    ...defined({ next: page.next && cursorText(page.next) }),
  };
}

/** The number of counted copies that stands for all above it, too. */
const mostCopies = 4;

function chosen({ fleet, standing }: FleetNow, { which, backend, placement, copies }: ObjectQuery): PlacementTotal[] {
  const first = which === undefined ? fleet.placements : placementsOf(fleet, standing, which);
  const counted = (one: PlacementTotal) =>
    Math.min(mostCopies, one.copies.filter((copy) => standing(copy.backend).isCounted).length);
  return first.filter(
    (one) =>
      (placement === undefined || one.label === placement) &&
      (backend === undefined || one.copies.some((copy) => copy.backend === backend)) &&
      (copies === undefined || counted(one) === copies),
  );
}

export function objectLine({ fleet, standing }: FleetNow, object: ObjectRecord): ObjectLine {
  const { key, sizeBytes, createdAt, policy, condition, copies, stuck = {} } = object;
  const backends = Object.keys(copies).sort();
  return {
    ...{ key, sizeBytes, createdAt, policy, condition, backends },
    counted: backends.filter((name) => standing(name).isCounted).length,
    wanted: placementRule(fleet.config.file, policy).factor,
    reasons: Object.fromEntries(Object.entries(stuck).map(([name, { message }]) => [name, message])),
  };
}

export interface KeyQuery {
  readonly prefix: string;
  /** The last key of the page before. */
  readonly after?: string;
}

/** As long as a key may be. */
const longestPrefixBytes = 1024;

/** Objects by the beginning of their key, in key order, a page at a time: one query of each shard, and one reading. */
export async function findObjects(deps: ConsoleDeps, { prefix, after }: KeyQuery): Promise<ObjectList> {
  const { store } = deps;
  if (Buffer.byteLength(prefix) > longestPrefixBytes)
    throw new WrongQuestion(`No key begins so: it would have more than ${longestPrefixBytes} bytes`);
  const from = after ?? (prefix === '' ? undefined : prefix);
  const pages = await Promise.all(shards.map((shard) => store.byKey(shard, from, limits.limit)));
  const found = pages.flatMap(({ items }) => items).filter((key) => key.startsWith(prefix));
  // The prefix itself may be a key: what comes after it does not hold it.
  const all = [...(after === undefined && prefix !== '' ? [prefix] : []), ...found.sort(compareUtf8)];
  const keys = all.slice(0, limits.limit);
  const [now, records] = await Promise.all([fleetNow(deps), store.objects(keys)]);
  const objects = keys.flatMap((key) => {
    const entry = records.get(key);
    return entry?.kind === 'object' ? [objectLine(now, entry)] : [];
  });
  const isMore = all.length > keys.length || pages.some(({ next, items }) => next !== undefined && isIn(prefix, items));
  return { objects, ...(isMore && keys.length > 0 && { next: keys.at(-1)! }) };
}

/** Whether a page of keys ends among those that begin so. */
function isIn(prefix: string, keys: readonly string[]): boolean {
  return keys.at(-1)?.startsWith(prefix) ?? false;
}

export interface QueueQuery {
  readonly state?: QueueState;
  readonly backend?: string;
  readonly after?: string;
}

/** When a copy in parts was seen, and how far it had come. */
export type TransfersSeen = Map<string, { readonly at: number; readonly doneBytes: number }>;
const mostSeen = 1_000;

/** Queue items, a page at a time; how fast copies in parts go shows when they are looked at again. */
export async function listQueue(deps: ConsoleDeps, query: QueueQuery, seen: TransfersSeen): Promise<QueueList> {
  const { fleet } = await fleetNow(deps);
  const states = queueStates.filter((state) => query.state === undefined || state === query.state);
  const backends = [...new Set([...fleet.config.file.backends.map(({ name }) => name), ...fleet.namedBackends()])];
  const lanes = states.flatMap((state: QueueState) =>
    backends
      .filter((name) => query.backend === undefined || name === query.backend)
      .filter((name) => fleet.queue(state, name).objects > 0)
      .map((backend) => ({ state, backend })),
  );
  const page = await queueItemsOf(deps.store, lanes, limits, cursorOf(query.after));
  const now = deps.clock.now();
  const items = page.items.map((item) => queueLine(item, now, seen));
  return {
    items: items.sort((a, b) => a.dueAt - b.dueAt),
    ...defined({ next: page.next && cursorText(page.next) }),
  };
}

export function queueLine(item: QueueItem, now: number, seen: TransfersSeen): QueueLine {
  const { id, state, backend, key, sizeBytes, createdAt, dueAt, cause, reason, attempts, lastError } = item;
  return {
    ...{ id, state, backend, key, sizeBytes, createdAt, dueAt, cause, reason, attempts },
    ...defined({ lastError, transfer: transferOf(item, now, seen) }),
  };
}

function transferOf({ id, sizeBytes, transfer }: QueueItem, now: number, seen: TransfersSeen): QueueLine['transfer'] {
  if (transfer === undefined) return undefined;
  const doneBytes = Math.min(sizeBytes, transfer.partsDone * transfer.partSizeBytes);
  const before = seen.get(id);
  if (before === undefined || before.doneBytes > doneBytes) {
    if (seen.size >= mostSeen) seen.clear();
    seen.set(id, { at: now, doneBytes });
  }
  const seconds = before === undefined ? 0 : (now - before.at) / 1000;
  const rate = before === undefined || seconds <= 0 ? 0 : (doneBytes - before.doneBytes) / seconds;
  const known = rate > 0 ? { bytesPerSecond: rate, secondsLeft: (sizeBytes - doneBytes) / rate } : {};
  return { from: transfer.from, doneBytes, ...known };
}

function cursorText(cursor: ListingCursor): string {
  return Buffer.from(JSON.stringify(cursor)).toString('base64url');
}

/** What does not read as one begins at the beginning. */
function cursorOf(text: string | undefined): ListingCursor | undefined {
  if (text === undefined) return undefined;
  try {
    const { partition, after } = JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>;
    if (typeof partition !== 'string') return undefined;
    return { partition, ...(typeof after === 'string' && { after }) };
  } catch {
    return undefined;
  }
}
