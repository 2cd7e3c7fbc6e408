import { createHash } from 'node:crypto';
import { type Body, bodyOf } from '../../lib/base/bytes.ts';
import { type Backend, BackendError, type BackendErrorKind, type DeleteOutcome } from '../../lib/fleet/backend.ts';
import { SourceSilence } from '../../lib/fleet/errors.ts';
import { noteRequest } from '../../lib/fleet/meter.ts';
import { ownerKey } from '../../lib/fleet/owner.ts';
import type { MemoryBackend } from '../../lib/testing/backend/memory-backend.ts';
import type { Faults } from './faults.ts';
import { listedBadly } from './listing-faults.ts';
import type { Observer } from './observer.ts';
import type { Actor, Fate } from './operation.ts';
import type { Answered } from './oracle/reads.ts';
import type { Random } from './random.ts';
import type { Refusals } from './refusals.ts';
import type { World } from './world.ts';

export interface SimBackendDeps {
  readonly world: World;
  readonly faults: Faults;
  readonly random: Random;
  readonly observer: Observer;
  readonly refusals: Refusals;
  readonly memory: MemoryBackend;
}

type Kind = 'read' | 'write' | 'delete';

/** A target waits no longer for the next bytes of a body, where it hangs up. */
const patienceMs = 10_000;

