/** One measured run, in a process of its own: `ours <worker>`, a tick; `delete <folder>`, its objects deleted by the library; `bare`, the loop anybody would write with the SDK. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { forEachConcurrently } from '../../lib/base/pool.ts';
import type { WorkerName } from '../../lib/config/parameters.ts';
import { createHoldfast } from '../../lib/index.ts';
import { createProcess } from '../../lib/process/process.ts';
import type { Store } from '../../lib/store/port.ts';
import { runTick } from '../../lib/tick/run-tick.ts';
import { workers } from '../../lib/workers/workers.ts';

export interface Endpoint {
  readonly endpoint: string;
  readonly bucket: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/** What the loop copies. */
export interface BareWork {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly concurrency: number;
  readonly keys: readonly { readonly from: string; readonly to: string; readonly sizeBytes: number }[];
}

export interface Measured {
  readonly ms: number;
  readonly cpuMs: number;
  readonly maxRssBytes: number;
  readonly copied: number;
  /** Of DynamoDB. */
  readonly writeUnits?: number;
  readonly storeCalls?: Readonly<Record<string, number>>;
}

const [mode, argument] = process.argv.slice(2);
const measured =
  mode === 'ours'
    ? await ours(argument as WorkerName)
    : mode === 'delete'
      ? await deleted(argument!)
      : await bare(JSON.parse(readFileSync(argument!, 'utf8')) as BareWork);
process.stdout.write(`${JSON.stringify(measured)}\n`);
process.exit(0);

/** Of the whole process: its start is part of its time, as it is of rclone's. */
async function measure(work: () => Promise<Partial<Measured> & { copied: number }>): Promise<Measured> {
  const done = await work();
  const ms = performance.now();
  const { user, system } = process.cpuUsage();
  return { ms, cpuMs: (user + system) / 1000, maxRssBytes: process.resourceUsage().maxRSS * 1024, ...done };
}

async function ours(worker: WorkerName): Promise<Measured> {
  const holdfastProcess = createProcess({ env: process.env });
  const storeCalls: Record<string, number> = {};
  let writeUnits = 0;
  const store = new Proxy(holdfastProcess.store, {
    get(target, name, receiver) {
      const method = Reflect.get(target, name, receiver) as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        storeCalls[String(name)] = (storeCalls[String(name)] ?? 0) + 1;
        const answer = await method.apply(target, args);
        // A cycle begins: the last one would wait for a month.
        if (name === 'acquireLease' && worker === 'scrubber') return { ...(answer as object), cursor: undefined };
        if (name === 'transact') writeUnits += (answer as { writeUnits?: number }).writeUnits ?? 0;
        return answer;
      };
    },
  }) as Store;
  return measure(async () => {
    const report = await runTick({ ...holdfastProcess, store }, workers[worker]!, {
      deadline: Date.now() + 900_000,
    });
    if (report.failed > 0 || report.outcome === 'error') throw new Error(JSON.stringify(report));
    return { copied: Math.max(1, report.succeeded), writeUnits, storeCalls };
  });
}

async function deleted(folder: string): Promise<Measured> {
  const holdfast = createHoldfast({ env: process.env });
  const keys: string[] = [];
  for await (const { key } of holdfast.list(folder)) keys.push(key);
  return measure(async () => {
    await forEachConcurrently(keys, 64, async (key) => void (await holdfast.delete(key)));
    return { copied: keys.length };
  });
}

async function bare({ from, to, concurrency, keys }: BareWork): Promise<Measured> {
  const open = ({ endpoint, credentials }: Endpoint) =>
    new S3Client({
      endpoint,
      credentials,
      region: 'us-east-1',
      forcePathStyle: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      expectContinueHeader: false,
    });
  const [source, target] = [open(from), open(to)];
  return measure(async () => {
    await forEachConcurrently(keys, concurrency, async (key) => {
      const hash = createHash('sha256');
      const { Body } = await source.send(new GetObjectCommand({ Bucket: from.bucket, Key: key.from }));
      const request = { Bucket: to.bucket, Key: key.to, ContentLength: key.sizeBytes };
      if (key.sizeBytes <= 2 ** 20) {
        const bytes = await Body!.transformToByteArray();
        hash.update(bytes);
        await target.send(new PutObjectCommand({ ...request, Body: bytes }));
      } else {
        const body = Readable.from(hashing(Body as Readable, hash), { objectMode: false });
        await target.send(new PutObjectCommand({ ...request, Body: body }));
      }
      hash.digest('hex');
    });
    return { copied: keys.length };
  });
}

async function* hashing(body: AsyncIterable<Uint8Array>, hash: ReturnType<typeof createHash>) {
  for await (const chunk of body) {
    hash.update(chunk);
    yield chunk;
  }
}
