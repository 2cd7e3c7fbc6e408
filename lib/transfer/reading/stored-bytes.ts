import { defined } from '../../base/defined.ts';
import { storageKey } from '../../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';
import type { NamedBytes } from '../../store/queue-items.ts';
import { expectedEtag, expectedHeaders } from '../../store/records.ts';

/** Bytes at a place; no record need name them. */
export interface StoredBytes {
  readonly backend: string;
  readonly storageKey: string;
  /** Whose they are: for messages, and so that progress over the bytes of another write is never gone on from. */
  readonly key: string;
  readonly generation: string;
  readonly sizeBytes: number;
  /** Hex; absent when it is recorded nowhere: then reading finds out the first hash. */
  readonly sha256?: string;
  /** Hex digest of headers and user metadata; absent: they are not compared. */
  readonly headersSha256?: string;
  /** Of a plain file: what its ETag must be, from the first byte. */
  readonly etag?: string;
  /** At the object's own key: a file there that carries a mark is no content. */
  readonly isPlain?: boolean;
}

/** The bytes of a recorded copy. Throws when there is none on this backend. */
export function bytesOfCopy(object: ObjectRecord, backend: string): StoredBytes {
  const copyId = object.copies[backend];
  if (copyId === undefined) throw new Error(`Object "${object.key}" has no copy on "${backend}"`);
  const place = { backend, storageKey: storageKey(object.key, copyId) };
  const { headersSha256: _, ...named } = object;
  const expected = { ...named, ...defined({ headersSha256: expectedHeaders(object, backend) }) };
  const bytes = bytesAt(expected, place, expectedEtag(object, backend));
  return copyId === '' ? { ...bytes, isPlain: true } : bytes;
}

/** The bytes that a queue item names. */
export function bytesOfItem(item: QueueItem): StoredBytes {
  return bytesAt(item, item, item.plainEtag);
}

function bytesAt(
  { key, generation, sizeBytes, sha256, headersSha256 }: NamedBytes,
  { backend, storageKey }: Pick<StoredBytes, 'backend' | 'storageKey'>,
  etag: string | undefined,
): StoredBytes {
  return { backend, storageKey, key, generation, sizeBytes, ...defined({ sha256, headersSha256, etag }) };
}
