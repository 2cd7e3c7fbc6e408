import { type FleetView, readFleet } from './fleet-view.ts';
import type { QueueItem } from './model.ts';
import type { Store } from './port.ts';
import { quarantineMs } from './queue-items.ts';
import { fleetKey, isDrainRow, rowKeys } from './row-keys.ts';

/**
 * The tables were lost or restored, and buckets of theirs were taken over. Until a recovery is complete they may know less than
 * the buckets hold.
 */
export interface Recovery {
  /** When the first bucket was taken over. What was minted before, these tables may not know. Milliseconds since the epoch. */
  readonly since: number;
  /** When every backend of the fleet file had been gone through since; absent: not yet. */
  readonly completedAt?: number;
  /** When a person said that what the recovery passed over may go; absent: nobody has. */
  readonly releasedAt?: number;
}

/** What marks can be off by: generations are minted by the clocks of those who write. */
export const clockSkewMs = 3_600_000;

/**
 * The hash of an object of which a recovery could not tell which bytes are its own: no bytes have it, so nobody is given any,
 * and nothing ever verifies. Only a put, or a recovery that finds more, decides it.
 */
export const undecidedSha256 = '0'.repeat(64);

export function recoveryOf(view: Pick<FleetView, 'row'>): Recovery | undefined {
  return view.row(rowKeys.recovery)?.data as Recovery | undefined;
}

/** Whether a queue item was made before the tables were lost or restored: what became of its bytes since, they do not know. */
export function isOfLostTime(view: Pick<FleetView, 'row'>, { createdAt }: Pick<QueueItem, 'createdAt'>): boolean {
  const recovery = recoveryOf(view);
  return recovery !== undefined && createdAt <= recovery.since;
}

/**
 * When bytes may be deleted that restored tables had queued: they may be those of a content that was brought back in the time
 * that the tables know nothing of. A person says that they may go, and can think better of it for as long as what is quarantined
 * waits. Infinite before that.
 */
export function restoredDueAt({ releasedAt }: Recovery): number {
  return releasedAt === undefined ? Number.POSITIVE_INFINITY : releasedAt + quarantineMs;
}

/** Whether nothing may be deleted yet, and no surplus be looked for: what is recorded may not be what is there. */
export function isRecoveryPending(view: Pick<FleetView, 'row'>): boolean {
  const recovery = recoveryOf(view);
  return recovery !== undefined && recovery.completedAt === undefined;
}

const yearMs = 365 * 24 * 3_600_000;

/**
 * For how long it must be remembered that an object was deleted. Buckets that were taken over may hold bytes of it that these
 * tables do not know: until a person has let those go, a recovery that meets them after its tombstone would undo the delete.
 */
export function deletedIsKeptMs(view: Pick<FleetView, 'row'>): number {
  const recovery = recoveryOf(view);
  return recovery !== undefined && recovery.releasedAt === undefined ? yearMs : 0;
}

/** How often a row is tried again when someone else wrote it meanwhile. */
const attempts = 5;

/**
 * Notes that a recovery is due. Called right before each owner object of other tables is replaced: from then on nothing is
 * deleted, and a recovery that is at its end meanwhile does not end. One that these tables were in the midst of when they were
 * saved begins anew: what it had gone through has changed since. False where its row kept changing. Throws `StoreError`.
 */
export async function beginRecovery(store: Pick<Store, 'control' | 'write'>, now: number): Promise<boolean> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const view = await readFleet(store, now);
    const row = view.row(rowKeys.recovery);
    const isNoted = await isWritten(store, rowKeys.recovery, row?.version, { since: now });
    if (isNoted && (await beginDrainsAnew(store, now))) return true;
  }
  return false;
}

/**
 * A drain of restored tables may have ended since, and what they showed to be empty may hold copies: it begins anew, open to
 * what the recovery finds there, and what it had queued is no deletion of the new one. Imported files stay before a person
 * asks again. Every row is written: whoever is about to close a drain that it read before this must fail.
 */
async function beginDrainsAnew(store: Pick<Store, 'control' | 'write'>, now: number): Promise<boolean> {
  const { rows } = await store.control(fleetKey);
  for (const { sk, version } of rows.filter((row) => isDrainRow(row.sk)))
    if (!(await isWritten(store, sk, version, { since: now }))) return false;
  return true;
}

async function isWritten(
  store: Pick<Store, 'write'>,
  sk: string,
  version: number | undefined,
  data: Readonly<Record<string, unknown>>,
): Promise<boolean> {
  const put = { pk: fleetKey, sk, version: (version ?? 0) + 1, data };
  return (await store.write({ kind: 'row', put, expect: version ?? 'absent' })).outcome === 'done';
}
