import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import {
  groupsHeld,
  isOfUse,
  lacking,
  mayMove,
  type PlacementRule,
  placementRule,
  spreadOrder,
} from '../../lib/config/placement-rule.ts';
import { surplusOf } from '../../lib/plans/surplus.ts';

const names = ['a1', 'a2', 'b1', 'b2', 'c1'];
const backends = names.map((name) => ({
  name,
  bucket: `bucket-${name}`,
  credentials: 'role' as const,
  labels: { provider: name[0]! },
}));
const fileWith = (policy: object, others = {}) =>
  parseFleetFile({ backends, policies: { default: { factor: 2, ...policy }, ...others } });
const ruleOf = (policy: object): PlacementRule => placementRule(fileWith(policy), 'default');
const spread = ruleOf({ spreadOver: 'provider' });

test('a file that names backends or labels that are not there is refused, with what would be allowed', () => {
  const problemsOf = (policy: object) => {
    try {
      fileWith(policy);
      return [];
    } catch (error) {
      return (error as { problems: string[] }).problems;
    }
  };
  expect(problemsOf({ backends: ['a1', 'x'] })).toEqual([
    'policies.default: "x" is not the name of a backend of this file',
  ]);
  expect(problemsOf({ backends: ['a1'] })).toEqual([
    'policies.default: factor 2 is above the number of backends that it allows (1)',
  ]);
  expect(problemsOf({ excludeBackends: ['a1', 'a2', 'b1', 'b2'] })).toEqual([
    'policies.default: factor 2 is above the number of backends that it allows (1)',
  ]);
  expect(problemsOf({ backends: ['a1', 'b1'], spreadOver: 'region' })).toEqual([
    'policies.default: spreadOver "region" needs that label on backend "a1"',
    'policies.default: spreadOver "region" needs that label on backend "b1"',
  ]);
  expect(problemsOf({ backends: [] })).toEqual(['policies.default.backends: names no backend']);
  expect(problemsOf({ backends: ['a1', 'b1'], excludeBackends: ['c1'], spreadOver: 'provider' })).toEqual([]);
});

test('what counts, and what is lacking', () => {
  const pinned = ruleOf({ backends: ['a1', 'b1', 'c1'], excludeBackends: ['c1'] });
  expect(names.filter(pinned.allows)).toEqual(['a1', 'b1']);
  expect(lacking(pinned, ['a2', 'c1'], names)).toEqual({ copies: 2, groups: 2 });
  expect(lacking(spread, ['a1', 'a2'], names)).toEqual({ copies: 0, groups: 1 });
  // With nowhere else to go, two at one provider are what there can be.
  expect(lacking(spread, ['a1', 'a2'], ['a1', 'a2'])).toEqual({ copies: 0, groups: 0 });
  expect(lacking(spread, ['a1', 'b2'], names)).toEqual({ copies: 0, groups: 0 });
  expect(lacking(ruleOf({}), ['a1', 'a2', 'b1'], names)).toEqual({ copies: -1, groups: 0 });
});

test('the next copy goes where none stands, and only then beside another', () => {
  const order = (holders: string[], targets = names) =>
    spreadOrder(
      spread,
      holders,
      targets.filter((name) => !holders.includes(name)).map((name) => ({ name })),
    ).map(({ name }) => name);
  expect(order([])).toEqual(['a1', 'b1', 'c1', 'a2', 'b2']);
  expect(order(['a1'])).toEqual(['b1', 'c1', 'a2', 'b2']);
  expect(isOfUse(spread, ['a1', 'a2'], 'b1')).toBe(true);
  expect(isOfUse(spread, ['a1', 'b1'], 'c1')).toBe(false);
  expect(isOfUse(spread, ['a1'], 'a2')).toBe(true);
});

test('a copy moves only to where the others leave its place free', () => {
  expect(mayMove(spread, ['a1', 'b1'], 'a1', 'a2')).toBe(true);
  expect(mayMove(spread, ['a1', 'b1'], 'a1', 'b2')).toBe(false);
  expect(mayMove(spread, ['a1', 'b1'], 'a1', 'c1')).toBe(true);
  expect(mayMove(ruleOf({ backends: ['a1', 'b1'] }), ['a1', 'b1'], 'a1', 'a2')).toBe(false);
});

test('two plain copies at one provider and a third elsewhere: the third stays', () => {
  const copy = (backend: string, score: number, mayGo = true) => {
    return { backend, score, mayGo, isPlaced: true, isSafe: true };
  };
  expect(surplusOf([copy('a1', 2, false), copy('a2', 2, false), copy('b1', 0)], spread)).toEqual([]);
  expect(surplusOf([copy('a1', 2, false), copy('a2', 2), copy('b1', 0)], spread)).toEqual(['a2']);
});

test('whatever goes, as many copies and as many places remain as there were, or as are needed', () => {
  const copies = fc.uniqueArray(
    fc.record({
      backend: fc.constantFrom(...names),
      score: fc.constantFrom(0, 1, 2, 3),
      mayGo: fc.boolean(),
      isPlaced: fc.boolean(),
      isSafe: fc.boolean(),
    }),
    { selector: ({ backend }) => backend },
  );
  const policy = fc.record({
    factor: fc.integer({ min: 1, max: 3 }),
    backends: fc.constantFrom(undefined, ['a1', 'a2', 'b1', 'c1']),
    spreadOver: fc.constantFrom(undefined, 'provider'),
  });
  fc.assert(
    fc.property(copies, policy, (all, { factor, ...places }) => {
      const given = Object.fromEntries(Object.entries(places).filter(([, value]) => value !== undefined));
      const rule = placementRule(fileWith({ factor, ...given }), 'default');
      const held = all.map((one) => {
        const isPlaced = one.isPlaced && rule.allows(one.backend);
        return { ...one, isPlaced, isSafe: isPlaced && one.isSafe };
      });
      const leaving = surplusOf(held, rule);
      const counted = held.filter(({ isPlaced }) => isPlaced).map(({ backend }) => backend);
      const left = held.filter(({ backend, isSafe }) => isSafe && !leaving.includes(backend)).map((c) => c.backend);
      if (leaving.length === 0) return;
      expect(left.length).toBeGreaterThanOrEqual(factor);
      expect(groupsHeld(rule, left)).toBeGreaterThanOrEqual(groupsHeld(rule, counted));
    }),
  );
});
