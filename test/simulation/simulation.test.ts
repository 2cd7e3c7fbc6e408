import { beforeAll, describe, expect, it } from 'vitest';
import { isWhole } from '../support/extent.ts';
import type { HistoryResult } from './history.ts';
import { type Job, playSeeds, seedsFrom } from './play.ts';
import { regressions } from './regressions.ts';
import { createReport, showViolation } from './report.ts';

const first = seedsFrom(1, isWhole ? 200 : 100);
const twice: Job = { seed: 7, isTraced: true };
/** What each showed is kept by a test or a mutant of its own, too: `npm test` plays those that are among the first. */
const always = regressions.filter(({ seed }) => isWhole || seed <= first.length);
/** Of every seed, all that was played. */
const played = new Map<number, HistoryResult[]>();
/** Made before anything is played: it says how long that took. */
const report = createReport();

/** In the same few threads, one after the other: what a thread learns of the code in its first histories serves the rest. */
beforeAll(async () => {
  const others = always.filter(({ seed }) => seed > first.length);
  await playSeeds({
    jobs: [...first, ...others.map(({ seed }) => ({ seed })), twice, twice],
    onResult(result) {
      played.set(result.seed, [...(played.get(result.seed) ?? []), result]);
      return true;
    },
  });
});

/** A seed's violation, with its history, or null. */
async function violationOf(seed: number): Promise<string | null> {
  const results = played.get(seed)!;
  if (results.every(({ violation }) => violation === null)) return null;
  const { runHistory } = await import('./history.ts');
  return showViolation(await runHistory(seed, true), false);
}

describe('the simulation', () => {
  it('keeps every invariant in a hundred histories, in the whole suite in two hundred, in which everything happens that can', async () => {
    for (const { seed } of first) report.add(played.get(seed)![0]!);
    process.stdout.write(`${report.text()}\n`);
    expect(await Promise.all(report.failed().map(violationOf))).toEqual([]);
    if (isWhole) expect(report.rareFaults()).toEqual([]);
    const { steps, backends, objects } = report.least();
    expect(steps).toBeGreaterThanOrEqual(300);
    expect(backends).toBeGreaterThanOrEqual(3);
    expect(objects).toBeGreaterThanOrEqual(12);
  });

  it.each(always)('keeps every invariant in seed $seed: $showed', async ({ seed }) => {
    expect(await violationOf(seed)).toBeNull();
  });

  it('plays the same history again from the same seed', () => {
    const [one, other] = played.get(twice.seed)!.filter(({ lines }) => lines.length > 0);
    expect(one!.lines.length).toBeGreaterThan(300);
    expect(other!.lines).toEqual(one!.lines);
  });
});
