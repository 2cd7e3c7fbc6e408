/**
 * `npm run bench -- [--runs 5] [--sizes 4KiB,1MiB,64MiB,1GiB] [--most 4000] [--concurrency 8] [--latency <ms of S3>,<ms of DynamoDB>]
 * [--objects 1000,10000,100000,1000000] [--tls] [--rclone <command>] [--fleet <file> --from <backend> --to <backend>]`: our copies
 * against a bare SDK loop and, where it is installed, `rclone copy`, in one run, in turn: time, CPU of every process, memory, and
 * what a million would cost; then what idle ticks and metadata cost as a fleet grows. With a latency each request takes that much
 * longer, ours works with its defaults, the others on 64 at a time; and the copies are scrubbed, listed and deleted as well.
 * Without a fleet file, on the embedded servers, which run in processes of their own and share this machine's cores. The other
 * endpoint's buckets are written to.
 */

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from '../../infra/bundle.ts';
import { forEachConcurrently } from '../../lib/base/pool.ts';
import { nodeOptions } from '../../lib/config/node-options.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { createHoldfast } from '../../lib/index.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess, type HoldfastProcess } from '../../lib/process/process.ts';
import { storageKey } from '../../lib/store/keys.ts';
import { streamed } from '../support/big.ts';
import { inMonth } from '../support/usage.ts';
import type { BareWork, Endpoint } from './child-loop.ts';
import { measureGrowth } from './growth.ts';
import { type Latency, parseLatency, startLatency } from './latency.ts';
import type { Measured } from './measured.ts';
import { costOfMillion } from './prices.ts';
import { childrenOf, cpuMsOf, type Watched } from './processes.ts';
import { rcloneVersion, runRclone } from './rclone.ts';
import { startTlsFront, type TlsFront } from './tls.ts';
import { type Target, verdictOf } from './verdicts.ts';

const { values: flags } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    sizes: { type: 'string', default: '4KiB,1MiB,64MiB,1GiB' },
    concurrency: { type: 'string' },
    latency: { type: 'string' },
    most: { type: 'string', default: '4000' },
    objects: { type: 'string', default: '1000,10000,100000,1000000' },
    tls: { type: 'boolean', default: false },
    rclone: { type: 'string', default: process.env.RCLONE ?? 'rclone' },
    fleet: { type: 'string' },
    from: { type: 'string', default: 'local-1' },
    to: { type: 'string', default: 'local-2' },
  },
});
if (flags.tls && flags.fleet !== undefined)
  throw new Error('--tls is for the embedded servers: the fleet file names its own');
const wantedLatency = parseLatency(flags.latency);
const concurrency = Number(flags.concurrency ?? (wantedLatency === null ? 8 : 64));
const bin = resolve(import.meta.dirname, '../../bin/holdfast.js');
const mib = 2 ** 20;
const say = (line: string) => process.stdout.write(`${line}\n`);

/** How many objects of a size make a run: enough of large ones, too, that the start of a process decides little. */
const howMany = (sizeBytes: number) => {
  const fitting = Math.floor((512 * mib) / sizeBytes);
  return Math.max(1, Math.min(Number(flags.most), fitting));
};
/** A GiB three times at most. */
const runsOf = (sizeBytes: number) => Math.min(Number(flags.runs), sizeBytes >= 1024 * mib ? 3 : Number(flags.runs));
/** In so many runs the copies are scrubbed and deleted as well. */
const fullRuns = 3;

