import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hourOf } from '../../lib/base/clock.ts';
import { noUsage, type Usage } from '../../lib/base/usage.ts';
import type { FleetFile } from '../../lib/config/fleet-file.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { StoreError } from '../../lib/store/port.ts';
import { portionsKey } from '../../lib/store/row-keys.ts';
import { createManualClock } from '../../lib/testing/manual-clock.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import { readPortions } from '../../lib/transfer/portions.ts';
import { createSpending } from '../../lib/transfer/spending.ts';
import { hooked } from '../support/fleet.ts';

const minuteMs = 60_000;

function fileWith(limits: Record<string, object>): FleetFile {
  const backends = Object.entries(limits).map(([name, more]) => ({
    name,
    endpoint: `https://${name}.example.com`,
    bucket: `bucket-${name}`,
    credentials: 'role',
    ...more,
  }));
  return parseFleetFile({ backends, policies: { default: { factor: 1 } } });
}

/** Processes over one table, and the writes to it. */
function openFleet(limits: Record<string, object>) {
  const clock = createManualClock();
  const memory = createMemoryStore({ clock });
  let file = fileWith(limits);
  const writes: string[] = [];
  let before: ((method: string) => unknown) | undefined;
  const store = hooked(
    'store',
    memory,
    () =>
      ({ method }) => {
        if (method === 'write') writes.push(method);
        return before?.(method);
      },
    () => undefined,
  );
  let tokens = 0;
  let processes = 0;
  const newProcess = (endsBy = () => clock.now() + 10 * minuteMs, owes?: (backend: string) => Usage) => {
    processes += 1;
    const holder = `p${processes}`;
    const deps = { store, clock, holder, backends: () => file.backends, endsBy };
    const spending = createSpending(owes === undefined ? deps : { ...deps, owes });
    return {
      ...spending,
      holder,
      /** Sends requests that come to this, and says whether it was let. */
      async ask(backend: string, usage: Partial<Usage>): Promise<boolean> {
        const price = { ...noUsage, ...usage };
        try {
          await spending.pay(backend, price, { method: 'put' });
        } catch {
          return false;
        }
        spending.settle(backend, price, price);
        return true;
      },
      async flush() {
        const taken = spending.take();
        tokens += 1;
        await memory.addUsage(hourOf(clock.now()), Object.fromEntries(taken), `t${tokens}`);
        spending.written(taken);
      },
    };
  };
  return {
    clock,
    store,
    writes,
    newProcess,
    apply(others: Record<string, object>) {
      file = fileWith(others);
    },
    set before(hook: typeof before) {
      before = hook;
    },
    held: async (backend: string) => [...(await readPortions(store, backend)).byHolder.values()],
    used: async (backend: string) => {
      const found = await memory.usage({ from: '2000', to: '3000' }, [backend]);
      return found.get(backend) ?? noUsage;
    },
  };
}

const ends = { a: { limits: { egressBytes: 100 } }, b: { limits: { ingressBytes: 100 } } };
const copyOf = (bytes: number) => [
  { backend: 'a', egressBytes: bytes },
  { backend: 'b', ingressBytes: bytes },
];

test('spends that are begun in the same moment never exceed a limit together [usage-limits-hold]', async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(sizes, async (all) => {
      const fleet = openFleet(ends);
      const processes = [fleet.newProcess(), fleet.newProcess()];
      let running = 0;
      let most = 0;
      const spent = all.map((bytes, i) =>
        processes[i % 2]!.spend(copyOf(bytes), async () => {
          running += bytes;
          most = Math.max(most, running);
          await new Promise(setImmediate);
          running -= bytes;
        }),
      );
      await Promise.all(spent);
      expect(most).toBeLessThanOrEqual(100);
      // All is given back.
      for (const { release } of processes) await release();
      const [budget] = processes;
      await budget!.read();
      expect(budget!.refuses('a', { egressBytes: 100 })).toBeNull();
      expect(budget!.refuses('b', { ingressBytes: 100 })).toBeNull();
    }),
    { numRuns: 50 },
  );
});

test('a spend that one end does not allow takes nothing of the other, and says which', async () => {
  const budget = openFleet(ends).newProcess();
  const release = budget.reserve('b', { ingressBytes: 80 });
  const refused = await budget.spend(copyOf(30), async () => 'begun');
  expect(refused).toEqual({ outcome: 'over-limit', backend: 'b', reason: 'over-ingress' });
  expect(budget.refuses('a', { egressBytes: 100 })).toBeNull();
  release();
  expect(await budget.spend(copyOf(30), async () => 'begun')).toEqual({ outcome: 'spent', value: 'begun' });
});

