import { storageKey } from '../../store/keys.ts';
import type { ObjectRecord, QueueItem } from '../../store/model.ts';

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
  /** Of a plain file: what its ETag must be, from the first byte. */
  readonly etag?: string;
}

/** The bytes of a recorded copy. Throws when there is none on this backend. */
export function bytesOfCopy(object: ObjectRecord, backend: string): StoredBytes {
  const copyId = object.copies[backend];
  if (copyId === undefined) throw new Error(`Object "${object.key}" has no copy on "${backend}"`);
  const etag = copyId === '' ? object.plainEtags?.[backend] : undefined;
  const { key, generation, sizeBytes, sha256 } = object;
  return {
    backend,
    storageKey: storageKey(key, copyId),
    key,
    generation,
    sizeBytes,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(etag === undefined ? {} : { etag }),
  };
}

/** The bytes that a queue item names. */
export function bytesOfItem({
  backend,
  storageKey: at,
  key,
  generation,
  sizeBytes,
  plainEtag,
}: QueueItem): StoredBytes {
  return {
    backend,
    storageKey: at,
    key,
    generation,
    sizeBytes,
    ...(plainEtag === undefined ? {} : { etag: plainEtag }),
  };
}
