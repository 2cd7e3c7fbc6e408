import type { LogFields } from '../../base/log.ts';
import { count, type Verdict } from '../../base/tally.ts';
import { type Backend, BackendError, type Listed } from '../../fleet/backend.ts';
import type { Entry } from '../../store/model.ts';
import type { Budget } from '../../tick/budget.ts';
import type { Tick } from '../../tick/tick.ts';

/** One pass over one backend, as its steps share it. */
export interface Pass {
  readonly tick: Tick;
  readonly backend: Backend;
  readonly budget: Budget;
  /** Keys listed so far in this pass. */
  listed: number;
  readonly imports: boolean;
  readonly recovers: boolean;
  readonly confirms: boolean;
}

/** A listed key that no record names, with what the records say of the keys it may belong to. */
export interface Unnamed {
  readonly listed: Listed;
  /** The entry at the listed key itself. */
  readonly atKey: Entry | null;
}

/** Counts what was found of a key, and says it once in the log where a person should know. */
export function found(pass: Pass, verdict: Verdict, what: string, storageKey: string, fields: LogFields = {}): void {
  count(pass.tick.tally, verdict, what);
  pass.tick.figures[what] = (pass.tick.figures[what] ?? 0) + 1;
  if (verdict !== 'succeeded')
    pass.tick.deps.log.info('Reconciler left a key alone', { backend: pass.backend.name, storageKey, what, ...fields });
}

/** Settles one key of a page. What its backend answers about this key alone never keeps the pass from those behind it. */
export async function settleKey(pass: Pass, storageKey: string, settle: () => Promise<void>): Promise<void> {
  try {
    await settle();
  } catch (error) {
    if (!(error instanceof BackendError) || error.speaksOf !== 'object') throw error;
    found(pass, 'failed', `key-${error.kind}`, storageKey);
  }
}
