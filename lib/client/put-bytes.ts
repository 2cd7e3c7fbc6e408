import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { encryptingKeyId } from '../config/encryption.ts';
import { policyOf } from '../config/fleet-file.ts';
import { placementRule, spreadOrder } from '../config/placement-rule.ts';
import { BackendError } from '../fleet/backend.ts';
import { SourceSilence } from '../fleet/errors.ts';
import { routeOrder } from '../fleet/routing.ts';
import { newCopyId, storageKey } from '../store/keys.ts';
import type { QueueItem } from '../store/model.ts';
import { enqueuedForDeletion, newQueueItem } from '../store/queue-items.ts';
import { bornAs, contentOf } from '../store/records.ts';
import type { Swap } from '../store/swap.ts';
import type { Description } from '../transfer/describe-bytes.ts';
import { headersDigest } from '../transfer/headers-digest.ts';
import { putVerified } from '../transfer/put-verified.ts';
import type { ClientContext, Fleet } from './context.ts';
import { HoldfastError } from './error.ts';
import type { Sealed } from './seal.ts';

/** One put on its way. */
export interface Put {
  readonly context: ClientContext;
  readonly key: string;
  readonly generation: string;
  readonly content: Sealed;
  readonly options: Pick<Description, 'headers' | 'metadata' | 'tags'>;
  /** Copies that must stand, verified and recorded, before it is acknowledged. */
  readonly copies: number;
  readonly startedAt: number;
  readonly deadline: number;
  /** How long the reaper lets an intent be silent. */
  readonly silenceMs: number;
  /** What must be there for it to happen; absent: whatever is. */
  readonly condition?: Condition;
  /** Bytes that are to be copied: they must still be named when their copy is, so that what they need is kept. */
  readonly source?: QueueItem;
}

/** What an object must be for a put to replace it. */
export type Condition =
  | { readonly kind: 'absent' }
  | { readonly kind: 'generation'; readonly generation: string }
  /** The entry, object or tombstone, that was seen: nothing was put or deleted since. */
  | { readonly kind: 'unchanged'; readonly generation: string | undefined };

/** What a copy is made for. */
export interface Aim {
  /** The generation that its record is to replace; the put's own, where that is recorded and lacks a copy. */
  readonly replaces: string | undefined;
  /** Backends that hold a copy of it already. */
  readonly holders: readonly string[];
}

/** Bytes that stand on a backend, verified, under an intent that is kept alive until told otherwise. */
export interface WrittenCopy {
  readonly item: QueueItem;
  /** The intent is about to be recorded, or given up: it is left to itself. */
  rest(): Promise<void>;
}

/**
 * `written` the bytes stand there · `failed` they do not; `isDoubtful` when the intent could not be taken back, so that the
 * reaper may yet record what arrived.
 */
export type Tried =
  | { readonly outcome: 'written'; readonly copy: WrittenCopy }
  | { readonly outcome: 'failed'; readonly why: string; readonly isDoubtful: boolean };

/** The writer says at least this often that it lives, while it uploads. */
const heartbeatMs = 120_000;
const minuteMs = 60_000;
const hourMs = 3_600_000;

