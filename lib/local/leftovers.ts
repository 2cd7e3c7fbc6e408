import { readdirSync, readFileSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';

const pollMs = 20;
const patienceMs = 5_000;

/**
 * Ends the servers that still hold a database file after the process that started them was killed. A server is known by
 * the very path among its arguments; the folder's lock must be held. Where there is no `/proc` nothing is found.
 */
export async function endLeftovers(dbPath: string, clock: Clock): Promise<number> {
  const pids = holdersOf(dbPath);
  for (const pid of pids) kill(pid);
  const giveUpAt = clock.now() + patienceMs;
  while (holdersOf(dbPath).length > 0) {
    if (clock.now() >= giveUpAt)
      throw new Error(`A server of an earlier run still holds "${dbPath}": process ${pids.join(', ')}`);
    await clock.sleep(pollMs);
  }
  return pids.length;
}

function holdersOf(dbPath: string): number[] {
  return processIds().filter((pid) => {
    const args = argumentsOf(pid);
    return args[args.indexOf('--db-path') + 1] === dbPath && args.includes('--db-path');
  });
}

function processIds(): number[] {
  try {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && pid !== process.pid);
  } catch {
    return [];
  }
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
