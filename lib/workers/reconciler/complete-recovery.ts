import { labelInShard, shards } from '../../store/keys.ts';
import { passHeader, passName } from '../../store/pass-rows.ts';
import { isRecoveryPending, type Recovery, recoveryOf } from '../../store/recovery.ts';
import { fleetKey, rowKeys } from '../../store/row-keys.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refresh } from '../../tick/refresh.ts';
import type { Tick } from '../../tick/tick.ts';

/** What this file asks of a tick. */
export type CompleteRecoveryTick = Pick<Tick, 'deps' | 'config' | 'view' | 'now' | 'outOfTime' | 'commit' | 'audit'> &
  RefreshTick;

const batch = 90;

/**
 * Ends a recovery once every backend of the fleet file was gone through, from its first key, since it began: what it recorded may be copied, and what no record
 * names may be judged again. False while anything is left to do. A tick without a recovery has nothing to end.
 */
export async function completeRecovery(tick: CompleteRecoveryTick): Promise<boolean> {
  if (!isRecoveryPending(tick.view)) return true;
  const { since } = recoveryOf(tick.view)!;
  const isOpen = tick.config.backends.some(({ name }) => {
    const { isRunning, startedAt } = passHeader(tick.view, passName({ kind: 'recover', backends: [name] }));
    return isRunning || startedAt < since;
  });
  if (isOpen) return false;
  await liftAll(tick);
  await refresh(tick);
  if (hasRecovering(tick)) return false;
  if (!(await isWritten(tick, { since, completedAt: tick.now() }))) return false;
  tick.audit('Recovery complete', { since });
  return true;
}

/** Notes that a person lets go what restored tables had queued for deletion. Once said it stands. */
export async function releaseRestored(tick: CompleteRecoveryTick): Promise<boolean> {
  const recovery = recoveryOf(tick.view);
  if (recovery === undefined || recovery.releasedAt !== undefined) return true;
  if (recovery.completedAt === undefined) return false;
  if (!(await isWritten(tick, { ...recovery, releasedAt: tick.now() }))) return false;
  tick.audit('Restored deletions released', { since: recovery.since });
  return true;
}

/** Writes how the recovery stands, unless it was written since the fleet was read. */
async function isWritten(tick: CompleteRecoveryTick, data: Recovery): Promise<boolean> {
  const { version } = tick.view.row(rowKeys.recovery)!;
  const put = { pk: fleetKey, sk: rowKeys.recovery, version: version + 1, data: { ...data } };
  return (await tick.deps.store.write({ kind: 'row', put, expect: version })).outcome === 'done';
}

/**
 * What an earlier recovery had recorded when the tables were saved is what these tables held, like all else that they name: this
 * one has read none of it. False while anything of that is left.
 */
export async function endFormerRecovery(tick: CompleteRecoveryTick): Promise<boolean> {
  if (!isRecoveryPending(tick.view)) return true;
  const { since } = recoveryOf(tick.view)!;
  const hasBegun = tick.config.backends.some(({ name }) => startedAt(tick, name) >= since);
  if (hasBegun || !hasRecovering(tick)) return true;
  await liftAll(tick);
  await refresh(tick);
  return !hasRecovering(tick);
}

function hasRecovering(tick: CompleteRecoveryTick): boolean {
  return tick.view.placements.some(({ condition }) => condition === 'recovering');
}

function startedAt(tick: CompleteRecoveryTick, name: string): number {
  return passHeader(tick.view, passName({ kind: 'recover', backends: [name] })).startedAt;
}

/** Puts what the recovery recorded under its policy's own label, in groups. */
async function liftAll(tick: CompleteRecoveryTick): Promise<void> {
  const labels = tick.view.placements.filter(({ condition }) => condition === 'recovering').map(({ label }) => label);
  for (const label of labels.flatMap((one) => shards.map((shard) => labelInShard(one, shard)))) {
    let after: string | undefined;
    do {
      if (tick.outOfTime()) return;
      const page = await tick.deps.store.byPlacement(label, after, batch);
      const objects = page.items.filter(({ condition }) => condition === 'recovering');
      await tick.commit(
        objects.map((object) => ({
          key: object.key,
          change: { before: object, after: { ...object, condition: 'sound' as const } },
        })),
      );
      after = page.next;
    } while (after !== undefined);
  }
}