const dir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
// As the functions are deployed: what is measured is no compiler of TypeScript.
const child = join(bundle('test/bench/child.ts', join(dir, 'child')).dir, 'index.mjs');
const memoryDir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-bench-'));
// The embedded DynamoDB syncs each write to its disk, which DynamoDB has no share in: its file is in memory where one can be.
mkdirSync(join(dir, 's3'));
symlinkSync(join(dir, 's3'), join(memoryDir, 's3'));
const server = spawn(process.execPath, [bin, 'local', memoryDir, '--faults', '--json'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
let front: TlsFront | null = null;
let latency: Latency | null = null;
try {
  const stack = await firstDocument(server.stdout!);
  const file = JSON.parse(readFileSync(flags.fleet ?? stack.fleet, 'utf8')) as FleetText;
  if (flags.tls)
    front = await startTlsFront(
      file.backends.map(({ endpoint }) => endpoint),
      dir,
    );
  if (flags.tls && front === null) say('There is no `openssl` to make a certificate with: plain HTTP');
  const backends = file.backends.map((backend, i) => ({
    ...backend,
    endpoint: front?.endpoints[i] ?? backend.endpoint,
  }));
  if (wantedLatency !== null)
    latency = await startLatency(
      wantedLatency,
      stack.backends.map(({ control }) => control),
      stack.dynamodbEndpoint,
    );
  const env: Record<string, string> = {
    ...(process.env as Record<string, string>),
    ...stack.env,
    // What is deleted is due at once.
    CLEANUP_QUEUE_GRACE_SECONDS: '0',
    ...(latency === null && { REPLICATOR_CONCURRENCY: String(concurrency) }),
    ...(front && { NODE_EXTRA_CA_CERTS: front.certificatePath }),
  };
  const holdfastProcess = createProcess({ env });
  await holdfastProcess.createTables();
  await apply(
    holdfastProcess,
    parseFleetFile({ ...file, backends, policies: { default: { factor: 2 } }, routing: 'pack' }),
  );
  const rclone = rcloneVersion(flags.rclone);
  say(
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]!.model}, load ${loadavg()[0]!.toFixed(1)}, concurrency ${concurrency}, ` +
      `${wantedLatency === null ? '' : `${wantedLatency.s3Ms} ms per request of S3, ${wantedLatency.dynamodbMs} of DynamoDB, `}` +
      `${flags.fleet ?? 'embedded servers'}${front ? ', TLS' : ''}, ${rclone ?? 'no rclone: not compared'}`,
  );
  const servers: Watched[] = [
    { what: 'S3', pid: server.pid! },
    ...childrenOf(server.pid!, 'dynoxide').map((pid) => ({ what: 'DynamoDB', pid })),
    ...(front ? [{ what: 'TLS', pid: front.child.pid! }] : []),
  ];
  const trust = front === null ? {} : { certificatePath: front.certificatePath };
  const bench: Bench = { holdfastProcess, latency, env, backends, servers, hasRclone: rclone !== null, ...trust };
  for (const size of flags.sizes.split(',').filter(Boolean)) await benchSize(bench, size);
  const growth = await measureGrowth(flags.objects.split(',').filter(Boolean).map(Number), say);
  for (const target of growth) say(verdictOf(target));
  await holdfastProcess.close();
} finally {
  front?.child.kill('SIGTERM');
  latency?.front.disconnect();
  server.kill('SIGTERM');
  await new Promise((gone) => server.once('exit', gone));
  for (const folder of [memoryDir, dir]) rmSync(folder, { recursive: true, force: true });
}

type BackendText = Endpoint & { readonly name: string; readonly prefix?: string };

interface FleetText {
  readonly backends: readonly BackendText[];
}

interface Bench {
  readonly holdfastProcess: HoldfastProcess;
  readonly latency: Latency | null;
  readonly env: Record<string, string>;
  readonly backends: readonly BackendText[];
  readonly servers: readonly Watched[];
  readonly hasRclone: boolean;
  readonly certificatePath?: string;
}

interface StackDocument {
  readonly fleet: string;
  readonly env: Record<string, string>;
  readonly dynamodbEndpoint: string;
  readonly backends: readonly { readonly control: string }[];
}

async function firstDocument(output: NodeJS.ReadableStream): Promise<StackDocument> {
  let text = '';
  for await (const chunk of output) {
    text += String(chunk);
    try {
      return JSON.parse(text) as StackDocument;
    } catch {} // more is to come
  }
  throw new Error('The embedded stack did not start');
}

/** A run with the CPU that each server used meanwhile. */
interface Run extends Measured {
  readonly serverCpuMs: readonly number[];
}

async function benchSize(bench: Bench, size: string): Promise<void> {
  const { holdfastProcess, env, servers, latency } = bench;
  const measuredEnv = latency === null ? env : { ...env, AWS_ENDPOINT_URL_DYNAMODB: latency.dynamodb };
  const sizeBytes = bytesOf(size);
  const count = howMany(sizeBytes);
  const endpoint = (name: string) => bench.backends.find((backend) => backend.name === name)!;
  const [from, to] = [endpoint(flags.from), endpoint(flags.to)];
  const runs = new Map<string, Run[]>();
  const watch = async (name: string, go: () => Promise<Measured> | Measured) => {
    const before = servers.map(({ pid }) => cpuMsOf(pid));
    await latency?.set(true);
    const measured = await go();
    await latency?.set(false);
    const serverCpuMs = servers.map(({ pid }, i) => cpuMsOf(pid) - before[i]!);
    runs.set(name, [...(runs.get(name) ?? []), { ...measured, serverCpuMs }]);
  };
  let [reads, writes] = [0, 0];
  for (let run = 0; run < runsOf(sizeBytes); run += 1) {
    const folder = `bench/${size}/${run}`;
    const keys = Array.from({ length: count }, (_, i) => `${folder}/${i}`);
    const holdfast = createHoldfast({ env });
    await forEachConcurrently(keys.entries(), 16, async ([i, key]) => {
      await holdfast.put(key, streamed(sizeBytes, i % 255));
    });
    // It writes down what it spent: what is added from now on is the run's.
    await holdfast.close();
    writeFileSync(join(dir, 'work.json'), JSON.stringify(await bareWork(holdfastProcess, from, to, keys, sizeBytes)));
    const runOurs = async () => {
      const before = await requestsOf(holdfastProcess);
      await watch('ours', () => runChild(['ours', 'replicator'], measuredEnv));
      const after = await requestsOf(holdfastProcess);
      reads += after.from - before.from;
      writes += after.to - before.to;
    };
    const runBare = () => watch('bare', () => runChild(['bare', join(dir, 'work.json')], env));
    const folders = { fromFolder: `${from.prefix ?? ''}${folder}`, toFolder: `${to.prefix ?? ''}rclone/${folder}` };
    const trust = bench.certificatePath === undefined ? {} : { certificatePath: bench.certificatePath };
    const work = { from, to, ...folders, transfers: concurrency, objects: count, ...trust };
    const runThat = () => watch('rclone', () => runRclone(flags.rclone, work));
    const all = [runOurs, runBare, ...(bench.hasRclone ? [runThat] : [])];
    // Each goes first in turn: what is in the page cache helps all alike.
    for (let i = 0; i < all.length; i += 1) await all[(i + run) % all.length]!();
    if (sizeBytes >= mib || run >= fullRuns) continue;
    await watch('scrub', () => runChild(['ours', 'scrubber'], { ...measuredEnv, SCRUBBER_BATCH_SIZE: '10000' }));
    // Due once a day.
    if (run === 0 && latency !== null) await watch('pass', () => runChild(['ours', 'reconciler'], measuredEnv));
    await watch('delete', () => runChild(['delete', folder], measuredEnv));
    await watch('queue', () => runChild(['ours', 'cleanup-queue'], measuredEnv));
  }
  const ours = runs.get('ours')!;
  const msOf = (all: readonly Run[]) => median(all.map(({ ms, copied }) => ms / copied));
  say(`${size} × ${count}, medians of ${runsOf(sizeBytes)}:`);
  for (const [name, all] of runs) {
    const ratio =
      name !== 'bare' && name !== 'rclone' ? '' : `; ours at ${(msOf(all) / msOf(ours)).toFixed(2)} × its rate`;
    say(
      `  ${name.padEnd(6)} ${describe(all, msOf(all), servers)}; ${((sizeBytes / mib / msOf(all)) * 1000).toFixed(1)} MiB/s${ratio}`,
    );
  }
  const copies = ours.reduce((sum, { copied }) => sum + copied, 0);
  const writeUnits = median(ours.map((run) => (run.writeUnits ?? 0) / run.copied));
  const cost = costOfMillion({ reads: reads / copies, writes: writes / copies, writeUnits, ms: msOf(ours) });
  say(
    `  a million at list prices ${cost}; ${writeUnits.toFixed(2)} write units an object; store calls ${JSON.stringify(ours.at(-1)!.storeCalls)}`,
  );
  const other = (name: string) => runs.get(name);
  for (const target of targetsOf(size, { ours, bare: other('bare')!, rclone: other('rclone'), scrub: other('scrub') }))
    say(verdictOf(target));
  if (latency !== null)
    say(verdictOf({ what: `${size}, --latency: write units a copy`, seen: writeUnits, bound: { atMost: 4.5 } }));
}

interface Compared {
  readonly ours: readonly Run[];
  readonly bare: readonly Run[];
  readonly rclone: readonly Run[] | undefined;
  readonly scrub: readonly Run[] | undefined;
}

/** What is to be shown of a size. */
function targetsOf(size: string, { ours, bare, rclone, scrub }: Compared): Target[] {
  const ms = (all: readonly Run[]) => median(all.map((run) => run.ms / run.copied));
  const cpuMs = (all: readonly Run[]) => median(all.map((run) => run.cpuMs / run.copied));
  const peakMib = median(ours.map(({ maxRssBytes }) => maxRssBytes)) / mib;
  const rateOf = (all: readonly Run[] | undefined) => all && ms(all) / ms(ours);
  const toBare = (atLeast: number) => ({
    what: `${size}: rate, of the loop's`,
    seen: rateOf(bare),
    bound: { atLeast },
  });
  const toRclone = (atLeast: number) => ({
    what: `${size}: rate, of rclone's`,
    seen: rateOf(rclone),
    bound: { atLeast },
  });
  const cpuTo = (atMost: number) => ({
    what: `${size}: CPU, of rclone's`,
    seen: rclone && cpuMs(ours) / cpuMs(rclone),
    bound: { atMost },
  });
  const peak = {
    what: `${size}, ${concurrency} at a time: peak memory`,
    seen: peakMib,
    bound: { atMost: 300 },
    unit: ' MiB',
  };
  if (latency !== null) return [{ ...toRclone(1), what: `${size}, --latency: rate, of rclone's` }, peak];
  const scrubbed = scrub && [
    { what: `${size}: scrubbed a second of CPU`, seen: 1000 / cpuMs(scrub), bound: { atLeast: 1000 } },
  ];
  const own = { what: `${size}: CPU of a copy`, seen: cpuMs(ours), bound: { atMost: 1 }, unit: ' ms' };
  const targets: Readonly<Record<string, readonly Target[]>> = {
    '4KiB': [toBare(2), toRclone(1), own, ...(scrubbed ?? [])],
    '1MiB': [toBare(1.1), toRclone(0.9), cpuTo(1.5)],
    '64MiB': [toBare(1), cpuTo(2)],
    '1GiB': [toRclone(1)],
  };
  return [...(targets[size] ?? []), peak];
}