/** A backend as one process sees it: every request, and every chunk of a body, waits for the scheduler and may go wrong. */
export function createSimBackend(deps: SimBackendDeps, actor: Actor): Backend {
  const { world, faults, random, observer, refusals, memory } = deps;
  const { name } = memory;

  const fail = (kind: BackendErrorKind, cause?: unknown) =>
    new BackendError(kind, name, `Backend "${name}" answers ${kind}`, cause);

  /** A request begins to leave the process. */
  function leaves(operation: string, storageKey: string): void {
    void noteRequest(calledAs(operation), 0);
    observer.requestSent(actor, name, operation, storageKey);
  }

  function ask<T>(
    kind: Kind,
    operation: string,
    storageKey: string,
    signal: AbortSignal | undefined,
    effect: () => Promise<T>,
    fate: () => Fate = () => faults.backendFate(name, kind),
  ): Promise<T> {
    if (signal?.aborted) return Promise.reject(fail('cancelled', signal.reason));
    if (!isContinued(operation)) leaves(operation, storageKey);
    const counter = `${name} ${operation}`;
    actor.calls.set(counter, (actor.calls.get(counter) ?? 0) + 1);
    const answer = world.ask<T>(actor, {
      port: name,
      operation,
      subject: storageKey,
      signal,
      cancelled: () => fail('cancelled'),
      fate: refusing(operation, storageKey, observed(stalling(fate))),
      effect: faulting(effect),
    });
    const ended = () => observer.requestEnded(actor, name);
    answer.then(ended, (error: BackendError) => {
      // Given up by whoever asked: for them the backend has not answered.
      if (error.kind === 'cancelled') observer.backendFaulted(name);
      ended();
    });
    return answer;
  }

  /** What speaks of the key, or of this kind of request, alone. A backend in trouble says nothing of keys. */
  function refusing(operation: string, storageKey: string, fate: () => Fate): () => Fate {
    return () => {
      const isAsked = operation !== 'DELETE' && faults.windowOn(name) === undefined;
      const refusal = isAsked ? refusals.of(name, operation, storageKey) : undefined;
      return refusal === undefined ? fate() : { kind: 'refused', fault: refusal.fault, error: fail(refusal.kind) };
    };
  }

  /** The oracle is told of everything that speaks of the backend. */
  function observed(fate: () => Fate): () => Fate {
    return () => {
      const next = fate();
      if (next.kind !== 'answered') observer.backendFaulted(name);
      return next;
    };
  }

  const faulting =
    <T>(effect: () => Promise<T>) =>
    () => {
      if (isMissingBucket()) observer.backendFaulted(name);
      const answer = effect();
      answer.catch(() => observer.backendFaulted(name));
      return answer;
    };

  /** An answer that does not come ends as a timeout; what was asked may have happened all the same. */
  function stalling(fate: () => Fate): () => Fate {
    let isStalled = false;
    return () => {
      if (isStalled)
        return {
          kind: random.chance(0.5) ? 'refused' : 'answer-lost',
          fault: 'backend stalls',
          error: fail('timeout'),
        };
      const next = fate();
      isStalled = next.kind === 'slow' && next.fault === 'backend stalls';
      return next;
    };
  }

  const isMissingBucket = () => faults.windowOn(name) === 'bucket missing';
  /** A missing bucket says so, except in answer to a HEAD. */
  const needBucket =
    <T>(effect: () => Promise<T>) =>
    async (): Promise<T> => {
      if (!isMissingBucket()) return effect();
      faults.count('bucket missing');
      actor.hadFault = true;
      throw fail('no-bucket');
    };

  /** @param at where they stand, in so many bytes */
  async function* chunks(
    storageKey: string,
    bytes: Uint8Array,
    at: { readonly from: number; readonly of: Answered },
    signal?: AbortSignal,
  ): Body {
    const count = bytes.length === 0 ? 0 : random.between(1, Math.min(3, bytes.length));
    for (let i = 0; i < count; i += 1) {
      const from = Math.floor((bytes.length * i) / count);
      const to = Math.floor((bytes.length * (i + 1)) / count);
      const read = async () => bytes.subarray(from, to);
      const chunk = await ask('read', 'chunk', storageKey, signal, read, chunkFate).catch((error: BackendError) => {
        if (error.kind !== 'cancelled') observer.bytesBroke(actor, name, storageKey, at.of);
        throw error;
      });
      observer.bytesMoved(actor, { backend: name, operation: 'GET', storageKey }, 'egressBytes', chunk.length);
      observer.bytesCame(actor, name, storageKey, at.from + from, at.from + to, at.of);
      yield chunk;
    }
    if (count === 0) observer.bytesCame(actor, name, storageKey, 0, 0, at.of);
  }

  function chunkFate(): Fate {
    const fate = faults.backendFate(name, 'read');
    // An answer that has begun is not refused any more; it breaks off.
    if (fate.kind === 'refused') return { ...fate, error: fail(random.pick(['truncated', 'timeout', 'unavailable'])) };
    if (fate.kind === 'answered' && faults.strikes('slow bodies', 25))
      return { kind: 'slow', fault: 'slow bodies', ms: random.between(1_000, 25_000) };
    if (fate.kind === 'answered' && faults.strikes('body truncated', 2))
      return { kind: 'refused', fault: 'body truncated', error: fail('truncated') };
    return fate;
  }

  /** Whether a key is said to be missing though it is there. */
  const isDenied = (storageKey: string) => {
    if (faults.lieAbout(name, storageKey) !== 'wrong 404') return false;
    actor.hadFault = true;
    return true;
  };

  function readNow(storageKey: string, bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return bytes;
    const isLie = faults.lieAbout(name, storageKey) === 'key reads corrupted' || faults.isMisread(name, storageKey);
    if (!isLie && !faults.strikes('body corrupted in transit', 2)) return bytes;
    faults.noteMisled(name, storageKey);
    actor.hadFault = true;
    return flipped(bytes, random, 'transit');
  }

  async function sent(storageKey: string, body: Body, signal?: AbortSignal): Promise<Uint8Array> {
    const all: Uint8Array[] = [];
    let heardAt = world.now;
    try {
      for await (const chunk of body) {
        observer.bytesMoved(actor, { backend: name, operation: 'PUT', storageKey }, 'ingressBytes', chunk.length);
        if (signal?.aborted) break;
        if (actor.role !== 'client' && world.now - heardAt > patienceMs && faults.hangsUp()) {
          actor.hadFault = true;
          throw new SourceSilence(`Nothing came for ${name} in ${world.now - heardAt} ms (simulated)`);
        }
        heardAt = world.now;
        all.push(chunk);
      }
    } catch (error) {
      throw fail('body', error);
    }
    if (signal?.aborted) throw fail('cancelled', signal.reason);
    return Buffer.concat(all);
  }

  function refusedDelete(storageKey: string): DeleteOutcome | null {
    const refusal = refusals.of(name, 'DELETE', storageKey);
    if (refusal !== undefined) {
      faults.count(refusal.fault);
      return { outcome: 'failed', error: fail(refusal.kind) };
    }
    if (!faults.strikes('backend delete refused', 12)) return null;
    observer.backendFaulted(name);
    return { outcome: 'failed', error: fail(random.pick(['denied', 'rejected', 'unavailable'])) };
  }

  return {
    name,
    checksSha256: memory.checksSha256 === true,

    async put(request, signal) {
      const { storageKey } = request;
      await ask(
        'read',
        'PUT begins',
        storageKey,
        signal,
        needBucket(async () => {}),
      );
      const bytes = await sent(request.storageKey, request.body, signal);
      return ask(
        'write',
        'PUT',
        storageKey,
        signal,
        needBucket(async () => {
          const isLate = world.current?.isDetached ?? true;
          const isSeen = faults.strikes('put corrupted', 8);
          const isUnseen = !isSeen && faults.strikes('put corrupted unseen', 3);
          const stored = (isSeen || isUnseen) && bytes.length > 0 ? flipped(bytes, random, 'rest') : bytes;
          const { sha256: _unchecked, ...unchecked } = request;
          const answer = await memory.put({ ...(stored === bytes ? request : unchecked), body: bodyOf(stored) });
          if (stored !== bytes) {
            actor.hadFault = true;
            observer.bytesHarmed(name, storageKey, isUnseen);
          }
          observer.bytesWritten(name, storageKey, actor, isLate);
          if (!isUnseen) return answer;
          const etag = `"${createHash('md5').update(bytes).digest('hex')}"`;
          return { etag, ...(memory.checksSha256 && request.sha256 !== undefined && { sha256: request.sha256 }) };
        }),
      );
    },

    async tags(storageKey, signal) {
      const read = needBucket(() => memory.tags(storageKey));
      return ask('read', 'GET tags', storageKey, signal, read);
    },

    async get(storageKey, options, signal) {
      const from = options?.range?.[0] ?? 0;
      observer.bytesAsked(actor, name, storageKey, from);
      const found = await ask(
        'read',
        'GET',
        storageKey,
        signal,
        needBucket(async () => {
          if (isDenied(storageKey)) throw fail('not-found');
          // Looked at first: somebody may delete it while this goes on.
          const all = memory.peek(storageKey)?.bytes ?? new Uint8Array();
          const { body: _, ...description } = await memory.get(storageKey, options);
          const range = options?.range;
          const bytes = range === undefined ? all : all.subarray(range[0], range[1] + 1);
          return { description, bytes: readNow(storageKey, bytes), sizeBytes: all.length };
        }),
      ).catch((error: unknown) => {
        if (saysNothingThere(error)) observer.nothingThere(actor, name, storageKey);
        throw error;
      });
      const { description, bytes, sizeBytes } = found;
      return {
        ...description,
        body: chunks(storageKey, bytes, { from, of: { etag: description.etag, sizeBytes } }, signal),
      };
    },

    copyFrom: (request, signal) => {
      const { source, storageKey } = request;
      const aboutSource = (kind: BackendErrorKind) =>
        new BackendError(kind, source.backend, `Backend "${source.backend}" is said to be ${kind}`);
      return ask(
        'write',
        'COPY',
        storageKey,
        signal,
        needBucket(async () => {
          if (faults.windowOn(source.backend) === 'bucket missing') {
            actor.hadFault = true;
            throw fail('no-bucket');
          }
          if (faults.lieAbout(source.backend, source.storageKey) === 'wrong 404') {
            actor.hadFault = true;
            throw aboutSource('not-found');
          }
          const isLate = world.current?.isDetached ?? true;
          const answer = await memory.copyFrom(request);
          const { bytes, headers, metadata, tags } = memory.peek(storageKey)!;
          const isUnseen = faults.strikes('put corrupted unseen', 3);
          const isHarmed = (isUnseen || faults.strikes('put corrupted', 8)) && bytes.length > 0;
          const stored = isHarmed ? flipped(bytes, random, 'rest') : bytes;
          if (isHarmed) {
            actor.hadFault = true;
            memory.putNow(storageKey, stored, { headers, metadata, tags });
            observer.bytesHarmed(name, storageKey, isUnseen);
          }
          observer.bytesWritten(name, storageKey, actor, isLate);
          return isUnseen ? answer : { sha256: createHash('sha256').update(stored).digest('hex') };
        }),
      );
    },

    head: (storageKey, signal) =>
      ask('read', 'HEAD', storageKey, signal, async () => {
        if (isMissingBucket()) {
          actor.hadFault = true;
          return null;
        }
        const found = isDenied(storageKey) ? null : await memory.head(storageKey);
        // Whose a bucket is, is said of the bucket.
        if (found === null && storageKey === ownerKey) observer.backendFaulted(name);
        return found;
      }),

    delete(requests, signal) {
      for (const { storageKey, ifMatch } of requests) observer.deleteAsked(actor, name, storageKey, ifMatch);
      const subject = requests.map(({ storageKey }) => storageKey).join(' ');
      return ask(
        'delete',
        'DELETE',
        subject,
        signal,
        needBucket(async () => {
          const outcomes: DeleteOutcome[] = [];
          for (const request of requests) {
            const refusal = refusedDelete(request.storageKey);
            if (refusal === null) {
              observer.deleteHappens(actor, name, request.storageKey, request.ifMatch);
              outcomes.push(...(await memory.delete([request])));
            } else {
              actor.hadFault = true;
              outcomes.push(refusal);
            }
          }
          return outcomes;
        }),
      );
    },

    list(options, signal) {
      const effect = needBucket(async () => {
        const page = listedBadly({ world, faults, random, memory }, options);
        if (page === null) return memory.list(options);
        actor.hadFault = true;
        return page;
      });
      const answer = ask('read', 'LIST', options.prefix ?? '', signal, effect);
      // A single key shows where a range can be cut; without an answer it is not cut. A recovery that cannot ask after other
      // copies of one key leaves that key undecided: no pass over the backend broke off.
      if (options.limit === 1 || options.prefix?.endsWith('!')) return answer;
      answer.then(
        () => observer.listed(actor, name, true),
        () => observer.listed(actor, name, false),
      );
      return answer;
    },

    createUpload: (request, signal) =>
      ask(
        'write',
        'create-upload',
        request.storageKey,
        signal,
        needBucket(async () => {
          const isLate = world.current?.isDetached ?? true;
          const begun = await memory.createUpload(request);
          observer.uploadOpened(actor, name, request.storageKey, begun.uploadId, isLate);
          return begun;
        }),
      ),
    async uploadPart(request, signal) {
      const operation = `part-${request.partNumber}`;
      if (signal?.aborted) throw fail('cancelled', signal.reason);
      leaves(operation, request.storageKey);
      const bytes = await sent(request.storageKey, request.body, signal);
      return ask(
        'write',
        operation,
        request.storageKey,
        signal,
        needBucket(() => {
          // The ETag of what was stored tells.
          const stored =
            bytes.length > 0 && faults.strikes('put corrupted', 8) ? flipped(bytes, random, 'rest') : bytes;
          if (stored !== bytes) actor.hadFault = true;
          return memory.uploadPart({ ...request, body: bodyOf(stored) });
        }),
      );
    },
    listParts: (storageKey, uploadId, signal) =>
      ask(
        'read',
        'list-parts',
        storageKey,
        signal,
        needBucket(() => memory.listParts(storageKey, uploadId)),
      ),
    completeUpload: (request, signal) =>
      ask(
        'write',
        'complete-upload',
        request.storageKey,
        signal,
        needBucket(async () => {
          const isLate = world.current?.isDetached ?? true;
          const answer = await memory.completeUpload(request);
          observer.bytesWritten(name, request.storageKey, actor, isLate);
          return answer;
        }),
      ),
    abortUpload: (storageKey, uploadId, signal) =>
      ask(
        'delete',
        'abort-upload',
        storageKey,
        signal,
        needBucket(() => memory.abortUpload(storageKey, uploadId)),
      ),
    openUploads: (storageKey, signal) =>
      ask(
        'read',
        'open-uploads',
        storageKey,
        signal,
        needBucket(() => memory.openUploads(storageKey)),
      ),
  };
}

