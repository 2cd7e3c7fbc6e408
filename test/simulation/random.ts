/** Randomness of one seed: the same seed gives the same numbers for ever. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** A whole number in [0, n). */
  below(n: number): number;
  /** A whole number in [from, to]. */
  between(from: number, to: number): number;
  /** A number in [from, to], each order of magnitude as likely as the next. */
  spread(from: number, to: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** By weight; weights of 0 are never picked. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T;
  shuffled<T>(list: readonly T[]): T[];
}

/** A stream of its own per purpose: a new decision in one place leaves the others as they were. */
export function createRandom(seed: number, purpose: string): Random {
  const next = sfc32(seed, purpose);
  const below = (n: number) => Math.floor(next() * n);
  return {
    next,
    below,
    between: (from, to) => from + below(to - from + 1),
    spread: (from, to) => Math.round(from * (to / from) ** next()),
    chance: (probability) => next() < probability,
    pick: (list) => list[below(list.length)]!,
    weighted<T extends string>(weights: Readonly<Record<T, number>>): T {
      const entries = Object.entries(weights) as [T, number][];
      let left = next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [name, weight] of entries) {
        left -= weight;
        if (left < 0) return name;
      }
      return entries.findLast(([, weight]) => weight > 0)![0];
    },
    shuffled(list) {
      const all = [...list];
      for (let i = all.length - 1; i > 0; i -= 1) {
        const j = below(i + 1);
        [all[i], all[j]] = [all[j]!, all[i]!];
      }
      return all;
    },
  };
}

/** Small Fast Counter, 32 bits. Source: PractRand, C. Doty-Humphrey (public domain). */
function sfc32(seed: number, purpose: string): () => number {
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = 0x9e3779b9 | 0;
  let counter = 1;
  for (let i = 0; i < purpose.length; i += 1) c = Math.imul(c ^ purpose.charCodeAt(i), 0x01000193);
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 15; i += 1) next();
  return next;
}
