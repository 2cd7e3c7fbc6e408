import type { Body } from '../base/bytes.ts';
import { isEncrypted } from '../transfer/keyring.ts';
import { markName } from '../transfer/mark.ts';
import { type ClientContext, checkKey } from './context.ts';
import { HoldfastError } from './error.ts';
import { openCopy, wholeBytesOf } from './open-copy.ts';
import { contentOf, type GetObject, openObject, resuming } from './open-object.ts';
import { readEntry } from './read-entry.ts';

/** First and last byte, counted from 0; without the last, to the end; negative: so many last bytes. */
export type ByteRange = readonly [number, number?];

/** Reads a part of an object; null when there is no such object. What of it can be verified, `GetOptions.range` says. */
export async function getRange(context: ClientContext, key: string, range: ByteRange): Promise<GetObject | null> {
  const fleet = await context.fleet();
  checkKey(fleet.file, key);
  const entry = await readEntry(context, key);
  if (entry?.kind !== 'object') return null;
  if (isEncrypted(entry) || entry.sizeBytes <= wholeBytesOf(context)) {
    const opened = await openObject(context, key);
    if (opened === null) return null;
    const [first, last] = placeIn(key, opened.object.sizeBytes, range);
    return { ...opened.object, range: [first, last], body: partOf(opened.object.body, first, last + 1) };
  }
  const [first, last] = placeIn(key, entry.sizeBytes, range);
  const opened = await openCopy(context, fleet, entry, first, new Set(), last + 1);
  if (opened === null) return null;
  const { object, found, whole } = opened;
  if (object.generation !== entry.generation || whole !== undefined) {
    // What replaced it meanwhile is another content: its own part is asked for.
    if (whole === undefined) await found.body[Symbol.asyncIterator]().return?.();
    return getRange(context, key, range);
  }
  const { [markName]: _mark, ...metadata } = found.metadata;
  return {
    key,
    generation: object.generation,
    ...contentOf(object),
    headers: found.headers,
    metadata,
    range: [first, last],
    isVerified: false,
    body: exactly(resuming(context, fleet, opened, new Map(), first, last + 1), key, last + 1 - first),
  };
}

/** The first and the last byte that a range means. Throws `bad-range`. */
function placeIn(key: string, sizeBytes: number, [from, to]: ByteRange): readonly [number, number] {
  const first = from < 0 ? Math.max(0, sizeBytes + from) : from;
  const last = Math.min(to ?? sizeBytes - 1, sizeBytes - 1);
  const isRange = Number.isSafeInteger(from) && (to === undefined || (Number.isSafeInteger(to) && from >= 0));
  if (isRange && first <= last) return [first, last];
  const asked = [from, ...(to === undefined ? [] : [to])].join(', ');
  throw new HoldfastError('bad-range', `Cannot read [${asked}] of "${key}": it has ${sizeBytes} bytes`);
}

/** Reads the whole, so that its end is verified, and gives a part: the last piece of it only then. */
async function* partOf(body: Body, start: number, end: number): Body {
  let at = 0;
  let held: Uint8Array | undefined;
  for await (const chunk of body) {
    const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    at += chunk.length;
    if (part.length === 0) continue;
    if (held !== undefined) yield held;
    held = part;
  }
  if (held !== undefined) yield held;
}

/** As many bytes as were asked for: a backend that gives others gives something else. */
async function* exactly(body: Body, key: string, sizeBytes: number): Body {
  let seen = 0;
  for await (const chunk of body) {
    seen += chunk.length;
    if (seen > sizeBytes) break;
    yield chunk;
  }
  if (seen !== sizeBytes)
    throw new HoldfastError('unreadable', `Cannot read "${key}": the backend gave another range than was asked for`);
}
