import { defined } from '../../base/defined.ts';
import { forEachConcurrently } from '../../base/pool.ts';
import { count } from '../../base/tally.ts';
import { BackendError, type ListFrom, type ListPage } from '../../fleet/backend.ts';
import { internalPrefix } from '../../fleet/owner.ts';
import { settlePlainChange } from '../../steps/plain-change.ts';
import { quarantineOnEvidence } from '../../steps/quarantine.ts';
import { relabel } from '../../steps/relabel.ts';
import { importingLabel, parseStorageKey } from '../../store/keys.ts';
import type { Entry, ObjectRecord } from '../../store/model.ts';
import { findByPlacement } from '../../tick/find-work.ts';
import { isUsable } from '../../tick/health.ts';
import { refresh } from '../../tick/refresh.ts';
import { endReportOnly } from '../../tick/report-only.ts';
import type { Round, Tick, Worker } from '../../tick/tick.ts';
import { recordedBetween, settleMissing } from './missing.ts';
import { found, type Pass, settleKey, type Unnamed } from './pass.ts';
import { settleUnnamed } from './unnamed.ts';

/**
 * The reconciler compares what each backend lists with what is recorded, page by page and in both directions (N1–N6).
 *
 * Bytes of ours that nothing names are enqueued for deletion; copies that are recorded and not there go to `quarantine`; files it did not
 * write are imported where that is on, and never touched. It deletes nothing itself. A listing that fails, stalls or meets a
 * usage limit is taken up again at the same page, never taken for the end; one key that fails is counted and passed over.
 */
export const reconciler: Worker = {
  name: 'reconciler',
  leaseOf: ({ reconcile }) => (reconcile === undefined ? undefined : `asked/${reconcile.backend}`),
  hasWork,
  begin,
};

/** Where the pass is; kept as the lease's cursor, one per requested kind of pass. */
interface Progress {
  /** What the pass does beyond a sweep: a pass of another kind begins anew. */
  readonly kind: string;
  readonly backend?: string;
  readonly after?: string;
  readonly listed: number;
  /** Whether anything of this backend was put off or failed. */
  readonly hasGaps?: boolean;
}

async function hasWork(): Promise<boolean> {
  return true;
}

async function begin(tick: Tick): Promise<Round> {
  const budget = await tick.budget();
  const mine = tick.config.backends
    .map((b) => b.name)
    .filter((name, i) => (tick.reconcile ? name === tick.reconcile.backend : i % tick.of === tick.part));
  let progress = readProgress(tick, mine);
  return async () => {
    const name = progress.backend;
    if (name === undefined) return finishRun(tick);
    if (!tick.standing(name).isReachable || !(await isUsable(tick, name))) {
      count(tick.tally, 'skipped', 'parked');
      progress = advance(tick, mine, name);
    } else {
      const backend = await tick.backend(name);
      const { reconcile } = tick;
      const pass: Pass = {
        tick,
        backend,
        budget,
        listed: progress.listed,
        imports: reconcile?.import ?? tick.params.reconcilerImports,
        recovers: reconcile?.recover ?? false,
        confirms: reconcile?.apply ?? false,
      };
      const before = tick.tally.failed + tick.tally.deferred;
      const outcome = await reconcilePage(pass, progress.after);
      if (outcome === 'stopped') return 'done';
      if (outcome === 'unreachable') return 'more';
      const hasGaps = progress.hasGaps === true || tick.tally.failed + tick.tally.deferred > before;
      if (outcome === undefined && pass.recovers && !hasGaps && !tick.dryRun) await endReportOnly(tick, name);
      progress =
        outcome === undefined
          ? advance(tick, mine, name)
          : { ...progress, after: outcome, listed: pass.listed, hasGaps };
    }
    if (!tick.dryRun) tick.cursor = JSON.stringify(progress);
    return progress.backend === undefined ? finishRun(tick) : 'more';
  };
}

function readProgress(tick: Tick, mine: readonly string[]): Progress {
  const start = { kind: kindOf(tick), listed: 0, ...(mine[0] === undefined ? {} : { backend: mine[0] }) };
  try {
    const saved = JSON.parse(tick.cursor ?? '{}') as Partial<Progress>;
    const isThis = saved.kind === start.kind && saved.backend !== undefined && mine.includes(saved.backend);
    return isThis ? { ...start, ...saved } : start;
  } catch {
    return start;
  }
}

function kindOf({ reconcile }: Tick): string {
  if (reconcile === undefined) return 'all';
  const { backend, import: imports, recover, apply } = reconcile;
  return [backend, imports && 'import', recover && 'recover', apply && 'apply'].filter(Boolean).join(' ');
}

function advance(tick: Tick, mine: readonly string[], done: string): Progress {
  const next = mine[mine.indexOf(done) + 1];
  return { kind: kindOf(tick), listed: 0, ...defined({ backend: next }) };
}

/**
 * Compares one page; returns where the next begins, undefined at the true end, `stopped` when it must be taken up again, `unreachable`
 * when others found meanwhile that the backend does not answer.
 */
