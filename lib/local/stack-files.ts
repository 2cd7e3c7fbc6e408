import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseFleetText } from '../config/parse-fleet-file.ts';

/** Where one embedded backend listens and what it accepts. Kept: a backend that holds objects must not move. */
export interface ServedBackend {
  readonly port: number;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** What a stack remembers from one run to the next. */
export interface StackState {
  readonly dynamodbPort?: number;
  readonly backends: Readonly<Record<string, ServedBackend>>;
}

export interface StackPaths {
  readonly dir: string;
  /** The fleet file, with the endpoints and credentials of the embedded backends. */
  readonly fleet: string;
  readonly state: string;
  readonly database: string;
  /** Everything that a stack keeps. */
  readonly contents: readonly string[];
  /** The folder of one backend; its buckets are in it. */
  backend(name: string): string;
}

export function stackPaths(folder: string): StackPaths {
  const dir = resolve(folder);
  const [fleet, state, database, s3] = ['fleet.json', 'stack.json', 'dynamodb.sqlite', 's3'].map((name) =>
    join(dir, name),
  ) as [string, string, string, string];
  const contents = [fleet, state, database, `${database}-wal`, `${database}-shm`, s3];
  return { dir, fleet, state, database, contents, backend: (name) => join(s3, name) };
}

export function readState(paths: StackPaths): StackState {
  if (!existsSync(paths.state)) return { backends: {} };
  try {
    return stateOf(JSON.parse(readFileSync(paths.state, 'utf8')));
  } catch (error) {
    throw new Error(
      `The file "${paths.state}" is not what a stack wrote (${(error as Error).message}): mend it, or remove it, and the stack begins on other ports and keys`,
    );
  }
}

function stateOf(value: unknown): StackState {
  const { dynamodbPort, backends } = (value ?? {}) as Partial<StackState>;
  const isPort = (port: unknown) => Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536;
  if (dynamodbPort !== undefined && !isPort(dynamodbPort)) throw new Error('"dynamodbPort" is no port');
  if (typeof backends !== 'object' || backends === null) throw new Error('"backends" is missing');
  for (const [name, one] of Object.entries(backends)) {
    const isServed =
      isPort(one?.port) && typeof one.accessKeyId === 'string' && typeof one.secretAccessKey === 'string';
    if (!isServed) throw new Error(`backend "${name}" lacks port, accessKeyId or secretAccessKey`);
  }
  return value as StackState;
}

/** Whole or not at all, readable by its owner alone: it may hold keys. */
export function writeJson(path: string, value: unknown): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

export function newKeys(name: string): { accessKeyId: string; secretAccessKey: string } {
  return { accessKeyId: `LOCAL${name.toUpperCase()}`, secretAccessKey: randomBytes(20).toString('hex') };
}

/** The text of a fleet of `count` backends, each object on two of them. */
export function defaultFleetText(count: number): string {
  const names = Array.from({ length: count }, (_, i) => `local-${i + 1}`);
  return JSON.stringify({
    backends: names.map((name) => ({ name, bucket: `holdfast-${name}`, credentials: 'role' })),
    policies: { default: { factor: Math.min(2, count) } },
  });
}

/**
 * The same fleet on embedded backends: names, buckets, quotas, policies as they are, endpoints and credentials replaced.
 * Throws a `ConfigError` that lists every problem.
 */
export function servedFleet(text: string, served: (name: string) => ServedBackend): unknown {
  parseFleetText(text);
  const file = JSON.parse(text) as { backends: Record<string, unknown>[] };
  const backends = file.backends.map(({ deleteCredentials: _replaced, ...backend }) => {
    const { port, accessKeyId, secretAccessKey } = served(String(backend.name));
    const endpoint = `http://127.0.0.1:${port}`;
    return { ...backend, endpoint, pathStyle: true, credentials: { accessKeyId, secretAccessKey } };
  });
  return { ...file, backends };
}
