/**
 * `npm run bench:cold`: what a cold start loads. Sizes of every bundle against the two bare SDK clients, and the time a
 * fresh process takes to import it, medians of many runs, ES modules and CommonJS in turn so that noise meets both.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bundle, bundle, type Entry, entryOf } from '../../infra/bundle.ts';
import { nodeOptions } from '../../lib/config/node-options.ts';
import { workerNames } from '../../lib/config/parameters.ts';

const runs = Number(process.argv[2] ?? 15);
const allowance = 150 * 1024;
const entries: Record<string, Entry> = { bare: 'test/bench/bare-clients.ts' };
for (const name of [...workerNames, 'apply'] as const) entries[name] = entryOf(name);

const dir = mkdtempSync(join(tmpdir(), 'holdfast-cold-'));
const built = Object.entries(entries).map(([name, entry]) => ({
  name,
  esm: bundle(entry, join(dir, 'esm', name), { withEncryption: name === 'scrubber' }),
  cjs: bundle(entry, join(dir, 'cjs', name), { format: 'cjs' }),
}));
const times = new Map(built.flatMap(({ esm, cjs }) => [esm, cjs].map((b): [Bundle, number[]] => [b, []])));
for (let run = 0; run < runs; run += 1) {
  for (const { esm, cjs } of built) {
    times.get(esm)!.push(importMs(join(esm.dir, 'index.mjs')));
    times.get(cjs)!.push(importMs(join(cjs.dir, 'index.js')));
  }
}
rmSync(dir, { recursive: true, force: true });

const bare = built[0]!;
const say = (line: string) => process.stdout.write(`${line}\n`);
const cell = (value: string | number, width = 11) => String(value).padStart(width);
say(
  `Node ${process.version}, ${runs} runs each, medians. Cold: what is loaded at the start. Room: bare + 150 KiB − cold.`,
);
say(
  ['', 'cold bytes', 'room', 'all bytes', 'esm ms', 'cjs bytes', 'cjs ms']
    .map((t, i) => (i ? cell(t) : t.padEnd(26)))
    .join(''),
);
let isOver = false;
for (const { name, esm, cjs } of built) {
  const room = bare.esm.coldBytes + allowance - esm.coldBytes;
  isOver ||= room < 0;
  const cells = [esm.coldBytes, room, esm.totalBytes, median(esm).toFixed(1), cjs.coldBytes, median(cjs).toFixed(1)];
  say(name.padEnd(26) + cells.map((value) => cell(value)).join(''));
}
if (isOver) {
  process.stderr.write('A bundle is larger than the two bare clients and 150 KiB\n');
  process.exitCode = 1;
}

function median(of: Bundle): number {
  const sorted = times.get(of)!.sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function importMs(file: string): number {
  const script = `const t = process.hrtime.bigint(); import(${JSON.stringify(file)}).then(() => {
    process.stdout.write(String(Number(process.hrtime.bigint() - t) / 1e6)); process.exit(0); });`;
  const env = {
    PATH: process.env.PATH,
    NODE_OPTIONS: nodeOptions,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'x',
    AWS_SECRET_ACCESS_KEY: 'x',
  };
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', script], { env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${file} does not load: ${stderr}`);
  return Number(stdout);
}
