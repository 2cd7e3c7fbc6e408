/**
 * One measured run, in a process of its own: `ours <worker>`, a tick; `delete <folder>`, its objects deleted by the library;
 * `bare <file>`, the loop anybody would write with the SDK. Each loads what it needs and nothing else, as a function does: its
 * start is part of what it costs.
 */
import type { Measured, Work } from './measured.ts';

const [mode, argument = ''] = process.argv.slice(2);
const work = await workOf(argument);
const measured = await measure(work);
process.stdout.write(`${JSON.stringify(measured)}\n`);
process.exit(0);

async function workOf(of: string): Promise<Work> {
  if (mode === 'ours') return (await import('./child-tick.ts')).tickOf(of);
  if (mode === 'delete') return (await import('./child-delete.ts')).deletionOf(of);
  return (await import('./child-loop.ts')).loopOver(of);
}

/** Of the whole process: its start is part of its time, as it is of rclone's. */
async function measure(run: Work): Promise<Measured> {
  const done = await run();
  const ms = performance.now();
  const { user, system } = process.cpuUsage();
  return { ms, cpuMs: (user + system) / 1000, maxRssBytes: process.resourceUsage().maxRSS * 1024, ...done };
}
