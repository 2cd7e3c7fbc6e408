import { expect, test } from 'vitest';
import { copyRead, scrubFigures } from '../../lib/console/scrub-figures.ts';
import { shardOf, shards, shardsOfPart } from '../../lib/store/keys.ts';
import type { Lease } from '../../lib/store/model.ts';
import type { BackendCycle, OwedCopy, ScrubState } from '../../lib/workers/scrubber/scrub-cycles.ts';

const idle: BackendCycle = {
  ...{ startedAt: 100, knownSince: 50, verifiedAt: {}, plaintextAt: {}, shardSince: 400, walkedAt: 450 },
};
const owes: OwedCopy = {
  ...{ key: 'k', backend: 'a', copyId: 'x', since: 70, plaintextSince: 70, notBefore: 0, attempts: 1 },
};

function stateOf(cycle: Partial<BackendCycle>, owed: readonly OwedCopy[] = []): ScrubState {
  return { cycles: { a: { ...idle, ...cycle } }, owed };
}

function leaseOf(part: string, state: ScrubState, at: number): Lease {
  const data = { worker: 'scrubber', part, epoch: 1, holder: 'x', expiresAt: 0 };
  return { ...data, cursor: JSON.stringify(state), last: { at } } as unknown as Lease;
}

const key = 'photos/2026/1.jpg';
const shard = shardOf(key);
const copy = { key, backend: 'a', copyId: 'x' };

test('a copy counts as read since its shard was, and where the cycle is in its shard, since the cycle passed it', () => {
  expect(copyRead([stateOf({})], copy)).toEqual({ how: 'read', after: 50 });
  const before = stateOf({ verifiedAt: { [shard]: 200 }, at: { shard, key: 'photos/2026/0.jpg' } });
  expect(copyRead([before], copy)).toEqual({ how: 'read', after: 200 });
  const passed = stateOf({ verifiedAt: { [shard]: 200 }, at: { shard, key } });
  expect(copyRead([passed], copy)).toEqual({ how: 'read', after: 400 });
  // One of those that it passed could not be read: which one is not known.
  expect(copyRead([stateOf({ at: { shard, key }, isIncomplete: true })], copy)).toEqual({ how: 'read', after: 50 });
  const other = shards.find((one) => one !== shard)!;
  expect(copyRead([stateOf({ at: { shard: other, key: 'zzz' } })], copy)).toEqual({ how: 'read', after: 50 });
  expect(copyRead([], copy)).toBeUndefined();
});

test('a copy that is owed a reading has none, unless its record names another copy by now', () => {
  const state = stateOf({ at: { shard, key } }, [{ ...owes, key }]);
  expect(copyRead([state], copy)).toEqual({ how: 'owed', after: 70 });
  expect(copyRead([state], { ...copy, copyId: 'y' })).toEqual({ how: 'read', after: 400 });
});

test('the cycle of a scrubber in two parts is that of both, each over its own shards', () => {
  const half = (part: number) => Object.fromEntries(shardsOfPart(part, 2).map((one) => [one, 300 + part]));
  const [first, second] = [shardsOfPart(0, 2), shardsOfPart(1, 2)];
  const leases = [
    // What was left behind when there was one part.
    leaseOf('0/1', stateOf({ at: { shard: shards[0]! } }, [owes]), 10),
    leaseOf('0/2', stateOf({ verifiedAt: half(0), at: { shard: first[4]! } }), 1_000),
    leaseOf('1/2', stateOf({ verifiedAt: half(1), at: { shard: second[2]! } }, [owes]), 990),
    leaseOf('asked', stateOf({}), 2_000),
  ];
  const figures = scrubFigures(leases, 5_000)!;
  expect(figures.share).toBeCloseTo((4 + 2) / 16);
  expect(figures.owed).toEqual([{ key: 'k', backend: 'a' }]);
  expect(figures.oldestVerifiedAt).toBe(70);
  expect(scrubFigures(leases.slice(0, 2), 5_000)!.oldestVerifiedAt).toBe(50);
  expect(
    scrubFigures(
      [leaseOf('0/2', stateOf({ verifiedAt: half(0) }), 9), leaseOf('1/2', stateOf({ verifiedAt: half(1) }), 8)],
      5_000,
    )!.oldestVerifiedAt,
  ).toBe(300);
  expect(scrubFigures([], 5_000)).toBeUndefined();
});
