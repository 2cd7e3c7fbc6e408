import type { Listed, StoredObject } from '../../fleet/backend.ts';
import { type CopyReaderTick, copyReader } from '../../steps/copy-reader.ts';
import { carriesMark } from '../../transfer/mark.ts';
import type { PutOffReason } from '../../transfer/reading/reading.ts';

/** What a file that Holdfast did not write holds, by the rule for first hashes; or why that is not known now. */
export type FileReading =
  | { readonly outcome: 'read'; readonly sha256: string; readonly found: Pick<StoredObject, 'headers' | 'metadata'> }
  /** Somebody copied bytes of a fleet there: whatever it holds, it is no content. */
  | { readonly outcome: 'foreign' }
  /** Progress was made: a later tick goes on. */
  | { readonly outcome: 'reading' }
  /** A usage limit, or no time, or a failure before that backs off. */
  | { readonly outcome: 'put-off'; readonly reason: PutOffReason }
  | { readonly outcome: 'gone' }
  | { readonly outcome: 'unreadable'; readonly message: string };

export async function readFile(
  tick: CopyReaderTick,
  backend: string,
  { storageKey, sizeBytes, etag }: Pick<Listed, 'storageKey' | 'sizeBytes' | 'etag'>,
): Promise<FileReading> {
  // No write made these bytes that we know of: its ETag tells one content of the file from another.
  const bytes = { backend, storageKey, key: storageKey, generation: '', sizeBytes, etag };
  const reading = await copyReader(tick).read(bytes);
  switch (reading.outcome) {
    case 'good':
      if (carriesMark(reading.found.metadata)) return { outcome: 'foreign' };
      return { outcome: 'read', sha256: reading.sha256, found: reading.found };
    case 'reading':
      return { outcome: 'reading' };
    case 'missing':
      return { outcome: 'gone' };
    case 'put-off':
      return reading;
    case 'unreadable':
      return { outcome: 'unreadable', message: reading.error.message };
    default:
      return { outcome: 'unreadable', message: `the file "${storageKey}" on "${backend}" is being changed` };
  }
}

/** Names what a listing proves to be equal; null where its ETag is no MD5. */
export function sizeAndMd5({ sizeBytes, etag }: Pick<Listed, 'sizeBytes' | 'etag'>): string | null {
  const md5 = /^"?([0-9a-f]{32})"?$/.exec(etag)?.[1];
  return md5 === undefined ? null : `${sizeBytes} ${md5}`;
}
