import type { Clock } from '../../base/clock.ts';
import { S3Error } from './errors.ts';
import type { RequestFaults } from './faults.ts';
import type { ObjectVersion } from './object-version.ts';
import type { Payload } from './payload.ts';
import type { Reply } from './reply.ts';
import type { S3Request } from './s3-request.ts';
import type { S3Credential } from './signature.ts';
import type { Store, StoredBucket } from './store.ts';

/** What a handler works with: one authenticated request. */
export interface Context {
  readonly request: S3Request;
  readonly credential: S3Credential;
  readonly store: Store;
  readonly clock: Clock;
  readonly faults: RequestFaults;
  readonly minPartBytes: number;
  /** `about: 'document'` when the checksum headers speak of something else than the body. */
  payload(about?: 'object' | 'document'): Payload;
}

export type Handler = (context: Context) => Promise<Reply> | Reply;

/** The version that a GET, HEAD or copy names; throws what S3 answers when there is none. */
export function selectVersion(bucket: StoredBucket, key: string, versionId: string | undefined): ObjectVersion {
  if (versionId === '') throw new S3Error('InvalidArgument', 'Version id cannot be the empty string');
  if (versionId !== undefined) {
    const version = bucket.version(key, versionId);
    if (!version) throw new S3Error('NoSuchVersion', { fields: { Key: key, VersionId: versionId } });
    if (version.isDeleteMarker)
      throw new S3Error('MethodNotAllowed', { headers: { allow: 'DELETE', ...markerHeaders(version) } });
    return version;
  }
  const current = bucket.current(key);
  if (!current) throw new S3Error('NoSuchKey', { fields: { Key: key } });
  if (current.isDeleteMarker) throw new S3Error('NoSuchKey', { fields: { Key: key }, headers: markerHeaders(current) });
  return current;
}

/** `x-amz-version-id`, where the bucket keeps versions. */
export function versionHeader(bucket: StoredBucket, version: ObjectVersion): Record<string, string> {
  return isVersioned(bucket) ? { 'x-amz-version-id': version.versionId } : {};
}

export function isVersioned(bucket: StoredBucket): boolean {
  return bucket.versioning() !== 'Unversioned';
}

/** A bucket may be deleted while a body is on its way to it. */
export function assertStillThere(context: Context, bucket: StoredBucket): void {
  if (context.store.find(bucket.name) === bucket) return;
  throw new S3Error('NoSuchBucket', { fields: { BucketName: bucket.name } });
}

/** A fault may set a limit that AWS has not. */
export function assertObjectSize(context: Context, sizeBytes: number): void {
  const limit = context.faults.take('max-object-bytes', (effect) => sizeBytes > effect.bytes);
  if (!limit) return;
  throw new S3Error('EntityTooLarge', {
    fields: { ProposedSize: String(sizeBytes), MaxSizeAllowed: String(limit.effect.bytes) },
  });
}

function markerHeaders(marker: ObjectVersion): Record<string, string> {
  return {
    'x-amz-delete-marker': 'true',
    'x-amz-version-id': marker.versionId,
    'last-modified': new Date(marker.modifiedMs).toUTCString(),
  };
}
