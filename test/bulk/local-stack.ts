import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const bin = join(import.meta.dirname, '..', '..', 'bin', 'holdfast.js');

/** An embedded stack in a process of its own, so that what this process uses is what Holdfast uses. */
export interface LocalStack {
  readonly env: Readonly<Record<string, string>>;

  close(): Promise<void>;
}

export async function startLocalStack(dir: string, fleet: object): Promise<LocalStack> {
  const child = spawn(process.execPath, [bin, 'local', dir, '--json'], {
    env: { ...process.env, HOLDFAST_FLEET: JSON.stringify(fleet) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  for await (const chunk of child.stdout) {
    output += chunk;
    if (output.includes('\n}\n')) break;
  }
  const { env } = JSON.parse(output) as { env: Record<string, string> };
  return {
    env,
    async close() {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}
