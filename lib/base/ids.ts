import { randomBytes } from 'node:crypto';
import { ulid } from 'ulid';
import type { Clock } from './clock.ts';

/** Identifiers and randomness as Holdfast sees them: injected, so that one seed replays one history. */
export interface Ids {
  /** A fresh ULID: 26 characters of Crockford base 32, sorted by the injected clock. */
  ulid(): string;
  /** A number in [0, 1). */
  random(): number;
}

/** Ids drawn from the operating system's randomness and the given clock. */
export function createIds(clock: Clock): Ids {
  return idsFrom(clock, () => randomBytes(4).readUInt32BE() / 2 ** 32);
}

/** Ids drawn from any source of numbers in [0, 1). */
export function idsFrom(clock: Clock, random: () => number): Ids {
  return { ulid: () => ulid(clock.now(), random), random };
}
