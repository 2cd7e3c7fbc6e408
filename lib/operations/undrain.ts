import type { Ids } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { parseParameters } from '../config/parameters.ts';
import { type Backend, BackendError, type Capabilities } from '../fleet/backend.ts';
import { afterDrain } from '../store/after-drain.ts';
import { type CommitDeps, commit } from '../store/commit.ts';
import { type FleetView, readFleet } from '../store/fleet-view.ts';
import { lane, shards } from '../store/keys.ts';
import type { ControlRow, Count, QueueItem } from '../store/model.ts';
import type { Change } from '../store/port.ts';
import { isOfLostTime, isRecoveryPending } from '../store/recovery.ts';
import { fleetKey, isDeletedByDrain, rowKeys } from '../store/row-keys.ts';
import type { DrainDeps } from './drain.ts';
import { addUp } from './naming.ts';

export interface UndrainDeps extends DrainDeps {
  readonly ids: Ids;
  readonly log: Log;
  openBackend(config: BackendConfig, can: Capabilities, use: 'read-write' | 'delete'): Promise<Backend>;
}

/** Bytes that a drain had queued for deletion. */
export interface DrainedBytes {
  readonly key: string;
  readonly storageKey: string;
  readonly sizeBytes: number;
}

/**
 * `undrained` the drain is over, and nothing of it is deleted any more: `rejoined` copies are in their records again, `left`
 * stay and are none, `deleted` were gone before this could stop it, `deletedBefore` counts the imported files that the drain
 * had deleted by then, and of `unsure` the backend does not say · `not-draining`
 * nor was anything left of a drain · `recovering` the tables may know less than the buckets hold: nothing was done · `contended`
 * its row kept changing.
 */
export type Undrained =
  | { readonly outcome: 'not-draining' | 'recovering' | 'contended' }
  | {
      readonly outcome: 'undrained';
      readonly rejoined: number;
      readonly left: readonly DrainedBytes[];
      readonly deleted: readonly DrainedBytes[];
      readonly deletedBefore: Count;
      readonly unsure: readonly DrainedBytes[];
    };

/** How often a row is tried again when someone else wrote it meanwhile. */
const attempts = 5;
const pollMs = 2_000;
const pageSize = 100;
const commitMs = 60_000;
/** The index of due items may lag behind the table: so often in a row it must show nothing. */
const quietReadings = 2;

/**
 * Ends a drain: the backend takes part again, with what it still holds. What the drain queued for deletion and nobody claimed
 * rejoins its object, or stays where it is; what was claimed is waited for, until it has ended or the tick of whoever claimed
 * it must have. So no deletion of this drain begins after this returns. Cut short, it is gone on with by calling it again.
 */
export async function undrain(deps: UndrainDeps, name: string): Promise<Undrained> {
  const ended = await endDrain(deps, name);
  if (ended.outcome === 'contended' || ended.outcome === 'recovering') return { outcome: ended.outcome };
  const work = newWork(deps, name);
  for (let quiet = 0; quiet < quietReadings; ) {
    const items = await itemsOfPastDrains(deps, name);
    quiet = items.length === 0 ? quiet + 1 : 0;
    await work.settle(items);
    if (quiet < quietReadings) await deps.clock.sleep(pollMs);
  }
  const found = await work.result();
  const isNothing = found.rejoined + found.left.length + found.deleted.length + found.unsure.length === 0;
  if (ended.outcome === 'absent' && isNothing) return { outcome: 'not-draining' };
  return { outcome: 'undrained', ...found, deletedBefore: ended.deletedBefore };
}

type DrainEnd =
  | { readonly outcome: 'ended' | 'absent'; readonly deletedBefore: Count }
  | { readonly outcome: 'recovering' }
  | { readonly outcome: 'contended' };

/** The end of the drain, and in the same moment the wish that files it left behind rejoin. */
async function endDrain(deps: UndrainDeps, name: string): Promise<DrainEnd> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const view = await readFleet(deps.store, deps.clock.now());
    if (isRecoveryPending(view)) return { outcome: 'recovering' };
    const row = view.row(rowKeys.drain(name));
    const totals = view.totals.filter((total) => isDeletedByDrain(total.row, name));
    const deletedBefore = addUp(totals.map(({ count }) => count));
    if (row === undefined) return { outcome: 'absent', deletedBefore };
    const changes: Change[] = [
      { kind: 'row-end', pk: fleetKey, sk: row.sk, expect: row.version },
      nextRow(view.row(rowKeys.rejoin(name)), rowKeys.rejoin(name), { since: deps.clock.now() }),
      ...totals.flatMap(({ stripes }) => stripes.map(({ sk, count }) => ended(sk, count))),
    ];
    const answer = await deps.store.transact(changes, deps.ids.ulid());
    if (answer.outcome === 'done') return { outcome: 'ended', deletedBefore };
  }
  return { outcome: 'contended' };
}

function ended(sk: string, expect: Count): Change {
  return { kind: 'add-end', pk: fleetKey, sk, expect };
}

function nextRow(before: ControlRow | undefined, sk: string, data: Readonly<Record<string, unknown>>): Change {
  const put = { pk: fleetKey, sk, version: (before?.version ?? 0) + 1, data };
  return { kind: 'row', put, expect: before?.version ?? 'absent' };
}

