import { isDeepStrictEqual } from 'node:util';
import { compareUtf8 } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { noUsage, plusUsage, type Usage } from '../../base/usage.ts';
import type { ControlRow, Entry, Lease, QueueItem } from '../../store/model.ts';
import { type Change, type Page, type Store, StoreError, type TransactAnswer } from '../../store/port.ts';
import { frozenCopy } from './frozen.ts';
import type { MemoryIndexes } from './indexes.ts';
import { type Counter, createMemoryTables, type MemorySnapshot } from './memory-tables.ts';

export interface MemoryStoreDeps {
  readonly clock: Pick<Clock, 'now'>;
  /** Where index reads are answered from; its own, always up to date, when absent. */
  readonly indexes?: MemoryIndexes;
  /** What to start from. */
  readonly from?: MemorySnapshot;
  readonly identity?: string;
}

/** The store in memory: the same typed changes and answers as on DynamoDB, and synchronous ways in for simulations. */
export interface MemoryStore extends Store {
  /** What `transact` does, at once. Without a token, nothing remembers it. */
  apply(changes: readonly Change[], token?: string): TransactAnswer;
  /** Everything in the store. What it holds is frozen, so it costs no deep copy. */
  snapshot(): MemorySnapshot;
  allObjects(): IterableIterator<Entry>;
  allQueueItems(): IterableIterator<QueueItem>;
  allCounters(): readonly Counter[];
  rowAt(pk: string, sk: string): ControlRow | undefined;
  /** Removes the tombstones whose time is up, as DynamoDB's TTL does some day; their number. */
  expire(): number;
}

const maxChanges = 100;
const maxTokenLength = 36;
const tokenLifeMs = 10 * 60_000;

export function createMemoryStore(deps: MemoryStoreDeps): MemoryStore {
  const tables = createMemoryTables(deps.indexes, deps.from);
  const { objects, queue, leases, usage, indexes } = tables;
  const tokens = createTokens(deps.clock);

  function apply(changes: readonly Change[], token?: string): TransactAnswer {
    rejectBadRequest(changes);
    if (token !== undefined && tokens.isResend(token, changes)) return { outcome: 'done', writeUnits: 0 };
    const refusals = changes.map(tables.refusalOf);
    if (refusals.some((refusal) => refusal !== null)) return { outcome: 'refused', refusals };
    for (const change of changes) tables.effect(change);
    if (token !== undefined) tokens.remember(token, changes);
    return { outcome: 'done', writeUnits: 0 };
  }

  function addUsage(hour: string, added: Readonly<Record<string, Usage>>, token: string): void {
    if (Object.keys(added).length === 0 || tokens.isResend(token, { hour, added })) return;
    for (const [backend, more] of Object.entries(added)) {
      const id = `${backend}/${hour}`;
      usage.set(id, Object.freeze(plusUsage(usage.get(id) ?? noUsage, more)));
    }
    tokens.remember(token, { hour, added });
  }

  function acquireLease({ worker, part, holder, now, expiresAt }: Parameters<Store['acquireLease']>[0]): Lease | null {
    const before = leases.get(`${worker}/${part}`);
    if (before && before.expiresAt > now && before.holder !== holder) return null;
    const lease = Object.freeze({ ...before, worker, part, holder, epoch: (before?.epoch ?? 0) + 1, expiresAt });
    leases.set(`${worker}/${part}`, lease);
    return lease;
  }

  function updateLease(lease: Lease, change: Parameters<Store['updateLease']>[1]): boolean {
    const before = leases.get(`${lease.worker}/${lease.part}`);
    if (before?.epoch !== lease.epoch || before.holder !== lease.holder) return false;
    leases.set(`${lease.worker}/${lease.part}`, Object.freeze({ ...before, ...frozenCopy(change) }));
    return true;
  }

  function expire(): number {
    const now = deps.clock.now() / 1000;
    const isOver = (entry: Entry) => entry.kind === 'tombstone' && entry.ttl !== undefined && entry.ttl <= now;
    const over = [...objects.values()].filter(isOver);
    for (const { key } of over) tables.removeObject(key);
    return over.length;
  }

  return {
    apply,
    snapshot: tables.snapshot,
    allObjects: () => objects.values(),
    allQueueItems: () => queue.values(),
    allCounters: tables.counters,
    rowAt: tables.rowAt,
    expire,

    identity: async () => deps.identity ?? 'memory',
    transact: async (changes, token) => apply(changes, token),
    write: async (change) => {
      const answer = apply([change]);
      return answer.outcome === 'done' ? { outcome: 'done' } : { outcome: 'refused', refusal: answer.refusals[0]! };
    },
    objects: async (keys) => present(objects, keys),
    queueItems: async (ids) => present(queue, ids),
    control: async (pk) => tables.control(pk),
    everyEntry: async (after, limit) => pageOf(objects, after, limit),
    everyQueueItem: async (after, limit) => pageOf(queue, after, limit),
    byPlacement: async (label, afterKey, limit) => indexes.byPlacement(label, afterKey, limit),
    byKey: async (shard, afterKey, limit) => indexes.byKey(shard, afterKey, limit),
    queuedOf: async (lane, key, after) => indexes.queuedOf(lane, key, after),
    due: async (lane, dueBefore, limit, after) => indexes.due(lane, dueBefore, limit, after),
    acquireLease: async (request) => acquireLease(request),
    updateLease: async (lease, change) => updateLease(lease, change),
    leases: async (worker) =>
      [...leases.values()].filter((lease) => lease.worker === worker).sort((a, b) => compareUtf8(a.part, b.part)),
    addUsage: async (hour, added, token) => addUsage(hour, added, token),
    usage: async ({ from, to }, backends) => {
      const found = new Map<string, Usage>();
      for (const [id, spent] of usage) {
        const at = id.lastIndexOf('/');
        const [backend, hour] = [id.slice(0, at), id.slice(at + 1)];
        if (!backends.includes(backend) || hour < from || hour > to) continue;
        found.set(backend, plusUsage(found.get(backend) ?? noUsage, spent));
      }
      return found;
    },
  };
}

