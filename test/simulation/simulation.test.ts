import { describe, expect, it } from 'vitest';
import { runHistory } from './history.ts';
import { regressions } from './regressions.ts';
import { showViolation } from './report.ts';

/** Plays a seed, and its history again with a trace when an invariant breaks. */
async function play(seed: number): Promise<void> {
  const { violation } = await runHistory(seed);
  if (violation !== null) expect.fail(showViolation(await runHistory(seed, true), false));
}

describe('the simulation', { timeout: 300_000 }, () => {
  it.each([1, 51, 101, 151])('keeps every invariant in the fifty histories from seed %i on', async (from) => {
    for (let seed = from; seed < from + 50; seed += 1) await play(seed);
  });

  it.each(regressions)('keeps every invariant in seed $seed. $showed', async ({ seed }) => {
    await play(seed);
  });

  it('plays the same history again from the same seed', async () => {
    const [first, second] = [await runHistory(7, true), await runHistory(7, true)];
    expect(second.lines).toEqual(first.lines);
  });
});
