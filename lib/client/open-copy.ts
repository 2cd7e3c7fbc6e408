import { createHash } from 'node:crypto';
import { type Body, collect } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import { BackendError, type GetResult } from '../fleet/backend.ts';
import { sourceOrder } from '../fleet/routing.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { expectedEtag, expectedHeaders } from '../store/records.ts';
import { headersProblem } from '../transfer/headers-digest.ts';
import { carriesMark, markedFileProblem } from '../transfer/mark.ts';
import { type Digest, isProven, verifying, WrongBytes } from '../transfer/verify.ts';
import type { ClientContext, Fleet } from './context.ts';
import { HoldfastError } from './error.ts';
import { readEntry } from './read-entry.ts';

/** Up to this size an object is verified before its first byte is handed out, so that a wrong copy is passed over. */
const usualWholeBytes = 8 * 1024 * 1024;

export function wholeBytesOf({ deps }: ClientContext): number {
  return deps.wholeBytes ?? usualWholeBytes;
}

/** A copy opened for reading, and its bytes when they are verified already. */
export interface OpenCopy {
  readonly object: ObjectRecord;
  readonly backend: string;
  readonly found: GetResult;
  readonly whole?: Uint8Array;
}

/**
 * Opens the best copy that answers, from a byte on. After a failure the record is read again: a moved copy is followed;
 * from byte 0 a newer generation is followed too, and a deleted object is null. A copy that this process found wrong lately
 * comes last. `end` is where the wanted bytes end, that one not included.
 */
export async function openCopy(
  context: ClientContext,
  fleet: Fleet,
  object: ObjectRecord,
  offset: number,
  failed: Set<string>,
  end = object.sizeBytes,
): Promise<OpenCopy | null> {
  let current = object;
  const reasons: string[] = [];
  for (;;) {
    const name = sources(context, fleet, current).find((backend) => !failed.has(placeOf(current, backend)));
    if (name === undefined) throw unreadable(object.key, 'none of its copies can be read and verified now', reasons);
    try {
      return await openOn(context, fleet, current, name, { offset, end });
    } catch (error) {
      if (!(error instanceof BackendError) && !(error instanceof WrongBytes)) throw error;
      failed.add(placeOf(current, name));
      reasons.push(error.message);
      context.deps.log.warn('Copy could not be read', { key: object.key, backend: name, message: error.message });
      if (error instanceof WrongBytes) await suspect(context, current, name, error.message);
    }
    const now = await readEntry(context, object.key);
    if (now?.kind === 'object' && (offset === 0 || now.generation === object.generation)) current = now;
    else if (offset > 0)
      throw new HoldfastError('changed', `"${object.key}" was replaced or deleted while it was being read`);
    else return null;
  }
}

export function unreadable(key: string, whatIsSo: string, reasons: readonly string[]): HoldfastError {
  const why = reasons.length > 0 ? `: ${reasons.join('; ')}` : '';
  return new HoldfastError('unreadable', `Cannot read "${key}": ${whatIsSo}${why}`);
}

/** One copy, by generation: a copy that failed may be replaced by another on the same backend. */
export function placeOf(object: ObjectRecord, backend: string): string {
  return `${backend}/${object.generation}/${object.copies[backend]}/${object.plainEtags?.[backend] ?? ''}`;
}

/** Remembers a wrong copy, and has the workers look at it: only they may take it out of the record. */
export async function suspect(
  context: ClientContext,
  object: ObjectRecord,
  backend: string,
  reason: string,
): Promise<void> {
  context.suspects.add(placeOf(object, backend));
  await context.requestCheck(object, backend, reason);
}

/** Copies in reading order; backends with an open breaker come behind, and wrong copies behind these. */
function sources(context: ClientContext, fleet: Fleet, object: ObjectRecord): string[] {
  const all = Object.keys(object.copies)
    .map((name) => fleet.standing(name))
    .filter(({ config }) => config !== undefined)
    .map(({ name, isReachable, config }) => ({ name, isReachable, egressUsdPerGb: config!.egressUsdPerGb }));
  const isSuspect = (name: string) => Number(context.suspects.has(placeOf(object, name)));
  return sourceOrder(all)
    .map(({ name }) => name)
    .sort((a, b) => isSuspect(a) - isSuspect(b));
}

