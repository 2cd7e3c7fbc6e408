import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { type Clock, systemClock } from '../base/clock.ts';

export interface DynamoOptions {
  /** Absent or 0: any free port. */
  readonly port?: number;
  /** What to try next where a port is taken [an error where `port` is given, else any free one]. */
  readonly otherPort?: () => number;
  /** The SQLite file that holds the tables; absent, and no `dir`: in memory. */
  readonly dbPath?: string;
  /** A folder for that file, `dynamodb.sqlite` in it. */
  readonly dir?: string;
  readonly clock?: Clock;
}

/** An embedded DynamoDB, for this machine alone. */
export interface LocalDynamo {
  readonly endpoint: string;
  readonly pid: number;
  /** Ends the server; resolves once it has exited. */
  close(): Promise<void>;
}

const startTimeoutMs = 60_000;
const stopTimeoutMs = 20_000;
const pollMs = 20;
const portAttempts = 5;

/**
 * Starts dynoxide, a DynamoDB-compatible server, on 127.0.0.1 and resolves once it answers. It ends with `close()`, and
 * at the latest with this process.
 */
export async function startDynamo(options: DynamoOptions = {}): Promise<LocalDynamo> {
  const binary = findBinary();
  const clock = options.clock ?? systemClock;
  const dbPath = options.dbPath ?? (options.dir === undefined ? undefined : join(options.dir, 'dynamodb.sqlite'));
  if (dbPath !== undefined) mkdirSync(dirname(dbPath), { recursive: true });
  let port = options.port || (await freePort());
  for (let attempt = 1; ; attempt += 1) {
    const server = run(binary, ['serve', '--host', '127.0.0.1', '--port', String(port), ...databaseArguments(dbPath)]);
    if (await answers(server, port, clock)) {
      const endpoint = `http://127.0.0.1:${port}`;
      return { endpoint, pid: server.child.pid!, close: () => stop(server, clock) };
    }
    await stop(server, clock);
    // Also one that was found free: until it is bound, someone else may take it.
    const isTaken = /in use/i.test(server.output());
    const isFixed = Boolean(options.port) && options.otherPort === undefined;
    if (!isTaken || isFixed || attempt === portAttempts) {
      throw new Error(
        `The embedded DynamoDB did not start on port ${port}${dbPath === undefined ? '' : ` with "${dbPath}"`}: ${server.output().trim() || 'no answer'}`,
      );
    }
    port = options.otherPort?.() ?? (await freePort());
  }
}

function findBinary(): string {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('@dynoxide/linux-x64/package.json')), 'dynoxide');
  } catch (error) {
    const advice =
      'The embedded DynamoDB (optional dependency @dynoxide/linux-x64) is available for Linux x64 only. ' +
      'Set AWS_ENDPOINT_URL_DYNAMODB to use another DynamoDB endpoint, for example DynamoDB Local.';
    throw new Error(advice, { cause: error });
  }
}

function databaseArguments(dbPath: string | undefined): string[] {
  return dbPath === undefined ? [] : ['--db-path', dbPath];
}

interface Server {
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
  /** The end of what it wrote to stdout and stderr. */
  output(): string;
}

function run(binary: string, args: readonly string[]): Server {
  // A process group of its own: Ctrl-C ends this process, which may still need the tables while it shuts down.
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  endWithProcess(child);
  let output = '';
  const hear = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-2_000);
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', hear);
    // A program that forgets close() is still to end.
    if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
  }
  child.unref();
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      output += error.message;
      resolve();
    });
  });
  return { child, exited: exited.finally(() => forget(child)), output: () => output };
}

const running = new Set<ChildProcess>();
const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function endWithProcess(child: ChildProcess): void {
  if (running.size === 0) {
    process.on('exit', endAll);
    for (const signal of endingSignals) process.on(signal, endUnlessHandled);
  }
  running.add(child);
}

function forget(child: ChildProcess): void {
  running.delete(child);
  if (running.size > 0) return;
  process.off('exit', endAll);
  for (const signal of endingSignals) process.off(signal, endUnlessHandled);
}

function endAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** A listener for a signal suspends the signal's default, so it has to be put back in force. */
function endUnlessHandled(signal: NodeJS.Signals): void {
  // Someone else shuts this process down, may still need the tables, and will close them or exit.
  if (process.listenerCount(signal) > 1) return;
  endAll();
  process.off(signal, endUnlessHandled);
  process.kill(process.pid, signal);
}

function hasEnded({ child }: Server): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** True once our own server answers on the port; false when it ended or stays silent. */
async function answers(server: Server, port: number, clock: Clock): Promise<boolean> {
  const giveUpAt = clock.now() + startTimeoutMs;
  while (clock.now() < giveUpAt && !hasEnded(server)) {
    // Another server on that port would answer too: ours must have said that the port is its own.
    if (server.output().includes(`listening on http://127.0.0.1:${port}`) && (await isAnswered(port))) return true;
    await clock.sleep(pollMs);
  }
  return false;
}

async function isAnswered(port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(2_000) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}

async function stop(server: Server, clock: Clock): Promise<void> {
  if (hasEnded(server)) return server.exited;
  server.child.kill('SIGTERM');
  const waiting = new AbortController();
  const patience = clock.sleep(stopTimeoutMs, waiting.signal).then(
    () => server.child.kill('SIGKILL'),
    () => {},
  );
  await server.exited;
  waiting.abort();
  await patience;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('No free port on 127.0.0.1');
  return address.port;
}
