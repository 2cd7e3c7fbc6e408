import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Ids that are never handed out twice in one folder, across restarts, without randomness. */
export interface Ids {
  /** Short and readable, for temporary files and request ids. */
  next(): string;
  /** Grows with every call and every start. */
  order(): number;
  /** Thirty-two characters that tell nothing. */
  opaque(purpose: string): string;
}

const ORDERS_PER_START = 1e9;

/** Counts the starts in `server.json`; one server at a time may use a folder. */
export function createIds(dir: string): Ids {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'server.json');
  const starts = readStarts(path) + 1;
  writeFileSync(`${path}.new`, JSON.stringify({ starts }));
  renameSync(`${path}.new`, path);
  let count = 0;
  const order = () => {
    count++;
    return starts * ORDERS_PER_START + count;
  };
  return {
    next: () => order().toString(36).toUpperCase().padStart(12, '0'),
    order,
    opaque: (purpose) => createHash('sha256').update(`${purpose} ${order()}`).digest('hex').slice(0, 32),
  };
}

function readStarts(path: string): number {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as { starts: number }).starts;
  } catch {
    return 0;
  }
}
