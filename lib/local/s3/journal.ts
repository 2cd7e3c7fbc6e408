import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import type { ObjectVersion } from './object-version.ts';

/** A line of the journal. */
export type JournalEntry =
  /** `from` is the temporary file that is renamed into place right after the line is written. */
  { put: ObjectVersion; from?: string } | { remove: Pick<ObjectVersion, 'key' | 'versionId'> };

/**
 * What a bucket holds, as a file of JSON lines: one appended write per change
 * costs a fraction of a sidecar file each, and a start reads one file. It is
 * written anew when most of its lines are out of date.
 */
export interface Journal {
  append(entry: JournalEntry): void;
  close(): void;
}

export interface JournalInput {
  path: string;
  temporary: string;
  /** Everything that is to be remembered. */
  live: () => Iterable<ObjectVersion>;
  /** Lines out of date that are put up with, beside as many as there are living ones [10,000]. */
  spareLines?: number;
}

export function openJournal({ path, temporary, live, spareLines = 10_000 }: JournalInput): Journal {
  let fd: number;
  let lines = 0;
  let keptLines = 0;
  const rewrite = () => {
    const entries = [...live()].map((version) => `${JSON.stringify({ put: version } satisfies JournalEntry)}\n`);
    writeFileSync(temporary, entries.join(''));
    renameSync(temporary, path);
    lines = entries.length;
    keptLines = entries.length;
    fd = openSync(path, 'a');
  };
  rewrite();
  return {
    append(entry) {
      // Before the new line: what it tells is not among the living yet.
      if (lines > 2 * keptLines + spareLines) {
        closeSync(fd);
        rewrite();
      }
      writeSync(fd, `${JSON.stringify(entry)}\n`);
      lines++;
    },
    close: () => closeSync(fd),
  };
}

/** The newest line about each version, oldest first. A last line that was cut off by a crash never happened. */
export function readJournal(path: string): { put: ObjectVersion; from?: string }[] {
  const found = new Map<string, { put: ObjectVersion; from?: string }>();
  for (const line of readLines(path)) {
    const entry = parseLine(line);
    if (!entry) continue;
    const { key, versionId } = 'put' in entry ? entry.put : entry.remove;
    const id = `${versionId} ${key}`;
    found.delete(id);
    if ('put' in entry) found.set(id, entry);
  }
  return [...found.values()];
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function parseLine(line: string): JournalEntry | undefined {
  try {
    return JSON.parse(line) as JournalEntry;
  } catch {
    return undefined;
  }
}
