import { hash } from 'node:crypto';
import type { ObjectHeaders, StoredObject } from '../fleet/backend.ts';
import { markName } from './mark.ts';

/** What servers fill in when nothing was said. */
const typesOfAnything: ReadonlySet<string> = new Set(['', 'binary/octet-stream', 'application/octet-stream']);

/**
 * Hex SHA-256 of what is stored beside the bytes of an object: content headers and user metadata, the mark aside. What
 * servers normalise makes no difference: a content type that says nothing, letter case where it means nothing, white space
 * around and between words, empty values, the order of names.
 */
export function headersDigest(
  headers: ObjectHeaders | undefined,
  metadata: Readonly<Record<string, string>> | undefined,
): string {
  const type = words(headers?.contentType).toLowerCase().replaceAll(' ;', ';').replaceAll('; ', ';');
  const named = {
    'content-type': typesOfAnything.has(type) ? '' : type,
    'content-encoding': encodings(headers?.contentEncoding),
    'cache-control': words(headers?.cacheControl),
    'content-disposition': words(headers?.contentDisposition),
    'content-language': words(headers?.contentLanguage),
  };
  const own = Object.entries(metadata ?? {})
    .map(([name, value]) => [name.toLowerCase(), words(value)] as const)
    .filter(([name, value]) => name !== markName && value !== '')
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return hash('sha256', JSON.stringify([named, own]));
}

function words(value: string | undefined): string {
  return value === undefined ? '' : value.trim().replace(/[ \t\r\n]+/g, ' ');
}

function encodings(value: string | undefined): string {
  if (value === undefined) return '';
  const all = words(value)
    .toLowerCase()
    .split(',')
    .map((one) => one.trim());
  return all.filter((one) => one !== '' && one !== 'aws-chunked').join(',');
}

/** What an object's record must say for its headers to be compared. */
interface Recorded {
  readonly headersSha256?: string | undefined;
}

/** Whether what is stored beside bytes is other than recorded, as a sentence's end; null when it is not, or nothing is recorded. */
export function headersProblem(
  { headersSha256 }: Recorded,
  { headers, metadata }: Pick<StoredObject, 'headers' | 'metadata'>,
): string | null {
  if (headersSha256 === undefined || headersDigest(headers, metadata) === headersSha256) return null;
  return 'has other headers or user metadata than are recorded';
}
