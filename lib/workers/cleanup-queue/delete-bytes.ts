import { forEachConcurrently } from '../../base/pool.ts';
import { type Backend, BackendError, type DeleteOutcome, type DeleteRequest } from '../../fleet/backend.ts';
import { ownerKey } from '../../fleet/owner.ts';
import type { QueueItem } from '../../store/model.ts';
import { isSameEtag } from '../../store/records.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Tick } from '../../tick/tick.ts';
import { abortUploads } from '../../transfer/big/uploads.ts';
import { isClaimFresh } from './claim.ts';
import { isFile } from './decide.ts';
import type { Turn } from './turn.ts';

/** What this file asks of a tick. */
export type DeleteBytesTick = Pick<Tick, 'params' | 'tuning' | 'signal' | 'outOfTime' | 'backend' | 'problem'> &
  HealthTick;

/** Whatever was configured when it was written, nothing smaller is written in parts. */
const smallestPartBytes = 5 * 2 ** 20;
/** Keys that are asked about by themselves at a time. */
const singleDeletes = 16;
/** So many refusals of rights without one success are a missing right, not so many odd keys. */
const manyDenials = 10;

/** An item on its way to be deleted: settled, or with the request that deletes it. */
type Step =
  | { readonly item: QueueItem; readonly turn: Turn }
  | { readonly item: QueueItem; readonly request: DeleteRequest; readonly leftover?: BackendError | undefined };

type Ready = Extract<Step, { readonly request: DeleteRequest }>;

/** An item with what its turn led to. */
export type Deleted = readonly [QueueItem, Turn];

/**
 * Deletes the bytes of claimed items on one backend. Whatever an answer about one key says is that key's alone; a request
 * that named several and was refused is asked again key by key.
 */
export async function deleteBytes(
  tick: DeleteBytesTick,
  backend: string,
  items: readonly QueueItem[],
): Promise<Deleted[]> {
  if (tick.outOfTime()) return items.map((item) => [item, { outcome: 'parked', why: 'out-of-time' }]);
  if (!(await isUsable(tick, backend))) return items.map((item) => [item, { outcome: 'parked', why: 'parked' }]);
  const handle = await tick.backend(backend, 'delete');
  const steps: Step[] = new Array(items.length);
  await forEachConcurrently([...items.entries()], tick.tuning.concurrency, async ([i, item]) => {
    steps[i] = isFile(item) ? await prepareFile(tick, item) : await prepareCopy(tick, handle, item);
  });
  const ready = steps.filter((step) => 'request' in step);
  const turns = new Map(await deleteReady(tick, handle, ready));
  const all = steps.map((step): Deleted => [step.item, 'turn' in step ? step.turn : turns.get(step.item)!]);
  reportDenials(tick, backend, all);
  return all;
}

/** What is written in parts may have left an unfinished upload of exactly this key: that is bytes too. */
async function prepareCopy(tick: DeleteBytesTick, handle: Backend, item: QueueItem): Promise<Step> {
  const { storageKey, transfer, intent, sizeBytes } = item;
  const request = { storageKey };
  const wholeBytes = Math.min(smallestPartBytes, tick.params.multipartAboveBytes);
  if (transfer === undefined && (intent === undefined || sizeBytes <= wholeBytes)) return { item, request };
  try {
    await abortUploads(handle, storageKey, tick.signal);
    return { item, request };
  } catch (error) {
    // Its object is deleted all the same; the item ends once nothing is left of its uploads either.
    if (error instanceof BackendError) return { item, request, leftover: error };
    throw error;
  }
}

/**
 * A file of its owner's is looked at first: it is deleted only if it is the very one that was recorded, and was not put there
 * again since. What the backend does not say cannot be compared.
 */
async function prepareFile(tick: DeleteBytesTick, item: QueueItem): Promise<Step> {
  const { backend: name, storageKey, plainEtag, createdAt } = item;
  try {
    const backend = await tick.backend(name);
    const found = await backend.head(storageKey, tick.signal);
    if (found === null) return { item, turn: await goneOrParked(tick, backend) };
    if (plainEtag === undefined || !isSameEtag(found.etag, plainEtag))
      return { item, turn: { outcome: 'file-changed' } };
    if (found.lastModified === undefined || found.lastModified > createdAt)
      return { item, turn: { outcome: 'file-left', why: 'newer-than-item' } };
    return { item, request: { storageKey, ifMatch: found.etag } };
  } catch (error) {
    // Its owner has deleted it: what a bucket that keeps versions still has below the marker is its owner's.
    if (error instanceof BackendError && error.kind === 'delete-marker') return { item, turn: { outcome: 'deleted' } };
    if (error instanceof BackendError) return { item, turn: turnOf(error) };
    throw error;
  }
}

