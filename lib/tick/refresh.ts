import { readFleet } from '../store/fleet-view.ts';
import { StoreError } from '../store/port.ts';
import type { Tick } from './tick.ts';

/** What this file asks of a tick. */
export type RefreshTick = Pick<Tick, 'deps' | 'view' | 'refreshedAt' | 'onRefresh' | 'now'>;

/** What takes long within a round looks this often whether the fleet was changed. */
const viewLifeMs = 15_000;

/** Readings that are under way, by tick. */
const underWay = new WeakMap<RefreshTick, Promise<void>>();

/** Reads the fleet again, for all that is at work in this tick. Throws `StoreError`. */
export async function refresh(tick: RefreshTick): Promise<void> {
  const reading = readAgain(tick);
  underWay.set(tick, reading);
  try {
    await reading;
  } finally {
    if (underWay.get(tick) === reading) underWay.delete(tick);
  }
}

async function readAgain(tick: RefreshTick): Promise<void> {
  tick.refreshedAt = tick.now();
  const view = await readFleet(tick.deps.store, tick.refreshedAt);
  if (view.config === null || view.readAt < tick.view.readAt) return;
  tick.view = view;
  for (const tell of tick.onRefresh) tell();
}

/** The same where that was long ago; what is being read is waited for. What the store cannot say now it is asked the next time. */
export async function refreshIfOld(tick: RefreshTick): Promise<void> {
  const isOld = tick.now() - tick.refreshedAt >= viewLifeMs;
  try {
    await (isOld ? refresh(tick) : underWay.get(tick));
  } catch (error) {
    if (!(error instanceof StoreError) || !passing.has(error.kind)) throw error;
    tick.deps.log.warn('The fleet could not be read again', { kind: error.kind });
  }
}

/** What is committed is committed by a fleet that was asked for at most so long ago. */
const commitLifeMs = 5_000;
const mostReadings = 3;

/**
 * Reads the fleet again where it was asked for too long ago to commit by it; its age is looked at once more after the answer,
 * since a process may sleep while it waits. False when the store does not say how the fleet is now.
 */
export async function refreshForCommit(tick: RefreshTick): Promise<boolean> {
  const isFresh = () => tick.now() - tick.view.readAt < commitLifeMs;
  for (let reading = 0; !isFresh() && reading < mostReadings; reading += 1) {
    try {
      await refresh(tick);
    } catch (error) {
      if (!(error instanceof StoreError) || !passing.has(error.kind)) throw error;
      tick.deps.log.warn('The fleet could not be read again', { kind: error.kind });
    }
  }
  return isFresh();
}

const passing: ReadonlySet<StoreError['kind']> = new Set(['throttled', 'unreachable', 'unanswered']);
