import { type Body, bodyOf } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { BackendError, type ObjectHeaders } from '../fleet/backend.ts';
import type { ObjectRecord } from '../store/model.ts';
import { decrypted, isEncrypted, KeyringError } from '../transfer/keyring.ts';
import { markName } from '../transfer/mark.ts';
import { verifying, WrongBytes } from '../transfer/verify.ts';
import { type ClientContext, checkKey, type Fleet } from './context.ts';
import { HoldfastError } from './error.ts';
import { type OpenCopy, openCopy, placeOf, proving, suspect } from './open-copy.ts';
import { readEntry } from './read-entry.ts';

/** An object being read. */
export interface GetObject {
  readonly key: string;
  readonly generation: string;
  readonly sizeBytes: number;
  /** Hex; absent when it is not known yet (an imported object that was never read). */
  readonly sha256?: string;
  readonly headers: ObjectHeaders;
  readonly metadata: Readonly<Record<string, string>>;
  /** Of a part: the first and the last byte. */
  readonly range?: readonly [number, number];
  /** Whether `body` ends only after the hash of the whole was found right: always, but for a part of a large object. */
  readonly isVerified: boolean;
  /**
   * The content, of this one generation. It ends only after its hash was found right: the last chunk is held back until
   * then. Throws `HoldfastError` `unreadable` or `changed` otherwise. A big object that proves wrong at its end was read
   * from a bad copy: a second `get` reads another; `getFile` and `read` do so by themselves.
   */
  readonly body: Body;
}

/** All that was read came to its end, and is not what is recorded. */
export class WrongCopyError extends HoldfastError {
  readonly whatIsSo: string;
  constructor(key: string, whatIsSo: string, cause: WrongBytes) {
    super('unreadable', `Cannot read "${key}": ${whatIsSo}`, cause);
    this.whatIsSo = whatIsSo;
  }
}

/** An object, opened, and how many copies it has. */
export interface Opened {
  readonly object: GetObject;
  readonly copies: number;
}

/** Opens any reachable copy of an object; null when there is no such object. */
export async function openObject(context: ClientContext, key: string): Promise<Opened | null> {
  const fleet = await context.fleet();
  checkKey(fleet.file, key);
  const entry = await readEntry(context, key);
  if (entry?.kind !== 'object') return null;
  const opened = await openCopy(context, fleet, entry, 0, new Set());
  if (opened === null) return null;
  const { object, found, whole } = opened;
  const { [markName]: _mark, ...metadata } = found.metadata;
  const stored = whole === undefined ? verified(context, fleet, opened) : bodyOf(whole);
  return {
    object: {
      key,
      generation: object.generation,
      ...contentOf(object),
      headers: found.headers,
      metadata,
      isVerified: true,
      body: await plaintext(context, fleet, object, stored),
    },
    copies: Object.keys(object.copies).length,
  };
}

/** Size and hash of the content as it was put. */
export function contentOf({ sizeBytes, sha256, encryption }: ObjectRecord): { sizeBytes: number; sha256?: string } {
  if (encryption === undefined) return { sizeBytes, ...defined({ sha256 }) };
  return { sizeBytes: encryption.plaintextBytes, ...defined({ sha256: encryption.plaintextSha256 }) };
}

/** The content as it was put: stored bytes, decrypted where they were encrypted. */
async function plaintext(context: ClientContext, fleet: Fleet, object: ObjectRecord, stored: Body): Promise<Body> {
  if (!isEncrypted(object)) return stored;
  const keyring = await context.keyring(fleet);
  return opening(object.key, stored, (ciphertext) => decrypted(keyring, object, ciphertext));
}

/**
 * Decrypts. Where that fails the stored bytes are read to their end first: rot breaks a frame long before the digest of
 * the whole can tell, and must not pass for a missing key.
 */
async function* opening(key: string, stored: Body, decrypt: (ciphertext: Body) => Body): Body {
  const chunks = stored[Symbol.asyncIterator]();
  const ciphertext: Body = { [Symbol.asyncIterator]: () => ({ next: () => chunks.next() }) };
  try {
    yield* decrypt(ciphertext);
  } catch (error) {
    if (!(error instanceof KeyringError) && !(error instanceof WrongBytes)) throw error;
    for (let step = await chunks.next(); !step.done; ) step = await chunks.next();
    if (error instanceof KeyringError) throw new HoldfastError('no-key', error.message, error);
    throw new HoldfastError('unreadable', `Cannot read "${key}": ${error.message}`, error);
  } finally {
    await chunks.return?.();
  }
}

/** Streams a big object, changing over to another copy of the same generation at the byte where one failed. */
async function* verified(context: ClientContext, fleet: Fleet, first: OpenCopy): Body {
  const { object } = first;
  const given: Given = new Map();
  const body = resuming(context, fleet, first, given);
  try {
    if (object.sha256 === undefined) yield* proving(context, fleet, object, body, () => [...given.values()]);
    else yield* verifying(body, object, 'the content');
  } catch (error) {
    if (!(error instanceof WrongBytes)) throw error;
    const names = [...new Set([...given.values()].map(({ backend }) => `"${backend}"`))].join(' and ');
    const whatIsSo = `read from ${names}, ${error.message}`;
    // Of two that gave bytes either may be wrong.
    for (const copy of given.values()) await suspect(context, copy.object, copy.backend, whatIsSo);
    throw new WrongCopyError(object.key, whatIsSo, error);
  }
  if (given.size === 1) for (const place of given.keys()) context.suspects.clear(place);
}

/** The copies that gave bytes, by place. */
type Given = Map<string, OpenCopy>;

/** Bytes from `start` up to `end`, that one not included; from another copy where one fails. */
export async function* resuming(
  context: ClientContext,
  fleet: Fleet,
  first: OpenCopy,
  given: Given,
  start = 0,
  end = first.object.sizeBytes,
): Body {
  const failed = new Set<string>();
  let opened = first;
  let offset = start;
  for (;;) {
    try {
      for await (const chunk of opened.found.body) {
        given.set(placeOf(opened.object, opened.backend), opened);
        offset += chunk.length;
        yield chunk;
      }
      return;
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      failed.add(placeOf(opened.object, opened.backend));
      context.deps.log.warn('Copy failed while it was read', {
        key: first.object.key,
        backend: opened.backend,
        kind: error.kind,
      });
      // Every byte came: their hash says whether they are right.
      if (offset >= end) return;
      const now = await readEntry(context, first.object.key);
      const isSame = now?.kind === 'object' && now.generation === first.object.generation;
      const next = isSame ? await openCopy(context, fleet, now, offset, failed, end) : null;
      if (next === null)
        throw new HoldfastError('changed', `"${first.object.key}" was replaced or deleted while it was being read`);
      opened = next;
    }
  }
}
