import type { PutRequest } from '../backend.ts';
import type { S3Connection } from './connection.ts';
import { backendError } from './errors.ts';
import { sentMetadata } from './header-text.ts';
import { formNotTaken } from './key-forms.ts';

/** What of a request to write decides whether the backend may take it, before a byte of it is sent. */
type Described = Pick<PutRequest, 'storageKey' | 'metadata'>;

/** Throws `unacceptable` for what the backend is known to refuse. */
export function assertFits(s3: S3Connection, action: string, request: Described): void {
  const reason = whyNotTaken(s3, request);
  if (reason !== null) throw backendError('unacceptable', s3.attempted(action, request.storageKey), reason);
}

function whyNotTaken(s3: S3Connection, { storageKey, metadata = {} }: Described): string | null {
  const { maxKeyBytes, maxSegmentBytes, metadataBytes } = s3.capabilities;
  const key = s3.fullKey(storageKey);
  const form = formNotTaken(key, s3.capabilities);
  if (form !== undefined) return `its key there has ${form}, which it does not take`;
  const keyBytes = Buffer.byteLength(key);
  if (maxKeyBytes !== undefined && keyBytes > maxKeyBytes)
    return `its key there has ${keyBytes} bytes; at most ${maxKeyBytes} are taken`;
  const segmentBytes = Math.max(...key.split('/').map((segment) => Buffer.byteLength(segment)));
  if (maxSegmentBytes !== undefined && segmentBytes > maxSegmentBytes)
    return `a part of its key between two slashes has ${segmentBytes} bytes; at most ${maxSegmentBytes} are taken`;
  const sentBytes = Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + sizeOf(value), 0);
  if (metadataBytes !== undefined && sentBytes > metadataBytes)
    return `its user metadata, with Holdfast's mark, has ${sentBytes} bytes; at most ${metadataBytes} are taken`;
  return null;
}

function sizeOf(value: string): number {
  return Buffer.byteLength(value.isWellFormed() ? sentMetadata(value) : value);
}
