import { createHash } from 'node:crypto';
import type { Body } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { type Backend, BackendError } from '../fleet/backend.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { expectedEtag, expectedHeaders } from '../store/records.ts';
import { headersDigest, headersProblem } from './headers-digest.ts';
import { type Digest, digestOf, isProven } from './verify.ts';

/**
 * What one full read of a recorded copy showed: `good` as recorded (with its digest) · `missing` the backend says NoSuchKey
 * · `wrong` other headers, or a complete read of other bytes · `changed` a plain file with another ETag or other headers · `unreadable` anything else.
 */
export type CopyReading =
  | { readonly outcome: 'good'; readonly digest: Digest; readonly headersSha256: string }
  | { readonly outcome: 'missing' }
  | { readonly outcome: 'wrong'; readonly detail: string }
  | { readonly outcome: 'changed' }
  | { readonly outcome: 'unreadable'; readonly error: BackendError };

export interface ReadOptions {
  readonly trustsAttestation?: boolean;
  /** Reads the same bytes as they pass, e.g. to decrypt them. */
  readonly alongside?: (body: Body) => Body;
}

/**
 * Reads one copy in full and compares it with the record. An unhashed object compares by size (and ETag, if plain); where
 * the ETag is not the MD5 of what was read, it is read once more, and two reads that differ are unreadable.
 * With `trustsAttestation` a full-object SHA-256 that the backend attests stands for the read, if it is the one recorded.
 */
export async function readCopy(
  backend: Backend,
  object: ObjectRecord,
  signal?: AbortSignal,
  options: ReadOptions = {},
): Promise<CopyReading> {
  const copyId = object.copies[backend.name];
  if (copyId === undefined) throw new Error(`Object "${object.key}" has no copy on "${backend.name}"`);
  const etag = expectedEtag(object, backend.name);
  try {
    if (options.trustsAttestation && object.sha256 !== undefined) {
      const attested = await backend.head(storageKey(object.key, copyId), signal);
      const isSame = attested?.sha256 === object.sha256 && attested.sizeBytes === object.sizeBytes;
      const expected = { headersSha256: expectedHeaders(object, backend.name) };
      if (isSame && headersProblem(expected, attested) === null && (etag === undefined || attested.etag === etag)) {
        const digest = { sizeBytes: object.sizeBytes, sha256: object.sha256 };
        return { outcome: 'good', digest, headersSha256: headersDigest(attested.headers, attested.metadata) };
      }
    }
    const reusesBuffers = options.alongside === undefined;
    const key = storageKey(object.key, copyId);
    const open = () => backend.get(key, { ...defined({ ifMatch: etag }), reusesBuffers }, signal);
    const found = await open();
    const problem = headersProblem({ headersSha256: expectedHeaders(object, backend.name) }, found);
    if (problem !== null) {
      await found.body[Symbol.asyncIterator]().return?.();
      return etag === undefined ? { outcome: 'wrong', detail: `it ${problem}` } : { outcome: 'changed' };
    }
    const md5 = object.sha256 === undefined ? createHash('md5') : undefined;
    const body = options.alongside === undefined ? found.body : options.alongside(found.body);
    const digest = await digestOf(body, md5);
    if (digest.sizeBytes !== object.sizeBytes) {
      return { outcome: 'wrong', detail: `${digest.sizeBytes} bytes instead of ${object.sizeBytes}` };
    }
    if (object.sha256 !== undefined && digest.sha256 !== object.sha256) {
      return { outcome: 'wrong', detail: `SHA-256 ${digest.sha256} instead of ${object.sha256}` };
    }
    if (md5 !== undefined && !(await isProven(open, found.etag, md5, digest))) {
      const error = `Two reads of ${JSON.stringify(key)} on "${backend.name}" differ`;
      return { outcome: 'unreadable', error: new BackendError('bad-digest', backend.name, error) };
    }
    return { outcome: 'good', digest, headersSha256: headersDigest(found.headers, found.metadata) };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    if (error.kind === 'not-found') return { outcome: 'missing' };
    if (error.kind === 'precondition') return { outcome: 'changed' };
    return { outcome: 'unreadable', error };
  }
}
