import { createHash, type Hash } from 'node:crypto';
import type { Body } from '../base/bytes.ts';

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
 * Passes a body on while hashing it, with another hash `beside` if one is given. The last chunk is held back until the whole
 * is known to be as expected, so that a consumer never completes with wrong bytes. Throws `WrongBytes` otherwise.
 */
export async function* verifying(
  body: Body,
  expected: Expected,
  what: string,
  done: (digest: Digest) => void = () => {},
  beside?: Hash,
): Body {
  const sha256 = createHash('sha256');
  let sizeBytes = 0;
  let held: Uint8Array | undefined;
  for await (const chunk of body) {
    if (held !== undefined) yield held;
    sizeBytes += chunk.length;
    if (sizeBytes > expected.sizeBytes)
      throw new WrongBytes(`${what} is longer than the ${expected.sizeBytes} bytes recorded`);
    sha256.update(chunk);
    beside?.update(chunk);
    held = chunk;
  }
  const digest = { sizeBytes, sha256: sha256.digest('hex') };
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

/** Reads a body to its end and returns its digest. */
export async function digestOf(body: Body): Promise<Digest> {
  const sha256 = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.length;
    sha256.update(chunk);
  }
  return { sizeBytes, sha256: sha256.digest('hex') };
}
