/**
 * `npm run bench -- [--runs 5] [--sizes 4KiB,1MiB,64MiB,1GiB] [--concurrency 8] [--objects 1000,10000,100000]
 * [--fleet <file> --from <backend> --to <backend>]`: our copies against a bare SDK loop, in one run, in turn; what idle
 * ticks cost, and what metadata costs as a fleet grows. Without a fleet file, on the embedded servers, which run in a process
 * of their own and share this machine's cores. The other endpoint's buckets are written to.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { createHoldfast } from '../../lib/index.ts';
import { createProcess, type HoldfastProcess } from '../../lib/process/process.ts';
import { storageKey } from '../../lib/store/keys.ts';
import { apply } from '../../lib/workers/apply.ts';
import { streamed } from '../support/big.ts';
import type { BareWork, Endpoint, Measured } from './child.ts';
import { measureGrowth } from './growth.ts';

const { values: flags } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    sizes: { type: 'string', default: '4KiB,1MiB,64MiB,1GiB' },
    concurrency: { type: 'string', default: '8' },
    objects: { type: 'string', default: '1000,10000,100000' },
    fleet: { type: 'string' },
    from: { type: 'string', default: 'local-1' },
    to: { type: 'string', default: 'local-2' },
  },
});
const concurrency = Number(flags.concurrency);
const bin = resolve(import.meta.dirname, '../../bin/holdfast.js');
const child = resolve(import.meta.dirname, 'child.ts');
const mib = 2 ** 20;
const say = (line: string) => process.stdout.write(`${line}\n`);

/** How many objects of a size make a run. */
const howMany = (sizeBytes: number) => Math.max(1, Math.min(400, Math.floor((128 * mib) / sizeBytes)));

const dir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
const server = spawn(process.execPath, [bin, 'local', join(dir, 'stack'), '--json'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
try {
  const stack = await firstDocument(server.stdout!);
  const env = { ...(process.env as Record<string, string>), ...stack.env, REPLICATOR_CONCURRENCY: String(concurrency) };
  const wired = createProcess({ env });
  const file = JSON.parse(readFileSync(flags.fleet ?? stack.fleet, 'utf8')) as FleetText;
  await wired.createTables();
  await apply(wired, parseFleetFile({ ...file, policies: { default: { factor: 2 } }, routing: 'pack' }));
  say(
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]!.model}, load ${loadavg()[0]!.toFixed(1)}, concurrency ${concurrency}, ${flags.fleet ?? 'embedded servers in one other process'}`,
  );
  sayRclone();
  for (const size of flags.sizes.split(',').filter(Boolean)) await benchSize(wired, env, file, size);
  await measureGrowth(wired, flags.objects.split(',').filter(Boolean).map(Number), say);
  await wired.close();
} finally {
  server.kill('SIGTERM');
  await new Promise((gone) => server.once('exit', gone));
  rmSync(dir, { recursive: true, force: true });
}

interface FleetText {
  readonly backends: readonly (Endpoint & { readonly name: string; readonly prefix?: string })[];
}

async function firstDocument(output: NodeJS.ReadableStream): Promise<{ fleet: string; env: Record<string, string> }> {
  let text = '';
  for await (const chunk of output) {
    text += String(chunk);
    try {
      return JSON.parse(text) as { fleet: string; env: Record<string, string> };
    } catch {} // more is to come
  }
  throw new Error('The embedded stack did not start');
}

function sayRclone(): void {
  const there = spawnSync('rclone', ['version']).status === 0;
  say(there ? 'rclone is installed; it is not driven yet' : 'rclone is not installed: no comparison with it');
}

async function benchSize(
  wired: HoldfastProcess,
  env: Record<string, string>,
  file: FleetText,
  size: string,
): Promise<void> {
  const sizeBytes = bytesOf(size);
  const count = howMany(sizeBytes);
  const holdfast = createHoldfast({ env });
  const endpoint = (name: string) => file.backends.find((backend) => backend.name === name)!;
  const [from, to] = [endpoint(flags.from), endpoint(flags.to)];
  const [oursMs, bareMs, cpu, bareCpu, rss, bareRss, units]: number[][] = [[], [], [], [], [], [], []];
  let calls: Readonly<Record<string, number>> | undefined;
  for (let run = 0; run < Number(flags.runs); run += 1) {
    const keys = Array.from({ length: count }, (_, i) => `bench/${size}/${run}/${i}`);
    for (const [i, key] of keys.entries()) await holdfast.put(key, streamed(sizeBytes, i % 255));
    const entries = await wired.store.objects(keys);
    const work: BareWork = {
      from,
      to,
      concurrency,
      keys: keys.map((key) => {
        const entry = entries.get(key)!;
        if (entry.kind !== 'object') throw new Error(`"${key}" is gone`);
        const [copyId] = Object.values(entry.copies);
        return {
          from: `${from.prefix ?? ''}${storageKey(key, copyId!)}`,
          to: `${to.prefix ?? ''}bare/${key}`,
          sizeBytes,
        };
      }),
    };
    writeFileSync(join(dir, 'work.json'), JSON.stringify(work));
    const runOurs = () => {
      const m = runChild(['ours'], env);
      oursMs!.push(m.ms / m.copied);
      cpu!.push(m.cpuMs / m.copied);
      rss!.push(m.maxRssBytes);
      units!.push((m.writeUnits ?? 0) / m.copied);
      calls = m.storeCalls;
    };
    const runBare = () => {
      const m = runChild(['bare', join(dir, 'work.json')], env);
      bareMs!.push(m.ms / m.copied);
      bareCpu!.push(m.cpuMs / m.copied);
      bareRss!.push(m.maxRssBytes);
    };
    // Each goes first in turn: what is in the page cache helps both alike.
    for (const go of run % 2 === 0 ? [runOurs, runBare] : [runBare, runOurs]) go();
  }
  await holdfast.close();
  const ratio = median(bareMs!) / median(oursMs!);
  say(
    `${size.padStart(6)} × ${count}: ours ${median(oursMs!).toFixed(2)} ms an object (CPU ${median(cpu!).toFixed(2)} ms, peak ${inMib(rss!)}), ` +
      `bare ${median(bareMs!).toFixed(2)} ms (CPU ${median(bareCpu!).toFixed(2)} ms, peak ${inMib(bareRss!)}): ${ratio.toFixed(2)} × its rate; ` +
      `${((sizeBytes / mib / median(oursMs!)) * 1000).toFixed(1)} MiB/s; ${median(units!).toFixed(2)} write units an object; store calls ${JSON.stringify(calls)}`,
  );
}

function runChild(args: readonly string[], env: Record<string, string>): Measured {
  const ran = spawnSync(process.execPath, [child, ...args], { env, encoding: 'utf8', maxBuffer: 64 * mib });
  if (ran.status !== 0) throw new Error(`A run failed: ${ran.stderr}${ran.stdout}`);
  return JSON.parse(ran.stdout) as Measured;
}

function median(all: readonly number[]): number {
  const sorted = [...all].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function inMib(all: readonly number[]): string {
  return `${Math.round(median(all) / mib)} MiB`;
}

function bytesOf(size: string): number {
  const [, n, unit] = /^(\d+)(KiB|MiB|GiB)$/.exec(size) ?? [];
  if (n === undefined) throw new Error(`"${size}" is not a size: 4KiB, 1MiB, 1GiB`);
  return Number(n) * { KiB: 1024, MiB: mib, GiB: 1024 * mib }[unit as 'KiB'];
}
