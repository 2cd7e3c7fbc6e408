/**
 * `npm run bench:all [-- --quick]`: everything on docs/benchmarks.md but imports and 5 GiB, one after the other, and at the end
 * which targets hold. `--quick` is for trying it: few objects, one run.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { resolve } from 'node:path';
import { verdictLine } from './verdicts.ts';

const isQuick = process.argv.includes('--quick');
const few = ['--runs', '1', '--most', '200'];
const runs: readonly (readonly [script: string, ...args: string[]])[] = [
  ['main.ts', '--objects', '', ...(isQuick ? [...few, '--sizes', '4KiB,1MiB,64MiB'] : [])],
  ['main.ts', '--objects', '', '--latency', '30,5', '--sizes', '4KiB', ...(isQuick ? few : ['--runs', '3'])],
  ['main.ts', '--sizes', '', ...(isQuick ? ['--objects', '1000,5000'] : [])],
  ['cold.ts', ...(isQuick ? ['3'] : [])],
  ['units.ts', isQuick ? '100' : '1000'],
  ['documents.ts'],
];

const startedAt = performance.now();
const verdicts: string[] = [];
for (const [script, ...args] of runs) {
  process.stdout.write(`\n== ${script} ${args.join(' ')}, load ${loadavg()[0]!.toFixed(1)}\n`);
  const child = spawn(process.execPath, [resolve(import.meta.dirname, script), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (more: Buffer) => {
    text += String(more);
    process.stdout.write(more);
  });
  const [status] = (await once(child, 'close')) as [number];
  verdicts.push(...text.split('\n').filter((line) => verdictLine.test(line)));
  if (status === 0) continue;
  verdicts.push(`${'did not end'.padEnd(15)}${script} ${args.join(' ')}`);
  process.exitCode = 1;
}
process.stdout.write(
  `\n== In ${((performance.now() - startedAt) / 60_000).toFixed(1)} minutes\n${verdicts.join('\n')}\n`,
);
