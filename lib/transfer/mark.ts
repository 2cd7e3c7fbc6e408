import { hash } from 'node:crypto';
import type { ObjectRecord } from '../store/model.ts';
import { bornAs } from '../store/records.ts';

/** User metadata that tells Holdfast's own bytes from those of others, and from a copy a person made of them. */
export const markName = 'holdfast';

/** What is said of bytes right beside them: enough to rebuild their record when the tables are lost. */
export interface Mark {
  readonly fleetId: string;
  readonly generation: string;
  /** Hex SHA-256 of the stored bytes; absent where it is not known before they are sent. */
  readonly sha256?: string | undefined;
  /** Whether the bytes are ciphertext; absent where the mark does not say. */
  readonly isEncrypted?: boolean | undefined;
  /** Digest of what is stored beside the bytes, as `headersDigest` makes it. */
  readonly headersSha256?: string | undefined;
}

/** The mark of a copy of an object: what its record knows. */
export function markOf(object: ObjectRecord, fleetId: string): Mark {
  const { sha256, encryption } = object;
  return { fleetId, generation: bornAs(object), sha256, isEncrypted: encryption !== undefined };
}

const unknown = '-';

/**
 * The mark for bytes written by a fleet at a storage key of a backend, version 2:
 * `<fleet id> <generation> <place> 2 <SHA-256> <e | p> <SHA-256 of the headers>`, with `-` for what is not known.
 */
export function markFor(mark: Mark, backend: string, storageKey: string): string {
  const { fleetId, generation, sha256 = unknown, isEncrypted, headersSha256 = unknown } = mark;
  const kind = isEncrypted === undefined ? unknown : isEncrypted ? 'e' : 'p';
  return `${fleetId} ${generation} ${placeOf(backend, storageKey)} 2 ${sha256} ${kind} ${headersSha256}`;
}

/** Most that S3 takes as user metadata, names and values together. */
const metadataBytes = 2048;

/**
 * User metadata with the mark. Where both together are more than S3 takes, the mark leaves out what it can do without: the
 * metadata was accepted beside a shorter mark, and a copy of it must not be refused everywhere for the length of its mark.
 */
export function markedMetadata(
  metadata: Readonly<Record<string, string>> | undefined,
  mark: Mark,
  backend: string,
  storageKey: string,
): Record<string, string> {
  const { headersSha256: _headers, ...shorter } = mark;
  const { sha256: _bytes, ...shortest } = shorter;
  const marks = [mark, shorter, shortest].map((one) => ({
    ...metadata,
    [markName]: markFor(one, backend, storageKey),
  }));
  return marks.find((one) => bytesOf(one) <= metadataBytes) ?? marks[2]!;
}

function bytesOf(metadata: Readonly<Record<string, string>>): number {
  return Object.entries(metadata).reduce((sum, part) => sum + Buffer.byteLength(part.join('')), 0);
}

/** `ours` at this very place · `foreign` another fleet's, or ours copied here by someone else · `none`. */
export type MarkReading =
  | ({ readonly outcome: 'ours' } & Omit<Mark, 'fleetId'>)
  | { readonly outcome: 'foreign' }
  | { readonly outcome: 'none' };

const ulid = '[0-7][0-9A-HJKMNP-TV-Z]{25}';
const digest = '[0-9a-f]{64}';
/** A mark as we write it: nothing before, behind or between. */
const written = new RegExp(`^(\\S+) (${ulid}) ([0-9a-f]{32}) 2 (-|${digest}) ([-ep]) (-|${digest})$`);

export function readMark(
  metadata: Readonly<Record<string, string>>,
  fleetId: string,
  backend: string,
  storageKey: string,
): MarkReading {
  const text = metadata[markName];
  if (text === undefined) return { outcome: 'none' };
  const [, fleet, generation, place, sha256 = unknown, kind = unknown, headersSha256 = unknown] =
    written.exec(text) ?? [];
  if (fleet !== fleetId || place !== placeOf(backend, storageKey)) return { outcome: 'foreign' };
  return {
    outcome: 'ours',
    generation: generation!,
    ...(sha256 !== unknown && { sha256 }),
    ...(kind !== unknown && { isEncrypted: kind === 'e' }),
    ...(headersSha256 !== unknown && { headersSha256 }),
  };
}

/**
 * Whether a file at an object's own key says that it is, or was copied from, bytes that a fleet wrote under a storage key:
 * whatever it holds, ciphertext perhaps, it is nobody's content.
 */
export function carriesMark(metadata: Readonly<Record<string, string>>): boolean {
  return metadata[markName] !== undefined;
}

export const markedFileProblem = 'carries the mark of other bytes: somebody copied it there';

function placeOf(backend: string, storageKey: string): string {
  return hash('sha256', `${backend}/${storageKey}`).slice(0, 32);
}
