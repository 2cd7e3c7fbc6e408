import { describe, expect, it } from 'vitest';
import { runHistory } from './history.ts';
import { playSeeds } from './play.ts';
import { regressions } from './regressions.ts';
import { createReport, showViolation } from './report.ts';

/** A seed's violation, with its history, or null. */
async function play(seed: number): Promise<string | null> {
  const { violation } = await runHistory(seed);
  return violation === null ? null : showViolation(await runHistory(seed, true), false);
}

describe('the simulation', () => {
  it('keeps every invariant in two hundred histories, in which everything happens that can', async () => {
    const report = createReport();
    await playSeeds({
      from: 1,
      seeds: 200,
      onResult: (result) => {
        report.add(result);
        return result.violation === null;
      },
    });
    process.stdout.write(`${report.text()}\n`);
    expect(await Promise.all(report.failed().map(play))).toEqual([]);
    expect(report.rareFaults()).toEqual([]);
    const { steps, backends, objects } = report.least();
    expect(steps).toBeGreaterThanOrEqual(300);
    expect(backends).toBeGreaterThanOrEqual(3);
    expect(objects).toBeGreaterThanOrEqual(12);
  });

  it.each(regressions)('keeps every invariant in seed $seed: $showed', async ({ seed }) => {
    expect(await play(seed)).toBeNull();
  });

  it('plays the same history again from the same seed', async () => {
    const [first, second] = [await runHistory(7, true), await runHistory(7, true)];
    expect(second.lines).toEqual(first.lines);
  });
});
