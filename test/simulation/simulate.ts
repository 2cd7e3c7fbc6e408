import { parseArgs } from 'node:util';
import { runHistory } from './history.ts';
import { playSeeds, seedsFrom } from './play.ts';
import { createReport, showViolation } from './report.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    threads: { type: 'string' },
    trace: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
    /** Seeds, by comma, whose violation is known and open: each must still show it, and no other may. */
    open: { type: 'string', default: '' },
  },
});

const write = (text: string) => process.stdout.write(`${text}\n`);
const report = createReport();
const open = new Set(values.open.split(',').filter(Boolean).map(Number));
const fixed: number[] = [];

/** One seed, as it went. */
async function show(seed: number): Promise<void> {
  const traced = await runHistory(seed, true);
  if (traced.violation === null && values.trace) write(traced.lines.join('\n'));
  write(showViolation(traced, values.trace));
  if (values.seed !== undefined) report.add(traced);
}

if (values.seed !== undefined) {
  await show(Number(values.seed));
} else {
  await playSeeds({
    jobs: seedsFrom(Number(values.from), Number(values.seeds)),
    threads: values.threads === undefined ? undefined : Number(values.threads),
    onResult: (result) => {
      if (open.has(result.seed) && result.violation !== null) {
        write(`Seed ${result.seed} is open: ${result.violation.message}`);
        return true;
      }
      if (open.has(result.seed)) fixed.push(result.seed);
      report.add(result);
      return result.violation === null || values['keep-going'];
    },
  });
  for (const seed of report.failed()) await show(seed);
}
write(report.text());
if (fixed.length > 0) write(`No longer open, take them off the list: ${fixed.join(', ')}`);
process.exitCode = report.failed().length + fixed.length > 0 ? 1 : 0;
