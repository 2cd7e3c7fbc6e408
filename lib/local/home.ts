import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { startDynamo } from './dynamodb.ts';
import { describeProcess, FolderInUse, lockFolder } from './folder-lock.ts';
import { endLeftovers } from './leftovers.ts';

/** The tables of a fleet that are kept on this machine: an embedded DynamoDB whose file is in a folder. */
export interface Home {
  readonly dir: string;
  readonly endpoint: string;
  /** Ends the server, where this process began it. */
  close(): Promise<void>;
}

export interface HomeOptions {
  readonly dir: string;
  readonly clock: Clock;
  /** This process serves other ones too, until it ends; else it goes to the one that does, and serves itself alone only where none does. */
  readonly isServer: boolean;
}

/** A command that needs the tables for a moment is waited for. */
const patienceMs = 30_000;
const pollMs = 50;

/**
 * Opens the tables in a folder. After a crash or `kill -9` of the process that served them, its leftovers are ended first. Throws
 * `FolderInUse` when another process keeps the folder to itself, or serves it where this one was to.
 */
export async function openHome({ dir: given, clock, isServer }: HomeOptions): Promise<Home> {
  const dir = resolve(given);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const giveUpAt = clock.now() + patienceMs;
  for (;;) {
    const served = servedAt(dir);
    if (served !== null && isServer)
      throw new FolderInUse(
        `The folder "${dir}" is served by process ${served.pid}: \`holdfast run\` is running there`,
      );
    if (served !== null) return { dir, endpoint: served.endpoint, close: async () => {} };
    try {
      return await serve(dir, clock, isServer);
    } catch (error) {
      if (!(error instanceof FolderInUse) || clock.now() >= giveUpAt) throw error;
    }
    await clock.sleep(pollMs);
  }
}

async function serve(dir: string, clock: Clock, isServer: boolean): Promise<Home> {
  const unlock = lockFolder(dir);
  const path = servedPath(dir);
  try {
    const dbPath = join(dir, 'dynamodb.sqlite');
    await endLeftovers(dbPath, clock);
    makePrivate(dbPath);
    const dynamo = await startDynamo({ dbPath, clock });
    if (isServer) {
      writeFileSync(`${path}.new`, JSON.stringify({ endpoint: dynamo.endpoint, holder: describeProcess(process.pid) }));
      renameSync(`${path}.new`, path);
    }
    return {
      dir,
      endpoint: dynamo.endpoint,
      async close() {
        if (isServer) rmSync(path, { force: true });
        await dynamo.close();
        unlock();
      },
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

/** It holds access keys, and the folder may have been made by somebody who lets others look into it. */
function makePrivate(dbPath: string): void {
  for (const path of [dbPath, `${dbPath}-wal`, `${dbPath}-shm`]) if (existsSync(path)) chmodSync(path, 0o600);
  // What SQLite keeps beside it has the mode of the file itself.
  if (!existsSync(dbPath)) writeFileSync(dbPath, '', { mode: 0o600, flag: 'wx' });
}

const servedPath = (dir: string) => join(dir, 'served.json');

/** Where the tables are served now; null when the process that wrote it has ended, however it did. */
function servedAt(dir: string): { readonly endpoint: string; readonly pid: number } | null {
  try {
    const { endpoint, holder } = JSON.parse(readFileSync(servedPath(dir), 'utf8')) as Record<string, string>;
    const pid = Number(holder?.split(' ')[0]);
    return endpoint !== undefined && pid > 0 && describeProcess(pid) === holder ? { endpoint, pid } : null;
  } catch {
    return null;
  }
}
