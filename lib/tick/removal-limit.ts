import type { CounterAdd } from '../store/port.ts';
import { fleetKey, rowKeys } from '../store/row-keys.ts';
import type { RefreshTick } from './refresh.ts';
import { refresh } from './refresh.ts';
import type { Tick } from './tick.ts';

/** What this file asks of a tick. */
export type RemovalLimitTick = Pick<Tick, 'deps' | 'params' | 'figures' | 'view' | 'now' | 'removing'> & RefreshTick;

/** Copies recorded on a backend, by the ledger as this tick read it last. */
export function recordedCopies(tick: RemovalLimitTick, backend: string): number {
  return tick.view.placements
    .filter((placement) => placement.copies.some((copy) => copy.backend === backend))
    .reduce((sum, placement) => sum + placement.count.objects, 0);
}

/**
 * Whether one more removal on evidence is within today's removal limit for a backend: its share of the copies recorded or listed
 * there, or a small number that is always allowed.
 */
export async function isWithinRemovalLimit(tick: RemovalLimitTick, backend: string, listed = 0): Promise<boolean> {
  return (await removalsLeft(tick, backend, listed)) > 0;
}

/**
 * How many more removals on evidence today's limit allows on a backend. They are rare, so the state of this very moment is
 * read. Where they are fewer than `wanted` it is said, with an alarm. Others may remove meanwhile: what is counted with
 * `removalCount` is refused where it goes beyond the limit.
 */
export async function removalsLeft(tick: RemovalLimitTick, backend: string, listed = 0, wanted = 1): Promise<number> {
  await refresh(tick);
  const { removed, copies, allowed } = removalLimit(tick, backend, listed);
  const left = allowed - removed;
  if (left >= wanted) return left;
  tick.figures.removalLimitReached = (tick.figures.removalLimitReached ?? 0) + 1;
  tick.deps.log.error('Removal limit reached: too many removals on evidence today', {
    alarm: true,
    backend,
    allowed,
    copies,
  });
  return Math.max(0, left);
}

/** Today's limit of a backend, by the fleet as this tick read it last. */
function removalLimit(tick: RemovalLimitTick, backend: string, listed: number) {
  const removed = tick.view.removals(backend, dayOf(tick.now()));
  // Of what was there before the day's removals: what they take away must not make the limit smaller meanwhile.
  const copies = Math.max(recordedCopies(tick, backend) + removed, listed);
  const { removalLimitMinCount, removalLimitRatio } = tick.params;
  return { removed, copies, allowed: Math.max(removalLimitMinCount, Math.floor(copies * removalLimitRatio)) };
}

/**
 * Lets a tick's removals on evidence from one backend happen one after another, each from asking for the limit to its commit: it
 * would be asked by all that are in work before any of them is counted.
 */
export function inRemovalTurn<T>(
  { removing }: Pick<RemovalLimitTick, 'removing'>,
  backend: string,
  remove: () => Promise<T>,
): Promise<T> {
  const removed = (removing.get(backend) ?? Promise.resolve()).then(remove);
  const ended = removed.then(
    () => {},
    () => {},
  );
  removing.set(backend, ended);
  return removed;
}

/**
 * Counts one removal; it goes into the removal's own transaction, which is refused (`limited`) where ticks that run in parallel
 * have used the limit up since it was asked for. So it is exact, whoever removes at once.
 */
export function removalCount(tick: RemovalLimitTick, backend: string, sizeBytes: number, listed = 0): CounterAdd {
  const sk = rowKeys.removals(backend, dayOf(tick.now()));
  const { allowed } = removalLimit(tick, backend, listed);
  return { kind: 'add', pk: fleetKey, sk, add: { objects: 1, bytes: sizeBytes }, atMostObjects: allowed - 1 };
}

/** The calendar day (UTC) of a moment, `yyyy-mm-dd`. */
export function dayOf(now: number): string {
  return new Date(now).toISOString().slice(0, 10);
}
