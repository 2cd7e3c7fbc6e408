import { isDeepStrictEqual } from 'node:util';
import { defined } from '../base/defined.ts';
import type { Content, Entry, ObjectRecord, Tombstone } from './model.ts';

/** Everything a new record says; its rev is assigned by `commit`. */
export type NewRecord = Omit<ObjectRecord, 'kind' | 'rev' | 'condition'> & Partial<Pick<ObjectRecord, 'condition'>>;

/** A record of new content, or of content that no record named so far. */
export function newRecord(fields: NewRecord): ObjectRecord {
  return { ...fields, kind: 'object', rev: 0, condition: fields.condition ?? 'sound' };
}

/** How long it is remembered that an object was deleted. */
const tombstoneMs = 7 * 24 * 3_600_000;

/**
 * The tombstone of a delete: it lasts for as long as it remembers a file that is still there, else for 7 days, or a day longer
 * than the bytes wait to be brought back.
 */
export function newTombstone(
  fields: Pick<Tombstone, 'key' | 'generation' | 'deletedAt' | 'plainEtags'>,
  graceMs = 0,
): Tombstone {
  return expiring({ ...fields, kind: 'tombstone', rev: 0 }, graceMs);
}

const dayMs = 24 * 3_600_000;

function expiring({ plainEtags = {}, ttl: _, ...rest }: Tombstone, graceMs = 0): Tombstone {
  const isRemembering = Object.keys(plainEtags).length > 0;
  const lastsMs = Math.max(tombstoneMs, graceMs + dayMs);
  return { ...rest, ...(isRemembering ? { plainEtags } : { ttl: Math.ceil((rest.deletedAt + lastsMs) / 1000) }) };
}

/** An entry that no longer remembers a file on a backend: it is not there any more. */
export function withoutPlainFile(entry: Entry, backend: string): Entry {
  const { [backend]: _file, ...plainEtags } = entry.plainEtags ?? {};
  if (entry.kind === 'tombstone') return expiring({ ...entry, plainEtags });
  const { plainEtags: _all, ...rest } = entry;
  return Object.keys(plainEtags).length === 0 ? rest : { ...rest, plainEtags };
}

/** The ETag that an object's file on a backend must still have; undefined where its copy is not a plain one. */
export function expectedEtag(object: ObjectRecord, backend: string): string | undefined {
  return object.copies[backend] === '' ? object.plainEtags?.[backend] : undefined;
}

/**
 * The digest that the headers of a copy must have; undefined where none is known. Files of several backends that were joined
 * by their bytes alone keep the headers that their owners gave them, and each of them counts.
 */
export function expectedHeaders(object: ObjectRecord, backend: string): string | undefined {
  const isPlain = (name: string) => object.copies[name] === '';
  const isJoined = isPlain(backend) && Object.keys(object.copies).filter(isPlain).length > 1;
  return isJoined ? undefined : object.headersSha256;
}

/** Whether two ETags of one backend are the same: some write them without quotes in their listings. */
export function isSameEtag(a: string, b: string): boolean {
  return a.replaceAll('"', '') === b.replaceAll('"', '');
}

/** What a record or a queue item knows of its bytes. */
export function contentOf({ sha256, headersSha256, encryption, writtenAs }: Content): Content {
  return defined({ sha256, headersSha256, encryption, writtenAs });
}

/** The generation that stored bytes bear: in their mark, and as what ciphertext is bound to. */
export function bornAs({ generation, writtenAs = generation }: Pick<ObjectRecord, 'generation' | 'writtenAs'>): string {
  return writtenAs;
}

/** Whether a record and bytes of its object are of one write, whatever it is called since it was brought back. */
export function isOneWrite(
  a: Pick<ObjectRecord, 'generation' | 'writtenAs'>,
  b: Pick<ObjectRecord, 'generation' | 'writtenAs'>,
): boolean {
  return bornAs(a) === bornAs(b);
}

/** Whether two records differ in nothing but rev, condition and refusals: who read the one may go on with the other. */
export function isSameContent(a: ObjectRecord, b: ObjectRecord): boolean {
  const { rev: _a, condition: _ca, stuck: _sa, ...one } = a;
  const { rev: _b, condition: _cb, stuck: _sb, ...other } = b;
  return isDeepStrictEqual(one, other);
}
