import type { Clock } from '../base/clock.ts';
import type { Ids } from '../base/ids.ts';
import type { Change, Refusal, Store } from './port.ts';
import { StoreError } from './port.ts';

/**
 * How a transaction ended: `done` · `refused` · `not-now` time ran out, and it certainly had no effect · `undecided` time ran
 * out while an answer was missing: it may have happened, or may yet.
 */
export type SendAnswer =
  | { readonly outcome: 'done' }
  | { readonly outcome: 'refused'; readonly refusals: readonly (Refusal | null)[] }
  | { readonly outcome: 'not-now' }
  | { readonly outcome: 'undecided' };

/**
 * What is known of a transaction: `idle` nothing of it is under way · `in-doubt` a request was not answered, and may take
 * effect at any time · `settled`.
 */
export type SendState =
  | { readonly phase: 'idle' }
  | { readonly phase: 'in-doubt' }
  | { readonly phase: 'settled'; readonly answer: SendAnswer };

/** What a request led to: an answer, none, or (`not-taken`) the certainty that it had no effect. */
export type SendEvent =
  | { readonly event: 'done' }
  | { readonly event: 'refused'; readonly refusals: readonly (Refusal | null)[] }
  | { readonly event: 'unanswered' }
  | { readonly event: 'not-taken' }
  | { readonly event: 'time-up' };

export interface SendDeps {
  readonly store: Pick<Store, 'transact'>;
  readonly clock: Clock;
  readonly ids: Ids;
}

/** A send is repeated under its token only this long: DynamoDB forgets tokens after 10 minutes. */
const tokenLifeMs = 8 * 60_000;

/**
 * Sends one transaction until it has an answer that settles it: always the same bytes under the same token. Throws
 * `StoreError` for what no retry mends.
 *
 * @param deadline milliseconds since the epoch after which nothing is sent
 * @param attempt how often the same changes were refused for conflicts before: the first request waits accordingly
 * @param idleUntil after which nothing is sent of which nothing is under way: what it was decided by is too old
 */
export async function send(
  deps: SendDeps,
  changes: readonly Change[],
  deadline: number,
  attempt: number,
  idleUntil: number = deadline,
): Promise<SendAnswer> {
  const token = deps.ids.ulid();
  const until = Math.min(deadline, deps.clock.now() + tokenLifeMs);
  let state: SendState = { phase: 'idle' };
  for (let resend = attempt; state.phase !== 'settled'; resend += 1) {
    if (resend > 0) await pause(deps, resend, deadline);
    // The clock is asked after the pause: a process may freeze in it.
    const last = state.phase === 'idle' ? Math.min(until, idleUntil) : until;
    const event: SendEvent = deps.clock.now() >= last ? { event: 'time-up' } : await request(deps, changes, token);
    state = afterEvent(state, event, changes);
  }
  // Who met only conflicts would try again, for which there is no time left.
  const { answer } = state;
  return answer.outcome === 'refused' && isConflictOnly(answer.refusals) && deps.clock.now() >= deadline
    ? { outcome: 'not-now' }
    : answer;
}

async function pause({ clock, ids }: SendDeps, resend: number, deadline: number): Promise<void> {
  const pauseMs = Math.ceil(backoffMs(resend) * (0.5 + ids.random()));
  await clock.sleep(Math.max(0, Math.min(pauseMs, deadline - clock.now())));
}

function backoffMs(attempt: number): number {
  return Math.min(50 * 2 ** (attempt - 1), 5_000);
}

async function request({ store }: SendDeps, changes: readonly Change[], token: string): Promise<SendEvent> {
  try {
    const answer = await store.transact(changes, token);
    return answer.outcome === 'done' ? { event: 'done' } : { event: 'refused', refusals: answer.refusals };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.kind === 'unanswered') return { event: 'unanswered' };
    if (error.kind === 'throttled' || error.kind === 'unreachable') return { event: 'not-taken' };
    throw error;
  }
}

/**
 * What is known after an event. While a request is unanswered, a refusal counts only if it holds for that request too,
 * whenever it arrives; anything else leaves the doubt.
 */
export function afterEvent(
  state: Exclude<SendState, { phase: 'settled' }>,
  event: SendEvent,
  changes: readonly Change[],
): SendState {
  const isInDoubt = state.phase === 'in-doubt';
  switch (event.event) {
    case 'done':
      return { phase: 'settled', answer: { outcome: 'done' } };
    case 'time-up':
      return { phase: 'settled', answer: { outcome: isInDoubt ? 'undecided' : 'not-now' } };
    case 'unanswered':
      return { phase: 'in-doubt' };
    case 'not-taken':
      return state;
    case 'refused': {
      const { refusals } = event;
      const isSettled = !isInDoubt || refusals.some((refusal, i) => isFinal(changes[i]!, refusal));
      return isSettled ? { phase: 'settled', answer: { outcome: 'refused', refusals } } : state;
    }
  }
}

/** Whether nothing was in the way but other transactions. */
export function isConflictOnly(refusals: readonly (Refusal | null)[]): boolean {
  return refusals.every((refusal) => refusal === null || refusal.cause === 'conflict');
}

/** Whether a refusal would also refuse an earlier request that is still on its way. */
function isFinal(change: Change, refusal: Refusal | null): boolean {
  if (refusal === null) return false;
  // Generation and rev never return to a value they had, and neither does an item that is gone.
  if (refusal.cause === 'object') return true;
  const isOfItem = change.kind === 'queue' || change.kind === 'queue-end';
  if (refusal.cause !== 'queue' || !isOfItem || change.expect === 'absent') return false;
  if (refusal.seen === null) return true;
  const { state } = change.expect;
  return (state === 'intent' || state === 'transfer') && refusal.seen.state !== state;
}