async function reconcilePage(
  pass: Pass,
  after: string | undefined,
): Promise<string | undefined | 'stopped' | 'unreachable'> {
  const { tick, backend } = pass;
  const refusal = pass.budget.refuses(backend.name, { requests: 1 });
  if (refusal !== null) {
    count(tick.tally, 'deferred', refusal);
    return 'stopped';
  }
  let page: ListPage;
  try {
    page = await backend.list(
      {
        ...defined({ from: after === undefined ? undefined : fromOf(after) }),
        limit: Math.min(1000, tick.tuning.batchSize),
      },
      tick.signal,
    );
    await comparePage(pass, page, after);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    if (error.kind === 'cancelled' && !tick.standing(backend.name).isReachable) return 'unreachable';
    count(tick.tally, 'failed', `list-${error.kind}`);
    tick.deps.log.error('Reconciler stopped on a page and will take it up again', {
      alarm: true,
      backend: backend.name,
      kind: error.kind,
      after,
    });
    return 'stopped';
  }
  return placeOf(page.next);
}

const tokenMark = '\u0000token\u0000';

function placeOf(from: ListFrom | undefined): string | undefined {
  if (from === undefined) return undefined;
  return 'token' in from ? tokenMark + from.token : from.afterKey;
}

function fromOf(place: string): ListFrom {
  return place.startsWith(tokenMark) ? { token: place.slice(tokenMark.length) } : { afterKey: place };
}

async function comparePage(pass: Pass, page: ListPage, after: string | undefined): Promise<void> {
  const { tick, backend } = pass;
  const items = page.items.filter(({ storageKey }) => !storageKey.startsWith(internalPrefix));
  pass.listed += items.length;
  const inOrder = tick.view.capabilities(backend.name).listsInByteOrder === true;
  const recorded = inOrder ? await recordedBetween(pass, after, placeOf(page.next)) : [];
  const named = new Map<string, ObjectRecord>(recorded.map((object) => [object.key, object]));
  const entries = await entriesFor(
    pass,
    items.map((item) => item.storageKey),
    named,
  );
  const unnamed: Unnamed[] = [];
  for (const listed of items) {
    const name = parseStorageKey(listed.storageKey);
    const owner = name === null ? undefined : entries.get(name.key);
    const atKey = entries.get(listed.storageKey) ?? null;
    if (owner?.kind === 'object' && owner.copies[backend.name] === name!.copyId)
      await checkSize(pass, owner, listed.sizeBytes);
    else if (atKey?.kind === 'object' && atKey.copies[backend.name] === '') await checkEtag(pass, atKey, listed.etag);
    // Younger keys may be about to be recorded.
    else if (tick.now() - listed.lastModified >= tick.params.reconcilerMinAgeMs) unnamed.push({ listed, atKey });
  }
  await forEachConcurrently(unnamed, tick.tuning.concurrency, (one) =>
    settleKey(pass, one.listed.storageKey, () => settleUnnamed(pass, one)),
  );
  await settleMissing(pass, recorded, new Set(items.map((item) => item.storageKey)));
}

/**
 * Entries for the listed keys themselves, unless a known record names them, and for the objects their names speak of; records
 * already read are not read again.
 */
async function entriesFor(
  pass: Pass,
  storageKeys: readonly string[],
  known: ReadonlyMap<string, ObjectRecord>,
): Promise<Map<string, Entry>> {
  const wanted = new Set<string>();
  for (const storage of storageKeys) {
    const name = parseStorageKey(storage);
    const owner = name === null ? undefined : known.get(name.key);
    if (owner !== undefined && owner.copies[pass.backend.name] === name!.copyId) continue;
    if (name !== null && owner === undefined) wanted.add(name.key);
    if (!known.has(storage) && storage.isWellFormed() && Buffer.byteLength(storage) <= 1024) wanted.add(storage);
  }
  const entries = new Map<string, Entry>(known);
  for (const [key, entry] of await pass.tick.deps.store.objects([...wanted])) entries.set(key, entry);
  return entries;
}

async function checkSize(pass: Pass, object: ObjectRecord, sizeBytes: number): Promise<void> {
  if (object.sizeBytes === sizeBytes || pass.tick.dryRun) return;
  const { outcome: verdict } = await quarantineOnEvidence(pass.tick, object.key, pass.backend.name);
  found(
    pass,
    verdict === 'quarantined' || verdict === 'damaged' ? 'succeeded' : 'failed',
    `wrong-size-${verdict}`,
    object.key,
  );
}

/** N6: the owner of an imported file wrote it again. */
async function checkEtag(pass: Pass, object: ObjectRecord, etag: string): Promise<void> {
  const { tick, backend } = pass;
  if (object.plainEtags?.[backend.name] === etag || tick.dryRun) return;
  const change = await settlePlainChange(tick, object, backend.name);
  const isSettled = change === 'renewed' || change === 'overwritten';
  const verdict = isSettled ? 'succeeded' : change.startsWith('over-') ? 'deferred' : 'skipped';
  found(pass, verdict, `plain-${change}`, object.key);
}

const releaseBatch = 200;

/** The run has ended: what it imported gets the label of its policy, and with it its replicas. */
async function finishRun(tick: Tick): Promise<'done' | 'more'> {
  tick.figures.passComplete = 1;
  if (tick.dryRun) return 'done';
  // What this very round imported is not in the state it began with.
  await refresh(tick);
  const waiting = tick.view.placements.filter((p) => p.policy === importingLabel).map((p) => p.label);
  const { objects } = await findByPlacement(tick.deps.store, waiting, tick.shards, undefined, releaseBatch);
  await forEachConcurrently(objects, tick.tuning.concurrency, async (object) => void (await relabel(tick, object)));
  return objects.length === 0 ? 'done' : 'more';
}
