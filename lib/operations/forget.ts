import type { Ids } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import { policyOf } from '../config/fleet-file.ts';
import { parseParameters } from '../config/parameters.ts';
import { type CommitDeps, commit } from '../store/commit.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import { labelInShard, lane, shards } from '../store/keys.ts';
import { type Condition, type ObjectRecord, type QueueItem, queueStates } from '../store/model.ts';
import type { Page } from '../store/port.ts';
import { isRecoveryPending } from '../store/recovery.ts';
import { fleetKey, passPartition, rowsAbout } from '../store/row-keys.ts';
import type { Swap } from '../store/swap.ts';
import type { DrainDeps } from './drain.ts';

export interface ForgetDeps extends DrainDeps {
  readonly ids: Ids;
  readonly log: Log;
}

/** An object that has no other copy on a configured backend, or none known to be good: its record stays as it is. */
export interface LastCopy {
  readonly key: string;
  readonly sizeBytes: number;
  readonly condition: Condition;
}

/**
 * `forgotten` nothing names the backend any more · `last-copies` nothing but the last copies listed · `unfinished` time ran
 * out or an index lags behind: run it again · `configured` it is in the fleet file · `recovering` the tables may know less than
 * the buckets hold: nothing was done.
 */
export interface Forgotten {
  readonly outcome: 'forgotten' | 'last-copies' | 'unfinished' | 'configured' | 'recovering';
  /** Copies that left their records. */
  readonly removed: number;
  /** Queue items that ended. */
  readonly ended: number;
  readonly lastCopies: readonly LastCopy[];
}

/** Rounds over the indexes, which may lag behind the ledger. */
const rounds = 5;
const lagMs = 1_000;
const pageSize = 100;
const commitMs = 60_000;

/**
 * Gives up a backend that is gone for good and out of the fleet file: its copies leave the records and its queue ends, so
 * that nothing waits for it. Nothing is asked of the backend. The last copy of an object is listed and never dropped.
 * Each step stands by itself: after a crash, or when unfinished, running it again goes on.
 *
 * @param deadline milliseconds since the epoch after which no page is begun
 */
export async function forget(deps: ForgetDeps, name: string, deadline = Number.POSITIVE_INFINITY): Promise<Forgotten> {
  const done = { removed: 0, ended: 0, lastCopies: new Map<string, LastCopy>() };
  const result = (outcome: Forgotten['outcome']): Forgotten => ({
    ...done,
    lastCopies: [...done.lastCopies.values()],
    outcome,
  });
  for (let round = 0; round < rounds; round += 1) {
    if (round > 0) await deps.clock.sleep(lagMs);
    done.lastCopies.clear();
    const view = await readFleet(deps.store, deps.clock.now());
    if (isRecoveryPending(view)) return result('recovering');
    for await (const page of pagesNaming(deps, view, name)) {
      if (deps.clock.now() >= deadline) return result('unfinished');
      const now = await readFleet(deps.store, deps.clock.now());
      if (isConfigured(now, name)) return result('configured');
      if ('objects' in page) {
        for (const object of page.objects) {
          if (isLast(now, object, name)) done.lastCopies.set(object.key, lastCopy(object));
        }
        done.removed += await removeCopies(
          deps,
          now,
          name,
          page.objects.filter((o) => !isLast(now, o, name)),
        );
      } else {
        done.ended += await endItems(deps, now, page.items);
      }
    }
    const after = await readFleet(deps.store, deps.clock.now());
    if (isConfigured(after, name)) return result('configured');
    if (!after.namedBackends().includes(name)) {
      await dropRows(deps, after, name);
      return result('forgotten');
    }
    if (holdsOnly(after, name, done.lastCopies.size)) return result('last-copies');
  }
  return result('unfinished');
}

function isConfigured(view: FleetView, name: string): boolean {
  return view.config?.file.backends.some((backend) => backend.name === name) ?? false;
}

