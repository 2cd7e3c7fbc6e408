import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { defined } from '../../lib/base/defined.ts';
import { runCommandLine } from '../../lib/cli/main.ts';
import type { Holdfast } from '../../lib/client/client.ts';
import { createHoldfast } from '../../lib/client/holdfast.ts';
import { type Stack, type StackOptions, startStack } from '../../lib/local/stack.ts';

export const entry = join(import.meta.dirname, '..', '..', 'bin', 'holdfast.js');

/** What a run of the command line left behind. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly bytes: Buffer;
  readonly stderr: string;
  /** Stdout as the one JSON document it must be. */
  json<T = Record<string, unknown>>(): T;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
  readonly cwd?: string;
  /** Which of its streams are a terminal; in this process alone. */
  readonly terminals?: readonly ('stdin' | 'stdout' | 'stderr')[];
  /** What its stdin is, to whoever asks the system; in this process alone. */
  readonly stdinFd?: number;
}

/** The command line on an embedded stack. */
export interface CliLab {
  readonly stack: Stack;
  /** The library on the same fleet: arranges what a command then meets. */
  readonly holdfast: Holdfast;
  /** A folder of its own for files. */
  readonly dir: string;
  /** In this process. */
  run(args: readonly string[], options?: RunOptions): Promise<Ran>;
  /** Runs with `--json`; throws unless it succeeds. */
  json<T = Record<string, unknown>>(args: readonly string[], options?: RunOptions): Promise<T>;
  /** In a process of its own, for what only that shows. */
  spawn(args: readonly string[], options?: RunOptions): Promise<Ran>;
  close(): Promise<void>;
}

/** The backends as the fleet file of the stack names them, with what a plain S3 client needs. */
export interface RawFleet {
  readonly backends: readonly {
    readonly name: string;
    readonly endpoint: string;
    readonly bucket: string;
    readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  }[];
}

export function rawFleetOf({ stack }: CliLab): RawFleet {
  return JSON.parse(readFileSync(stack.fleetPath, 'utf8'));
}

export async function startCli(options: Omit<StackOptions, 'dir'> = {}): Promise<CliLab> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  const stack = await startStack({ ...options, dir: join(dir, 'stack') });
  const here = (how: RunOptions): RunOptions => ({ cwd: dir, ...how, env: { ...stack.env, ...how.env } });
  const holdfast = createHoldfast({ env: stack.env });
  return {
    stack,
    dir,
    holdfast,
    run: (args, how = {}) => runCli(args, here(how)),
    spawn: (args, how = {}) => spawnCli(args, here(how)),
    async json(args, how = {}) {
      const ran = await runCli([...args, '--json'], here(how));
      if (ran.code !== 0) throw new Error(`holdfast ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`);
      return ran.json();
    },
    async close() {
      await holdfast.close().catch(() => {});
      await stack.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Nothing of this process's own environment but what finds programs. */
export function bareEnv(env: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/', AWS_EC2_METADATA_DISABLED: 'true', ...env };
}

/** One command at a time: the folder that a relative path starts from is the process's. */
let running: Promise<unknown> = Promise.resolve();

/** The command line in this process: what it reads and writes is its own, all but the folder and the machine. */
export function runCli(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const run = running.then(() => runNow(args, options));
  running = run.catch(() => {});
  return run;
}

async function runNow(args: readonly string[], options: RunOptions): Promise<Ran> {
  const { env, stdin = '', cwd, terminals = [], stdinFd } = options;
  const [stdout, stderr] = [createSink(), createSink()];
  const own = Object.assign(Readable.from([Buffer.from(stdin)]), defined({ fd: stdinFd }));
  for (const name of terminals) Object.assign({ stdin: own, stdout, stderr }[name], { isTTY: true });
  const before = process.cwd();
  if (cwd !== undefined) process.chdir(cwd);
  try {
    const terminal = { env: bareEnv(env), stdin: own, ...{ stdout, stderr } };
    const code = await runCommandLine(args, terminal);
    return ranWith(code, stdout.chunks, stderr.chunks);
  } finally {
    process.chdir(before);
  }
}

function createSink(): Writable & { readonly chunks: Buffer[] } {
  const chunks: Buffer[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });
  return Object.assign(sink, { chunks });
}

/** The real command line as a child process. */
export async function spawnCli(args: readonly string[], { env, stdin, cwd }: RunOptions = {}): Promise<Ran> {
  const child = spawn(process.execPath, [entry, ...args], { env: bareEnv(env), ...defined({ cwd }) });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  // A command that fails early reads nothing.
  child.stdin.on('error', () => {});
  child.stdin.end(stdin ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return ranWith(code, out, err);
}

function ranWith(code: number | null, out: readonly Buffer[], err: readonly Buffer[]): Ran {
  const bytes = Buffer.concat(out);
  const stdout = bytes.toString();
  return { code, bytes, stdout, stderr: Buffer.concat(err).toString(), json: () => JSON.parse(stdout) };
}
