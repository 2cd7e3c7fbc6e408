import { defined } from '../base/defined.ts';
import { policyOf } from '../config/fleet-file.ts';
import type { Outcome } from '../store/commit.ts';
import { copyIdOf } from '../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../store/model.ts';
import { bytesOf } from '../store/queue-items.ts';
import { newRecord } from '../store/records.ts';
import type { Swap } from '../store/swap.ts';
import { HoldfastError } from './error.ts';
import { type Condition, giveUp, type Put, recordBy } from './put-bytes.ts';

/**
 * `recorded` the record has the put's generation · `expired` the intent is gone: whoever took it knows what became of the
 * bytes · `overwritten` the put happened, and another write or a delete came after it · `not-taking` the backend takes nothing
 * any more, and the bytes are given up; `isDoubtful` when that could not be written down.
 */
export type Recorded =
  | { readonly outcome: 'recorded'; readonly record: ObjectRecord }
  | { readonly outcome: 'expired' }
  | { readonly outcome: 'overwritten' }
  | { readonly outcome: 'not-taking'; readonly isDoubtful: boolean };

/** Makes the put's content the object, whatever is there now: the last to commit stays. */
export async function makeRecord(put: Put, item: QueueItem, seen: Entry | null): Promise<Recorded> {
  let before = seen;
  for (;;) {
    const { file, params } = await put.context.fleet();
    const now = put.context.deps.clock.now();
    const after = newRecord({
      ...bytesOf(item),
      createdAt: item.createdAt,
      copies: { [item.backend]: copyIdOf(item) },
      policy: policyOf(file, put.key).name,
      ...defined({ plainEtags: before?.plainEtags }),
    });
    const outcome = await decide(put, {
      ...recording(put, item, before, after),
      orphans: { cause: 'replaced', dueAt: now + params.graceMs, createdAt: now },
    });
    if (outcome.outcome === 'committed') return { outcome: 'recorded', record: outcome.entry as ObjectRecord };
    if (outcome.outcome === 'expired') return { outcome: 'expired' };
    if (outcome.outcome === 'not-taking') return notTaking(put, item);
    const own = ownRecord(put, outcome.seen);
    if (own !== null) return { outcome: 'recorded', record: own };
    before = outcome.seen;
    if (isAllowed(put.condition, before)) continue;
    await giveUp(put, item, 'the object is another than the condition asks for');
    throw refusedBy(put, before);
  }
}

/**
 * Adds a copy to the record of the put's own generation. Where that is not there any more the put happened and was
 * overwritten: nothing of it may come back.
 */
export async function joinRecord(put: Put, item: QueueItem, seen: ObjectRecord): Promise<Recorded> {
  let before = seen;
  for (;;) {
    const copies = { ...before.copies, [item.backend]: copyIdOf(item) };
    // A copy that was verified just now is a good one, whatever became of the others.
    const after: ObjectRecord = { ...before, copies, condition: 'sound' };
    const outcome = await decide(put, recording(put, item, before, after));
    if (outcome.outcome === 'committed') return { outcome: 'recorded', record: outcome.entry as ObjectRecord };
    if (outcome.outcome === 'expired') return { outcome: 'expired' };
    if (outcome.outcome === 'not-taking') return notTaking(put, item);
    const own = ownRecord(put, outcome.seen);
    if (own === null || own.copies[item.backend] !== undefined) {
      await giveUp(put, item, own === null ? 'it was overwritten' : 'another copy came first');
      return own === null ? { outcome: 'overwritten' } : { outcome: 'recorded', record: own };
    }
    before = own;
  }
}

async function notTaking(put: Put, item: QueueItem): Promise<Recorded> {
  const isGivenUp = await giveUp(put, item, `"${item.backend}" takes nothing any more`);
  return { outcome: 'not-taking', isDoubtful: !isGivenUp };
}

/** Whether an object is what the condition of a put asks for. */
export function isAllowed(condition: Condition | undefined, entry: Entry | null): boolean {
  if (condition === undefined) return true;
  if (entry?.kind !== 'object') return condition.kind === 'absent';
  return condition.kind === 'generation' && condition.generation === entry.generation;
}

export function refusedBy({ key }: Pick<Put, 'key'>, entry: Entry | null): HoldfastError {
  const whatIsSo = entry?.kind === 'object' ? `it has generation ${entry.generation}` : 'there is no such object';
  return new HoldfastError('precondition', `Cannot put "${key}" on this condition: ${whatIsSo}`);
}

/** The record that a reading showed, if it is that of the put. */
export function ownRecord(put: Put, entry: Entry | null): ObjectRecord | null {
  return entry?.kind === 'object' && entry.generation === put.generation ? entry : null;
}

function recording({ key }: Put, item: QueueItem, before: Entry | null, after: ObjectRecord): Swap {
  return { key, change: { before, after }, completes: [{ item, expect: { state: 'intent' } }] };
}

type Decided = Extract<Outcome, { outcome: 'committed' | 'expired' | 'lost' | 'not-taking' }>;

async function decide(put: Put, swap: Swap): Promise<Decided> {
  const outcome = await put.context.committer.commit(swap, recordBy(put));
  if (outcome.outcome === 'committed' || outcome.outcome === 'lost') return outcome;
  if (outcome.outcome === 'expired' || outcome.outcome === 'not-taking') return outcome;
  throw new HoldfastError(
    'undecided',
    `Cannot say whether "${put.key}" was put: the metadata store did not answer in time`,
  );
}