test('a spend that fails is given back', async () => {
  const budget = openFleet(ends).newProcess();
  const failing = budget.spend(copyOf(100), async () => {
    throw new Error('broken');
  });
  await expect(failing).rejects.toThrow('broken');
  expect(await budget.spend(copyOf(100), async () => 'begun')).toMatchObject({ outcome: 'spent' });
});

/** What a process does next: it asks, writes down what it spent, goes on for a minute, ends, or dies. */
const step = fc.record({
  process: fc.integer({ min: 0, max: 3 }),
  does: fc.constantFrom('ask', 'ask', 'ask', 'ask', 'flush', 'renew', 'release', 'die', 'pass'),
  classA: fc.integer({ min: 1, max: 3 }),
});

test('of what several processes ask for, all that is allowed is let, and no more, but for what a dead one holds [usage-limits-hold]', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(step, { maxLength: 6 }), { maxLength: 30 }), async (rounds) => {
      const fleet = openFleet({ a: { limits: { classA: 60 } } });
      const processes = Array.from({ length: 4 }, () => fleet.newProcess());
      let spent = 0;
      let lost = 0;
      const unwritten = [0, 0, 0, 0];
      for (const round of rounds) {
        await Promise.all(
          round.map(async ({ process, does, classA }) => {
            const one = processes[process]!;
            if (does === 'ask' && (await one.ask('a', { classA }))) {
              spent += classA;
              if (processes[process] === one) unwritten[process]! += classA;
              else lost += classA;
            }
            if (does === 'flush') {
              const sum = unwritten[process]!;
              unwritten[process]! -= sum;
              await one.flush();
            }
            if (does === 'renew') await one.renew();
            if (does === 'release') await one.release();
            if (does === 'die') {
              lost += unwritten[process]!;
              unwritten[process] = 0;
              processes[process] = fleet.newProcess();
            }
            if (does === 'pass') fleet.clock.advance(minuteMs / 4);
          }),
        );
        expect(spent - lost).toBeLessThanOrEqual(60);
      }
      // What the dead hold has run out; whoever is left may have all the rest, piece by piece.
      for (const one of processes) await one.flush();
      fleet.clock.advance(20 * minuteMs);
      const { classA } = await fleet.used('a');
      const last = fleet.newProcess();
      let more = 0;
      while (await last.ask('a', { classA: 1 })) more += 1;
      expect(classA + more).toBe(Math.max(60, classA));
    }),
    { numRuns: 150 },
  );
});

test('ordinarily a process writes once a minute for a backend with limits, and not at all for one without', async () => {
  const fleet = openFleet({ a: { limits: { classA: 1_000_000 } }, b: {} });
  const one = fleet.newProcess();
  for (let minute = 0; minute < 20; minute += 1) {
    for (let i = 0; i < 500; i += 1) {
      await one.ask('a', { requests: 1, classA: 1 });
      await one.ask('b', { requests: 1, classA: 1 });
    }
    await one.flush();
    await one.renew();
    fleet.clock.advance(minuteMs);
    // At first it doubles what it draws.
    if (minute === 0) expect(fleet.writes.splice(0).length).toBeLessThanOrEqual(7);
  }
  expect(fleet.writes.length).toBe(19);
  expect((await fleet.store.control(portionsKey('b'))).rows).toEqual([]);
});

test('near a limit portions shrink: what one process holds and does not use keeps no other from most of the rest', async () => {
  const fleet = openFleet({ a: { limits: { classA: 80 } } });
  const [idle, busy] = [fleet.newProcess(), fleet.newProcess()];
  await idle.ask('a', { classA: 1 });
  let many = 0;
  while (await busy.ask('a', { classA: 1 })) many += 1;
  const [held] = await fleet.held('a');
  expect(held!.classA).toBeLessThanOrEqual(1 + 79 / 8);
  expect(many).toBe(80 - held!.classA);
  // What it holds it gives back when it renews without having spent any, and then others have it.
  await idle.flush();
  await idle.renew();
  await idle.renew();
  fleet.clock.advance(minuteMs);
  while (await busy.ask('a', { classA: 1 })) many += 1;
  expect(many).toBe(79);
});

test('a process that dies loses others its portion until that runs out, and no longer', async () => {
  const fleet = openFleet({ a: { limits: { classA: 10 } } });
  const dead = fleet.newProcess(() => fleet.clock.now() + minuteMs);
  expect(await dead.ask('a', { classA: 8 })).toBe(true);
  expect(await fleet.newProcess().ask('a', { classA: 3 })).toBe(false);
  fleet.clock.advance(5 * minuteMs);
  expect(await fleet.newProcess().ask('a', { classA: 3 })).toBe(false);
  fleet.clock.advance(minuteMs);
  expect(await fleet.newProcess().ask('a', { classA: 10 })).toBe(true);
});

