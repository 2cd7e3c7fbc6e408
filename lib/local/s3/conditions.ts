import { S3Error } from './errors.ts';
import type { ObjectVersion } from './object-version.ts';

type Headers = ReadonlyMap<string, string>;

/** Conditional GET and HEAD: returns for 200, throws PreconditionFailed or NotModified. */
export function assertReadConditions(headers: Headers, version: ObjectVersion): void {
  const match = headers.get('if-match');
  const noneMatch = headers.get('if-none-match');
  if (match !== undefined) {
    if (!matchesAny(match, version.etag)) throw failed('If-Match');
  } else if (isAfter(version, headers.get('if-unmodified-since'))) {
    throw failed('If-Unmodified-Since');
  }
  if (noneMatch !== undefined) {
    if (matchesAny(noneMatch, version.etag)) throw notModified(version);
  } else if (isNotAfter(version, headers.get('if-modified-since'))) {
    throw notModified(version);
  }
}

/** The conditions of a copy on its source; every one that fails is PreconditionFailed. */
export function assertCopySourceConditions(headers: Headers, source: ObjectVersion): void {
  const prefix = 'x-amz-copy-source-if-';
  const match = headers.get(`${prefix}match`);
  const noneMatch = headers.get(`${prefix}none-match`);
  if (match !== undefined) {
    if (!matchesAny(match, source.etag)) throw failed(`${prefix}match`);
  } else if (isAfter(source, headers.get(`${prefix}unmodified-since`))) {
    throw failed(`${prefix}unmodified-since`);
  }
  if (noneMatch !== undefined) {
    if (matchesAny(noneMatch, source.etag)) throw failed(`${prefix}none-match`);
  } else if (isNotAfter(source, headers.get(`${prefix}modified-since`))) {
    throw failed(`${prefix}modified-since`);
  }
}

/** The conditions of a write on what it would replace. Call it in the same synchronous turn as the write. */
export function assertWriteConditions(headers: Headers, current: ObjectVersion | undefined): void {
  const match = headers.get('if-match');
  const noneMatch = headers.get('if-none-match');
  const existing = current?.isDeleteMarker ? undefined : current;
  if (noneMatch !== undefined && (noneMatch !== '*' || match !== undefined)) {
    throw new S3Error('NotImplemented', { fields: { Header: 'If-None-Match' } });
  }
  if (noneMatch === '*' && existing) throw failed('If-None-Match');
  if (match === undefined) return;
  if (!existing) throw new S3Error('NoSuchKey');
  if (!matchesAny(match, existing.etag)) throw failed('If-Match');
}

/**
 * The condition of a delete on what it would remove: 412 where that is another, or a delete marker; 404 where there is nothing.
 * Source: S3 user guide, conditional deletes. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
 */
export function assertDeleteCondition(match: string | undefined, current: ObjectVersion | undefined): void {
  if (match === undefined) return;
  if (!current) throw new S3Error('NoSuchKey');
  if (current.isDeleteMarker || !matchesAny(match, current.etag)) throw failed('If-Match');
}

function matchesAny(header: string, etag: string): boolean {
  return header.split(',').some((one) => {
    const value = one.trim().replace(/^W\//, '');
    return value === '*' || value === etag || value === `"${etag}"`;
  });
}

/** HTTP dates hold whole seconds, so an object's time is cut down to one before it is compared. */
function isAfter(version: ObjectVersion, date: string | undefined): boolean {
  const ms = date === undefined ? Number.NaN : Date.parse(date);
  return Math.floor(version.modifiedMs / 1000) * 1000 > ms;
}

function isNotAfter(version: ObjectVersion, date: string | undefined): boolean {
  const ms = date === undefined ? Number.NaN : Date.parse(date);
  return Math.floor(version.modifiedMs / 1000) * 1000 <= ms;
}

function failed(condition: string): S3Error {
  return new S3Error('PreconditionFailed', { fields: { Condition: condition } });
}

function notModified(version: ObjectVersion): S3Error {
  const headers = { etag: `"${version.etag}"`, 'last-modified': new Date(version.modifiedMs).toUTCString() };
  return new S3Error('NotModified', { headers });
}