/** Time and CPU of an object, and what share of a core each process had: what is near 100 % is what holds the others up. */
function describe(all: readonly Run[], msEach: number, servers: readonly Watched[]): string {
  const cpuMs = median(all.map((run) => run.cpuMs / run.copied));
  const peak = Math.round(median(all.map(({ maxRssBytes }) => maxRssBytes)) / mib);
  const share = (cpuOf: (run: Run) => number) =>
    `${Math.round(median(all.map((run) => (100 * cpuOf(run)) / run.ms)))} %`;
  const shares = [
    `itself ${share((run) => run.cpuMs)}`,
    ...servers.map(({ what }, i) => `${what} ${share((run) => run.serverCpuMs[i]!)}`),
  ];
  return `${msEach.toFixed(2)} ms an object (CPU ${cpuMs.toFixed(2)} ms, peak ${peak} MiB); of a core: ${shares.join(', ')}`;
}

async function bareWork(
  holdfastProcess: HoldfastProcess,
  from: BackendText,
  to: BackendText,
  keys: readonly string[],
  sizeBytes: number,
): Promise<BareWork> {
  const entries = new Map<string, string>();
  for (let at = 0; at < keys.length; at += 100) {
    for (const [key, entry] of await holdfastProcess.store.objects(keys.slice(at, at + 100))) {
      if (entry.kind === 'object') entries.set(key, storageKey(key, Object.values(entry.copies)[0]!));
    }
  }
  const work = keys.map((key) => ({
    from: `${from.prefix ?? ''}${entries.get(key)!}`,
    to: `${to.prefix ?? ''}bare/${key}`,
    sizeBytes,
  }));
  return { from, to, concurrency, keys: work };
}

