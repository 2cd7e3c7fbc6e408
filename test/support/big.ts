import { type ChildProcess, spawn } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { resolve } from 'node:path';
import type { Body } from '../../lib/base/bytes.ts';
import { nodeOptions } from '../../lib/config/node-options.ts';
import { parseFleetFile } from '../../lib/config/parse-fleet-file.ts';
import { apply } from '../../lib/operations/apply.ts';
import { lane, shards } from '../../lib/store/keys.ts';
import type { QueueItem } from '../../lib/store/model.ts';
import { expireLeases, type Lab } from './lab.ts';

const bin = resolve(import.meta.dirname, '../../bin/holdfast.js');
const blockBytes = 2 ** 20;

/** Content of any size that is never in memory as a whole: the same for the same seed, different everywhere. */
export function streamed(sizeBytes: number, seed = 1): { readonly sizeBytes: number; open(): Body } {
  return {
    sizeBytes,
    async *open() {
      const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
      const zeros = Buffer.alloc(blockBytes);
      for (let at = 0; at < sizeBytes; at += blockBytes)
        yield cipher.update(zeros.subarray(0, Math.min(blockBytes, sizeBytes - at)));
    },
  };
}

export async function sha256Of(body: Body): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of body) hash.update(chunk);
  return hash.digest('hex');
}

/** Puts fields of backends into force, by name. */
export async function configure(lab: Lab, fields: Record<string, Record<string, unknown>>): Promise<void> {
  const backends = lab.stack.fleet.backends.map((backend) => ({ ...backend, ...fields[backend.name] }));
  await apply(lab.holdfastProcess, parseFleetFile({ ...lab.stack.fleet, backends }));
}

export interface TickRun {
  readonly child: ChildProcess;
  /** Its report, and the most memory it held; null when it was killed. */
  readonly ended: Promise<{ readonly report: Record<string, unknown>; readonly maxRssBytes: number } | null>;
}

/** Runs a replicator tick as a process of its own, as its function would. */
export function startTick(lab: Lab, args: readonly string[]): TickRun {
  const script = `const { main } = await import(${JSON.stringify(bin.replace('bin/holdfast.js', 'lib/cli/main.ts'))});
process.on('exit', () => process.stderr.write('maxrss ' + process.resourceUsage().maxRSS + '\\n'));
await main(process.argv.slice(1));`;
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', script, 'tick', 'replicator', ...args, '--json'],
    { env: { ...lab.env, NODE_OPTIONS: nodeOptions }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  let errors = '';
  child.stdout!.on('data', (text: Buffer) => {
    output += text;
  });
  child.stderr!.on('data', (text: Buffer) => {
    errors += text;
  });
  const ended = once(child, 'close').then(([, signal]) => {
    if (signal !== null) return null;
    const maxRss = Number(/maxrss (\d+)/.exec(errors)?.[1]) * 1024;
    return { report: JSON.parse(output) as Record<string, unknown>, maxRssBytes: maxRss };
  });
  return { child, ended };
}

/** Kills it with no chance to say goodbye, and lets its lease and its claims run out at once. */
export async function killTick(lab: Lab, run: TickRun): Promise<void> {
  run.child.kill('SIGKILL');
  await run.ended;
  await makeDue(lab);
}

/** Lets leases, claims and waits of the replicator run out at once. */
export async function makeDue(lab: Lab): Promise<void> {
  await expireLeases(lab, 'replicator');
  for (const item of await transfersOf(lab)) {
    const expect = { state: 'transfer', dueAt: item.dueAt } as const;
    await lab.holdfastProcess.store.write({ kind: 'queue', put: { ...item, dueAt: 0 }, expect });
  }
}

export async function transfersOf(lab: Lab): Promise<QueueItem[]> {
  const items: QueueItem[] = [];
  for (const { name } of lab.stack.backends) {
    for (const shard of shards) {
      items.push(
        ...(await lab.holdfastProcess.store.due(lane('transfer', name, shard), Number.MAX_SAFE_INTEGER, 100)).items,
      );
    }
  }
  return items;
}

/** What the servers of a lab have seen since they were last cleared. */
export function seenBy(lab: Lab, operation: string): { readonly count: number; readonly bytesOut: number } {
  const all = lab.stack.backends.flatMap(({ server }) => server.requests.matching({ operation, status: 200 }));
  const partial = lab.stack.backends.flatMap(({ server }) => server.requests.matching({ operation, status: 206 }));
  const records = [...all, ...partial].filter(({ key }) => !key.startsWith('.holdfast/'));
  return { count: records.length, bytesOut: records.reduce((sum, { bytesOut }) => sum + bytesOut, 0) };
}
