import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * `npm run test:all`: everything, types and style aside, which come first. The tests of servers and processes wait more than
 * they compute: on what they leave idle of the cores, and on no more, the histories are played beside them.
 */
const steps: readonly (readonly string[])[] = [
  ['run', '--silent', 'test:unit'],
  ['start'],
  ['run', '--silent', 'test:bulk'],
];

const dir = mkdtempSync(join(tmpdir(), 'holdfast-all-'));
const output = join(dir, 'histories');
const file = openSync(output, 'w');
const histories = spawn(process.execPath, ['test/simulation/simulate.ts', ...process.argv.slice(2)], {
  stdio: ['ignore', file, file],
});
// Whatever else wants a core has it first. Its threads, which it has yet to begin, are as patient as itself.
setPriority(histories.pid!, constants.priority.PRIORITY_LOW);
const played = once(histories, 'exit');

let failed: string | undefined;
for (const args of steps) {
  const step = spawn('npm', args, { stdio: 'inherit' });
  const [code] = await once(step, 'exit');
  if (code === 0) continue;
  failed = `npm ${args.join(' ')}`;
  histories.kill();
  break;
}
const [code] = await played;
process.stdout.write(readFileSync(output, 'utf8'));
rmSync(dir, { recursive: true });
if (failed !== undefined) process.stderr.write(`Failed: ${failed}\n`);
process.exitCode = failed === undefined && code === 0 ? 0 : 1;
