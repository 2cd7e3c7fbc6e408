import { type Admission, createAdmission } from '../../base/admission.ts';
import { allEnded } from '../../base/pool.ts';
import { type PassId, passAgeMs, passHeader, passName } from '../../store/pass-rows.ts';
import { isRecoveryPending, recoveryOf } from '../../store/recovery.ts';
import { rowKeys } from '../../store/row-keys.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refresh } from '../../tick/refresh.ts';
import type { FleetAsRead, ReconcileRequest, Round, Tick, TickEvent, TickRequest, Worker } from '../../tick/tick.ts';
import type { CompleteRecoveryTick } from './complete-recovery.ts';
import type { PassEnd, PassTick } from './pass.ts';
import type { PassWorkTick } from './pass-work.ts';

/** What this file asks of a tick. */
export type ReconcilerTick = Pick<Tick, 'deps' | 'params' | 'figures' | 'now'> &
  FleetAsRead &
  TickRequest &
  CompleteRecoveryTick &
  PassTick &
  PassWorkTick &
  RefreshTick;

/**
 * The reconciler compares what each backend lists with what is recorded, in passes over all of its keys, in both directions.
 *
 * Bytes of ours that nothing names are enqueued for deletion; copies that are recorded and not there go to quarantine; files
 * that Holdfast did not write are imported where that is on, and never touched. It deletes nothing itself. A pass of each
 * backend begins once a day, and every tick carries it on until it has covered every key. What keeps one backend, one range of
 * keys or one key from being compared keeps no other from it. It is reported by name, and taken up again.
 *
 * Rules: [listings-never-lie-by-omission], [passes-cover-all], [passes-fail-apart], [orphans-queued-with-care], [missing-
 * copies-confirmed]
 */
export const reconciler: Worker = {
  name: 'reconciler',
  leaseOf: ({ reconcile }: TickEvent) => (reconcile === undefined ? undefined : `asked/${passName(reconcile)}`),
  hasWork: async (tick) => tick.reconcile !== undefined || duePasses(tick).length > 0,
  begin,
};

/** The passes that are running or due, as the fleet's own row says: each backend by itself. */
function duePasses(tick: ReconcilerTick): PassId[] {
  if (tick.reconcile !== undefined) return askedPasses(tick, tick.reconcile);
  return tick.config.backends
    .map(({ name }): PassId => ({ kind: 'sweep', backends: [name] }))
    .filter((id) => isDue(tick, id));
}

/** What is left of the passes that a person asked for. */
function askedPasses(tick: ReconcilerTick, request: ReconcileRequest): PassId[] {
  const since = request.kind === 'recover' ? (recoverySince(tick) ?? request.since) : request.since;
  return passesOf(request).filter((id) => {
    const { isRunning, completedAt = 0 } = passHeader(tick.view, passName(id));
    return isRunning || since === undefined || completedAt < since;
  });
}

/** A recovery is complete when every backend was gone through since the tables were lost, in however many calls. */
function recoverySince(tick: ReconcilerTick): number | undefined {
  return isRecoveryPending(tick.view) ? recoveryOf(tick.view)?.since : undefined;
}

/**
 * Files are listed side by side, so that equal ones become one object; everything else is of one backend. One that has left the
 * fleet since keeps its place: what was not gone through is not complete.
 */
function passesOf({ kind, backends, prefix }: PassId): PassId[] {
  const options = prefix === undefined || prefix === '' ? {} : { prefix };
  if (kind === 'import') return [{ kind, backends, ...options }];
  return backends.map((name) => ({ kind, backends: [name], ...options }));
}

function isDue(tick: ReconcilerTick, id: PassId): boolean {
  const { isRunning, startedAt } = passHeader(tick.view, passName(id));
  return isRunning || !tick.isScheduled || tick.now() >= startedAt + tick.params.reconcilerIntervalMs;
}

/** Stretches whose records sweeps read at once: as many keep a process busy, however many ranges and backends are listed. */
const stretchesReadAtOnce = 4;

async function begin(tick: ReconcilerTick): Promise<Round> {
  return async () => {
    if (tick.reconcile?.kind === 'recover' && !tick.dryRun) {
      const { endFormerRecovery } = await import('./complete-recovery.ts');
      if (!(await endFormerRecovery(tick))) return 'done';
    }
    const passes = duePasses(tick);
    const reading = createAdmission(stretchesReadAtOnce);
    const ends = await allEnded(passes.map((id) => passOf(tick, id, reading)));
    await refresh(tick);
    noteFigures(tick, passes, ends);
    if (!tick.dryRun) await endRejoining(tick, passes, ends);
    if (tick.reconcile?.kind === 'recover' && isComplete(ends) && !tick.dryRun) {
      const { completeRecovery } = await import('./complete-recovery.ts');
      if (!(await completeRecovery(tick))) delete tick.figures.passComplete;
    }
    if (tick.reconcile?.kind === 'delete-superseded' && isComplete(ends) && !tick.dryRun) {
      const { releaseRestored } = await import('./complete-recovery.ts');
      if (!(await releaseRestored(tick))) delete tick.figures.passComplete;
    }
    return 'done';
  };
}

/** Between passes a tick ends after one query: a cold start does not load what compares. */
async function passOf(tick: ReconcilerTick, id: PassId, reading: Admission): Promise<PassEnd> {
  const [{ workPass }, { createPassWork }] = await Promise.all([import('./pass.ts'), import('./pass-work.ts')]);
  return workPass(tick, await createPassWork(tick, id, reading));
}

function isComplete(ends: readonly PassEnd[]): boolean {
  return ends.every((end) => end === 'complete');
}

function noteFigures(tick: ReconcilerTick, passes: readonly PassId[], ends: readonly PassEnd[]): void {
  tick.figures.passesComplete = ends.filter((end) => end === 'complete').length;
  if (isComplete(ends)) tick.figures.passComplete = 1;
  for (const [i, id] of passes.entries()) if (ends[i] === 'complete') tick.figures[`passComplete/${passName(id)}`] = 1;
  tick.figures.oldestPassSeconds = oldestPassSeconds(tick);
}

/** How long ago the backend whose last complete pass is the oldest was gone through; since the fleet began, where none ever was. */
function oldestPassSeconds(tick: ReconcilerTick): number {
  const ages = tick.config.backends.map(({ name }) => passAgeMs(tick.view, name, tick.now()) ?? 0);
  return Math.round(Math.max(0, ...ages) / 1000);
}

/** A pass that began after a drain was over has met every file that it left behind. */
async function endRejoining(tick: ReconcilerTick, passes: readonly PassId[], ends: readonly PassEnd[]): Promise<void> {
  for (const [i, { kind, backends }] of passes.entries()) {
    const name = backends[0]!;
    const row = tick.view.row(rowKeys.rejoin(name));
    if (row === undefined || kind !== 'sweep' || ends[i] !== 'complete') continue;
    if (passHeader(tick.view, name).startedAt <= Number(row.data.since)) continue;
    await tick.deps.store.write({ kind: 'row-end', pk: row.pk, sk: row.sk, expect: row.version });
  }
}
