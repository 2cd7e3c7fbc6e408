import type { ObjectRecord } from '../../store/model.ts';
import { quarantineMs } from '../../store/queue-items.ts';
import type { Swap } from '../../store/swap.ts';
import type { RefreshTick } from '../../tick/refresh.ts';
import { refresh } from '../../tick/refresh.ts';
import type { Tick } from '../../tick/tick.ts';
import { type SpareTick, spare } from './spare.ts';

/** What this file asks of a tick. */
export type RemovalsTick = Pick<Tick, 'now' | 'params' | 'commit' | 'audit'> & SpareTick & RefreshTick;

/** What one object's turn led to. */
export type Cleaned =
  | { readonly outcome: 'removed' }
  | { readonly outcome: 'relabelled' }
  | { readonly outcome: 'skipped' | 'deferred' | 'failed'; readonly reason: string };

/** Copies of an object that are to leave its record: those that stay were confirmed. */
export interface Removal {
  readonly object: ObjectRecord;
  readonly leaving: readonly string[];
  /** A copy that stays was read to its end in an earlier tick. */
  readonly isAged: boolean;
}

export interface Removals {
  remove(removal: Removal): Promise<Cleaned>;
}

interface Waiting extends Removal {
  readonly resolve: (cleaned: Cleaned) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Takes copies out of their records, those together that are ready in the same moment: each group by a look at the fleet that
 * is younger than its reads. Whoever drained a backend, or changed a policy, may have thought better of it meanwhile.
 */
export function groupedRemovals(tick: RemovalsTick): Removals {
  let waiting: Waiting[] = [];
  let isRunning = false;
  const run = async () => {
    if (isRunning) return;
    isRunning = true;
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      try {
        const ends = await removeGroup(tick, group);
        for (const [i, { resolve }] of group.entries()) resolve(ends[i]!);
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    isRunning = false;
  };
  return {
    remove: (removal) =>
      new Promise((resolve, reject) => {
        waiting.push({ ...removal, resolve, reject });
        queueMicrotask(() => void run());
      }),
  };
}

async function removeGroup(tick: RemovalsTick, group: readonly Removal[]): Promise<Cleaned[]> {
  await refresh(tick);
  const wanted = group.map((removal) => isStillWanted(tick, removal));
  const removals = group.filter((_, i) => wanted[i]);
  const outcomes = await tick.commit(removals.map((removal) => swapFor(tick, removal)));
  const ends = new Map(removals.map((removal, i) => [removal, outcomes[i]!.outcome]));
  return group.map((removal): Cleaned => {
    const outcome = ends.get(removal);
    if (outcome === undefined) return { outcome: 'skipped', reason: 'changed-meanwhile' };
    if (outcome !== 'committed') return { outcome: outcome === 'lost' ? 'skipped' : 'failed', reason: outcome };
    noteRemoved(tick, removal);
    return { outcome: 'removed' };
  });
}

function isStillWanted(tick: RemovalsTick, { object, leaving }: Removal): boolean {
  const now = spare(tick, object).leaving;
  return now.length === leaving.length && leaving.every((name) => now.includes(name));
}

function noteRemoved(tick: RemovalsTick, { object: { key, copies }, leaving, isAged }: Removal): void {
  for (const backend of leaving)
    tick.audit('Copy removed', { key, backend, copyId: copies[backend], reason: isAged ? 'aged-evidence' : 'surplus' });
}

function swapFor(tick: RemovalsTick, { object, leaving, isAged }: Removal): Swap {
  const copies = Object.fromEntries(Object.entries(object.copies).filter(([name]) => !leaving.includes(name)));
  const now = tick.now();
  const drains = leaving.flatMap((name) => {
    const drain = tick.view.drain(name);
    return drain === undefined ? [] : [[name, drain] as const];
  });
  const deletion = isAged
    ? ({ cause: 'aged-evidence', dueAt: now + quarantineMs } as const)
    : ({ cause: 'surplus', dueAt: now + tick.params.graceMs } as const);
  return {
    key: object.key,
    change: { before: object, after: { ...object, copies } },
    orphans: { ...deletion, createdAt: now },
    drainedSince: Object.fromEntries(drains.map(([name, { since }]) => [name, since])),
    // An imported file stays where it is, unless a person asked for its deletion with this very drain.
    deletesPlain: drains.flatMap(([name, { deleteImported }]) => (deleteImported === true ? [name] : [])),
  };
}
