#!/usr/bin/env node
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'lib', 'cli', 'main.ts');
const built = join(root, 'dist', 'lib', 'cli', 'main.js');
const [major, minor] = process.versions.node.split('.').map(Number);
const canRunSource = major > 22 || (major === 22 && minor >= 18);

if (canRunSource) {
  const { enableCompileCache } = await import('node:module');
  enableCompileCache();
  // Set by a parent that only stands in for an older Node: without it, nobody is left who asked for this.
  if (process.env.HOLDFAST_STAND_IN === '1' && process.channel) {
    process.on('disconnect', () => process.exit(1));
    process.channel.unref();
  }
  const { main } = await import(pathToFileURL(existsSync(source) ? source : built).href);
  await main(process.argv.slice(2));
} else {
  standIn(join(root, 'node_modules', '.bin', 'node'));
}

/** Runs the same command under the Node that the project brings with it. */
function standIn(node) {
  if (!existsSync(node)) {
    process.stderr.write(`error: Holdfast needs Node 22.18 or newer; this is ${process.version}\n`);
    process.exit(1);
  }
  const child = spawn(node, process.argv.slice(1), {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, HOLDFAST_STAND_IN: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`error: Cannot run ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
