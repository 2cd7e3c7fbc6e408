import type { ObjectHeaders } from '../fleet/backend.ts';

/** Where an export keeps what is its own, below the place it goes to. */
export const exportFolder = '.holdfast-export';

/** One object as it was exported: what a file alone does not say of it. */
export interface Exported {
  readonly key: string;
  /** Below the place: the key itself, but where that is no name there. */
  readonly name: string;
  readonly generation: string;
  readonly sizeBytes: number;
  /** Hex SHA-256 of the content. */
  readonly sha256: string;
  readonly headers: ObjectHeaders;
  readonly metadata: Readonly<Record<string, string>>;
  /** Of the file, when it had been written: one that has changed since is somebody else's. */
  readonly mtimeMs?: number;
  /** Of the object in the bucket, likewise. */
  readonly etag?: string;
}

/** One line of a manifest. */
export function lineOf(exported: Exported): string {
  return `${JSON.stringify(exported)}\n`;
}

/** Entries by key, the last of each. A line that a crash cut short is passed over: what it was about is looked at anew. */
export function parseManifest(text: string): Map<string, Exported> {
  const found = new Map<string, Exported>();
  for (const line of text.split('\n')) {
    const one = entryOf(line);
    if (one !== null) found.set(one.key, one);
  }
  return found;
}

function entryOf(line: string): Exported | null {
  try {
    const one = JSON.parse(line) as Exported;
    return typeof one.key === 'string' && typeof one.sha256 === 'string' && typeof one.name === 'string' ? one : null;
  } catch {
    return null;
  }
}
