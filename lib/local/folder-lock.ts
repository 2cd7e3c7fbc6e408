import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const attempts = 5;

/** Another process serves from the folder. */
export class FolderInUse extends Error {
  override readonly name = 'FolderInUse';
}

/**
 * Makes this process the only one that serves from a folder; the returned function gives it back. A lock whose process has
 * ended, however it ended, is taken over. Throws when another process holds it.
 */
export function lockFolder(dir: string): () => void {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'stack.lock');
  const own = describeProcess(process.pid);
  for (let attempt = 1; ; attempt += 1) {
    try {
      writeFileSync(path, own, { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt === attempts) throw error;
    }
    const holder = read(path);
    const pid = Number(holder.split(' ')[0]);
    if (pid > 0 && describeProcess(pid) === holder) {
      throw new FolderInUse(`The folder "${dir}" is in use by process ${pid}: stop that one, or choose another folder`);
    }
    // Only the lock that was judged goes: another process may have taken it over in between.
    if (read(path) === holder) rmSync(path, { force: true });
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** `<pid> <start>`: a process id is used again, the moment it was started at is not. Empty when there is no such process. */
export function describeProcess(pid: number): string {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return '';
  }
  // The fields behind the command's name, which may hold spaces; the 20th of them is the start time.
  const stat = read(`/proc/${pid}/stat`);
  return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '-'}`;
}
