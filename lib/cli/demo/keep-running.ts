import { quoted, table } from '../format.ts';
import type { Arranged } from './arrange.ts';
import { startUpkeep } from './upkeep.ts';

/** Says where everything is and lets the workers run on, until a signal ends it all. */
export async function keepRunning(
  { stack, process: holdfastProcess, work }: Arranged,
  someKey: string,
  signal: AbortSignal,
): Promise<void> {
  const exports = Object.entries(stack.env).map(([name, value]) => `  export ${name}=${quoted(value)}`);
  process.stdout.write(`
It runs on, workers included, until Ctrl-C; then everything is removed. In another terminal:

${exports.join('\n')}
  npx holdfast status
  npx holdfast ls
  npx holdfast locate '${someKey}'
  npx holdfast put hello.txt < /etc/hostname

${table(
  ['BACKEND', 'ENDPOINT', 'FILES'],
  stack.backends.map(({ name, server, folder }) => [name, server.endpoint, folder]),
)}
`);
  const upkeep = startUpkeep(holdfastProcess, work);
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  await upkeep.stop();
}
