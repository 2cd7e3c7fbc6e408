import { readdirSync, readFileSync } from 'node:fs';

/** A process whose share of the machine is told. */
export interface Watched {
  readonly what: string;
  readonly pid: number;
}

/** CPU that a living process has used so far, with the children that it has waited for; 0 where there is no /proc. */
export function cpuMsOf(pid: number | 'self', of: 'itself' | 'its ended children' = 'itself'): number {
  const fields = statOf(pid);
  const at = of === 'itself' ? 11 : 13;
  // In ticks of 10 ms. Source: proc_pid_stat(5), fields counted from the one behind the name.
  return (Number(fields[at] ?? 0) + Number(fields[at + 1] ?? 0)) * 10;
}

/** The most memory that a living process held at once; 0 when it is gone. */
export function peakBytesOf(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Children of a process whose command has this name. */
export function childrenOf(parent: number, name: string): number[] {
  const pids = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  return pids.map(Number).filter((pid) => Number(statOf(pid)[1]) === parent && nameOf(pid) === name);
}

function statOf(pid: number | 'self'): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}