async function openOn(
  context: ClientContext,
  fleet: Fleet,
  object: ObjectRecord,
  name: string,
  { offset, end }: { readonly offset: number; readonly end: number },
): Promise<OpenCopy> {
  const isPart = offset > 0 || end < object.sizeBytes;
  const open = () => request(context, fleet, object, name, isPart ? [offset, end - 1] : undefined);
  const found = await open();
  const what = `The copy of "${object.key}" on "${name}"`;
  const problem = problemOf(object, name, found);
  if (problem !== null) {
    await leave(found.body);
    throw new WrongBytes(`${what} ${problem}`);
  }
  const opened = { object, backend: name, found };
  if (isPart || object.sizeBytes > wholeBytesOf(context)) return opened;
  const md5 = object.sha256 === undefined ? createHash('md5') : undefined;
  let digest: Digest | undefined;
  const keep = (seen: Digest) => {
    digest = seen;
  };
  const whole = await collect(verifying(found.body, object, what, keep, md5));
  // An imported file that was not hashed yet: nothing else could show that this read was wrong.
  if (md5 !== undefined && !(await isProven(open, found.etag, md5, digest!)))
    throw new WrongBytes(`${what} was read twice, and differs`);
  context.suspects.clear(placeOf(object, name));
  return { ...opened, whole };
}

/** Asks a backend for the bytes of a copy, or a part of them. */
async function request(
  context: ClientContext,
  fleet: Fleet,
  object: ObjectRecord,
  name: string,
  range?: readonly [number, number],
): Promise<GetResult> {
  const backend = await context.backend(fleet, name);
  return backend.get(storageKey(object.key, object.copies[name]!), {
    ...defined({ ifMatch: expectedEtag(object, name), range }),
  });
}

/**
 * Passes on the bytes of a file that nobody hashed yet, and holds its last ones back until they are proved to be what is stored: by
 * its ETag, or by a second reading. Nothing else could show that this one was wrong.
 */
export async function* proving(
  context: ClientContext,
  fleet: Fleet,
  object: ObjectRecord,
  body: Body,
  given: () => readonly Pick<OpenCopy, 'backend' | 'found'>[],
): Body {
  const md5 = createHash('md5');
  let digest: Digest | undefined;
  const keep = (seen: Digest) => {
    digest = seen;
  };
  for await (const chunk of verifying(body, object, 'the content', keep, md5)) {
    // Its digest is known: these are the last bytes.
    if (digest !== undefined) {
      const [one, another] = given();
      const etag = another === undefined ? one!.found.etag : '';
      const open = () => request(context, fleet, object, one!.backend);
      const isSo = await isProven(open, etag, md5, digest).catch((error: unknown) => {
        if (!(error instanceof BackendError)) throw error;
        throw unreadable(object.key, 'its only reading could not be proved by another', [error.message]);
      });
      if (!isSo) throw new WrongBytes('the content was read twice, and differs');
    }
    yield chunk;
  }
}

/** What an answer says of a copy before its first byte; null when that is as recorded. */
function problemOf(object: ObjectRecord, name: string, found: GetResult): string | null {
  if (object.copies[name] === '' && carriesMark(found.metadata)) return markedFileProblem;
  if (found.sizeBytes !== object.sizeBytes) return `has ${found.sizeBytes} bytes; ${object.sizeBytes} are recorded`;
  if (object.sha256 !== undefined && found.sha256 !== undefined && found.sha256 !== object.sha256)
    return `has SHA-256 ${found.sha256}, says the backend; ${object.sha256} is recorded`;
  return headersProblem({ headersSha256: expectedHeaders(object, name) }, found);
}

/** Lets go of what is not read to its end: its socket serves others. */
async function leave(body: Body): Promise<void> {
  await body[Symbol.asyncIterator]().return?.();
}