/** First the records, then the queue: what loses its record is queued and ends in the same round. */
async function* pagesNaming(
  deps: ForgetDeps,
  view: FleetView,
  name: string,
): AsyncGenerator<{ readonly objects: readonly ObjectRecord[] } | { readonly items: readonly QueueItem[] }> {
  const { store } = deps;
  const placements = view.placements.filter(({ copies }) => copies.some(({ backend }) => backend === name));
  for (const { label } of placements) {
    for (const shard of shards) {
      const inShard = labelInShard(label, shard);
      for await (const objects of pages((after) => store.byPlacement(inShard, after, pageSize))) yield { objects };
    }
  }
  for (const state of queueStates) {
    for (const shard of shards) {
      const due = (after?: string) => store.due(lane(state, name, shard), Number.MAX_SAFE_INTEGER, pageSize, after);
      for await (const items of pages(due)) yield { items };
    }
  }
}

async function* pages<T>(read: (after?: string) => Promise<Page<T>>): AsyncGenerator<readonly T[]> {
  let after: string | undefined;
  do {
    const page = await read(after);
    if (page.items.length > 0) yield page.items;
    after = page.next;
  } while (after !== undefined);
}

function isLast(view: FleetView, object: ObjectRecord, name: string): boolean {
  const others = Object.keys(object.copies).filter((other) => other !== name && isConfigured(view, other));
  return object.condition === 'damaged' || others.length === 0;
}

function lastCopy({ key, sizeBytes, condition }: ObjectRecord): LastCopy {
  return { key, sizeBytes, condition };
}

async function removeCopies(deps: ForgetDeps, view: FleetView, name: string, objects: readonly ObjectRecord[]) {
  const now = deps.clock.now();
  const swaps = objects.map((object): Swap => {
    const { [name]: _copy, ...copies } = object.copies;
    const { [name]: _etag, ...plainEtags } = object.plainEtags ?? {};
    const { plainEtags: _all, ...rest } = object;
    const after: ObjectRecord = {
      ...rest,
      copies,
      policy: policyOf(view.config!.file, object.key).name,
      ...(Object.keys(plainEtags).length === 0 ? {} : { plainEtags }),
    };
    const orphans = { cause: 'forgotten' as const, dueAt: now, createdAt: now };
    return { key: object.key, change: { before: object, after }, orphans };
  });
  const outcomes = await commit(commitDeps(deps, view), swaps, now + commitMs);
  const removed = objects.filter((_, i) => outcomes[i]!.outcome === 'committed');
  for (const { key, copies } of removed) {
    const fields = { audit: true, key, backend: name, copyId: copies[name], reason: 'forgotten' };
    deps.log.info('Copy forgotten', fields);
  }
  return removed.length;
}

async function endItems(deps: ForgetDeps, view: FleetView, items: readonly QueueItem[]): Promise<number> {
  const swaps = items.map((item): Swap => ({ key: item.key, completes: [{ item }] }));
  const outcomes = await commit(commitDeps(deps, view), swaps, deps.clock.now() + commitMs);
  const ended = items.filter((_, i) => outcomes[i]!.outcome === 'committed');
  for (const { key, backend, storageKey, state } of ended) {
    deps.log.info('Queue item forgotten', { audit: true, key, backend, storageKey, state, reason: 'forgotten' });
  }
  return ended.length;
}

function commitDeps({ store, clock, ids, env }: ForgetDeps, view: FleetView): CommitDeps {
  const { backends } = view.config!.file;
  const stripes = parseParameters(env, view.settings.overrides).ledgerStripes;
  return { store, clock, ids, stripes, quotaOf: (name) => backends.find((b) => b.name === name)?.quotaBytes ?? 0 };
}

function holdsOnly(view: FleetView, name: string, lastCopies: number): boolean {
  const held = view.placements
    .filter(({ copies }) => copies.some(({ backend }) => backend === name))
    .reduce((sum, { count }) => sum + count.objects, 0);
  return held === lastCopies && queueStates.every((state) => view.queue(state, name).objects === 0);
}

/** A backend of this name that is added one day begins afresh. */
async function dropRows(deps: ForgetDeps, view: FleetView, name: string): Promise<void> {
  // Of the pass over its keys, too: how far that had come was said of what is given up now.
  const { rows } = await deps.store.control(passPartition(name));
  for (const { pk, sk, version } of rows) await deps.store.write({ kind: 'row-end', pk, sk, expect: version });
  for (const sk of rowsAbout(name)) {
    const row = view.row(sk);
    if (row !== undefined) await deps.store.write({ kind: 'row-end', pk: fleetKey, sk, expect: row.version });
  }
}
