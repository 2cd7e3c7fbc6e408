import { expect, test } from 'vitest';
import type { Clock } from '../../lib/base/clock.ts';
import { runSchedule, type Scheduled } from '../../lib/operations/run-schedule.ts';
import type { TickEvent, TickReport } from '../../lib/tick/tick.ts';

interface Sleeper {
  readonly at: number;
  wake(): void;
}

/** Time that moves only when everybody waits. */
function createTime(): Clock & { until(end: number): Promise<void> } {
  let now = 0;
  let sleepers: Sleeper[] = [];
  return {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const one = { at: now + ms, wake: resolve };
        sleepers.push(one);
        signal?.addEventListener('abort', () => {
          sleepers = sleepers.filter((other) => other !== one);
          reject(signal.reason);
        });
      }),
    async until(end) {
      for (;;) {
        await new Promise(setImmediate);
        const next = sleepers.sort((a, b) => a.at - b.at)[0];
        if (next === undefined || next.at > end) break;
        sleepers.shift();
        now = next.at;
        next.wake();
      }
      now = end;
    },
  };
}

const report = (worker: TickReport['worker'], of: Partial<TickReport> = {}): TickReport => ({
  ...{ worker, outcome: 'success', runId: 'r', durationMs: 10, figures: {}, reasons: {} },
  ...{ planned: 0, succeeded: 0, failed: 0, skipped: 0, deferred: 0 },
  ...of,
});

interface Begun {
  readonly worker: string;
  readonly at: number;
  readonly event: TickEvent;
}

function start(workers: readonly Scheduled[], options: { everyMs?: number; tick?: (b: Begun) => Promise<TickReport> }) {
  const time = createTime();
  const stop = new AbortController();
  const begun: Begun[] = [];
  const failed: string[] = [];
  let chance = 0;
  const { tick, ...others } = options;
  const done = runSchedule(
    {
      clock: time,
      random: () => {
        chance = (chance + 0.37) % 1;
        return chance;
      },
      tick: async (worker, event) => {
        const one = { worker, at: time.now(), event };
        begun.push(one);
        return tick === undefined ? report(worker) : tick(one);
      },
    },
    workers,
    {
      stop: stop.signal,
      ended: () => {},
      failed: (name, error) => failed.push(`${name}: ${error.message}`),
      ...others,
    },
  );
  return { time, stop, begun, failed, done };
}

const minute = 60_000;
const replicator: Scheduled = { name: 'replicator', schedule: 'rate(5 minutes)', parts: 1 };
const cleanup: Scheduled = { name: 'cleanup-queue', schedule: 'rate(1 minute)', parts: 1 };

test('each worker runs by its own schedule, a tenth sooner or later', async () => {
  const { time, stop, begun, done } = start([replicator, cleanup], {});
  await time.until(60 * minute);
  stop.abort();
  await done;
  const times = (name: string) => begun.filter(({ worker }) => worker === name).map(({ at }) => at);
  expect(times('replicator').length).toBeGreaterThanOrEqual(11);
  expect(times('replicator').length).toBeLessThanOrEqual(14);
  expect(times('cleanup-queue').length).toBeGreaterThanOrEqual(54);
  const waits = times('replicator')
    .slice(1)
    .map((at, i) => at - times('replicator')[i]!);
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(4.5 * minute);
  expect(Math.max(...waits)).toBeLessThanOrEqual(5.5 * minute);
  expect(new Set(waits).size).toBeGreaterThan(3);
});

test('a tick that had more to do is followed by the next at once, and one that threw by the next of the schedule', async () => {
  let ticks = 0;
  const { time, stop, begun, failed, done } = start([replicator], {
    tick: async () => {
      ticks += 1;
      if (ticks === 1) return report('replicator', { planned: 3, succeeded: 3, durationMs: 50_000 });
      if (ticks === 2) throw new Error('odd');
      return report('replicator');
    },
  });
  await time.until(7 * minute);
  stop.abort();
  await done;
  const [first, second, third] = begun.map(({ at }) => at) as [number, number, number];
  expect(second - first).toBe(1_000);
  expect(third - second).toBeGreaterThanOrEqual(4.5 * minute);
  expect(failed).toEqual(['replicator: odd']);
});

test('the end waits for the tick that is in flight, begins no other, and the tick is told [run-ends-clean]', async () => {
  let finish = () => {};
  const { time, stop, begun, done } = start([cleanup], {
    tick: () =>
      new Promise((resolve) => {
        finish = () => resolve(report('cleanup-queue'));
      }),
  });
  await time.until(10 * minute);
  let hasEnded = false;
  const ended = done.then(() => {
    hasEnded = true;
  });
  stop.abort();
  await time.until(20 * minute);
  expect(hasEnded).toBe(false);
  expect(begun.map(({ event }) => event.stop?.aborted)).toEqual([true]);
  finish();
  await ended;
  expect(begun).toHaveLength(1);
});

test('parts run side by side over their own shards', async () => {
  const { time, stop, begun, done } = start([{ ...cleanup, parts: 3 }], { everyMs: 10 * minute });
  await time.until(5 * minute);
  stop.abort();
  await done;
  expect(begun.map(({ event: { part, of } }) => [part, of])).toEqual([
    [0, 3],
    [1, 3],
    [2, 3],
  ]);
});