test('nothing is begun by a portion whose time is nearly over: it is drawn anew', async () => {
  const fleet = openFleet({ a: { limits: { classA: 100 } } });
  const one = fleet.newProcess();
  await one.ask('a', { classA: 1 });
  fleet.clock.advance(10 * minuteMs);
  const until = fleet.clock.now() + 15 * minuteMs;
  await one.ask('a', { classA: 1 });
  expect(await fleet.held('a')).toMatchObject([{ until }]);
});

test('what waits to be written down is not let twice: the row is read before the usage', async () => {
  const fleet = openFleet({ a: { limits: { classA: 10 } } });
  const [one, other] = [fleet.newProcess(), fleet.newProcess()];
  await one.ask('a', { classA: 7 });
  let isOnce = true;
  // Between its two reads the other process writes down what it spent, and gives back what it held.
  fleet.before = async (method) => {
    if (method !== 'usage' || !isOnce) return;
    isOnce = false;
    await one.flush();
    await one.release();
  };
  expect(await other.ask('a', { classA: 4 })).toBe(false);
  fleet.clock.advance(minuteMs);
  expect(await other.ask('a', { classA: 3 })).toBe(true);
});

test('a draw whose answer is lost costs others no more than it, and takes nothing that was not granted', async () => {
  const fleet = openFleet({ a: { limits: { classA: 10 } } });
  const one = fleet.newProcess();
  fleet.before = (method) => {
    if (method !== 'write') return;
    fleet.before = undefined;
    throw new StoreError('unanswered', 'no answer');
  };
  expect(await one.ask('a', { classA: 4 })).toBe(false);
  expect(await one.ask('a', { classA: 4 })).toBe(true);
  expect(await fleet.newProcess().ask('a', { classA: 7 })).toBe(false);
});

test('owner objects, HEADs, deletions and what they need are never refused', () => {
  const { isFree } = openFleet(ends).newProcess();
  const free = [
    { method: 'get', storageKey: '.holdfast/owner' },
    { method: 'head', storageKey: 'k' },
    { method: 'delete' },
    { method: 'abortUpload' },
    { method: 'openUploads' },
  ] as const;
  expect(free.map(isFree)).toEqual(free.map(() => true));
  expect(isFree({ method: 'get', storageKey: 'k' })).toBe(false);
  expect(isFree({ method: 'list' })).toBe(false);
});

test('a row that another version has written binds nobody', async () => {
  const fleet = openFleet({ a: { limits: { classA: 10 } } });
  const put = { pk: portionsKey('a'), sk: 'held', version: 1, data: { portions: 'odd' } };
  await fleet.store.write({ kind: 'row', put, expect: 'absent' });
  expect(await fleet.newProcess().ask('a', { classA: 10 })).toBe(true);
});

test('dollars are drawn like all else', async () => {
  const fleet = openFleet({ a: { limits: { usd: 1 }, usdPerMillionA: 100_000, egressUsdPerGb: 0.5 } });
  const [one, other] = [fleet.newProcess(), fleet.newProcess()];
  expect(await one.ask('a', { classA: 6 })).toBe(true);
  expect(await other.ask('a', { egressBytes: 1_000_000_000 })).toBe(false);
  fleet.clock.advance(minuteMs);
  expect(await other.ask('a', { egressBytes: 600_000_000 })).toBe(true);
  expect(await one.ask('a', { classA: 2 })).toBe(false);
});

test('what is written down is spent, also where the tables then keep a process from drawing anew [usage-limits-hold]', async () => {
  const fleet = openFleet({ a: { limits: { requests: 30 } } });
  const one = fleet.newProcess();
  let sent = 0;
  for (let i = 0; i < 16; i += 1) sent += Number(await one.ask('a', { requests: 1 }));
  await one.flush();
  fleet.before = (method) => {
    if (method === 'write') throw new StoreError('unanswered', 'The store is away');
  };
  for (let i = 0; i < 30; i += 1) sent += Number(await one.ask('a', { requests: 1 }));
  expect(sent).toBeLessThanOrEqual(30);
  fleet.before = undefined;
  for (let i = 0; i < 30; i += 1) sent += Number(await one.ask('a', { requests: 1 }));
  expect(sent).toBe(30);
});

