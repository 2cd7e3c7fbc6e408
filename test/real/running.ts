import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { homeOf } from './recipes.ts';
import { bucket, keys, type RealServer, region } from './servers.ts';

/** A real server on this machine, with one bucket. */
export interface Running {
  readonly endpoint: string;
  /** Ends it without a word, as a machine that fails. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Ends it, and removes what it stored. */
  close(): Promise<void>;
}

const startMs = 120_000;
/** What a server may use for itself besides. */
const portsOfOne = 8;
const pauseMs = 250;

/** What it stores is in a folder below `parent`. */
export async function startServer(server: RealServer, parent: string): Promise<Running> {
  const dir = mkdtempSync(join(parent, `${server.name}-`));
  const port = await freePorts(portsOfOne);
  const endpoint = `http://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  let output = '';
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'close');
    child.kill('SIGKILL');
    await ended;
  };
  const start = async () => {
    const { program, args, env } = server.launch({ home: homeOf(server.name, server.version), dir, port });
    child = spawn(program, args, { cwd: dir, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const hear = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_000);
    };
    child.stdout!.on('data', hear);
    child.stderr!.on('data', hear);
    child.on('error', (error) => hear(Buffer.from(error.message)));
    await answering(
      endpoint,
      () => child!.exitCode === null && child!.signalCode === null,
      () => output,
    );
  };
  const close = async () => {
    await kill();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return { endpoint, kill, start, close };
}

/** Waits until a bucket can be made, or is there. */
async function answering(endpoint: string, isAlive: () => boolean, output: () => string): Promise<void> {
  const s3 = new S3Client({ endpoint, region, credentials: keys, forcePathStyle: true, maxAttempts: 1 });
  const until = Date.now() + startMs;
  try {
    for (;;) {
      const error = await s3.send(new CreateBucketCommand({ Bucket: bucket })).then(
        () => null,
        (refused: Error) => refused,
      );
      if (error === null || /BucketAlready|AlreadyExists/.test(error.name)) return;
      if (!isAlive() || Date.now() > until)
        throw new Error(`It does not answer: ${error.message}; it said: ${output()}`);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  } finally {
    s3.destroy();
  }
}

/** A port with a few behind it that are free as well, below those that connections are given on their way out. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = randomInt(12_000, 20_000);
    const taken = await Promise.all(Array.from({ length: count }, (_, i) => isTaken(first + i)));
    if (!taken.includes(true)) return first;
  }
}

async function isTaken(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.on('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    await new Promise((resolve) => server.close(resolve));
    return false;
  } catch {
    return true;
  }
}

/** Writes one file of a run, and the folder for it. */
export function writeResult(dir: string, name: string, value: unknown): string {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, name);
  writeFileSync(path, JSON.stringify(value));
  return path;
}
