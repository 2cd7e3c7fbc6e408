import { S3Error } from './errors.ts';
import type { ObjectVersion } from './object-version.ts';

type Headers = ReadonlyMap<string, string>;

const KEPT_HEADERS = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
];
const METADATA_PREFIX = 'x-amz-meta-';
const MAX_METADATA_BYTES = 2048;
const MAX_TAGS = 10;

/** Headers that would change what is stored and how, and that this server does not do. Accepting them silently would be a lie. */
const UNSUPPORTED_HEADERS = [
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-customer-algorithm',
  'x-amz-object-lock-mode',
  'x-amz-object-lock-legal-hold',
  'x-amz-website-redirect-location',
  'x-amz-write-offset-bytes',
  'x-amz-grant-read',
  'x-amz-grant-write',
  'x-amz-grant-full-control',
];
const HARMLESS_ACLS = ['private', 'bucket-owner-full-control', 'bucket-owner-read'];

export interface ObjectHeaders {
  headers: Record<string, string>;
  metadata: Record<string, string>;
  tags: Record<string, string>;
}

/** What a PutObject, CopyObject (REPLACE) or CreateMultipartUpload says about the object to be. */
export function readObjectHeaders(request: Headers): ObjectHeaders {
  assertSupported(request);
  const headers: Record<string, string> = {};
  for (const name of KEPT_HEADERS) {
    const value = name === 'content-encoding' ? contentEncoding(request.get(name)) : request.get(name);
    if (value) headers[name] = value;
  }
  headers['content-type'] ??= 'binary/octet-stream';
  const storageClass = request.get('x-amz-storage-class');
  if (storageClass && storageClass !== 'STANDARD') headers['x-amz-storage-class'] = storageClass;
  return { headers, metadata: readMetadata(request), tags: readTaggingHeader(request) };
}

export function readTaggingHeader(request: Headers): Record<string, string> {
  const pairs = [...new URLSearchParams(request.get('x-amz-tagging') ?? '')];
  return checkedTags(pairs);
}

/** Refuses what S3 refuses: more than ten tags, repeated keys, values that are too long. */
export function checkedTags(pairs: readonly (readonly [string, string])[]): Record<string, string> {
  const tags = new Map(pairs);
  if (pairs.length > MAX_TAGS) throw new S3Error('InvalidTag', 'Object tags cannot be greater than 10');
  if (tags.size !== pairs.length) throw new S3Error('InvalidTag', 'Cannot provide multiple Tags with the same key');
  for (const [name, value] of tags) {
    if (name === '' || name.length > 128) throw new S3Error('InvalidTag', 'The TagKey you have provided is invalid');
    if (value.length > 256) throw new S3Error('InvalidTag', 'The TagValue you have provided is invalid');
  }
  return Object.fromEntries(tags);
}

/** Headers of a GET or HEAD of this version, but for length and range. */
export function objectHeaders(version: ObjectVersion, isVersioned: boolean): Record<string, string> {
  const out: Record<string, string> = {
    'last-modified': new Date(version.modifiedMs).toUTCString(),
    etag: quoted(version.etag),
    'accept-ranges': 'bytes',
    ...version.headers,
  };
  for (const [name, value] of Object.entries(version.metadata)) out[METADATA_PREFIX + name] = value;
  const tagCount = Object.keys(version.tags).length;
  if (tagCount > 0) out['x-amz-tagging-count'] = String(tagCount);
  if (isVersioned) out['x-amz-version-id'] = version.versionId;
  return out;
}

export function quoted(etag: string): string {
  return `"${etag}"`;
}

function contentEncoding(value: string | undefined): string | undefined {
  return value
    ?.split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'aws-chunked')
    .join(',');
}

function readMetadata(request: Headers): Record<string, string> {
  const metadata: Record<string, string> = {};
  let size = 0;
  for (const [name, value] of request) {
    if (!name.startsWith(METADATA_PREFIX)) continue;
    const short = name.slice(METADATA_PREFIX.length);
    metadata[short] = value;
    size += short.length + value.length;
  }
  if (size > MAX_METADATA_BYTES) {
    throw new S3Error('MetadataTooLarge', {
      fields: { Size: String(size), MaxSizeAllowed: String(MAX_METADATA_BYTES) },
    });
  }
  return metadata;
}

function assertSupported(request: Headers): void {
  const unsupported = UNSUPPORTED_HEADERS.find((name) => request.has(name));
  if (unsupported) throw new S3Error('NotImplemented', { fields: { Header: unsupported } });
  const acl = request.get('x-amz-acl');
  if (acl !== undefined && !HARMLESS_ACLS.includes(acl)) {
    throw new S3Error('AccessControlListNotSupported', 'The bucket does not allow ACLs');
  }
}
