import { createHash, type Hash, hash as hashNow } from 'node:crypto';
import type { Body } from '../base/bytes.ts';
import type { RunningHash } from './running-hash.ts';

/** The bytes are not those that were recorded. */
export class WrongBytes extends Error {
  override readonly name = 'WrongBytes';
}

/** What was seen of a body once it has ended. */
export interface Digest {
  readonly sizeBytes: number;
  /** Hex. */
  readonly sha256: string;
}

/** What a body must turn out to be. */
export interface Expected {
  readonly sizeBytes: number;
  /** Hex; absent when it is not known yet. */
  readonly sha256?: string;
}

/**
 * Passes a body on while hashing it, with another hash `beside` if one is given. The chunk that completes it is held back until
 * the whole is known to be as expected, so that a consumer never completes with wrong bytes. Throws `WrongBytes` otherwise.
 */
export async function* verifying(
  body: Body,
  expected: Expected,
  what: string,
  done: (digest: Digest) => void = () => {},
  beside?: Hash,
): Body {
  // None for a body of one chunk: a hash of all at once costs a fraction of one that takes it piece by piece.
  let sha256: Hash | undefined;
  let sizeBytes = 0;
  let held: Uint8Array | undefined;
  for await (const chunk of body) {
    if (chunk.length === 0) continue;
    sizeBytes += chunk.length;
    if (sizeBytes > expected.sizeBytes)
      throw new WrongBytes(`${what} is longer than the ${expected.sizeBytes} bytes recorded`);
    beside?.update(chunk);
    if (sizeBytes < expected.sizeBytes) {
      sha256 ??= createHash('sha256');
      sha256.update(chunk);
      yield chunk;
    } else held = chunk;
  }
  if (held !== undefined) sha256?.update(held);
  const digest = { sizeBytes, sha256: sha256?.digest('hex') ?? hashNow('sha256', held ?? new Uint8Array()) };
  compare(digest, expected, what);
  done(digest);
  if (held !== undefined) yield held;
}

/** Throws `WrongBytes` unless what was seen is what was expected. */
export function compare(seen: Digest, expected: Expected, what: string): void {
  if (seen.sizeBytes !== expected.sizeBytes) {
    throw new WrongBytes(`${what} has ${seen.sizeBytes} bytes; ${expected.sizeBytes} are recorded`);
  }
  if (expected.sha256 !== undefined && seen.sha256 !== expected.sha256) {
    throw new WrongBytes(`${what} has SHA-256 ${seen.sha256}; ${expected.sha256} is recorded`);
  }
}

/** Reads a body to its end and returns its digest; feeds another hash `beside`, if one is given. */
export async function digestOf(body: Body, beside?: Hash): Promise<Digest> {
  const sha256 = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.length;
    sha256.update(chunk);
    beside?.update(chunk);
  }
  return { sizeBytes, sha256: sha256.digest('hex') };
}

/** Passes a body on, and feeds a hash of it. */
export async function* hashing(body: Body, hash: Pick<RunningHash, 'update'>): Body {
  for await (const chunk of body) {
    hash.update(chunk);
    yield chunk;
  }
}

/** Opens the same bytes anew at each call. */
export type Opening = () => Promise<{ readonly etag: string; readonly body: Body }>;

/**
 * The digest of bytes whose hash is recorded nowhere. Nothing would ever show that a single read was wrong, so it counts
 * when the ETag is the MD5 of what was read, or when a second read gives the same; null when two reads differ.
 */
export async function learnDigest(open: Opening): Promise<Digest | null> {
  const md5 = createHash('md5');
  const { etag, body } = await open();
  const digest = await digestOf(body, md5);
  return (await isProven(open, etag, md5, digest)) ? digest : null;
}

/** Whether what was read once under an ETag is what is there: by its MD5, or by a second read. */
export async function isProven(
  open: Opening,
  etag: string,
  md5: Hash,
  { sha256 }: Pick<Digest, 'sha256'>,
): Promise<boolean> {
  return etag.replaceAll('"', '') === md5.digest('hex') || isReadAgain(open, { sha256 });
}

/** Whether a second read gives the same bytes. */
export async function isReadAgain(open: Opening, { sha256 }: Pick<Digest, 'sha256'>): Promise<boolean> {
  return (await digestOf((await open()).body)).sha256 === sha256;
}
