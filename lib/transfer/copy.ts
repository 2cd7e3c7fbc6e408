import { bodyOf } from '../base/bytes.ts';
import { type Backend, BackendError } from '../fleet/backend.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { markFor, markName } from './mark.ts';
import { type Digest, digestOf, verifying, WrongBytes } from './verify.ts';

/**
 * What became of one transfer:
 * `copied` the target holds the recorded bytes under the new copy id, verified · `source-missing` NoSuchKey ·
 * `source-wrong` read in full, and not what is recorded · `source-changed` a plain file with another ETag ·
 * `source-failed` unreadable now · `target-failed` the target's error · `target-wrong` it stores other bytes: they are
 * there, unrecorded, and want to be condemned.
 */
export type CopyOutcome =
  | { readonly outcome: 'copied'; readonly sha256: string }
  | { readonly outcome: 'source-missing' }
  | { readonly outcome: 'source-wrong'; readonly detail: string }
  | { readonly outcome: 'source-changed' }
  | { readonly outcome: 'source-failed'; readonly error: BackendError }
  | { readonly outcome: 'target-failed'; readonly error: BackendError }
  | { readonly outcome: 'target-wrong'; readonly detail: string };

export interface CopyRequest {
  readonly object: ObjectRecord;
  readonly from: Backend;
  readonly to: Backend;
  /** Freshly minted for this transfer. */
  readonly copyId: string;
  readonly fleetId: string;
}

/**
 * Copies an object's bytes to a fresh storage key, streamed, hashed on the way and compared with the record before the
 * last byte leaves; then makes sure that the target stored them. Records nothing.
 */
export async function copy(request: CopyRequest, signal?: AbortSignal): Promise<CopyOutcome> {
  const { object, from, to, copyId, fleetId } = request;
  const sourceId = object.copies[from.name]!;
  const ifMatch = sourceId === '' ? object.plainEtags?.[from.name] : undefined;
  const target = storageKey(object.key, copyId);
  let digest: Digest | undefined;
  try {
    const source = await from.get(storageKey(object.key, sourceId), ifMatch === undefined ? {} : { ifMatch }, signal);
    const what = `The copy of "${object.key}" on "${from.name}"`;
    if (source.sizeBytes !== object.sizeBytes) {
      await source.body[Symbol.asyncIterator]().return?.();
      return {
        outcome: 'source-wrong',
        detail: `${what} has ${source.sizeBytes} bytes; ${object.sizeBytes} are recorded`,
      };
    }
    const { etag } = await to.put(
      {
        storageKey: target,
        sizeBytes: object.sizeBytes,
        body: verifying(source.body, object, what, (d) => {
          digest = d;
        }),
        headers: source.headers,
        metadata: {
          ...source.metadata,
          [markName]: markFor({ fleetId, generation: object.generation }, to.name, target),
        },
        ...(object.sha256 === undefined ? {} : { sha256: object.sha256 }),
      },
      signal,
    );
    // An empty body may never be asked for its first chunk.
    return await confirm(to, target, etag, digest ?? (await digestOf(bodyOf(new Uint8Array()))), signal);
  } catch (error) {
    return explain(error, from.name);
  }
}

/** An ETag that is the MD5 of what we sent proves it; any other is no proof of anything, so the bytes are read back. */
async function confirm(
  to: Backend,
  target: string,
  etag: string,
  sent: Digest,
  signal?: AbortSignal,
): Promise<CopyOutcome> {
  if (etag.replaceAll('"', '') === sent.md5) return { outcome: 'copied', sha256: sent.sha256 };
  const stored = await digestOf((await to.get(target, {}, signal)).body);
  if (stored.sha256 === sent.sha256) return { outcome: 'copied', sha256: sent.sha256 };
  return {
    outcome: 'target-wrong',
    detail: `Backend "${to.name}" stored other bytes than it was sent for "${target}"`,
  };
}

function explain(error: unknown, source: string): CopyOutcome {
  if (error instanceof WrongBytes) return { outcome: 'source-wrong', detail: error.message };
  if (!(error instanceof BackendError)) throw error;
  if (error.kind === 'body') return explain(error.cause, source);
  if (error.backend !== source) return { outcome: 'target-failed', error };
  if (error.kind === 'not-found') return { outcome: 'source-missing' };
  if (error.kind === 'precondition') return { outcome: 'source-changed' };
  return { outcome: 'source-failed', error };
}
