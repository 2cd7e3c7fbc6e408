import type { FleetView } from './fleet-view.ts';
import type { Store } from './port.ts';
import { fleetKey, rowKeys } from './row-keys.ts';

/**
 * The tables were lost or restored, and buckets of theirs were taken over. Until a recovery is complete they may know less than
 * the buckets hold.
 */
export interface Recovery {
  /** When the first bucket was taken over. What was minted before, these tables may not know. Milliseconds since the epoch. */
  readonly since: number;
  /** When every backend of the fleet file had been gone through since; absent: not yet. */
  readonly completedAt?: number;
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

/** Whether nothing may be deleted yet, and no surplus be looked for: what is recorded may not be what is there. */
export function isRecoveryPending(view: Pick<FleetView, 'row'>): boolean {
  const recovery = recoveryOf(view);
  return recovery !== undefined && recovery.completedAt === undefined;
}

/**
 * Notes that a recovery is due. Called right before the first owner object of other tables is replaced, and before any is:
 * from then on nothing is deleted. Throws `StoreError`.
 */
export async function beginRecovery(
  store: Pick<Store, 'write'>,
  view: Pick<FleetView, 'row'>,
  since: number,
): Promise<void> {
  const row = view.row(rowKeys.recovery);
  if (row !== undefined && row.data.completedAt === undefined) return;
  const put = { pk: fleetKey, sk: rowKeys.recovery, version: (row?.version ?? 0) + 1, data: { since } };
  await store.write({ kind: 'row', put, expect: row?.version ?? 'absent' });
}
