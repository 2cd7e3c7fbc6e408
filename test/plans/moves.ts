import fc from 'fast-check';
import { expect } from 'vitest';
import type { Move, PlanBackend, PlanInput, PlanObject } from '../../lib/workers/plan-draft.ts';

const names = ['a', 'b', 'c', 'd', 'e'];

/** A backend of 100 bytes that takes part, changed as a test needs it. */
export function planBackend(name: string, usedBytes: number, change: Partial<PlanBackend> = {}): PlanBackend {
  return { name, usedBytes, orphanBytes: 0, limitBytes: 100, draining: false, reachable: true, ...change };
}

export function planObject(key: string, sizeBytes: number, ...backends: string[]): PlanObject {
  return { key, sizeBytes, backends };
}

/** Any fleet: full, over-full, empty, unlimited, draining and dark backends, objects on several of them. */
export const planInputs: fc.Arbitrary<PlanInput> = fc
  .record({
    backends: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom(...names),
        usedBytes: fc.nat({ max: 300 }),
        orphanBytes: fc.oneof(fc.constant(0), fc.nat({ max: 60 })),
        limitBytes: fc.oneof(fc.constant(0), fc.nat({ max: 400 })),
        draining: fc.boolean(),
        reachable: fc.oneof(fc.constant(true), fc.boolean()),
      }),
      { selector: ({ name }) => name },
    ),
    held: fc.uniqueArray(
      fc.record({
        key: fc.string({ minLength: 1, maxLength: 4 }),
        sizeBytes: fc.nat({ max: 50 }),
        backends: fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 3 }),
      }),
      { selector: ({ key }) => key, maxLength: 40 },
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
  look: (move: Move, ratio: Ratio) => void,
): Ratio {
  const used = new Map(backends.map(({ name, usedBytes }) => [name, usedBytes]));
  const limits = new Map(backends.map(({ name, limitBytes }) => [name, limitBytes]));
  const ratio: Ratio = (name) => used.get(name)! / limits.get(name)!;
  for (const move of moves) {
    look(move, ratio);
    used.set(move.from, used.get(move.from)! - move.sizeBytes);
    used.set(move.to, used.get(move.to)! + move.sizeBytes);
  }
  return ratio;
}

export type Ratio = (backend: string) => number;

/** B4, for any plan. */
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
