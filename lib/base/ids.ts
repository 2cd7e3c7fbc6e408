import { randomFillSync } from 'node:crypto';
import { decodeTime, ulid } from 'ulid';
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
  return idsFrom(clock, systemRandom());
}

/** An id takes 16 numbers: they are drawn from the system in stock, since each call there costs as much as an id. */
function systemRandom(): () => number {
  const stock = new Uint32Array(256);
  let next = stock.length;
  return () => {
    if (next === stock.length) {
      randomFillSync(stock);
      next = 0;
    }
    const number = stock[next]! / 2 ** 32;
    next += 1;
    return number;
  };
}

/** Ids drawn from any source of numbers in [0, 1). */
export function idsFrom(clock: Clock, random: () => number): Ids {
  return { ulid: () => ulid(clock.now(), random), random };
}

/** When a ULID was minted, by the clock of whoever minted it. Milliseconds since the epoch. */
export function ulidTime(id: string): number {
  return decodeTime(id);
}
