import { type Admission, createAdmission } from '../base/admission.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { RefreshTick } from '../tick/refresh.ts';
import type { FleetAsRead, Tick, TickAccount, TickTime } from '../tick/tick.ts';
import { createPartBuffers, type PartBuffers } from '../transfer/big/part-buffers.ts';
import type { Budget } from '../transfer/budget.ts';
import type { Blame } from './judge-copy.ts';
import type { PlainChangeTick } from './plain-change.ts';
import type { TargetTrust } from './target-trust.ts';
import type { PendingTick } from './transfers/pending.ts';
import { type PendingTransfers, readPendingTransfers } from './transfers/pending.ts';
import type { WriteCheckTick } from './write-check.ts';
import { trustOf } from './write-check.ts';

/** What this file asks of a tick. */
export type CopyTurnTick = Pick<Tick, 'budget' | 'commit' | 'dryRun' | 'params' | 'tuning'> &
  FleetAsRead &
  TickAccount &
  TickTime &
  PendingTick &
  PlainChangeTick &
  RefreshTick &
  WriteCheckTick;

/** What all copies of one tick share, whoever makes them. */
export interface CopyTurn {
  readonly tick: CopyTurnTick;
  readonly budget: Budget;
  readonly admission: Admission;
  readonly buffers: PartBuffers;
  /** Backends that are ours and answered in this tick, less those that failed since. */
  readonly usable: Set<string>;
  /** Backends that take no more bytes in this tick: full, or over a limit of their own. */
  readonly closed: Set<string>;
  readonly trust: TargetTrust;
  /** Pairs of backends whose storage would not copy by itself when it was asked in this tick. */
  readonly declined: Set<string>;
  /** Bytes that this batch puts into each backend: also those that a ledger read since may hold, which errs on the safe side. */
  readonly planned: Map<string, number>;
  readonly pending: PendingTransfers;
  /** Objects that another target may take, still in this tick. */
  readonly again: ObjectRecord[];
  /** Big copies that were carried on in this tick. */
  readonly tried: Set<string>;
  /** Where the next search for big copies begins. */
  lane?: string | undefined;
}

export async function createCopyTurn(tick: CopyTurnTick, usable: Set<string>): Promise<CopyTurn> {
  const budget = await tick.budget();
  const admission = createAdmission(tick.params.maxBytesInFlight);
  return {
    tick,
    budget,
    admission,
    buffers: createPartBuffers(admission, tick.params.maxBytesInFlight),
    usable,
    closed: new Set(),
    trust: trustOf(tick),
    declined: new Set(),
    planned: new Map(),
    pending: await readPendingTransfers(tick, budget),
    again: [],
    tried: new Set(),
  };
}

/** What fails as a whole is asked for nothing more in this tick. */
export function noteBlame({ usable, closed }: Pick<CopyTurn, 'usable' | 'closed'>, blame: Blame): void {
  if (blame.on === 'backend') usable.delete(blame.backend);
  if (blame.on === 'target') closed.add(blame.backend);
}
