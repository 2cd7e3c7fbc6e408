import { parseArgs } from 'node:util';
import { runHistory } from './history.ts';
import { createReport, showViolation } from './report.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
  },
});

const write = (text: string) => process.stdout.write(`${text}\n`);
let failures = 0;

async function play(seed: number): Promise<void> {
  const result = await runHistory(seed);
  report.add(result);
  if (result.violation === null) return;
  failures += 1;
  const traced = await runHistory(seed, true);
  write(showViolation(traced, values.trace));
}

const report = createReport();
if (values.seed !== undefined) {
  const result = await runHistory(Number(values.seed), true);
  report.add(result);
  if (result.violation !== null) failures += 1;
  if (result.violation === null && values.trace) write(result.lines.join('\n'));
  if (result.violation !== null) write(showViolation(result, values.trace));
} else {
  const from = Number(values.from);
  for (let seed = from; seed < from + Number(values.seeds); seed += 1) {
    await play(seed);
    if (failures > 0 && !values['keep-going']) break;
  }
}
write(report.text());
process.exitCode = failures > 0 ? 1 : 0;
