import { createHash } from 'node:crypto';
import { type Body, bodyOf, collect } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { BackendError, type GetResult, type ObjectHeaders } from '../fleet/backend.ts';
import { sourceOrder } from '../fleet/routing.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { expectedEtag } from '../store/records.ts';
import { decrypted, isEncrypted, KeyringError } from '../transfer/keyring.ts';
import { markName } from '../transfer/mark.ts';
import { type Digest, isProven, verifying, WrongBytes } from '../transfer/verify.ts';
import { type ClientContext, checkKey, type Fleet } from './context.ts';
import { HoldfastError } from './error.ts';
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
  /**
   * The content, of this one generation. It ends only after its hash was found right: the last chunk is held back until
   * then. Throws `HoldfastError` `unreadable` or `changed` otherwise.
   */
  readonly body: Body;
}

/** Up to this size an object is verified before its first byte is handed out, so that a wrong copy is passed over. */
const wholeBytes = 8 * 1024 * 1024;

/** A copy opened for reading, and the bytes already checked when it is small. */
interface Opened {
  readonly object: ObjectRecord;
  readonly backend: string;
  readonly found: GetResult;
  readonly whole?: Uint8Array;
}

/**
 * Reads an object from any reachable copy; null when there is none. A copy that fails is passed over, after the record was
 * read again; content of two generations is never joined.
 */
export async function get(context: ClientContext, key: string): Promise<GetObject | null> {
  const fleet = await context.fleet();
  checkKey(fleet.file, key);
  const entry = await readEntry(context, key);
  if (entry?.kind !== 'object') return null;
  const opened = await openCopy(context, fleet, entry, 0, new Set());
  if (opened === null) return null;
  const { object, found } = opened;
  const { [markName]: _mark, ...metadata } = found.metadata;
  return {
    key,
    generation: object.generation,
    ...contentOf(object),
    headers: found.headers,
    metadata,
    body: await plain(
      context,
      fleet,
      object,
      opened.whole === undefined ? verified(context, fleet, opened) : bodyOf(opened.whole),
    ),
  };
}

/** Size and hash of the content as it was put. */
export function contentOf({ sizeBytes, sha256, encryption }: ObjectRecord): { sizeBytes: number; sha256?: string } {
  if (encryption !== undefined) {
    return { sizeBytes: encryption.plaintextBytes, ...defined({ sha256: encryption.plaintextSha256 }) };
  }
  return { sizeBytes, ...defined({ sha256 }) };
}

/** The content as it was put: stored bytes, decrypted where they were encrypted. */
async function plain(context: ClientContext, fleet: Fleet, object: ObjectRecord, stored: Body): Promise<Body> {
  return isEncrypted(object) ? opening(decrypted(await context.keyring(fleet), object, stored), object.key) : stored;
}

async function* opening(body: Body, key: string): Body {
  try {
    yield* body;
  } catch (error) {
    if (error instanceof KeyringError) throw new HoldfastError('no-key', error.message, error);
    if (error instanceof WrongBytes)
      throw new HoldfastError('unreadable', `Cannot read "${key}": ${error.message}`, error);
    throw error;
  }
}

/**
 * Opens the best copy that answers, from a byte on. After a failure the record is read again: a moved copy is followed;
 * from byte 0 a newer generation is followed too, and a deleted object is null.
 */
async function openCopy(
  context: ClientContext,
  fleet: Fleet,
  object: ObjectRecord,
  offset: number,
  failed: Set<string>,
): Promise<Opened | null> {
  let current = object;
  const reasons: string[] = [];
  for (;;) {
    const name = sources(fleet, current).find((backend) => !failed.has(placeOf(current, backend)));
    if (name === undefined) {
      const why = reasons.length > 0 ? `: ${reasons.join('; ')}` : '';
      throw new HoldfastError(
        'unreadable',
        `Cannot read "${object.key}": none of its copies can be read and verified now${why}`,
      );
    }
    try {
      return await openOn(context, fleet, current, name, offset);
    } catch (error) {
      if (!(error instanceof BackendError) && !(error instanceof WrongBytes)) throw error;
      failed.add(placeOf(current, name));
      reasons.push(error.message);
      context.deps.log.warn('Copy could not be read', { key: object.key, backend: name, message: error.message });
    }
    const now = await readEntry(context, object.key);
    if (now?.kind === 'object' && (offset === 0 || now.generation === object.generation)) current = now;
    else if (offset > 0)
      throw new HoldfastError('changed', `"${object.key}" was replaced or deleted while it was being read`);
    else return null;
  }
}

/** One copy, by generation: a copy that failed may be replaced by another on the same backend. */
function placeOf(object: ObjectRecord, backend: string): string {
  return `${backend}/${object.generation}/${object.copies[backend]}`;
}

/** Copies in reading order; backends with an open breaker are the last resort. */
function sources(fleet: Fleet, object: ObjectRecord): string[] {
  const all = Object.keys(object.copies)
    .map((name) => fleet.standing(name))
    .filter(({ config }) => config !== undefined)
    .map(({ name, isReachable, config }) => ({ name, isReachable, egressUsdPerGb: config!.egressUsdPerGb }));
  return sourceOrder(all).map(({ name }) => name);
}

async function openOn(
  context: ClientContext,
  fleet: Fleet,
  object: ObjectRecord,
  name: string,
  offset: number,
): Promise<Opened> {
  const backend = await context.backend(fleet, name);
  const copyId = object.copies[name]!;
  const etag = expectedEtag(object, name);
  const open = () =>
    backend.get(storageKey(object.key, copyId), {
      ...defined({ ifMatch: etag }),
      ...(offset === 0 ? {} : { range: [offset, object.sizeBytes - 1] as const }),
    });
  const found = await open();
  const opened = { object, backend: name, found };
  if (offset > 0 || object.sizeBytes > wholeBytes) return opened;
  const what = `The copy of "${object.key}" on "${name}"`;
  const md5 = object.sha256 === undefined ? createHash('md5') : undefined;
  let digest: Digest | undefined;
  const keep = (seen: Digest) => {
    digest = seen;
  };
  const whole = await collect(verifying(found.body, object, what, keep, md5));
  // A file that was imported and not hashed yet: nothing else could show that this read was wrong.
  if (md5 !== undefined && !(await isProven(open, found.etag, md5, digest!)))
    throw new WrongBytes(`${what} was read twice, and differs`);
  return { ...opened, whole };
}

/** Streams a big object, changing over to another copy of the same generation at the byte where one failed. */
async function* verified(context: ClientContext, fleet: Fleet, first: Opened): Body {
  const { object } = first;
  const what = `The content of "${object.key}"`;
  const body = verifying(resuming(context, fleet, first), object, what);
  try {
    yield* body;
  } catch (error) {
    if (!(error instanceof WrongBytes)) throw error;
    throw new HoldfastError('unreadable', `Cannot read "${object.key}": ${error.message}`, error);
  }
}

async function* resuming(context: ClientContext, fleet: Fleet, first: Opened): Body {
  const failed = new Set<string>();
  let opened = first;
  let offset = 0;
  for (;;) {
    try {
      for await (const chunk of opened.found.body) {
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
      if (offset >= first.object.sizeBytes) throw error;
      const now = await readEntry(context, first.object.key);
      const isSame = now?.kind === 'object' && now.generation === first.object.generation;
      const next = isSame ? await openCopy(context, fleet, now, offset, failed) : null;
      if (next === null)
        throw new HoldfastError('changed', `"${first.object.key}" was replaced or deleted while it was being read`);
      if (next.whole !== undefined) throw new Error('A small object is never read in parts');
      opened = next;
    }
  }
}
