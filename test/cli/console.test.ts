import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliLab, entry, startCli } from './kit.ts';

let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 2 });
  await lab.json(['init']);
  await lab.holdfast.put('one', 'one');
});

afterAll(() => lab.close());

/** A command that goes on, once its output holds an address. */
async function started(args: readonly string[]) {
  const child = spawn(process.execPath, [entry, ...args], {
    cwd: lab.dir,
    env: { ...process.env, ...lab.stack.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  const url = await new Promise<URL>((resolve, reject) => {
    let output = '';
    child.stdout!.on('data', (chunk) => {
      output += chunk;
      const found = /http:\/\/[^\s"]+token=[\w-]+\s|http:\/\/[^\s"]+token=[\w-]+"/.exec(output);
      if (found !== null) resolve(new URL(found[0].replace(/["\s]$/, '')));
    });
    child.once('exit', (code) => reject(new Error(`It ended with ${code}`)));
  });
  return {
    url,
    async end() {
      child.kill('SIGTERM');
      return (await exited)[0] as number;
    },
  };
}

test.each([
  ['console', ['console', '--read-only']],
  ['console --json', ['console', '--json']],
  ['run --console', ['run', '--console', '0', '--every', '3600']],
])('%s prints an address with a token, serves the fleet there, and ends on a signal', async (_, args) => {
  const running = await started(args);
  const { url } = running;
  expect(url.hostname).toBe('127.0.0.1');
  expect((await fetch(url)).status).toBe(200);
  expect((await fetch(url.origin)).status).toBe(401);
  const found = await fetch(`${url.origin}/api/find?prefix=${url.search.replace('?', '&')}`);
  expect(await found.json()).toMatchObject({ objects: [{ key: 'one' }] });
  expect(await running.end()).toBe(0);
});

test('a port that is taken is named', async () => {
  const running = await started(['console', '--json']);
  const ran = await lab.run(['console', '--port', running.url.port]);
  expect(ran.code).toBe(1);
  expect(ran.stderr).toContain(`Cannot serve the console on 127.0.0.1:${running.url.port}`);
  await running.end();
});
