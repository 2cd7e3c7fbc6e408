import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  createTargetTrust,
  type Place,
  type PlaceEnd,
  type TrustRules,
  type WriteCheck,
} from '../../lib/steps/target-trust.ts';

const limit = 10;

function trustOf(checkWrites: TrustRules['checkWrites'], isDoubted = false) {
  return createTargetTrust({ limit, checkWrites, isDoubted: () => isDoubted });
}

/** Takes places until there is none. */
function fill(trust: ReturnType<typeof trustOf>): Place[] {
  const places: Place[] = [];
  for (let place = trust.enter('t'); place !== null && places.length < 100; place = trust.enter('t'))
    places.push(place);
  return places;
}

test('what a target has unanswered and has refused is at most ten objects until it takes one', async () => {
  const trust = trustOf(async () => 'accepted');
  const places = fill(trust);
  expect(places).toHaveLength(limit);
  expect(trust.isWorthWaiting('t')).toBe(true);
  places[0]!.end('refused');
  expect(trust.enter('t')).toBeNull();
  expect(trust.isWorthWaiting('t')).toBe(false);
  places[1]!.end('stored');
  expect(fill(trust)).toHaveLength(100);
});

test('a place ends once, whatever is said of it later', () => {
  const trust = trustOf(async () => 'accepted');
  const [place, ...others] = fill(trust);
  for (let i = 0; i < 5; i += 1) place!.end('nothing');
  expect(fill(trust)).toHaveLength(1);
  expect(others).toHaveLength(limit - 1);
});

test.each<[WriteCheck, string, number]>([
  ['accepted', 'objects', limit],
  ['refused', 'target', 0],
  ['unknown', 'unknown', 0],
])('after ten refusals a write of ours that is %s means %s', async (answer, verdict, placesAfter) => {
  let checks = 0;
  const trust = trustOf(async () => {
    checks += 1;
    return answer;
  });
  for (const place of fill(trust)) place.end('refused');
  const changed = trust.changed(['t']);
  expect(trust.enter('t')).toBeNull();
  await changed;
  expect(await trust.verdict('t')).toBe(verdict);
  expect(checks).toBe(1);
  expect(trust.isOff('t')).toBe(answer !== 'accepted');
  expect(fill(trust)).toHaveLength(placesAfter);
});

test('a trusted target loses the trust by ten refusals in a row', async () => {
  const trust = trustOf(async () => 'refused');
  trust.enter('t')!.end('stored');
  for (let i = 0; i < limit; i += 1) trust.enter('t')!.end('refused');
  expect(trust.enter('t')).toBeNull();
  expect(await trust.verdict('t')).toBe('target');
});

test('a target that took nothing when it was tried last is sent nothing before a write of ours is accepted', async () => {
  const trust = trustOf(async () => 'accepted', true);
  const changed = trust.changed(['t']);
  expect(trust.enter('t')).toBeNull();
  await changed;
  expect(fill(trust)).toHaveLength(limit);
});

test('nobody waits for ever, and no more than ten are in doubt, whatever a target answers', async () => {
  const answers = fc.array(fc.constantFrom<PlaceEnd>('stored', 'refused', 'nothing'), { minLength: 1, maxLength: 200 });
  await fc.assert(
    fc.asyncProperty(answers, fc.constantFrom<WriteCheck>('accepted', 'refused', 'unknown'), async (ends, answer) => {
      const trust = trustOf(async () => answer);
      let [inDoubt, hasTaken] = [0, false];
      const send = async (end: PlaceEnd) => {
        for (;;) {
          const place = trust.enter('t');
          if (place !== null) {
            inDoubt += 1;
            if (!hasTaken) expect(inDoubt).toBeLessThanOrEqual(limit);
            await new Promise(setImmediate);
            if (end !== 'refused') inDoubt -= 1;
            if (end === 'stored') [inDoubt, hasTaken] = [0, true];
            place.end(end);
            return;
          }
          if (trust.isOff('t')) return;
          await trust.changed(['t']);
          // A write of ours that is accepted begins the count anew.
          if (!trust.isOff('t') && trust.isWorthWaiting('t')) inDoubt = Math.min(inDoubt, limit - 1);
        }
      };
      await Promise.all(ends.map(send));
    }),
    { numRuns: 50 },
  );
});
