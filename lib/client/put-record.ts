import { defined } from '../base/defined.ts';
import { deletionDueAt } from '../config/delete-grace.ts';
import { policyOf } from '../config/fleet-file.ts';
import type { Outcome } from '../store/commit.ts';
import { copyIdOf } from '../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../store/model.ts';
import { bytesOf } from '../store/queue-items.ts';
import { newRecord } from '../store/records.ts';
import type { HeldItem, Swap } from '../store/swap.ts';
import { HoldfastError } from './error.ts';
import { type Condition, giveUp, type Put, recordBy } from './put-bytes.ts';
import { readEntry } from './read-entry.ts';

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

/** What is left of a put's copies while they are recorded. */
interface Left {
  readonly before: Entry | null;
  readonly items: readonly QueueItem[];
}

/**
 * Makes the put's content the object, on all backends where it stands, whatever is there now: the last to commit stays. What
 * cannot be recorded of it leaves, and the rest is recorded all the same.
 */
export async function makeRecord(put: Put, items: readonly QueueItem[], seen: Entry | null): Promise<Recorded> {
  let left: Left = { before: seen, items };
  for (;;) {
    const outcome = await propose(put, left);
    if (outcome.outcome === 'committed') return { outcome: 'recorded', record: outcome.entry as ObjectRecord };
    const next = await afterRefusal(put, left, outcome, seen);
    if ('outcome' in next) return next;
    left = next;
  }
}

async function propose(put: Put, { before, items }: Left): Promise<Decided> {
  const { file, params } = await put.context.fleet();
  const now = put.context.deps.clock.now();
  const [first] = items;
  const after = newRecord({
    ...bytesOf(first!),
    createdAt: first!.createdAt,
    copies: Object.fromEntries(items.map((item) => [item.backend, copyIdOf(item)])),
    policy: policyOf(file, put.key).name,
    ...defined({ plainEtags: plainEtagsOf(before, items) }),
  });
  return decide(put, {
    ...recording(put, items, before, after),
    orphans: {
      cause: 'replaced',
      dueAt: deletionDueAt(file, put.key, { now, graceMs: params.graceMs }),
      createdAt: now,
    },
  });
}

/** Files that are remembered; of one that is a copy again, how it was read just now. */
function plainEtagsOf(before: Entry | null, items: readonly QueueItem[]): Entry['plainEtags'] {
  const files = items.flatMap(({ backend, plainEtag }) => (plainEtag === undefined ? [] : [[backend, plainEtag]]));
  return files.length === 0 ? before?.plainEtags : { ...before?.plainEtags, ...Object.fromEntries(files) };
}

async function afterRefusal(
  put: Put,
  { before, items }: Left,
  refused: Exclude<Decided, { outcome: 'committed' }>,
  seen: Entry | null,
): Promise<Left | Recorded> {
  switch (refused.outcome) {
    case 'not-taking': {
      const leaving = items.filter(({ backend }) => backend === refused.backend);
      const given = await Promise.all(leaving.map((item) => notTaking(put, item)));
      const rest = items.filter((item) => !leaving.includes(item));
      return rest.length > 0 ? { before, items: rest } : given[0]!;
    }
    case 'expired': {
      const rest = items.filter(({ id }) => id !== refused.id);
      return rest.length > 0 ? withoutExpired(put, rest, seen) : { outcome: 'expired' };
    }
    case 'lost': {
      const own = ownRecord(put, refused.seen);
      if (own !== null) return joinAll(put, items, own);
      if (isAllowed(put.condition, refused.seen)) return { before: refused.seen, items };
      await giveUpEach(put, items, 'the object is another than the condition asks for');
      throw refusedBy(put, refused.seen);
    }
  }
}

/**
 * The reaper took one of the intents. What it recorded the rest joins. Where nothing happened to the object since the put
 * looked, the rest is recorded without it. Else the put happened and was overwritten, or would have been: it must not come
 * back with what is left.
 */
async function withoutExpired(put: Put, rest: readonly QueueItem[], seen: Entry | null): Promise<Left | Recorded> {
  const now = await readEntry(put.context, put.key);
  const own = ownRecord(put, now);
  if (own !== null) return joinAll(put, rest, own);
  if (now?.generation === seen?.generation) return { before: now, items: rest };
  await giveUpEach(put, rest, 'it was overwritten');
  return { outcome: 'expired' };
}

/**
 * Adds copies to the record of the put's own generation, one after the other. One that cannot be added leaves the others.
 * What was given up or taken is missing from the record that is returned.
 */
export async function joinAll(put: Put, items: readonly QueueItem[], own: ObjectRecord): Promise<Recorded> {
  let record = own;
  for (const [i, item] of items.entries()) {
    const joined = await joinRecord(put, item, record);
    if (joined.outcome === 'recorded') record = joined.record;
    if (joined.outcome !== 'overwritten') continue;
    await giveUpEach(put, items.slice(i + 1), 'it was overwritten');
    return joined;
  }
  return { outcome: 'recorded', record };
}

/** What cannot be given up now the reaper ends: its object has moved on. */
async function giveUpEach(put: Put, items: readonly QueueItem[], reason: string): Promise<void> {
  for (const item of items) await giveUp(put, item, reason);
}

/**
 * Adds a copy to the record of the put's own generation. Where that is not there any more the put happened and was
 * overwritten: nothing of it may come back.
 */
async function joinRecord(put: Put, item: QueueItem, seen: ObjectRecord): Promise<Recorded> {
  let before = seen;
  for (;;) {
    const standing = before.copies[item.backend];
    if (standing !== undefined) {
      // Its own the reaper has recorded. Any other stays: the record may have gained it while this process slept.
      if (standing !== copyIdOf(item)) await giveUp(put, item, 'another copy came first');
      return { outcome: 'recorded', record: before };
    }
    const copies = { ...before.copies, [item.backend]: copyIdOf(item) };
    // A copy that was verified just now is a good one, whatever became of the others.
    const after: ObjectRecord = { ...before, copies, condition: 'sound' };
    const outcome = await decide(put, recording(put, [item], before, after));
    if (outcome.outcome === 'committed') return { outcome: 'recorded', record: outcome.entry as ObjectRecord };
    if (outcome.outcome === 'expired') return { outcome: 'expired' };
    if (outcome.outcome === 'not-taking') return notTaking(put, item);
    const own = ownRecord(put, outcome.seen);
    if (own === null) {
      await giveUp(put, item, 'it was overwritten');
      return { outcome: 'overwritten' };
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
  if (condition.kind === 'unchanged') return condition.generation === entry?.generation;
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

function recording({ key }: Put, items: readonly QueueItem[], before: Entry | null, after: ObjectRecord): Swap {
  return { key, change: { before, after }, completes: items.map(held) };
}

/** What waits for its deletion is taken back only as it was found: whoever claims it changes when it is due. */
function held(item: QueueItem): HeldItem {
  const { state, dueAt } = item;
  return { item, expect: state === 'intent' ? { state } : { state, dueAt } };
}

type Decided = Extract<Outcome, { outcome: 'committed' | 'expired' | 'lost' | 'not-taking' }>;

async function decide(put: Put, swap: Swap): Promise<Decided> {
  const outcome = await put.context.committer.commit(swap, recordBy(put));
  if (outcome.outcome === 'committed' || outcome.outcome === 'lost') return outcome;
  if (outcome.outcome === 'expired' || outcome.outcome === 'not-taking') return outcome;
  throw new HoldfastError('undecided', `Cannot say whether "${put.key}" was put: DynamoDB did not answer in time`);
}