test('what is never refused counts for what may be, before it is written down [usage-limits-hold]', async () => {
  const fleet = openFleet({ a: { limits: { requests: 10 } } });
  const one = fleet.newProcess();
  expect(await one.ask('a', { requests: 1 })).toBe(true);
  const free = { ...noUsage, requests: 7 };
  // On its way it counts as well.
  one.charge('a', free);
  let more = 0;
  while (await one.ask('a', { requests: 1 })) more += 1;
  expect(more).toBe(2);
  one.settle('a', free, free);
  await one.flush();
  expect(await fleet.used('a')).toMatchObject({ requests: 10 });
});

test('a limit that is lowered binds what a process holds by the old one; one that is raised binds no more [usage-limits-hold]', async () => {
  const fleet = openFleet({ a: { limits: { classA: 1000 } } });
  const one = fleet.newProcess();
  for (let i = 0; i < 5; i += 1) await one.ask('a', { classA: 1 });
  fleet.apply({ a: { limits: { classA: 7 } } });
  let more = 0;
  while (await one.ask('a', { classA: 1 })) more += 1;
  expect(more).toBe(2);
  fleet.apply({ a: { limits: { classA: 8 } } });
  expect(await one.ask('a', { classA: 1 })).toBe(true);
  expect(await one.ask('a', { classA: 1 })).toBe(false);
});

test('what was found spent is not held against the next period [usage-classes]', async () => {
  const fleet = openFleet({ a: { dailyLimits: { classA: 3 } } });
  const one = fleet.newProcess();
  const midnight = new Date(fleet.clock.now()).setUTCHours(24, 0, 0, 0);
  fleet.clock.advance(midnight - 10_000 - fleet.clock.now());
  while (await one.ask('a', { classA: 1 }));
  await one.flush();
  fleet.clock.advance(9_999);
  expect(await one.ask('a', { classA: 1 })).toBe(false);
  fleet.clock.advance(1);
  expect(await one.ask('a', { classA: 3 })).toBe(true);
  expect(await one.ask('a', { classA: 1 })).toBe(false);
});

test('a process that slept for a week begins nothing by what it held before', async () => {
  const fleet = openFleet({ a: { dailyLimits: { classA: 10 }, limits: { classA: 15 } } });
  const [one, other] = [fleet.newProcess(), fleet.newProcess()];
  await one.ask('a', { classA: 2 });
  await one.flush();
  fleet.clock.advance(7 * 24 * 60 * minuteMs);
  expect(await other.ask('a', { classA: 10 })).toBe(true);
  await other.flush();
  expect(await one.ask('a', { classA: 4 })).toBe(false);
  fleet.clock.advance(24 * 60 * minuteMs);
  expect(await one.ask('a', { classA: 4 })).toBe(false);
  expect(await one.ask('a', { classA: 3 })).toBe(true);
});

test('what a process owes of work before counts, read before what is written down is [usage-limits-hold]', async () => {
  const fleet = openFleet({ a: { limits: { classA: 10 } } });
  let owed = 6;
  // It is written down while the other reads.
  fleet.before = async (method) => {
    if (method !== 'usage' || owed === 0) return;
    owed = 0;
    await fleet.store.addUsage(hourOf(fleet.clock.now()), { a: { ...noUsage, classA: 6 } }, 'owed');
  };
  const one = fleet.newProcess(undefined, () => ({ ...noUsage, classA: owed }));
  expect(await one.ask('a', { classA: 5 })).toBe(false);
  fleet.clock.advance(minuteMs);
  expect(await one.ask('a', { classA: 4 })).toBe(true);
});

test.each([0, 1, Number.MAX_SAFE_INTEGER])('a limit of %i is no odd one', async (classA) => {
  const fleet = openFleet({ a: { limits: { classA } } });
  const one = fleet.newProcess();
  let sent = 0;
  while (sent < 50 && (await one.ask('a', { classA: 1 }))) sent += 1;
  expect(sent).toBe(classA === 1 ? 1 : 50);
  const huge = { ...noUsage, classA: Number.MAX_SAFE_INTEGER };
  if (classA > 0) expect(await fleet.newProcess().ask('a', huge)).toBe(false);
  for (const portion of await fleet.held('a')) expect(Number.isSafeInteger(portion.classA)).toBe(true);
});

test('an amount beyond what any portion would be is let in one piece, and one beyond its limit never', async () => {
  const gb = 1e9;
  const fleet = openFleet({ a: { limits: { egressBytes: 10 * gb } } });
  const [one, other] = [fleet.newProcess(), fleet.newProcess()];
  expect(await one.ask('a', { egressBytes: 11 * gb })).toBe(false);
  expect(await one.ask('a', { egressBytes: 9 * gb })).toBe(true);
  expect(await other.ask('a', { egressBytes: 2 * gb })).toBe(false);
  expect(await other.ask('a', { egressBytes: gb })).toBe(true);
});