/** Queue items of drains of a backend that are over. One that drains anew keeps the items of its new drain. */
async function itemsOfPastDrains({ store, clock }: UndrainDeps, name: string): Promise<QueueItem[]> {
  const current = (await readFleet(store, clock.now())).drain(name)?.since;
  const found: QueueItem[] = [];
  for (const state of ['cleanup', 'dead'] as const) {
    for (const shard of shards) {
      let after: string | undefined;
      do {
        const page = await store.due(lane(state, name, shard), Number.MAX_SAFE_INTEGER, pageSize, after);
        for (const item of page.items)
          if (item.drainSince !== undefined && item.drainSince !== current) found.push(item);
        after = page.next;
      } while (after !== undefined);
    }
  }
  return found;
}

type Found = Omit<Extract<Undrained, { outcome: 'undrained' }>, 'outcome' | 'deletedBefore'>;

interface Work {
  /** Settles what nobody can be deleting, and remembers what somebody may be. */
  settle(items: readonly QueueItem[]): Promise<void>;
  result(): Promise<Found>;
}

function newWork(deps: UndrainDeps, name: string): Work {
  let rejoined = 0;
  /** Not in a record, and not queued for the drain any more: those that were claimed may be gone. */
  const ended = new Map<string, QueueItem>();
  const claimed = new Map<string, QueueItem>();
  return {
    async settle(items) {
      const view = await readFleet(deps.store, deps.clock.now());
      const now = deps.clock.now();
      const params = parseParameters(deps.env, view.settings.overrides);
      // By then the tick of whoever claimed it has ended, or its claim is too old to begin anything by it.
      const settleMs = Math.max(params.drainSettleMs, params.claimGraceMs);
      for (const item of items) if (item.claimedBy !== undefined) claimed.set(item.id, item);
      const mayEnd = items.filter(({ claimedAt = now - settleMs }) => now - claimedAt >= settleMs);
      for (const [item, outcome] of await endItems(deps, view, mayEnd)) {
        if (outcome === 'rejoined') rejoined += 1;
        if (outcome === 'left') ended.set(item.id, item);
        if (outcome === 'kept-queued') claimed.delete(item.id);
      }
    },
    result: async () => ({ rejoined, ...(await lookedUp(deps, name, new Map([...ended, ...claimed]))) }),
  };
}

type Ended = readonly [QueueItem, ReturnType<typeof afterDrain>['outcome']];

/** What could not be settled now is met again at the next reading. */
async function endItems(deps: UndrainDeps, view: FleetView, items: readonly QueueItem[]): Promise<Ended[]> {
  if (items.length === 0) return [];
  const entries = await deps.store.objects([...new Set(items.map(({ key }) => key))]);
  const { graceMs } = parseParameters(deps.env, view.settings.overrides);
  const now = deps.clock.now();
  const ends = items.map((item) => {
    // A claim moves the time at which the item is due: what is claimed meanwhile is not settled here.
    const held = { item, expect: { state: item.state, dueAt: item.dueAt } };
    // What restored tables say of it was so in the past: it may be deleted.
    const wasClaimed = item.claimedBy !== undefined || isOfLostTime(view, item);
    return afterDrain(held, entries.get(item.key), { wasClaimed, dueAt: now + graceMs });
  });
  const outcomes = await commit(
    commitDeps(deps, view),
    ends.map(({ swap }) => swap),
    now + commitMs,
  );
  const settled = items.flatMap((item, i): Ended[] =>
    outcomes[i]!.outcome === 'committed' ? [[item, ends[i]!.outcome]] : [],
  );
  for (const [{ key, backend, storageKey }, outcome] of settled)
    deps.log.info('Deletion of a drain ended', { audit: true, key, backend, storageKey, reason: outcome });
  return settled;
}

function commitDeps({ store, clock, ids, env }: UndrainDeps, view: FleetView): CommitDeps {
  const backends = view.config?.file.backends ?? [];
  const stripes = parseParameters(env, view.settings.overrides).ledgerStripes;
  return { store, clock, ids, stripes, quotaOf: (name) => backends.find((b) => b.name === name)?.quotaBytes ?? 0 };
}

/** What stands of the bytes that somebody may have deleted. */
async function lookedUp(
  deps: UndrainDeps,
  name: string,
  items: ReadonlyMap<string, QueueItem>,
): Promise<Omit<Found, 'rejoined'>> {
  const found = { left: [] as DrainedBytes[], deleted: [] as DrainedBytes[], unsure: [] as DrainedBytes[] };
  const view = await readFleet(deps.store, deps.clock.now());
  for (const item of items.values()) {
    const { key, storageKey, sizeBytes } = item;
    found[await whereabouts(deps, view, name, item)].push({ key, storageKey, sizeBytes });
  }
  return found;
}

async function whereabouts(
  deps: UndrainDeps,
  view: FleetView,
  name: string,
  item: QueueItem,
): Promise<'left' | 'deleted' | 'unsure'> {
  const config = view.config?.file.backends.find((backend) => backend.name === name);
  if (config === undefined) return 'unsure';
  try {
    const backend = await deps.openBackend(config, view.capabilities(name) as Capabilities, 'read-write');
    return (await backend.head(item.storageKey)) === null ? 'deleted' : 'left';
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    deps.log.warn('Cannot say whether bytes are still there', { backend: name, key: item.key, kind: error.kind });
    return 'unsure';
  }
}
