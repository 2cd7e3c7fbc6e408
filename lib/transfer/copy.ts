import { createHash } from 'node:crypto';
import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { type Backend, BackendError, type StoredObject } from '../fleet/backend.ts';
import { SourceSilence } from '../fleet/errors.ts';
import { storageKey } from '../store/keys.ts';
import type { Content, ObjectRecord } from '../store/model.ts';
import { expectedEtag } from '../store/records.ts';
import type { EtagProof } from './first-hash.ts';
import { headersDigest, headersProblem } from './headers-digest.ts';
import { carriesMark, markedFileProblem, markOf } from './mark.ts';
import { putVerified } from './put-verified.ts';
import { readTags } from './read-tags.ts';
import { hashing, isReadAgain, WrongBytes } from './verify.ts';

/**
 * What became of one transfer:
 * `copied` the target holds the recorded bytes under the new copy id, verified · `source-missing` NoSuchKey ·
 * `source-wrong` read in full, and not what is recorded, or with other headers · `source-changed` a plain file with another
 * ETag or other headers ·
 * `source-failed` unreadable now · `source-unproven` its hash was not known, and no second read gave the same · `target-failed`
 * the target's error · `target-wrong` it stores other bytes than it was sent. After `source-unproven` and `target-wrong`
 * there are bytes at the target, unrecorded, that want to be enqueued for deletion.
 */
export type CopyOutcome =
  | ({ readonly outcome: 'copied' } & FoundContent)
  | { readonly outcome: 'source-missing' }
  | { readonly outcome: 'source-wrong'; readonly detail: string }
  | { readonly outcome: 'source-changed' }
  | { readonly outcome: 'source-failed'; readonly error: BackendError }
  | { readonly outcome: 'source-unproven'; readonly detail: string }
  | { readonly outcome: 'target-failed'; readonly error: BackendError }
  | { readonly outcome: 'target-wrong'; readonly detail: string };

/** What bytes were read to be, and what stands beside them: the first hashes of an object that has none. */
export type FoundContent = Required<Pick<Content, 'sha256' | 'headersSha256'>>;

export function foundContent({ sha256, headersSha256 }: FoundContent): FoundContent {
  return { sha256, headersSha256 };
}

export interface CopyRequest {
  readonly object: ObjectRecord;
  readonly from: Backend;
  readonly to: Backend;
  /** Freshly minted for this transfer. */
  readonly copyId: string;
  readonly fleetId: string;
  /** Carry object tags too: one more request at the source. */
  readonly preservesTags?: boolean;
}

/**
 * Copies an object's bytes to a fresh storage key, streamed, hashed on the way and compared with the record before the
 * last byte leaves; then makes sure that the target stored them. Records nothing.
 */
