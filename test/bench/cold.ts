/**
 * `npm run bench:cold [-- <runs>]`: what a cold start loads. Sizes of every bundle against the two bare SDK clients; the time
 * and the CPU that a fresh process takes to import it; and from the start of a process to the answer to its first query, as an
 * idle tick has it. Medians, all in turn so that noise meets them alike.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle, type Entry, entryOf } from '../../infra/bundle.ts';
import { nodeOptions } from '../../lib/config/node-options.ts';
import { workerNames } from '../../lib/config/parameters.ts';
import { verdictOf } from './verdicts.ts';

const runs = Number(process.argv[2] ?? 9);
const allowance = 150 * 1024;
const entries: Record<string, Entry> = { bare: 'test/bench/bare-query.ts' };
for (const name of [...workerNames, 'apply'] as const) entries[name] = entryOf(name);

interface Start {
  readonly ms: number;
  readonly cpuMs: number;
}

const dir = mkdtempSync(join(tmpdir(), 'holdfast-cold-'));
/** Tables in which there is nothing. */
const server = createServer((request, response) => {
  request.resume().on('end', () => response.end('{"Items":[],"Count":0,"ScannedCount":0}'));
}).listen(0, '127.0.0.1');
await once(server, 'listening');
const built = Object.entries(entries).map(([name, entry]) => ({
  name,
  ...bundle(entry, join(dir, name), { withEncryption: name === 'scrubber' }),
  imports: [] as Start[],
  queries: [] as Start[],
}));
/** `apply` is no tick: it asks more than one question. */
const isTick = (name: string) => name !== 'apply';
for (let run = 0; run < runs; run += 1) {
  for (const one of built) {
    const file = JSON.stringify(join(one.dir, 'index.mjs'));
    one.imports.push(await start(`await import(${file})`));
    if (isTick(one.name))
      one.queries.push(await start(`await (await import(${file})).handler({}, context).catch(() => {})`));
  }
}
server.close();
rmSync(dir, { recursive: true, force: true });

const bare = built[0]!;
const say = (line: string) => process.stdout.write(`${line}\n`);
const cell = (value: string | number) => String(value).padStart(14);
say(`Node ${process.version}, ${runs} runs each, medians, from the start of a process. Room: bare + 150 KiB − cold.`);
const heads = ['cold bytes', 'room', 'all bytes', 'import ms', 'of CPU', 'first answer', 'of CPU'];
say(''.padEnd(26) + heads.map(cell).join(''));
for (const { name, coldBytes, totalBytes, imports, queries } of built) {
  const room = bare.coldBytes + allowance - coldBytes;
  const times = [...figuresOf(imports), ...(queries.length > 0 ? figuresOf(queries) : ['', ''])];
  say(name.padEnd(26) + [coldBytes, room, totalBytes, ...times].map(cell).join(''));
  if (room < 0) process.exitCode = 1;
}
const most = Math.max(...built.map(({ coldBytes }) => coldBytes));
say(
  verdictOf({
    what: 'largest bundle, above the bare clients',
    seen: (most - bare.coldBytes) / 1024,
    bound: { atMost: 200 },
    unit: ' KiB',
  }),
);
for (const kind of ['imports', 'queries'] as const) {
  const what = kind === 'imports' ? 'import' : 'first answer';
  const ticks = built.filter(({ name }) => name !== 'bare' && isTick(name));
  const ratio = (of: keyof Start) => {
    const all = ticks.map((one) => middle(one[kind], of) / middle(bare[kind], of));
    return `${Math.min(...all).toFixed(2)} to ${Math.max(...all).toFixed(2)}`;
  };
  say(`${what} of a tick, of the bare clients': ${ratio('ms')} of the time, ${ratio('cpuMs')} of the CPU`);
}

function figuresOf(all: readonly Start[]): string[] {
  return [middle(all, 'ms').toFixed(0), middle(all, 'cpuMs').toFixed(0)];
}

function middle(all: readonly Start[], of: keyof Start): number {
  return all.map((one) => one[of]).toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!;
}

/** Runs something in a process of its own; its time and CPU from its start on. */
async function start(script: string): Promise<Start> {
  const whole = `const context = { getRemainingTimeInMillis: () => 60_000 }; const write = process.stdout.write;
    process.stdout.write = () => true; ${script}; const { user, system } = process.cpuUsage();
    write.call(process.stdout, JSON.stringify({ ms: performance.now(), cpuMs: (user + system) / 1000 })); process.exit(0);`;
  const env = {
    PATH: process.env.PATH,
    NODE_OPTIONS: nodeOptions,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'x',
    AWS_SECRET_ACCESS_KEY: 'x',
    AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  };
  const child = spawn(process.execPath, ['--input-type=module', '-e', whole], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (more: Buffer) => {
    text += String(more);
  });
  const [status] = (await once(child, 'close')) as [number];
  if (status !== 0) throw new Error(`It does not start: ${script}`);
  return JSON.parse(text) as Start;
}