/** Requests of this month that workers and library have written down. */
async function requestsOf(holdfastProcess: HoldfastProcess): Promise<{ from: number; to: number }> {
  const usage = await holdfastProcess.store.usage(inMonth(new Date().toISOString().slice(0, 7)), [
    flags.from,
    flags.to,
  ]);
  return { from: usage.get(flags.from)?.requests ?? 0, to: usage.get(flags.to)?.requests ?? 0 };
}

function runChild(args: readonly string[], given: Record<string, string>): Measured {
  const env = { ...given, NODE_OPTIONS: nodeOptions };
  const ran = spawnSync(process.execPath, [child, ...args], { env, encoding: 'utf8', maxBuffer: 64 * mib });
  if (ran.status !== 0) throw new Error(`A run failed: ${ran.stderr}${ran.stdout}`);
  return JSON.parse(ran.stdout) as Measured;
}

function median(all: readonly number[]): number {
  const sorted = [...all].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function bytesOf(size: string): number {
  const [, n, unit] = /^(\d+)(KiB|MiB|GiB)$/.exec(size) ?? [];
  if (n === undefined) throw new Error(`"${size}" is not a size: 4KiB, 1MiB, 1GiB`);
  return Number(n) * { KiB: 1024, MiB: mib, GiB: 1024 * mib }[unit as 'KiB'];
}
