import { expect, test } from 'vitest';
import { runPass } from '../../lib/operations/run-pass.ts';
import { createMemoryStore } from '../../lib/testing/store/memory-store.ts';
import type { TickEvent, TickReport } from '../../lib/tick/tick.ts';
import { createManualClock } from '../support/fleet.ts';

/** A pass of one range whose page takes as long to be worked through, kept by a problem or by none; and how long its ticks had. */
async function runSlow(pageMs: number, problem = 'key-cancelled', reasons: object = {}) {
  const clock = createManualClock();
  const real = createMemoryStore({ clock });
  let isDone = false;
  const store = {
    control: async (pk: string) => {
      if (pk === 'fleet') return real.control(pk);
      const position = isDone ? { phase: 'done' } : { phase: 'listing' };
      const data = { pass: 0, backends: ['a'], position, listed: 0, counts: {}, named: [], pending: [], restarts: 0 };
      return {
        rows: [{ pk, sk: 'range/0', version: 1, data: { ...data, ...(!isDone && problem !== '' && { problem }) } }],
      };
    },
  };
  const had: number[] = [];
  const tick = async ({ deadline }: TickEvent) => {
    had.push(deadline - clock.now());
    clock.advance(Math.min(pageMs, had.at(-1)!));
    isDone = had.at(-1)! >= pageMs;
    return {
      outcome: 'success',
      planned: 1,
      reasons,
      figures: { passComplete: Number(isDone) },
    } as unknown as TickReport;
  };
  const run = await runPass({ store: store as typeof real, clock, tick }, { kind: 'import', backends: ['a'] });
  return { run, had };
}

test('a pass goes on to its end where a page takes longer than a stretch of its work', async () => {
  const { run, had } = await runSlow(100_000);
  expect(run).toMatchObject({ outcome: 'ended', progress: { isComplete: true, problems: [] } });
  expect(had).toEqual([30_000, 30_000, 120_000]);
});

test('a page that nothing is said to keep, but for which time was up, has longer as well', async () => {
  const { run, had } = await runSlow(400_000, '');
  expect(run).toMatchObject({ outcome: 'ended', progress: { isComplete: true, problems: [] } });
  expect(had).toEqual([30_000, 30_000, 120_000, 480_000]);
});

test('a file that is read on in each stretch of work is waited for, however long that takes', async () => {
  let stretches = 0;
  const reasons = {
    get reading() {
      stretches += 1;
      return Number(stretches < 8);
    },
  };
  const { run, had } = await runSlow(Number.POSITIVE_INFINITY, '', reasons);
  expect(run).toMatchObject({ outcome: 'ended', progress: { isComplete: false } });
  // Nothing of it is read any more from the eighth look on, which is not asked for in the first stretch.
  expect(had).toHaveLength(9);
});

test('a pass that gets no further, however long it has, ends and says why', async () => {
  const { run, had } = await runSlow(Number.POSITIVE_INFINITY);
  expect(run).toMatchObject({ outcome: 'ended', progress: { isComplete: false, problems: ['a: key-cancelled'] } });
  expect(Math.max(...had)).toBe(480_000);
});

test('a pass that something else keeps from going on ends at once', async () => {
  const { run, had } = await runSlow(100_000, 'list-denied');
  expect(run).toMatchObject({ outcome: 'ended', progress: { isComplete: false, problems: ['a: list-denied'] } });
  expect(had).toEqual([30_000, 30_000]);
});
