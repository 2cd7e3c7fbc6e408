import type { StoredChecksum } from './payload.ts';

/** One version of an object, as its line in the journal holds it. */
export interface ObjectVersion {
  key: string;
  /** `null` unless the bucket keeps versions. */
  versionId: string;
  /** Grows with every write; the newest version of a key is the current one. */
  order: number;
  isDeleteMarker: boolean;
  modifiedMs: number;
  sizeBytes: number;
  /** Without quotes. */
  etag: string;
  /** Content-Type and the other headers that S3 keeps, by lower-case name. */
  headers: Record<string, string>;
  /** User metadata, without `x-amz-meta-`. */
  metadata: Record<string, string>;
  tags: Record<string, string>;
  checksum?: StoredChecksum;
  parts?: ObjectPart[];
}

export interface ObjectPart {
  partNumber: number;
  sizeBytes: number;
  checksum?: string;
}

/** What a write says about an object; the store adds version, order and time. */
export type ObjectDraft = Pick<ObjectVersion, 'key' | 'etag' | 'headers' | 'metadata' | 'tags'> &
  Partial<Pick<ObjectVersion, 'checksum' | 'parts'>>;
