import { createHash, hash as digestNow } from 'node:crypto';
import { type Body, bodyOf } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { type Backend, BackendError, type CompletedPart, type ObjectHeaders } from '../fleet/backend.ts';
import { describeBytes } from './describe-bytes.ts';
import type { Mark } from './mark.ts';
import { type PartRules, partSizeFor } from './parts.ts';
import { type Refused, refusal } from './refusal.ts';
import { retryTransient } from './retry-transient.ts';
import { compare, type Expected } from './verify.ts';

export interface StoreRequest {
  readonly storageKey: string;
  readonly body: Body;
  readonly expected: Expected;
  readonly headers?: ObjectHeaders;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly tags?: Readonly<Record<string, string>>;
  /** Absent: the bytes become nobody's of the fleet. */
  readonly mark?: Mark;
  /** Not over anything. */
  readonly ifAbsent?: boolean;
  /** Over these very bytes alone. */
  readonly ifMatch?: string;
  /** For messages: what is being read. */
  readonly what: string;
  /** Without them everything is written at once. */
  readonly parts?: PartRules;
}

/** Parts on their way while the next one is read. */
const width = 3;
/** Parts above this size are not held in memory, so that one at a time is on its way. */
const maxHeldBytes = 64 * 2 ** 20;

/** What a put in parts ended with: nothing was begun where the backend refused to begin an upload. */
export type PutInParts = (SentParts & { readonly outcome: 'sent' }) | Refused;

interface SentParts {
  /** Hex, of what was sent. */
  readonly sha256: string;
  /** Whether the backend's answers prove that it stored what it was sent. */
  readonly isProven: boolean;
}

/**
 * Writes a body that is read once as a multipart upload under a fresh storage key. It is completed only when the whole is
 * as expected; else it is aborted. Throws `BackendError` (kind `body` when the source failed).
 */
export async function putInParts(
  to: Backend,
  request: StoreRequest,
  rules: PartRules,
  signal?: AbortSignal,
): Promise<PutInParts> {
  const { storageKey, expected } = request;
  const begun = await to
    .createUpload({ storageKey, ...describeBytes(request, to.name, storageKey) }, signal)
    .catch((error: unknown) => refusal(to, error));
  if ('outcome' in begun) return begun;
  const { uploadId } = begun;
  try {
    const partSizeBytes = partSizeFor(expected.sizeBytes, rules.partBytes, to.maxParts);
    const sent = await sendAll(to, request, { ...rules, uploadId, partSizeBytes }, signal);
    await to.completeUpload(
      { storageKey, uploadId, parts: sent.parts, ...defined({ ifAbsent: request.ifAbsent, ifMatch: request.ifMatch }) },
      signal,
    );
    return { outcome: 'sent', sha256: sent.sha256, isProven: sent.isProven };
  } catch (error) {
    // Best effort: the clean-up of this key aborts what is left.
    await to.abortUpload(storageKey, uploadId).catch(() => {});
    throw error;
  }
}

interface Sent extends SentParts {
  readonly parts: readonly CompletedPart[];
}

async function sendAll(
  to: Backend,
  { storageKey, body, expected, what }: StoreRequest,
  { uploadId, partSizeBytes, clock }: PartRules & { readonly uploadId: string; readonly partSizeBytes: number },
  signal?: AbortSignal,
): Promise<Sent> {
  const sha256 = createHash('sha256');
  const parts: CompletedPart[] = [];
  const cut = new AbortController();
  const either = signal ? AbortSignal.any([signal, cut.signal]) : cut.signal;
  const running = new Set<Promise<void>>();
  const errors: unknown[] = [];
  let isProven = true;
  let sizeBytes = 0;
  const send = (partNumber: number, bytes: Buffer) => {
    const part = { storageKey, uploadId, partNumber, sizeBytes: bytes.length };
    const upload = () => to.uploadPart({ ...part, body: bodyOf(bytes) }, either);
    const sending = retryTransient(clock, either, upload).then(
      ({ etag }) => {
        parts[partNumber - 1] = { partNumber, etag, sizeBytes: bytes.length };
        isProven &&= etag.replaceAll('"', '') === digestNow('md5', bytes);
      },
      (error: unknown) => {
        errors.push(error);
        cut.abort(error);
      },
    );
    const tracked: Promise<void> = sending.finally(() => running.delete(tracked));
    running.add(tracked);
  };
  const most = partSizeBytes > maxHeldBytes ? 1 : width;
  try {
    for await (const bytes of inParts(body, partSizeBytes)) {
      sha256.update(bytes);
      sizeBytes += bytes.length;
      while (running.size >= most) await Promise.race(running);
      if (errors.length > 0) break;
      send(Math.ceil(sizeBytes / partSizeBytes), bytes);
    }
    if (errors.length === 0) compare({ sizeBytes, sha256: sha256.copy().digest('hex') }, expected, what);
  } catch (error) {
    errors.push(sourceError(to, storageKey, error));
    cut.abort(error);
  }
  await Promise.all(running);
  if (errors.length > 0) throw errors[0];
  return { parts, sha256: sha256.digest('hex'), isProven };
}

function sourceError(to: Backend, storageKey: string, cause: unknown): BackendError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `Cannot write "${storageKey}" on "${to.name}": the source of its bytes failed: ${reason}`;
  return new BackendError('body', to.name, message, cause);
}

/** A body cut into buffers of one size; the last may be shorter. */
async function* inParts(body: Body, partSizeBytes: number): AsyncGenerator<Buffer> {
  let part = Buffer.allocUnsafeSlow(partSizeBytes);
  let filled = 0;
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; ) {
      const length = Math.min(chunk.length - at, partSizeBytes - filled);
      part.set(chunk.subarray(at, at + length), filled);
      at += length;
      filled += length;
      if (filled < partSizeBytes) continue;
      yield part;
      part = Buffer.allocUnsafeSlow(partSizeBytes);
      filled = 0;
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}
