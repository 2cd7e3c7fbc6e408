import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planPackTight } from '../../lib/plans/plan-pack-tight.ts';
import { expectLegal, planBackend, planInputs, planObject, planTheLongWay, replay } from './moves.ts';

test('pack fills the fullest destination first, from the emptiest source upwards [rebalancer-pack]', () => {
  const backends = [planBackend('a', 70), planBackend('b', 40), planBackend('c', 20)];
  const objects = {
    b: [planObject('k1', 20, 'b')],
    c: [planObject('k2', 15, 'c'), planObject('k3', 5, 'c')],
  };
  expect(planPackTight({ backends, objects, batchSize: 10 })).toEqual([
    { key: 'k2', from: 'c', to: 'a', sizeBytes: 15 },
    { key: 'k3', from: 'c', to: 'a', sizeBytes: 5 },
  ]);
});

test('pack goes on to the next fullest when an object is on the fullest already', () => {
  const backends = [planBackend('a', 70), planBackend('b', 40), planBackend('c', 20)];
  const objects = { c: [planObject('k', 10, 'a', 'c')] };
  expect(planPackTight({ backends, objects, batchSize: 10 })).toEqual([
    { key: 'k', from: 'c', to: 'b', sizeBytes: 10 },
  ]);
});

test.each([
  ['all are equally full', [planBackend('a', 50), planBackend('b', 50)]],
  ['all are empty', [planBackend('a', 0), planBackend('b', 0)]],
  ['the fullest has no limit', [planBackend('a', 90, { limitBytes: 0 }), planBackend('b', 50)]],
  ['the source has no limit', [planBackend('a', 90), planBackend('b', 50, { limitBytes: 0 })]],
  ['the fullest is draining', [planBackend('a', 70, { draining: true }), planBackend('b', 50)]],
  ['the fullest is unreachable', [planBackend('a', 70, { reachable: false }), planBackend('b', 50)]],
  ['the source is unreachable', [planBackend('a', 70), planBackend('b', 50, { reachable: false })]],
  ['the fullest is full', [planBackend('a', 100), planBackend('b', 50)]],
  ['the fullest is over its limit', [planBackend('a', 130), planBackend('b', 50)]],
  ['orphans fill the fullest', [planBackend('a', 70, { orphanBytes: 25 }), planBackend('b', 50)]],
])('pack moves nothing when %s', (_, backends) => {
  const objects = { b: [planObject('k', 10, 'b')] };
  expect(planPackTight({ backends, objects, batchSize: 10 })).toEqual([]);
});

test('a pack plan is legal, and every move goes from a less full to a more full backend', () => {
  fc.assert(
    fc.property(planInputs, (input) => {
      const moves = planPackTight(input);
      expectLegal(input, moves);
      replay(input, moves, ({ from, to }, before) => expect(before(from)).toBeLessThan(before(to)));
    }),
    { numRuns: 200 },
  );
});

test('pack asks the fullest destination first and the emptiest source first, anew before each move', () => {
  fc.assert(
    fc.property(planInputs, (input) => {
      const wanted = planTheLongWay(
        input,
        (from, to, ratio) => {
          const fullestFirst = to.toSorted((a, b) => ratio(b.name) - ratio(a.name));
          const emptiestFirst = from.toSorted((a, b) => ratio(a.name) - ratio(b.name));
          return fullestFirst.flatMap((target) => emptiestFirst.map((source) => [source, target] as const));
        },
        ([from, to], _, ratio) => ratio(from.name) < ratio(to.name),
      );
      expect(planPackTight(input)).toEqual(wanted);
    }),
    { numRuns: 200 },
  );
});

test('a pack plan ends: planning again after it, as often as it plans anything, comes to rest', () => {
  fc.assert(
    fc.property(planInputs, (start) => {
      let input = { ...start, batchSize: 1000 };
      let rounds = 0;
      for (let moves = planPackTight(input); moves.length > 0; moves = planPackTight(input)) {
        rounds += 1;
        expect(rounds).toBeLessThan(200);
        input = after(input, moves);
      }
    }),
  );
});

/** The fleet once a plan is carried out and the orphans are gone. */
function after(input: Parameters<typeof planPackTight>[0], moves: ReturnType<typeof planPackTight>) {
  const all = new Map(Object.values(input.objects).flatMap((list) => list.map((o) => [o.key, o] as const)));
  for (const { key, from, to } of moves) {
    const object = all.get(key)!;
    all.set(key, { ...object, backends: [...object.backends.filter((name) => name !== from), to] });
  }
  const shift = (name: string) =>
    moves.reduce((sum, m) => sum + (m.to === name ? m.sizeBytes : m.from === name ? -m.sizeBytes : 0), 0);
  return {
    ...input,
    backends: input.backends.map((b) => ({
      ...b,
      orphanBytes: 0,
      usedBytes: Math.max(0, b.usedBytes + shift(b.name)),
    })),
    objects: Object.fromEntries(
      Object.keys(input.objects).map((name) => [name, [...all.values()].filter((o) => o.backends.includes(name))]),
    ),
  };
}
