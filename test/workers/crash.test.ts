import { expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { drain } from '../../lib/operations/drain.ts';
import { markFor, markName } from '../../lib/transfer/mark.ts';
import { converge, crashEverywhere } from '../support/crash.ts';
import type { TestFleet } from '../support/fleet.ts';

const contents = { one: 'first', two: 'second' };

async function putAll(fleet: TestFleet): Promise<void> {
  for (const [key, content] of Object.entries(contents)) await fleet.client.put(key, content);
}

async function atTwo(fleet: TestFleet): Promise<void> {
  await putAll(fleet);
  await fleet.tick('replicator');
}

test('a replicator cut short anywhere loses nothing, and the fleet converges [bytes-before-records]', async () => {
  const calls = await crashEverywhere({ arrange: putAll, act: (fleet) => fleet.tick('replicator'), contents });
  expect(calls).toBeGreaterThan(10);
});

test('a replicator that meets refusals, cut short anywhere, loses nothing, and each object has its copies once they end [fleet-converges]', async () => {
  const content = { k: 'kay', l: 'ell' };
  let lift = () => {};
  await crashEverywhere({
    options: { backends: ['a', 'b'] },
    arrange: async (fleet) => {
      for (const [key, text] of Object.entries(content)) await fleet.client.put(key, text);
      const { put } = fleet.backends.b!;
      fleet.backends.b!.put = async (request, signal) => {
        if (request.storageKey.startsWith('k!')) throw new BackendError('rejected', 'b', 'It does not take this');
        return put(request, signal);
      };
      lift = () => Object.assign(fleet.backends.b!, { put });
    },
    act: (fleet) => fleet.tick('replicator'),
    settle: async (fleet) => {
      await fleet.tick('replicator');
      expect((await fleet.recount()).differences).toEqual([]);
      lift();
    },
    contents: content,
    check: (fleet) => {
      for (const key of Object.keys(content)) {
        const { copies, condition, stuck } = fleet.object(key);
        expect([key, Object.keys(copies), condition, stuck]).toEqual([key, ['a', 'b'], 'sound', undefined]);
      }
    },
  });
});

test('an over-replication cleaner cut short anywhere loses nothing, and the fleet converges', async () => {
  const calls = await crashEverywhere({
    options: { policies: { default: { factor: 3 } } },
    arrange: async (fleet) => {
      await atTwo(fleet);
      await fleet.apply({ policies: { default: { factor: 2 } } });
    },
    act: (fleet) => fleet.tick('over-replication-cleaner'),
    contents,
    check: (fleet) => {
      for (const key of Object.keys(contents)) expect(Object.keys(fleet.copiesOf(key))).toHaveLength(2);
    },
  });
  expect(calls).toBeGreaterThan(10);
});

const limited = (...names: string[]) => names.map((name) => ({ name, quotaBytes: 100 }));

test.each([
  ['spread', 'a'],
  ['pack', 'c'],
] as const)('a rebalancer that has to %s, cut short anywhere, loses nothing', async (strategy, full) => {
  const policies = { default: { factor: 2 }, filler: { prefix: 'filler', factor: 1 } };
  const placements: string[] = [];
  const calls = await crashEverywhere({
    options: {
      backends: limited('a', 'b', 'c'),
      policies,
      env: { REBALANCER_STRATEGY: strategy, REBALANCER_THRESHOLD: '0.01' },
    },
    arrange: async (fleet) => {
      await atTwo(fleet);
      await fleet.apply({ backends: limited(full, 'a', 'b', 'c').filter(unique), policies });
      fleet.clock.advance(10_000);
      await fleet.client.put('filler', 'f'.repeat(30));
    },
    act: (fleet) => fleet.tick('rebalancer'),
    contents,
    check: (fleet) => placements.push(Object.keys(fleet.copiesOf('one')).join('+')),
  });
  expect(calls).toBeGreaterThan(10);
  // It moved something when it got as far as that, and nothing when it did not.
  expect(placements).toContain('a+b');
  expect(new Set(placements).size).toBeGreaterThan(1);
});

function unique({ name }: { name: string }, i: number, all: readonly { name: string }[]): boolean {
  return all.findIndex((other) => other.name === name) === i;
}

test('a cleanup queue cut short anywhere loses nothing, and the fleet converges', async () => {
  const calls = await crashEverywhere({
    arrange: async (fleet) => {
      await fleet.client.put('one', 'older');
      await fleet.client.put('gone', 'bytes');
      await atTwo(fleet);
      await fleet.client.delete('gone');
      fleet.clock.advance(301_000);
    },
    act: (fleet) => fleet.tick('cleanup-queue'),
    contents: { ...contents, gone: null },
  });
  expect(calls).toBeGreaterThan(10);
});

test('a pending reaper cut short anywhere loses nothing, and the fleet converges [ticks-leave-nothing]', async () => {
  const calls = await crashEverywhere({
    arrange: async (fleet) => {
      await atTwo(fleet);
      await deadPut(fleet, 'two', 'newer');
      await deadPut(fleet, 'three', 'third');
      fleet.clock.advance(301_000);
    },
    act: (fleet) => fleet.tick('pending-reaper'),
    contents: { one: 'first', two: 'newer', three: 'third' },
  });
  expect(calls).toBeGreaterThan(10);
});

test('a drain cut short anywhere loses nothing, and the backend ends up empty', async () => {
  const calls = await crashEverywhere({
    arrange: atTwo,
    act: async (fleet) => {
      await drain(fleet.deps, 'a');
      await fleet.tick('replicator');
      await fleet.tick('over-replication-cleaner');
    },
    contents,
    check: async (fleet) => {
      await drain(fleet.deps, 'a');
      await converge(fleet);
      expect(fleet.keysOn('a')).toEqual([]);
      for (const key of Object.keys(contents)) expect(Object.keys(fleet.copiesOf(key))).toEqual(['b', 'c']);
    },
  });
  expect(calls).toBeGreaterThan(20);
});

/** A put whose process dies just before its commit. */
async function deadPut(fleet: TestFleet, key: string, content: string): Promise<void> {
  const atCommit = new Promise<void>((reached) => {
    fleet.before = ({ port, method, args }) => {
      const changes = args[0] as { kind: string }[];
      if (port !== 'store' || method !== 'transact' || !changes.some((c) => c.kind === 'object')) return;
      reached();
      return new Promise(() => {});
    };
  });
  void fleet.newClient().put(key, content);
  await atCommit;
  fleet.before = undefined;
}

const hourMs = 3_600_000;

test('a scrubber cut short anywhere loses nothing, and what it found wrong is rebuilt', async () => {
  const calls = await crashEverywhere({
    arrange: async (fleet) => {
      await atTwo(fleet);
      const rotten = fleet.keysOn('a').find((key) => key.startsWith('one!'))!;
      const { metadata } = fleet.backends.a!.peek(rotten)!;
      fleet.backends.a!.putNow(rotten, Buffer.from('ROTTE'), { metadata });
      fleet.clock.advance(hourMs);
    },
    act: (fleet) => fleet.tick('scrubber'),
    settle: (fleet) => nextTurn(fleet, 'scrubber', 31),
    contents,
  });
  expect(calls).toBeGreaterThan(10);
});

test('a reconciler cut short anywhere loses nothing, imports once and enqueues for deletion only orphans [ticks-leave-nothing]', async () => {
  const calls = await crashEverywhere({
    options: { env: { RECONCILER_IMPORT: 'true' } },
    arrange: async (fleet) => {
      await atTwo(fleet);
      fleet.backends.a!.putNow('recovered', Buffer.from('a file of a person'));
      const lost = fleet.keysOn('b').find((key) => key.startsWith('two!'))!;
      fleet.backends.b!.deleteNow(lost);
      const orphan = `one!${fleet.ids.ulid()}`;
      const { fleetId } = (await fleet.store.control('fleet')).rows.find(({ sk }) => sk === 'identity')!.data as {
        fleetId: string;
      };
      const mark = markFor({ fleetId, generation: fleet.object('one').generation }, 'c', orphan);
      fleet.backends.c!.putNow(orphan, Buffer.from('first'), { metadata: { [markName]: mark } });
      fleet.clock.advance(2 * hourMs);
    },
    act: (fleet) => fleet.tick('reconciler'),
    contents: { ...contents, recovered: 'a file of a person' },
    settle: (fleet) => nextTurn(fleet, 'reconciler', 1),
    check: (fleet) => expect(fleet.object('recovered').copies.a).toBe(''),
  });
  expect(calls).toBeGreaterThan(10);
});

/** Whatever the cut turn left, the next one finds; what was quarantined waits a week. */
async function nextTurn(fleet: TestFleet, worker: 'scrubber' | 'reconciler', days: number): Promise<void> {
  fleet.clock.advance(days * 24 * hourMs);
  await fleet.tick(worker);
  fleet.clock.advance(8 * 24 * hourMs);
}