export async function copy(request: CopyRequest, signal?: AbortSignal): Promise<CopyOutcome> {
  const { object, from, to, copyId, fleetId } = request;
  const sourceId = object.copies[from.name]!;
  const ifMatch = expectedEtag(object, from.name);
  const target = storageKey(object.key, copyId);
  try {
    const options = { reusesBuffers: true, ...defined({ ifMatch }) };
    const open = () => from.get(storageKey(object.key, sourceId), options, signal);
    const source = await open();
    const what = `The copy of "${object.key}" on "${from.name}"`;
    const problem = problemOf(object, from.name, source);
    if (problem !== null) {
      await leave(source.body);
      // A file with other headers was written again by its owner, or was joined by its bytes alone.
      if (ifMatch !== undefined && problem.isAboutHeaders) return { outcome: 'source-changed' };
      return { outcome: 'source-wrong', detail: `${what} ${problem.detail}` };
    }
    const reading = request.preservesTags ? readTags(from, storageKey(object.key, sourceId), source, signal) : {};
    const tags = await Promise.resolve(reading).catch(async (error: unknown) => {
      await leave(source.body);
      throw error;
    });
    const proof = await proofFor(request, source, signal).catch(async (error: unknown) => {
      await leave(source.body);
      throw error;
    });
    const stored = await putVerified(
      to,
      {
        storageKey: target,
        ifAbsent: true,
        body: proof === undefined ? source.body : hashing(source.body, proof),
        expected: object,
        what,
        headers: source.headers,
        metadata: source.metadata,
        tags,
        mark: markOf(object, fleetId),
      },
      signal,
    ).catch((error: unknown) => {
      // Nobody may have begun to read it.
      leave(source.body).catch(() => {});
      throw error;
    });
    if (stored.outcome === 'refused') {
      leave(source.body).catch(() => {});
      throw stored.error;
    }
    if (stored.outcome === 'wrong') return { outcome: 'target-wrong', detail: stored.detail };
    const { digest } = stored;
    const isRight = proof === undefined || proof.isProven() || (await isReadAgain(open, digest).catch(unread));
    if (!isRight) return { outcome: 'source-unproven', detail: `${what} was not read twice with the same bytes` };
    // What was recorded was compared with it.
    const headersSha256 = object.headersSha256 ?? headersDigest(source.headers, source.metadata);
    return { outcome: 'copied', sha256: digest.sha256, headersSha256 };
  } catch (error) {
    return explain(error, from.name);
  }
}

/** What proves the first read of bytes whose hash is recorded nowhere; absent where it is recorded. */
async function proofFor(
  { object, from }: CopyRequest,
  { etag, sizeBytes }: StoredObject,
  signal?: AbortSignal,
): Promise<EtagProof | undefined> {
  if (object.sha256 !== undefined) return undefined;
  const bare = etag.replaceAll('"', '');
  if (bare.includes('-')) {
    const { proofByParts } = await import('./first-hash.ts');
    return proofByParts(from, storageKey(object.key, object.copies[from.name]!), { etag, sizeBytes }, signal);
  }
  const md5 = createHash('md5');
  return { update: (bytes) => void md5.update(bytes), isProven: () => md5.digest('hex') === bare };
}

/** What an answer says of a source before its first byte is sent on; null when it is as recorded. */
function problemOf(
  object: ObjectRecord,
  name: string,
  source: StoredObject,
): { readonly detail: string; readonly isAboutHeaders: boolean } | null {
  if (object.copies[name] === '' && carriesMark(source.metadata))
    return { detail: markedFileProblem, isAboutHeaders: false };
  if (source.sizeBytes !== object.sizeBytes)
    return { detail: `has ${source.sizeBytes} bytes; ${object.sizeBytes} are recorded`, isAboutHeaders: false };
  const detail = headersProblem(object, source);
  return detail === null ? null : { detail, isAboutHeaders: true };
}

/** Lets go of what is not read to its end: its socket serves others. */
async function leave(body: Body): Promise<void> {
  await body[Symbol.asyncIterator]().return?.();
}

/** Without its second reading a copy proves nothing; it stands there all the same. */
function unread(error: unknown): false {
  if (error instanceof BackendError) return false;
  throw error;
}

/** Whose fault an error of a copy was. */
export function explain(error: unknown, source: string | undefined): Exclude<CopyOutcome, { outcome: 'copied' }> {
  if (error instanceof WrongBytes) return { outcome: 'source-wrong', detail: error.message };
  if (error instanceof SourceSilence && source !== undefined)
    return {
      outcome: 'source-failed',
      error: new BackendError('timeout', source, error.message, error, { verdict: 'object' }),
    };
  if (!(error instanceof BackendError)) throw error;
  if (error.kind === 'body') return explain(error.cause, source);
  if (error.backend !== source) return { outcome: 'target-failed', error };
  if (error.kind === 'not-found') return { outcome: 'source-missing' };
  if (error.kind === 'precondition') return { outcome: 'source-changed' };
  return { outcome: 'source-failed', error };
}
