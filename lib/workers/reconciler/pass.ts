import type { LogFields } from '../../base/log.ts';
import { count, type Verdict } from '../../base/tally.ts';
import { type Backend, BackendError, type BackendErrorKind, type Listed } from '../../fleet/backend.ts';
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

/** Errors that speak of one key. The others would be the same for the next key: they stop the page. */
const aboutOneKey: ReadonlySet<BackendErrorKind> = new Set([
  'not-found',
  'delete-marker',
  'denied',
  'precondition',
  'truncated',
  'rejected',
  'unsupported',
  'too-large',
]);

/** Settles one key of a page. What its backend answers about this key alone never keeps the pass from those behind it. */
export async function settleKey(pass: Pass, storageKey: string, settle: () => Promise<void>): Promise<void> {
  try {
    await settle();
  } catch (error) {
    if (!(error instanceof BackendError) || !aboutOneKey.has(error.kind)) throw error;
    found(pass, 'failed', `key-${error.kind}`, storageKey);
  }
}
