import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { forEachConcurrently } from '../../../lib/base/pool.ts';
import { mutants } from './all.ts';

// Plays each mutant until a seed catches it, and says how many seeds that took.

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
});

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const say = (text: string) => process.stdout.write(`${text}\n`);

/** The simulator over one mutant, and what it said. */
async function play(name: string): Promise<{ readonly output: string; readonly code: number | null }> {
  const child = spawn(
    process.execPath,
    [
      '--import',
      here('load.ts'),
      here('../simulate.ts'),
      '--seeds',
      values.seeds,
      '--from',
      values.from,
      '--threads',
      '1',
    ],
    { env: { ...process.env, HOLDFAST_MUTANT: name }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { output, code };
}

let survivors = 0;
const chosen = mutants.filter(({ name }) => name.includes(values.only));
await forEachConcurrently(chosen, availableParallelism(), async ({ name }) => {
  const { output, code } = await play(name);
  const caught = /^Seed \d+ violates (.*)$/m.exec(output);
  const seeds = /^(\d+) seeds in/m.exec(output)?.[1];
  if (caught !== null) {
    say(`caught after ${String(seeds).padStart(4)} seeds: ${name}\n    ${caught[1]!.slice(0, 150)}`);
    return;
  }
  survivors += 1;
  say(`SURVIVED ${name}: ${code === 0 ? `${values.seeds} seeds` : output.slice(-600)}`);
});
say(`${chosen.length - survivors} of ${chosen.length} mutants caught`);
process.exitCode = survivors > 0 ? 1 : 0;
