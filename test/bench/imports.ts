/**
 * `npm run bench:imports -- [--files 100000] [--s3-ms 30] [--dynamodb-ms 5]`: a bucket that is already full, imported by the
 * command line in one process with its defaults, and gone through twice more when all of it is known: by the command, and by
 * one tick with the time of a Lambda function. The bucket's listing is made up; DynamoDB is the embedded one, behind a front that answers later and counts.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startDynamo } from '../../lib/local/dynamodb.ts';
import { prices } from '../../lib/plans/import-estimate.ts';
import type { Asked, Ready } from './made-up.ts';
import { cpuMsOf, peakBytesOf } from './processes.ts';

const { values: flags } = parseArgs({
  options: {
    files: { type: 'string', default: '100000' },
    's3-ms': { type: 'string', default: '30' },
    'dynamodb-ms': { type: 'string', default: '5' },
    verbose: { type: 'boolean', default: false },
  },
});
const files = Number(flags.files);
const bin = resolve(import.meta.dirname, '../../bin/holdfast.js');
const mib = 2 ** 20;
const say = (line: string) => process.stdout.write(`${line}\n`);

interface Ran {
  readonly document: Record<string, unknown>;
  readonly ms: number;
  readonly cpuMs: number;
  /** Of what holds the records, and of what stands for the bucket. */
  readonly dynamoCpuMs: number;
  readonly frontCpuMs: number;
  readonly peakBytes: number;
  /** Memory held after each tenth of the run. */
  readonly heldMiB: readonly number[];
  readonly asked: Asked;
}

const dir = mkdtempSync(join(tmpdir(), 'holdfast-imports-'));
const dynamo = await startDynamo({ dir });
const front = fork(resolve(import.meta.dirname, 'made-up.ts'), [
  join(dir, 's3'),
  flags.files,
  flags['s3-ms'],
  flags['dynamodb-ms'],
  dynamo.endpoint,
]);
try {
  const [ready] = (await once(front, 'message')) as [Ready];
  const env = environment(ready);
  await run(['init', '--allow-private-endpoint', 'full'], env);
  say(
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]!.model}, load ${loadavg()[0]!.toFixed(1)}; ` +
      `${files} files, S3 answers after ${flags['s3-ms']} ms, DynamoDB after ${flags['dynamodb-ms']} ms`,
  );
  tell('import', await run(['import', 'full'], env));
  tell('a pass over what is known', await run(['reconcile', 'full'], env));
  tell('the same in one tick', await run(['tick', 'reconciler', '--deadline', '900'], env));
  const { differences } = (await run(['recount'], env)).document as { differences: unknown[] };
  say(`ledger and records: ${differences.length === 0 ? 'agree' : JSON.stringify(differences)}`);
  const { placements } = (await run(['status'], env)).document as { placements: unknown };
  say(`placements: ${JSON.stringify(placements)}`);
} finally {
  front.disconnect();
  await dynamo.close();
  rmSync(dir, { recursive: true, force: true });
}

function environment({ s3, dynamodb, bucket, credentials }: Ready): Record<string, string> {
  const fleet = join(dir, 'fleet.json');
  const place = { endpoint: s3, bucket, pathStyle: true, credentials };
  const backends = [
    { name: 'full', ...place },
    { name: 'second', ...place, prefix: '.holdfast-second/' },
  ];
  writeFileSync(fleet, JSON.stringify({ backends: backends.slice(0, 1), policies: { default: { factor: 1 } } }));
  return {
    PATH: process.env.PATH ?? '',
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'x',
    AWS_SECRET_ACCESS_KEY: 'x',
    HOLDFAST_FLEET: fleet,
    ...(process.env.NODE_OPTIONS && { NODE_OPTIONS: process.env.NODE_OPTIONS }),
  };
}

async function run(args: readonly string[], env: Record<string, string>): Promise<Ran> {
  await askedOf(front);
  const before = { dynamo: cpuMsOf(dynamo.pid), front: cpuMsOf(front.pid!) };
  const startedAt = performance.now();
  const child = spawn(process.execPath, [bin, ...args, '--json'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  let [stdout, cpuMs, peakBytes] = ['', 0, 0];
  const held: number[] = [];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += String(chunk);
  });
  while (child.exitCode === null && child.signalCode === null) {
    await Promise.race([exit, sleep(50)]);
    cpuMs = Math.max(cpuMs, cpuMsOf(child.pid!));
    peakBytes = Math.max(peakBytes, peakBytesOf(child.pid!));
    held.push(peakBytes / mib);
  }
  if (child.exitCode !== 0) throw new Error(`holdfast ${args.join(' ')} ended with ${child.exitCode}: ${stdout}`);
  return {
    document: stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>),
    ms: performance.now() - startedAt,
    cpuMs,
    dynamoCpuMs: cpuMsOf(dynamo.pid) - before.dynamo,
    frontCpuMs: cpuMsOf(front.pid!) - before.front,
    peakBytes,
    heldMiB: Array.from({ length: 10 }, (_, i) =>
      Math.round(held[Math.floor(((i + 1) / 10) * (held.length - 1))] ?? 0),
    ),
    asked: await askedOf(front),
  };
}

async function askedOf(child: ChildProcess): Promise<Asked> {
  child.send('tell');
  const [asked] = (await once(child, 'message')) as [Asked];
  return asked;
}

function tell(what: string, { document, ms, cpuMs, dynamoCpuMs, frontCpuMs, peakBytes, heldMiB, asked }: Ran): void {
  const { s3, dynamodb, rangeWrites } = asked;
  const isWrite = (name: string) => /Transact|Put|Delete|Update/.test(name);
  const unitsOf = (which: (name: string) => boolean) =>
    Object.entries(dynamodb).reduce((sum, [name, { units }]) => sum + (which(name) ? units : 0), 0);
  const [writes, reads] = [unitsOf(isWrite), unitsOf((name) => !isWrite(name))];
  const million = 1e6 / files;
  const usd = writes * prices.writeUnit + reads * prices.readUnit;
  const share = (one: number) => `${Math.round((100 * one) / ms)} %`;
  say(`${what}: ${JSON.stringify(document.found ?? document.figures)}`);
  say(
    `  ${(ms / 1000).toFixed(1)} s, ${Math.round((1000 * files) / ms)} files/s; CPU ${(cpuMs / files).toFixed(3)} ms a file ` +
      `(${Math.round((1000 * files) / cpuMs)} files per second of it); of a core: itself ${share(cpuMs)}, DynamoDB ${share(dynamoCpuMs)}, fronts ${share(frontCpuMs)}`,
  );
  say(`  peak ${Math.round(peakBytes / mib)} MiB; most held after each tenth: ${heldMiB.join(' ')}`);
  say(`  S3: ${JSON.stringify(s3)}`);
  const ranges = Object.values(rangeWrites);
  const rows = ranges.reduce((sum, writes) => sum + writes, 0);
  say(`  control table: ${ranges.length} ranges, ${rows} writes of them; of one at most ${Math.max(0, ...ranges)}`);
  say(
    `  DynamoDB: ${(writes / files).toFixed(2)} write units, ${(reads / files).toFixed(2)} read units a file, $${(usd * million).toFixed(2)} a million; ${JSON.stringify(dynamodb)}`,
  );
}
