import { defined } from '../../base/defined.ts';
import type { LogFields } from '../../base/log.ts';
import type { Verdict } from '../../base/tally.ts';
import { BackendError } from '../../fleet/backend.ts';
import type { Tick } from '../../tick/tick.ts';
import type { PutOffReason } from '../../transfer/reading/reading.ts';
import type { ListingStop } from './listing-feed.ts';

/** What this file asks of a tick. */
export type KeyTurnTick = Pick<Tick, 'standing'>;

/**
 * What one key's turn led to. `settled`: nothing is left to do in this pass · `refused`: a backend would not say something
 * about this key alone · `unfinished`: its bytes are read on in a later tick, when what it waits for allows · `stopped`: the backend, or a limit, keeps this
 * key and those behind it from being judged now · `too-late`: what was listed is too old by now to be gone by, or time is up:
 * its page is listed anew.
 */
export type KeyTurn =
  | SettledKey
  | { readonly outcome: 'refused'; readonly what: string; readonly message: string }
  | { readonly outcome: 'unfinished'; readonly waitsFor?: ListingStop }
  | { readonly outcome: 'too-late' }
  | { readonly outcome: 'stopped'; readonly stop: ListingStop };

export interface SettledKey {
  readonly outcome: 'settled';
  /** Absent where nothing was to do: not counted as an item of the tick. */
  readonly verdict?: Verdict;
  /** What was found; empty where that is not worth a count. */
  readonly what: string;
  /** Whether a person should be told which key it was. */
  readonly isNamed?: boolean;
  readonly fields?: LogFields;
}

export const nothingToDo: SettledKey = { outcome: 'settled', what: '' };

export function settled(verdict: Verdict, what: string, fields?: LogFields): SettledKey {
  return { outcome: 'settled', verdict, what, ...defined({ fields }) };
}

/** The same, and its key is listed by name. */
export function settledByName(verdict: Verdict, what: string, fields?: LogFields): SettledKey {
  return { ...settled(verdict, what, fields), isNamed: true };
}

/**
 * What cannot be read now. Time: this key alone goes on in a later tick. A month's limit, on whichever backend, holds nothing but
 * this key, and is not waited for: it is said, and the next pass meets the key again. So is a copy that refused lately: others read
 * it as well, and as often as they are refused its rest begins anew.
 */
export function notReadNow(what: string, reason: PutOffReason): KeyTurn {
  if (reason === 'out-of-time') return { outcome: 'unfinished' };
  return settled(reason === 'backing-off' ? 'skipped' : 'deferred', `${what}-${reason}`);
}

/** Runs a key's turn: what a backend answers about this key alone never keeps the pass from those behind it. */
export async function turnOf<T>(tick: KeyTurnTick, backend: string, take: () => Promise<T>): Promise<T | KeyTurn> {
  try {
    return await take();
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return turnOfError(tick, backend, error);
  }
}

function turnOfError(tick: KeyTurnTick, backend: string, error: BackendError): KeyTurn {
  const { kind, message } = error;
  // Another backend was asked about this key and gave no answer: what stands behind it here can be judged all the same.
  if (error.backend !== backend) return { outcome: 'refused', what: `elsewhere-${kind}`, message };
  if (error.limit !== undefined)
    return { outcome: 'stopped', stop: { outcome: 'put-off', backend, reason: error.limit } };
  if (error.speaksOf === 'object') return { outcome: 'refused', what: `key-${kind}`, message };
  const isReachable = tick.standing(backend).isReachable;
  // The tick ends, and took back what it asked for.
  if (kind === 'cancelled' && isReachable) return { outcome: 'too-late' };
  const isDown = error.speaksOf === 'backend' || kind === 'cancelled';
  const outcome = isDown ? 'unreachable' : 'put-off';
  return { outcome: 'stopped', stop: { outcome, backend, reason: `key-${kind}`, message } };
}
