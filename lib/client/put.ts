import { type Body, bodyOf } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { policyOf } from '../config/fleet-file.ts';
import { BackendError, type ObjectHeaders } from '../fleet/backend.ts';
import { routeOrder } from '../fleet/routing.ts';
import { copyIdOf, newCopyId, storageKey } from '../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../store/model.ts';
import { bytesOf, enqueuedForDeletion, newQueueItem } from '../store/queue-items.ts';
import { contentOf, newRecord } from '../store/records.ts';
import { KeyringError } from '../transfer/keyring.ts';
import { putVerified } from '../transfer/put-verified.ts';
import { type ClientContext, checkKey, type Fleet } from './context.ts';
import { HoldfastError } from './error.ts';
import { type Sealed, seal, unsealed } from './seal.ts';

/** Content to put: bytes, or something that can be read more than once. */
export type PutBody = Uint8Array | { readonly sizeBytes: number; readonly open: () => Body };

export interface PutOptions {
  readonly headers?: ObjectHeaders;
  /** User metadata; names in lower case, without `x-amz-meta-`. `holdfast` is reserved. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** How long to try, in milliseconds [300 000]. */
  readonly timeoutMs?: number;
}

/** The generation that this put made. By the time it is returned the object may already have been overwritten. */
export interface PutResult {
  readonly key: string;
  readonly generation: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** The writer says at least this often that it lives, while it uploads. */
const heartbeatMs = 120_000;
const minuteMs = 60_000;
const hourMs = 3_600_000;

/** One put on its way. */
interface Put {
  readonly context: ClientContext;
  readonly key: string;
  readonly generation: string;
  readonly content: Sealed;
  readonly options: PutOptions;
  readonly deadline: number;
  /** How long the reaper lets an intent be silent. */
  readonly silenceMs: number;
  /** Backends that failed this put. */
  readonly failed: Set<string>;
}

/**
 * Stores content under a key, on one backend; the replicator makes the other copies. Intent, bytes, record: a crash at any
 * point leaves the old content or the new. Concurrent puts of a key: the last to commit stays.
 *
 * @throws HoldfastError `bad-key`, `no-backend`, `undecided`; StoreError when the metadata store refuses
 */
export async function put(
  context: ClientContext,
  key: string,
  body: PutBody,
  options: PutOptions = {},
): Promise<PutResult> {
  const fleet = await context.fleet();
  checkKey(fleet.file, key);
  const { clock, ids } = context.deps;
  const open = body instanceof Uint8Array ? () => bodyOf(body) : body.open;
  const sizeBytes = body instanceof Uint8Array ? body.length : body.sizeBytes;
  const generation = ids.ulid();
  const deadline = clock.now() + (options.timeoutMs ?? 300_000);
  const mustEncrypt = policyOf(fleet.file, key).encrypt;
  const content = mustEncrypt
    ? await seal(await context.keyring(fleet), { key, generation }, open, sizeBytes).catch(noKey)
    : await unsealed(open, sizeBytes);
  try {
    const silenceMs = fleet.params.reaperMinAgeMs;
    const work: Put = { context, key, generation, content, options, deadline, silenceMs, failed: new Set() };
    await writeUntilSettled(work, await readEntry(context, key));
    const sha256 = content.encryption?.plaintextSha256 ?? content.sha256;
    return { key, generation, sizeBytes, sha256 };
  } finally {
    await content.dispose();
  }
}

function noKey(error: unknown): never {
  if (error instanceof KeyringError) throw new HoldfastError('no-key', error.message, error);
  throw error;
}

export async function readEntry(context: ClientContext, key: string): Promise<Entry | null> {
  return (await context.deps.store.objects([key])).get(key) ?? null;
}

async function writeUntilSettled(work: Put, seen: Entry | null): Promise<void> {
  const { context, key, generation } = work;
  for (;;) {
    const item = await writeBytes(work, seen);
    const outcome = await record(work, item, seen);
    if (outcome === 'recorded') return;
    // The reaper took the intent: it promoted these bytes, or it queued them.
    const now = await readEntry(context, key);
    if (now?.generation === generation) return;
    // Anything but what this put replaces: it happened (the reaper promoted it) or would have been overwritten by now.
    if (now?.generation !== seen?.generation) return;
    work.failed.clear();
  }
}

/** Intent, then bytes, on the first backend that takes them. */
async function writeBytes(work: Put, seen: Entry | null): Promise<QueueItem> {
  const { context, key } = work;
  const { sizeBytes } = work.content;
  const reasons: string[] = [];
  for (;;) {
    const fleet = await context.fleet();
    const name = candidates(work, fleet)[0];
    if (name === undefined) {
      const why = reasons.length > 0 ? `: ${reasons.join('; ')}` : ' (draining, unreachable, full or too small for it)';
      throw new HoldfastError('no-backend', `Cannot put "${key}" (${sizeBytes} bytes): no backend can take it${why}`);
    }
    const obstacle = await context.obstacle(fleet, name);
    if (obstacle !== null) {
      work.failed.add(name);
      reasons.push(obstacle);
      continue;
    }
    const item = intentFor(work, name, seen);
    const named = await context.committer.commit({ key, reserves: [item] }, work.deadline);
    if (named.outcome !== 'committed') {
      if (named.outcome !== 'no-room')
        throw new HoldfastError(
          'undecided',
          `Cannot put "${key}": the metadata store did not answer in time (${named.outcome})`,
        );
      work.failed.add(name);
      reasons.push(`"${name}" has no room`);
      continue;
    }
    const failure = await upload(work, fleet, item);
    if (failure === null) return item;
    work.failed.add(name);
    reasons.push(failure);
    await giveUp(work, item, failure);
  }
}

function candidates(work: Put, fleet: Fleet): string[] {
  const able = fleet.file.backends.filter(({ name, maxObjectBytes, quotaBytes }) => {
    const { isCounted, isReachable } = fleet.standing(name);
    const fits = maxObjectBytes === 0 || maxObjectBytes >= work.content.sizeBytes;
    const hasRoom = quotaBytes === 0 || fleet.view.usedBytes(name) + work.content.sizeBytes <= quotaBytes;
    return isCounted && isReachable && fits && hasRoom && !work.failed.has(name);
  });
  const targets = able.map(({ name, quotaBytes }) => ({
    name,
    usedBytes: fleet.view.usedBytes(name),
    limitBytes: quotaBytes,
  }));
  return routeOrder(targets, fleet.file.routing).map(({ name }) => name);
}

function intentFor(work: Put, backend: string, seen: Entry | null): QueueItem {
  const { clock, ids } = work.context.deps;
  const now = clock.now();
  return newQueueItem({
    state: 'intent',
    backend,
    storageKey: storageKey(work.key, newCopyId(ids)),
    key: work.key,
    generation: work.generation,
    sizeBytes: work.content.sizeBytes,
    ...contentOf(work.content),
    createdAt: now,
    dueAt: now + work.silenceMs,
    cause: 'put',
    intent: defined({ replaces: seen?.generation }),
  });
}

/** Null when the bytes stand there, verified; else what went wrong, as a sentence's end. */
async function upload(work: Put, fleet: Fleet, item: QueueItem): Promise<string | null> {
  const { context, options } = work;
  const stop = new AbortController();
  const heart = beat(work, item, stop.signal);
  try {
    const backend = await context.backend(fleet, item.backend);
    const stored = await putVerified(backend, {
      storageKey: item.storageKey,
      body: work.content.open(),
      expected: { sizeBytes: work.content.sizeBytes, sha256: work.content.sha256 },
      what: `The content for "${work.key}"`,
      mark: {
        fleetId: fleet.fleetId,
        generation: work.generation,
        sha256: work.content.sha256,
        isEncrypted: work.content.encryption !== undefined,
      },
      parts: {
        aboveBytes: fleet.params.multipartAboveBytes,
        partBytes: fleet.params.partBytes,
        clock: context.deps.clock,
      },
      ...defined({ headers: options.headers, metadata: options.metadata }),
    });
    return stored.outcome === 'stored' ? null : stored.detail;
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    // The caller's content failed to read: no other backend would help.
    if (error.kind === 'body') throw error.cause;
    context.deps.log.warn('Put failed on a backend', {
      key: work.key,
      backend: item.backend,
      kind: error.kind,
      message: error.message,
    });
    return error.message;
  } finally {
    stop.abort();
    await heart;
  }
}

/** Pushes the intent's `dueAt` on while the upload runs, so that the reaper leaves it alone. */
async function beat(work: Put, item: QueueItem, signal: AbortSignal): Promise<void> {
  const { clock, store } = work.context.deps;
  while (!signal.aborted) {
    try {
      await clock.sleep(Math.min(heartbeatMs, work.silenceMs / 2), signal);
      await store.write({
        kind: 'queue',
        put: { ...item, dueAt: clock.now() + work.silenceMs },
        expect: { state: 'intent' },
      });
    } catch (error) {
      if (signal.aborted) return;
      work.context.deps.log.warn('Heartbeat of a put failed', { key: work.key, message: (error as Error).message });
    }
  }
}

/** The bytes may still arrive, or have arrived unseen: an hour later they are deleted. */
async function giveUp(work: Put, item: QueueItem, reason: string): Promise<void> {
  const to = enqueuedForDeletion(item, {
    cause: 'put-failed',
    reason: `put failed: ${reason}`.slice(0, 200),
    dueAt: work.context.deps.clock.now() + hourMs,
  });
  await work.context.committer.commit({ key: work.key, moves: [{ from: { item }, to }] }, recordBy(work));
}

/** However long the upload took, there is time to say so. */
function recordBy({ deadline, context }: Put): number {
  return Math.max(deadline, context.deps.clock.now() + minuteMs);
}

/** Commits on whatever is there now: the last commit wins. */
async function record(work: Put, item: QueueItem, seen: Entry | null): Promise<'recorded' | 'expired'> {
  const { context, key } = work;
  let before = seen;
  for (;;) {
    const now = context.deps.clock.now();
    const fleet = await context.fleet();
    const outcome = await context.committer.commit(
      {
        key,
        change: { before, after: recordFor(work, fleet, item, before) },
        completes: [{ item, expect: { state: 'intent' } }],
        orphans: { cause: 'replaced', dueAt: now + fleet.params.graceMs, createdAt: now },
      },
      recordBy(work),
    );
    if (outcome.outcome === 'committed') return 'recorded';
    if (outcome.outcome === 'expired') return 'expired';
    if (outcome.outcome !== 'lost') {
      throw new HoldfastError(
        'undecided',
        `Cannot say whether "${key}" was put: the metadata store did not answer in time`,
      );
    }
    if (outcome.seen?.generation === work.generation) return 'recorded';
    before = outcome.seen;
  }
}

function recordFor(work: Put, fleet: Fleet, item: QueueItem, before: Entry | null): ObjectRecord {
  return newRecord({
    ...bytesOf(item),
    createdAt: item.createdAt,
    copies: { [item.backend]: copyIdOf(item) },
    policy: policyOf(fleet.file, work.key).name,
    ...defined({ plainEtags: before?.plainEtags }),
  });
}
