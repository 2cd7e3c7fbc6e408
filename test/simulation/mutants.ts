import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mutations } from './mutations.ts';

// Plays each mutant until a seed catches it, and says how many seeds that took.

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '400' },
    from: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
});

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
let survivors = 0;
let caughtCount = 0;

for (const { name, isRare = false } of mutations.filter((m) => m.name.includes(values.only))) {
  const run = spawnSync(
    process.execPath,
    ['--import', here('mutate.ts'), here('simulate.ts'), '--seeds', values.seeds, '--from', values.from],
    { env: { ...process.env, HOLDFAST_MUTANT: name }, encoding: 'utf8', maxBuffer: 2 ** 28 },
  );
  const caught = /^Seed (\d+) violates (.*)$/m.exec(run.stdout);
  const seeds = /^(\d+) seeds in/m.exec(run.stdout)?.[1];
  if (caught !== null) {
    caughtCount += 1;
    process.stdout.write(
      `caught    after ${String(seeds).padStart(4)} seeds: ${name}\n            ${caught[2]!.slice(0, 150)}\n`,
    );
  } else {
    if (!isRare || run.status !== 0) survivors += 1;
    const why = run.status === 0 ? `survived ${values.seeds} seeds` : `failed: ${run.stderr.slice(-400)}`;
    process.stdout.write(`SURVIVED  ${name}: ${why}${isRare ? ' (rare)' : ''}\n`);
  }
}
process.stdout.write(`${caughtCount} of ${mutations.length} mutants caught\n`);
process.exitCode = survivors > 0 ? 1 : 0;
