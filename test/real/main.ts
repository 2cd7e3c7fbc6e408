import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeBelow } from './remove-below.ts';
import type { Target } from './target.ts';
import type { Told } from './told.ts';

/**
 * `npm run test:real`: runs `run.ts` in a process of its own, and leaves nothing of it behind. What it starts is of its process
 * group: a signal ends all of that at once, so that nothing writes any more when what was written is removed.
 */
const signalCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type EndingSignal = keyof typeof signalCodes;

const removalMs = 60_000;

async function main(): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-real-'));
  const env = { ...process.env, HOLDFAST_REAL_DIR: dir };
  const child = fork(join(import.meta.dirname, 'run.ts'), process.argv.slice(2), { detached: true, env });
  const targets: Target[] = [];
  const started = new Set<number>();
  child.on('message', (message: Told) => {
    if (message.told === 'writes') targets.push(message.target);
    else if (message.told === 'starts') started.add(message.pid);
    else started.delete(message.pid);
  });
  let signal: EndingSignal | undefined;
  const onSignal = (name: EndingSignal) => {
    if (signal !== undefined) {
      for (const target of targets) say(sayLeft(target, 'it was not waited for'));
      process.exit(signalCodes[name]);
    }
    signal = name;
    say(`${name}: ending what was started, and removing what it wrote; once more leaves that where it is`);
    killAll(child, started);
  };
  for (const name of Object.keys(signalCodes)) process.on(name, onSignal);
  const [code] = (await once(child, 'exit')) as [number | null];
  // Ended from outside, by whomever: it had no time to remove anything itself.
  if (code === null) {
    killAll(child, started);
    for (const target of targets) await remove(target);
  }
  rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  return signal === undefined ? (code ?? 1) : signalCodes[signal];
}

/** Its whole group, and what has a group of its own. */
function killAll(child: ChildProcess, started: ReadonlySet<number>): void {
  for (const pid of [-child.pid!, ...started]) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
}

async function remove(target: Target): Promise<void> {
  const tooLong = new Promise<string>((resolve) => {
    setTimeout(resolve, removalMs, 'that takes too long').unref();
  });
  const removal = removeBelow(target, '').then(
    (left) => (left === 0 ? undefined : `${left} objects are still listed`),
    (error: Error) => error.message,
  );
  const problem = await Promise.race([removal, tooLong]);
  say(problem === undefined ? `${target.name}: nothing is left below "${target.prefix}"` : sayLeft(target, problem));
}

function sayLeft({ name, bucket, prefix, endpoint = 'AWS' }: Target, why: string): string {
  return `${name}: remove what is below "${prefix}" in bucket "${bucket}" at ${endpoint} yourself: ${why}`;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

process.exit(await main());
