import { expect, test } from 'vitest';
import {
  isRefusedEverywhere,
  isWaiting,
  type Refusal,
  withoutRefusals,
  withRefusals,
} from '../../lib/steps/refusals.ts';
import type { BackendStanding } from '../../lib/store/fleet-view.ts';
import type { ObjectRecord } from '../../lib/store/model.ts';
import { newRecord } from '../../lib/store/records.ts';
import type { Tick } from '../../lib/tick/tick.ts';

const minuteMs = 60_000;
const at = (now: number, asOf = '1') => ({ now, asOf });

function standing(name: string, change: Partial<BackendStanding> & { maxObjectBytes?: number } = {}): BackendStanding {
  const { maxObjectBytes = 0, ...rest } = change;
  const config = { name, maxObjectBytes } as BackendStanding['config'];
  const facts = { isDraining: false, isLeaving: false, takesCopies: true, isReachable: true, isCounted: true };
  return { name, ...(config && { config }), breaker: 'closed', ...facts, ...rest };
}

const fleet = ['a', 'b', 'c'].map((name) => standing(name));
const object = newRecord({
  key: 'k',
  generation: '01',
  sizeBytes: 5,
  createdAt: 0,
  copies: { a: 'x' },
  policy: 'default',
});
const refusal = (backend: string, leg: Refusal['leg'] = 'target', cause = 'rejected'): Refusal => ({
  backend,
  leg,
  cause,
  message: 'no',
});
/** A tick at time 0 with these backends, and a policy that asks for more copies than there are backends. */
function tickWith(standings: readonly BackendStanding[]) {
  const config = { backends: standings.flatMap((one) => one.config ?? []), policies: { default: { factor: 16 } } };
  return {
    config: config as unknown as Tick['config'],
    view: { config: { version: 1 }, drain: () => undefined } as unknown as Tick['view'],
    now: () => 0,
    standing: (name: string) => standings.find((one) => one.name === name) ?? standing(name),
    standings: () => [...standings],
  };
}

const refusedBy = (record: ObjectRecord, ...refusals: Refusal[]) => withRefusals(tickWith(fleet), record, { refusals });

test('a refusal waits 5 minutes, then twice as long each time, at most 6 hours [refusals-cost-one]', () => {
  let record = object;
  const waits: number[] = [];
  for (let i = 0; i < 10; i += 1) {
    record = withRefusals(tickWith(fleet), record, { refusals: [refusal('b')] });
    waits.push(record.stuck!.b!.nextTryAt / minuteMs);
  }
  expect(waits).toEqual([5, 10, 20, 40, 80, 160, 320, 360, 360, 360]);
  expect(isWaiting(record, 'b', 'target', at(360 * minuteMs - 1))).toBe(true);
  expect(isWaiting(record, 'b', 'target', at(360 * minuteMs))).toBe(false);
  // A new version of the fleet file is a new chance.
  expect(isWaiting(record, 'b', 'target', at(1, '2'))).toBe(false);
  expect(isWaiting(record, 'c', 'target', at(1))).toBe(false);
});

test('an object is stuck once every backend that it could go to refuses it, and not before [stuck-objects]', () => {
  expect(refusedBy(object, refusal('b')).condition).toBe('sound');
  expect(refusedBy(object, refusal('b'), refusal('c')).condition).toBe('stuck');
});

test.each<[string, Partial<BackendStanding> & { maxObjectBytes?: number }, boolean]>([
  ['is down', { isReachable: false, breaker: 'open' }, false],
  ['has been down for long', { isReachable: false, isCounted: false, breaker: 'open' }, false],
  ['drains', { isDraining: true, isCounted: false }, true],
  ['is about to leave', { isLeaving: true, isCounted: false }, true],
  ['takes no object of this size', { maxObjectBytes: 4 }, true],
])('with another target that %s, one that refuses is enough: %s', (_, change, isEnough) => {
  const standings = [standing('a'), standing('b'), standing('c', change)];
  const after = withRefusals(tickWith(standings), object, { refusals: [refusal('b')] });
  expect(after.condition === 'stuck').toBe(isEnough);
});

test('with nowhere to go at all nothing is stuck', () => {
  expect(isRefusedEverywhere(tickWith([standing('a')]), object)).toBe(false);
});

test('an object whose every copy refuses to be read is stuck; what speaks against its bytes makes none', () => {
  const two = { ...object, copies: { a: 'x', b: 'y' } };
  expect(refusedBy(two, refusal('a', 'source')).condition).toBe('sound');
  expect(refusedBy(two, refusal('a', 'source'), refusal('b', 'source')).condition).toBe('stuck');
  expect(refusedBy(two, refusal('a', 'source'), refusal('b', 'source', 'wrong')).condition).toBe('sound');
});

test('a refusal holds only while the record is such that it could be met again', () => {
  const stuck = refusedBy(object, refusal('b'), refusal('c'));
  const withCopy = { ...stuck, copies: { ...stuck.copies, b: 'y' } };
  expect(isWaiting(withCopy, 'b', 'source', at(1))).toBe(false);
  expect(withoutRefusals(withCopy, true)).toMatchObject({ condition: 'sound', stuck: { c: { cause: 'rejected' } } });
  expect(withoutRefusals(withCopy, true).stuck!.b).toBeUndefined();
  expect(withoutRefusals(withCopy, false).stuck).toBeUndefined();
});

test('a damaged object stays damaged, and a backend may have the name of a method', () => {
  const damaged: ObjectRecord = { ...object, condition: 'damaged' };
  expect(refusedBy(damaged, refusal('b'), refusal('c')).condition).toBe('damaged');
  expect(isWaiting(object, 'constructor', 'target', at(0))).toBe(false);
});