/** A HEAD's answer has no body: a missing bucket answers like a missing key. So the owner object is asked, afterwards. */
async function goneOrParked(tick: DeleteBytesTick, backend: Backend): Promise<Turn> {
  const isThere = (await backend.head(ownerKey, tick.signal)) !== null;
  return isThere ? { outcome: 'deleted' } : { outcome: 'parked', why: 'no-owner-object' };
}

async function deleteReady(tick: DeleteBytesTick, handle: Backend, ready: readonly Ready[]): Promise<Deleted[]> {
  const fresh = ready.filter(({ item }) => isClaimFresh(tick, item));
  const outcomes = await ask(handle, fresh, tick.signal);
  const turns = new Map<QueueItem, Turn>(ready.map(({ item }) => [item, { outcome: 'parked', why: 'claim-too-old' }]));
  const unsettled: Ready[] = [];
  for (const [i, step] of fresh.entries()) {
    const outcome = outcomes[i]!;
    if (outcome.outcome === 'unsettled' && fresh.length > 1 && isAttempt(outcome.error)) unsettled.push(step);
    else turns.set(step.item, turnAfter(step, outcome));
  }
  for (const [item, turn] of await deleteSingly(tick, handle, unsettled)) turns.set(item, turn);
  return [...turns];
}

/** What was tried least often comes first: keys that hang, or are refused, do not keep the others from being asked. */
async function deleteSingly(tick: DeleteBytesTick, handle: Backend, steps: readonly Ready[]): Promise<Deleted[]> {
  const inOrder = steps.toSorted((a, b) => a.item.attempts - b.item.attempts);
  const turns: Deleted[] = [];
  let isOver = false;
  await forEachConcurrently(inOrder, singleDeletes, async (step) => {
    if (isOver || tick.outOfTime() || !isClaimFresh(tick, step.item)) {
      turns.push([step.item, { outcome: 'parked', why: isOver ? 'parked' : 'out-of-time' }]);
      return;
    }
    const [outcome] = await ask(handle, [step], tick.signal);
    const turn = turnAfter(step, outcome!);
    // What speaks of the backend says nothing about the keys that are left.
    if (turn.outcome === 'parked') isOver = true;
    turns.push([step.item, turn]);
  });
  return turns;
}

async function ask(handle: Backend, steps: readonly Ready[], signal: AbortSignal): Promise<readonly DeleteOutcome[]> {
  if (steps.length === 0) return [];
  try {
    return await handle.delete(
      steps.map(({ request }) => request),
      signal,
    );
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return steps.map(() => ({ outcome: 'unsettled', error }));
  }
}

function turnAfter({ leftover }: Ready, outcome: DeleteOutcome): Turn {
  if (outcome.outcome === 'changed') return { outcome: 'file-changed' };
  if (outcome.outcome !== 'deleted') return turnOf(outcome.error);
  return leftover === undefined ? { outcome: 'deleted' } : turnOf(leftover);
}

/** An answer about the key is an attempt, whatever its code; throttling, an unreachable backend and our own doing are none. */
function turnOf(error: BackendError): Turn {
  return isAttempt(error) ? { outcome: 'failed', error } : { outcome: 'parked', why: `backend-${error.kind}` };
}

function isAttempt({ speaksOf }: BackendError): boolean {
  return speaksOf === 'object' || speaksOf === 'target';
}

/** Says once what is wrong where every deletion is refused for want of a right. */
function reportDenials(tick: DeleteBytesTick, backend: string, all: readonly Deleted[]): void {
  const denied = all.filter(([, turn]) => turn.outcome === 'failed' && turn.error.kind === 'denied');
  const hasSucceeded = all.some(([, { outcome }]) => outcome === 'deleted');
  if (hasSucceeded || denied.length < manyDenials) return;
  tick.problem(
    `Backend "${backend}" refused ${denied.length} deletions and accepted none: its credentials lack the right to delete`,
  );
}