function saysNothingThere(error: unknown): boolean {
  return error instanceof BackendError && (error.kind === 'not-found' || error.kind === 'delete-marker');
}

/** Whether a step belongs to a request that is under way: the next bytes of a body, or the end of one that was sent. */
function isContinued(operation: string): boolean {
  return operation === 'chunk' || operation === 'PUT' || operation.startsWith('part-');
}

/** The same bytes with one bit turned: at rest an even one and in transit an odd one, so that no two faults undo each other. */
export function flipped(bytes: Uint8Array, random: Random, where: 'rest' | 'transit'): Uint8Array {
  const copy = Buffer.from(bytes);
  const at = random.below(copy.length);
  copy[at] = copy[at]! ^ (1 << (2 * random.below(4) + (where === 'rest' ? 0 : 1)));
  return copy;
}

/** What the S3 API calls a request. */
function calledAs(operation: string): string {
  const names: Readonly<Record<string, string>> = {
    'PUT begins': 'PutObject',
    COPY: 'CopyObject',
    GET: 'GetObject',
    'GET tags': 'GetObjectTagging',
    HEAD: 'HeadObject',
    LIST: 'ListObjectsV2',
    'list-parts': 'ListParts',
    'open-uploads': 'ListMultipartUploads',
    'create-upload': 'CreateMultipartUpload',
    'complete-upload': 'CompleteMultipartUpload',
    'abort-upload': 'AbortMultipartUpload',
    DELETE: 'DeleteObjects',
  };
  return names[operation] ?? (operation.startsWith('part-') ? 'UploadPart' : operation);
}