/** Intent, then bytes, on one backend. `open` gives the content, once. */
export async function tryBackend(put: Put, fleet: Fleet, name: string, aim: Aim, open: () => Body): Promise<Tried> {
  const { context, key } = put;
  const failed = (why: string, isDoubtful = false): Tried => ({ outcome: 'failed', why, isDoubtful });
  const obstacle = await context.obstacle(fleet, name);
  if (obstacle !== null) return failed(obstacle);
  // What is recorded keeps its key listed; what is about to be must not name one that leaves meanwhile.
  const { source } = put;
  const mayLoseKey = put.content.encryption !== undefined && aim.replaces !== put.generation && source === undefined;
  if (mayLoseKey && !isSealedFor(put, fleet)) throw new KeyRetiredError(key);
  const item = intentFor(put, name, aim);
  const until = mayLoseKey ? Math.min(put.deadline, fleet.view.readAt + sealedLifeMs) : put.deadline;
  const reserved = await context.committer.commit({ key, reserves: [item], ...whileNamed(source) }, until);
  if (reserved.outcome === 'no-room')
    return failed(`"${name}" has no room for ${put.content.sizeBytes} bytes within its quota`);
  if (reserved.outcome === 'not-taking') return failed(`"${name}" is leaving the fleet file, or is drained`);
  if (reserved.outcome === 'expired') throw new SourceGoneError(key);
  if (reserved.outcome !== 'committed') {
    // An intent that lands yet has no bytes: the reaper ends it.
    if (until < put.deadline) throw new KeyRetiredError(key);
    throw new HoldfastError('undecided', `Cannot put "${key}": DynamoDB did not answer in time (${reserved.outcome})`);
  }
  if (mayLoseKey && isNamedTooLate(put, fleet)) {
    await giveUp(put, item, 'its encryption key may have left the fleet file');
    throw new KeyRetiredError(key);
  }
  const stop = new AbortController();
  const heart = beat(put, item, stop.signal);
  const rest = async () => {
    stop.abort();
    await heart;
  };
  const uploaded = await upload(put, fleet, item, open).catch(async (error: unknown) => {
    await rest();
    throw error;
  });
  if (uploaded.outcome === 'written') return { outcome: 'written', copy: { item, rest } };
  await rest();
  const { why } = uploaded;
  // Bytes that were surely not stored are not queued: a key that is refused could not be deleted either.
  const isSettled = uploaded.outcome === 'refused' ? await endIntent(put, item) : await giveUp(put, item, why);
  return failed(why, !isSettled);
}

/** The key that content was sealed with does not encrypt any more: it is sealed again, with the one that does. */
export class KeyRetiredError extends HoldfastError {
  constructor(key: string) {
    super('no-key', `Cannot put "${key}": its encryption key was replaced while it was being put`);
  }
}

/** The bytes that were to be copied are another's business by now, or gone. */
export class SourceGoneError extends HoldfastError {
  constructor(key: string) {
    super('changed', `Cannot bring "${key}" back: its bytes are being deleted`);
  }
}

/** Writes an item as it is, on condition that it is still so. */
function whileNamed(item: QueueItem | undefined): Pick<Swap, 'moves'> {
  if (item === undefined) return {};
  const { state, dueAt, claimedBy } = item;
  return { moves: [{ from: { item, expect: { state, dueAt, ...defined({ claimedBy }) } }, to: item }] };
}

/** A key that no policy encrypts with any more may be about to leave, like one that another took the place of. */
function isSealedFor({ content }: Put, { file }: Fleet): boolean {
  return encryptingKeyId(file) === content.encryption?.keyId;
}

/**
 * Ciphertext is named at most so long after the look at the file that lists its key: a key may leave the file twice this time
 * after it encrypted last, when nothing names it. What is named keeps its key listed.
 */
const sealedLifeMs = 10 * minuteMs;

/**
 * Whether ciphertext was named so late that its key may have left before: the process slept, or the request was on its way.
 * Nothing of it is recorded over what can be read.
 */
function isNamedTooLate({ context }: Put, { view }: Fleet): boolean {
  return context.deps.clock.now() - view.readAt >= 1.5 * sealedLifeMs;
}

/** Backends that may take the content by its policy, in the order in which they are tried: first where no copy of it is. */
export function candidates({ key, content }: Put, fleet: Fleet, holders: readonly string[]): string[] {
  const rule = placementRule(fleet.file, policyOf(fleet.file, key).name);
  const able = fleet.file.backends.filter(({ name, maxObjectBytes, quotaBytes }) => {
    if (holders.includes(name) || !rule.allows(name)) return false;
    const { isCounted, isReachable, takesCopies } = fleet.standing(name);
    const fits = maxObjectBytes === 0 || maxObjectBytes >= content.sizeBytes;
    const hasRoom = quotaBytes === 0 || fleet.view.usedBytes(name) + content.sizeBytes <= quotaBytes;
    return isCounted && isReachable && takesCopies && fits && hasRoom;
  });
  const targets = able.map(({ name, quotaBytes }) => ({
    name,
    usedBytes: fleet.view.usedBytes(name),
    limitBytes: quotaBytes,
  }));
  return spreadOrder(rule, holders, routeOrder(targets, fleet.file.routing)).map(({ name }) => name);
}

function intentFor(put: Put, backend: string, { replaces }: Aim): QueueItem {
  const { clock, ids } = put.context.deps;
  const now = clock.now();
  return newQueueItem({
    state: 'intent',
    backend,
    storageKey: storageKey(put.key, newCopyId(ids)),
    key: put.key,
    generation: put.generation,
    sizeBytes: put.content.sizeBytes,
    ...contentOf(put.content),
    headersSha256: headersDigest(put.options.headers, put.options.metadata),
    createdAt: now,
    dueAt: now + put.silenceMs,
    cause: 'put',
    intent: defined({ replaces }),
  });
}

