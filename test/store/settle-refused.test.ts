import fc from 'fast-check';
import { expect, test } from 'vitest';
import { settleRefused, type Tagged } from '../../lib/store/commit.ts';
import type { Refusal } from '../../lib/store/port.ts';
import { type PreparedSwap, prepare } from '../../lib/store/prepared-swap.ts';
import type { Swap } from '../../lib/store/swap.ts';
import { item, record } from '../contracts/store-fixtures.ts';

/** A put of a fresh copy on b that takes the place of the one on a. */
function replacing(key: string, sizeBytes: number): Swap {
  const before = record(key, { copies: { a: 'old' }, sizeBytes });
  return {
    key,
    change: { before, after: { ...before, generation: 'new', copies: { b: 'fresh' } } },
    completes: [{ item: item(key, { id: `b/${key}!fresh`, backend: 'b', state: 'intent', sizeBytes: 0 }) }],
    orphans: { cause: 'replaced', dueAt: 0, createdAt: 0 },
  };
}

function tag(live: readonly PreparedSwap[]): Tagged[] {
  const gate = { kind: 'add', pk: 'fleet', sk: 'quota/b', add: { objects: 0, bytes: 0 }, atMostBytes: 0 } as const;
  return [...live.flatMap((owner) => owner.changes.map((change) => ({ change, owner }))), { change: gate }];
}

const refusalOf: { readonly [kind in 'object' | 'gone' | 'orphan' | 'conflict']: Refusal } = {
  object: { cause: 'object', seen: null },
  gone: { cause: 'queue', seen: null },
  orphan: { cause: 'queue', seen: item('x') },
  conflict: { cause: 'conflict' },
};

test('after any refusal each swap is settled or goes on, once, and in order; room is granted to the first that fit', () => {
  const one = fc.record({
    size: fc.integer({ min: 1, max: 9 }),
    fate: fc.constantFrom('none', 'object', 'gone', 'orphan', 'conflict'),
  });
  fc.assert(
    fc.property(
      fc.array(one, { minLength: 1, maxLength: 8 }),
      fc.option(fc.integer({ min: 0, max: 40 })),
      (all, used) => {
        const live = all.map(({ size }, i) => prepare(replacing(`k${i}`, size), i));
        const tagged = tag(live);
        const refusals = tagged.map(({ change, owner }): Refusal | null => {
          if (owner === undefined)
            return used === null ? null : { cause: 'counter', seen: { objects: 0, bytes: used } };
          const { fate } = all[owner.index]!;
          const isIts =
            (fate === 'object' && change.kind === 'object') ||
            (fate === 'gone' && change.kind === 'queue-end') ||
            (fate === 'orphan' && change.kind === 'queue') ||
            (fate === 'conflict' && change.kind === 'object');
          return fate !== 'none' && isIts ? refusalOf[fate as keyof typeof refusalOf] : null;
        });
        const after = settleRefused(live, tagged, refusals, () => 30);
        const outcomes = new Map(after.settled.map(([index, { outcome }]) => [index, outcome]));
        const goOn = after.live.map(({ index }) => index);
        expect(goOn).toEqual([...goOn].sort((a, b) => a - b));
        expect(new Set([...outcomes.keys(), ...goOn]).size).toBe(all.length);
        expect(outcomes.size + goOn.length).toBe(all.length);
        let room = used === null ? Number.POSITIVE_INFINITY : 30 - used;
        for (const [i, { size, fate }] of all.entries()) {
          if (fate === 'object') expect(outcomes.get(i)).toBe('lost');
          else if (fate === 'gone') expect(outcomes.get(i)).toBe('expired');
          else if (size > room) expect(outcomes.get(i)).toBe('no-room');
          else {
            expect(outcomes.has(i)).toBe(false);
            room -= size;
          }
        }
      },
    ),
  );
});

test('an orphan whose item exists already is rewritten by the next attempt, and charged once', () => {
  const swap = prepare(replacing('k', 7), 0);
  const orphan = swap.changes.find((change) => change.kind === 'queue')!;
  const seen = item('k', {
    id: (orphan as { put: { id: string } }).put.id,
    backend: 'a',
    state: 'dead',
    dueAt: 5,
    sizeBytes: 7,
  });
  const tagged = tag([swap]);
  const refusals = tagged.map(({ change }): Refusal | null => (change === orphan ? { cause: 'queue', seen } : null));
  const [next] = settleRefused([swap], tagged, refusals, () => 0).live;
  expect(next!.changes.find((change) => change.kind === 'queue')).toMatchObject({
    expect: { state: 'dead', dueAt: 5 },
  });
  expect(next!.knowing(seen.id, null).changes.find((change) => change.kind === 'queue')).toMatchObject({
    expect: 'absent',
  });
});

test('an object that gains a copy is no longer stuck, one that only loses one stays so, and new content was refused by nobody', () => {
  const refusal = {
    leg: 'target',
    cause: 'too-large',
    message: '',
    attempts: 1,
    refusedAt: 0,
    nextTryAt: 9,
    asOf: '1',
  } as const;
  const before = record('k', { copies: { a: '1', b: '2' }, condition: 'stuck', stuck: { c: refusal } });
  const entryOf = (after: Partial<typeof before>) =>
    prepare(
      {
        key: 'k',
        change: { before, after: { ...before, ...after } },
        orphans: { cause: 'surplus', dueAt: 0, createdAt: 0 },
      },
      0,
    ).entry;
  expect(entryOf({ copies: { ...before.copies, d: '3' } })).toMatchObject({
    condition: 'sound',
    stuck: { c: refusal },
  });
  expect(entryOf({ copies: { a: '1' } })).toMatchObject({ condition: 'stuck' });
  expect(entryOf({ generation: 'new' })).toMatchObject({ condition: 'sound' });
  expect(entryOf({ generation: 'new' })).not.toHaveProperty('stuck');
});