/** A page in an order that does not depend on what comes and goes, as good as any other. */
function pageOf<T>(table: ReadonlyMap<string, T>, after: string | undefined, limit: number): Page<T> {
  const keys = [...table.keys()].filter((key) => after === undefined || key > after).sort();
  const found = keys.slice(0, limit);
  const items = found.map((key) => table.get(key)!);
  return limit < keys.length ? { items, next: found.at(-1)! } : { items };
}

function present<T>(table: ReadonlyMap<string, T>, keys: readonly string[]): Map<string, T> {
  const found = new Map<string, T>();
  for (const key of keys) {
    const value = table.get(key);
    if (value !== undefined) found.set(key, value);
  }
  return found;
}

/** What DynamoDB rejects before it looks at any item. */
function rejectBadRequest(changes: readonly Change[]): void {
  if (changes.length === 0 || changes.length > maxChanges) {
    reject(`${changes.length} changes, where 1 to ${maxChanges} are allowed`);
  }
  const keys = changes.map(keyOf);
  const ids = new Set(keys.map((key) => key.join('\0')));
  if (ids.size < changes.length) reject('two changes of one item in a transaction');
  if (keys.some((key) => key.includes(''))) reject('an item with an empty key');
}

function reject(problem: string): never {
  throw new StoreError('rejected', `Cannot write: ${problem}`);
}

/** The table of a change and the key of its item there. */
function keyOf(change: Change): readonly string[] {
  switch (change.kind) {
    case 'object':
      return ['objects', change.put.key];
    case 'queue':
      return ['queue', change.put.id];
    case 'queue-end':
      return ['queue', change.id];
    case 'row':
      return ['control', change.put.pk, change.put.sk];
    default:
      return ['control', change.pk, change.sk];
  }
}

interface RememberedRequest {
  readonly at: number;
  readonly request: unknown;
}

/** DynamoDB's client request tokens: for 10 minutes, a request that succeeded takes no second effect. */
function createTokens(clock: Pick<Clock, 'now'>) {
  // Two generations, of which the older one is dropped as a whole once all in it is too old.
  let older = new Map<string, RememberedRequest>();
  let newer = new Map<string, RememberedRequest>();
  let newerSince = clock.now();

  return {
    isResend: (token: string, request: unknown): boolean => {
      if (token === '' || token.length > maxTokenLength) {
        reject(`token "${token}" must have 1 to ${maxTokenLength} characters`);
      }
      const before = newer.get(token) ?? older.get(token);
      if (!before || clock.now() - before.at >= tokenLifeMs) return false;
      if (isDeepStrictEqual(before.request, request)) return true;
      return reject(`token "${token}" was used for another request less than 10 minutes ago`);
    },
    remember: (token: string, request: unknown): void => {
      const now = clock.now();
      if (now - newerSince >= tokenLifeMs) {
        older = newer;
        newer = new Map();
        newerSince = now;
      }
      newer.set(token, { at: now, request });
    },
  };
}