/** `refused` the backend said that it took nothing · `failed` bytes may be there, or come yet. */
type Uploaded = { readonly outcome: 'written' } | { readonly outcome: 'refused' | 'failed'; readonly why: string };

async function upload(put: Put, fleet: Fleet, item: QueueItem, open: () => Body): Promise<Uploaded> {
  const { context, options, content } = put;
  try {
    const backend = await context.backend(fleet, item.backend);
    const stored = await putVerified(backend, {
      storageKey: item.storageKey,
      ifAbsent: true,
      body: open(),
      expected: { sizeBytes: content.sizeBytes, sha256: content.sha256 },
      what: `The content for "${put.key}"`,
      mark: {
        fleetId: fleet.fleetId,
        generation: bornAs({ ...content, generation: put.generation }),
        sha256: content.sha256,
        isEncrypted: content.encryption !== undefined,
      },
      parts: {
        aboveBytes: fleet.params.multipartAboveBytes,
        partBytes: fleet.params.partBytes,
        clock: context.deps.clock,
      },
      ...defined({ headers: options.headers, metadata: options.metadata, tags: options.tags }),
    });
    if (stored.outcome === 'stored') return { outcome: 'written' };
    if (stored.outcome === 'wrong') return { outcome: 'failed', why: stored.detail };
    noteFailure(put, item, stored.error);
    return { outcome: 'refused', why: stored.error.message };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    // The caller's content failed to read: no other backend would help.
    if (error.kind === 'body') throw contentFailed(put, error);
    noteFailure(put, item, error);
    return { outcome: 'failed', why: error.message };
  }
}

/** The caller's own error as it is; where there is none, because nothing came and nothing failed, one that says so. */
function contentFailed({ key }: Put, { cause }: BackendError): unknown {
  if (!(cause instanceof SourceSilence)) return cause;
  return new HoldfastError(
    'silent-body',
    `Cannot put "${key}": its content stopped coming: ${cause.message}. Nothing of it is recorded: put it again`,
    cause,
  );
}

function noteFailure({ context, key }: Put, { backend }: QueueItem, { kind, message }: BackendError): void {
  context.deps.log.warn('Put failed on a backend', { key, backend, kind, message });
}

/** Pushes the intent's `dueAt` on while the upload runs, so that the reaper leaves it alone. */
async function beat(put: Put, item: QueueItem, signal: AbortSignal): Promise<void> {
  const { clock, store } = put.context.deps;
  while (!signal.aborted) {
    try {
      await clock.sleep(Math.min(heartbeatMs, put.silenceMs / 2), signal);
      await store.write({
        kind: 'queue',
        put: { ...item, dueAt: clock.now() + put.silenceMs },
        expect: { state: 'intent' },
      });
    } catch (error) {
      if (signal.aborted) return;
      put.context.deps.log.warn('Heartbeat of a put failed', { key: put.key, message: (error as Error).message });
    }
  }
}

/**
 * The bytes may still arrive, or have arrived unseen: an hour later they are deleted. False when it is not known that they
 * will be: the reaper may have recorded them, or may yet.
 */
export async function giveUp(put: Put, item: QueueItem, reason: string): Promise<boolean> {
  // What waits for its deletion anyhow goes on waiting.
  if (item.state !== 'intent') return true;
  const to = enqueuedForDeletion(item, {
    cause: 'put-failed',
    reason: `put failed: ${reason}`.slice(0, 200),
    dueAt: put.context.deps.clock.now() + hourMs,
  });
  const swap = { key: put.key, moves: [{ from: { item }, to }] };
  return (await put.context.committer.commit(swap, recordBy(put))).outcome === 'committed';
}

/** There are no bytes. False when it is not known that the intent has ended: the reaper ends it, then. */
async function endIntent(put: Put, item: QueueItem): Promise<boolean> {
  const ended = await put.context.committer.commit({ key: put.key, completes: [{ item }] }, recordBy(put));
  return ended.outcome === 'committed';
}

/** However long the upload took, there is time to say so. */
export function recordBy({ deadline, context }: Put): number {
  return Math.max(deadline, context.deps.clock.now() + minuteMs);
}
