import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import { endLeftovers } from '../../lib/local/leftovers.ts';
import { bareEnv, entry } from './kit.ts';

/** `holdfast run` as a process of its own. */
export interface Running {
  readonly child: ChildProcess;
  /** Everything that it has said. */
  output(): string;
  /** Resolves once it has said something; throws when it ends first. */
  says(what: RegExp | string): Promise<void>;
  end(signal: NodeJS.Signals): Promise<number | null>;
}

export function startRun(dir: string, env: Readonly<Record<string, string>>, args: readonly string[] = []): Running {
  const child = spawn(process.execPath, [entry, 'run', '--every', '1', ...args], { env: bareEnv(env), cwd: dir });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk;
    });
  }
  return {
    child,
    output: () => text,
    async says(what) {
      const isSaid = () => (typeof what === 'string' ? text.includes(what) : what.test(text));
      while (!isSaid()) {
        if (child.exitCode !== null) throw new Error(`holdfast run ended with ${child.exitCode}: ${text}`);
        await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data'), once(child, 'exit')]);
      }
    },
    async end(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const ended = once(child, 'close');
      child.kill(signal);
      return ((await ended) as [number | null])[0];
    },
  };
}

/** Ends it at once, and the tables that it served: they outlive a process that is killed. */
export async function endWithTables(running: Running, home: string): Promise<void> {
  await running.end('SIGKILL');
  await endLeftovers(join(home, 'dynamodb.sqlite'), systemClock);
}
