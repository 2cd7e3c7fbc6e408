import fc from 'fast-check';
import { expect } from 'vitest';
import type { Move, PlanBackend, PlanInput, PlanObject } from '../../lib/plans/plan-draft.ts';

const names = ['a', 'b', 'c', 'd', 'e'];

/** A backend of 100 bytes that takes part, changed as a test needs it. */
export function planBackend(name: string, usedBytes: number, change: Partial<PlanBackend> = {}): PlanBackend {
  return { name, usedBytes, orphanBytes: 0, limitBytes: 100, draining: false, reachable: true, ...change };
}

export function planObject(key: string, sizeBytes: number, ...backends: string[]): PlanObject {
  return { key, sizeBytes, backends };
}

const oddBackend = fc.record({
  name: fc.constantFrom(...names),
  usedBytes: fc.nat({ max: 300 }),
  orphanBytes: fc.nat({ max: 60 }),
  limitBytes: fc.oneof(fc.constant(0), fc.nat({ max: 400 })),
  draining: fc.boolean(),
  reachable: fc.boolean(),
});

/** One that takes part and has room. */
const plainBackend = fc
  .record({ name: fc.constantFrom(...names), limitBytes: fc.integer({ min: 100, max: 200 }), percent: fc.nat(100) })
  .map(({ name, limitBytes, percent }) => planBackend(name, Math.floor((limitBytes * percent) / 100), { limitBytes }));

/** Any fleet: full, over-full, empty, unlimited, draining and unreachable backends among good ones, objects on several of them. */
export const planInputs: fc.Arbitrary<PlanInput> = fc
  .record({
    backends: fc.uniqueArray(fc.oneof({ weight: 3, arbitrary: plainBackend }, oddBackend), {
      selector: ({ name }) => name,
      minLength: 2,
    }),
    held: fc.uniqueArray(
      fc.record({
        key: fc.string({ minLength: 1, maxLength: 4 }),
        sizeBytes: fc.nat({ max: 30 }),
        backends: fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 3 }),
      }),
      { selector: ({ key }) => key, maxLength: 40, size: 'max' },
    ),
    batchSize: fc.nat({ max: 30 }),
  })
  .map(({ backends, held, batchSize }) => {
    const objects = Object.fromEntries(names.map((name) => [name, held.filter((o) => o.backends.includes(name))]));
    return { backends, objects, batchSize };
  });

/** Ratios before each move, and after the last one. */
export function replay(
  { backends }: PlanInput,
  moves: readonly Move[],
  inspect: (move: Move, ratio: Ratio) => void,
): Ratio {
  const used = new Map(backends.map(({ name, usedBytes }) => [name, usedBytes]));
  const limits = new Map(backends.map(({ name, limitBytes }) => [name, limitBytes]));
  const ratio: Ratio = (name) => used.get(name)! / limits.get(name)!;
  for (const move of moves) {
    inspect(move, ratio);
    used.set(move.from, used.get(move.from)! - move.sizeBytes);
    used.set(move.to, used.get(move.to)! + move.sizeBytes);
  }
  return ratio;
}

export type Ratio = (backend: string) => number;

/** For any plan. */
export function expectLegal(input: PlanInput, moves: readonly Move[]): void {
  const backend = (name: string) => input.backends.find((b) => b.name === name)!;
  expect(moves.length).toBeLessThanOrEqual(input.batchSize);
  expect(new Set(moves.map(({ key }) => key)).size).toBe(moves.length);
  for (const { key, from, to, sizeBytes } of moves) {
    const object = input.objects[from]!.find((o) => o.key === key)!;
    expect(object.sizeBytes).toBe(sizeBytes);
    expect(object.backends).not.toContain(to);
    expect(backend(to)).toMatchObject({ draining: false, reachable: true });
    expect(backend(from).reachable).toBe(true);
    expect(backend(to).limitBytes).toBeGreaterThan(0);
    expect(backend(from).limitBytes).toBeGreaterThan(0);
  }
  for (const { name, limitBytes, usedBytes, orphanBytes } of input.backends) {
    const incoming = moves.filter(({ to }) => to === name).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (incoming > 0) expect(incoming).toBeLessThanOrEqual(limitBytes - usedBytes - orphanBytes);
  }
}

/** Where a move may go from and to. */
export type Pair = readonly [from: PlanBackend, to: PlanBackend];

/**
 * A plan made the long way: before each move, every object of every pair of backends is read anew. Spread and pack are the
 * order of the pairs and what a move must respect beyond that, both by what the backends hold after the moves before it.
 */
export function planTheLongWay(
  input: PlanInput,
  pairsInOrder: (from: readonly PlanBackend[], to: readonly PlanBackend[], ratio: Ratio) => readonly Pair[],
  mayMove: (pair: Pair, sizeBytes: number, ratio: Ratio) => boolean,
): Move[] {
  const moves: Move[] = [];
  const able = input.backends.filter(({ limitBytes, reachable }) => limitBytes > 0 && reachable);
  const next = (): Move | undefined => {
    const ratio = replay(input, moves, () => {});
    for (const pair of pairsInOrder(
      able,
      able.filter(({ draining }) => !draining),
      ratio,
    )) {
      const [from, to] = pair;
      const incoming = moves.filter((move) => move.to === to.name).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const freeBytes = to.limitBytes - to.usedBytes - to.orphanBytes - incoming;
      for (const { key, sizeBytes, backends } of input.objects[from.name] ?? []) {
        if (moves.some((move) => move.key === key) || backends.includes(to.name)) continue;
        // An empty object changes nothing.
        if (sizeBytes === 0 || sizeBytes > freeBytes || !mayMove(pair, sizeBytes, ratio)) continue;
        return { key, from: from.name, to: to.name, sizeBytes };
      }
    }
    return undefined;
  };
  while (moves.length < input.batchSize) {
    const move = next();
    if (move === undefined) break;
    moves.push(move);
  }
  return moves;
}
