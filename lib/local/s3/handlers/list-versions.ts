import type { Context } from '../context.ts';
import { S3Error } from '../errors.ts';
import { encodeField, groupOf, listingOf, maxKeysOf, saidEncoding } from '../listing.ts';
import { quoted } from '../object-headers.ts';
import type { ObjectVersion } from '../object-version.ts';
import { type Reply, xmlReply } from '../reply.ts';
import type { StoredBucket } from '../store.ts';
import type { XmlContent } from '../xml.ts';
import { listedTime } from './list-objects.ts';

const OWNER = { ID: 'holdfast', DisplayName: 'holdfast' };

interface Found {
  version: ObjectVersion;
  isLatest: boolean;
}

interface Page {
  versions: Found[];
  groups: string[];
  next?: { key: string; versionId: string };
}

/** Every version and delete marker, by key, newest first. */
export function listObjectVersions({ request, store, faults }: Context): Reply {
  const { query } = request;
  const bucket = store.bucket(request.bucket);
  const { url, prefix, delimiter } = listingOf(query);
  const keyMarker = query.get('key-marker') ?? '';
  const versionMarker = query.get('version-id-marker') ?? '';
  if (versionMarker !== '' && keyMarker === '') {
    throw new S3Error('InvalidArgument', 'A version-id marker cannot be specified without a key marker.');
  }
  const limit = maxKeysOf(query.get('max-keys'), 'max-keys');
  const page = collect(bucket, { prefix, delimiter, keyMarker, versionMarker, limit });
  const head = {
    Name: bucket.name,
    Prefix: encodeField(prefix, url),
    KeyMarker: encodeField(keyMarker, url),
    VersionIdMarker: versionMarker,
    NextKeyMarker: page.next && encodeField(page.next.key, url),
    NextVersionIdMarker: page.next?.versionId || undefined,
    MaxKeys: limit,
    Delimiter: delimiter === '' ? undefined : encodeField(delimiter, url),
    EncodingType: saidEncoding(url, faults),
    IsTruncated: page.next !== undefined,
  };
  // Versions and delete markers alternate, so each is written where it stands.
  const entries = page.versions.map((found) => ({
    [found.version.isDeleteMarker ? 'DeleteMarker' : 'Version']: entry(found, url),
  }));
  const groups = page.groups.map((group) => ({ Prefix: encodeField(group, url) }));
  return xmlReply('ListVersionsResult', [head, ...entries, { CommonPrefixes: groups }]);
}

interface Query {
  prefix: string;
  delimiter: string;
  keyMarker: string;
  versionMarker: string;
  limit: number;
}

function collect(bucket: StoredBucket, { prefix, delimiter, keyMarker, versionMarker, limit }: Query): Page {
  const { keys } = bucket;
  const page: Page = { versions: [], groups: [] };
  if (limit === 0) return page;
  let last: Page['next'];
  let index = Math.max(keys.firstFrom(prefix), keys.firstFrom(keyMarker));
  if (groupOf(keyMarker, prefix, delimiter) === keyMarker && keyMarker !== '')
    index = keys.firstBeyondPrefix(keyMarker, index);
  for (let key = keys.at(index); key?.startsWith(prefix); key = keys.at(index)) {
    const group = groupOf(key, prefix, delimiter);
    if (group !== undefined) {
      if (page.versions.length + page.groups.length === limit) return last ? { ...page, next: last } : page;
      page.groups.push(group);
      last = { key: group, versionId: '' };
      index = keys.firstBeyondPrefix(group, index);
      continue;
    }
    for (const { version, isLatest } of afterMarker(bucket.versions(key), key, keyMarker, versionMarker)) {
      if (page.versions.length + page.groups.length === limit) return last ? { ...page, next: last } : page;
      page.versions.push({ version, isLatest });
      last = { key, versionId: version.versionId };
    }
    index++;
  }
  return page;
}

function afterMarker(
  versions: readonly ObjectVersion[],
  key: string,
  keyMarker: string,
  versionMarker: string,
): Found[] {
  const found = versions.map((version, index) => ({ version, isLatest: index === 0 }));
  if (key !== keyMarker) return found;
  if (versionMarker === '') return [];
  const at = versions.findIndex((version) => version.versionId === versionMarker);
  return at < 0 ? [] : found.slice(at + 1);
}

function entry({ version, isLatest }: Found, url: boolean): XmlContent {
  const common = {
    Key: encodeField(version.key, url),
    VersionId: version.versionId,
    IsLatest: isLatest,
    LastModified: listedTime(version.modifiedMs),
    Owner: OWNER,
  };
  if (version.isDeleteMarker) return common;
  return {
    ...common,
    ETag: quoted(version.etag),
    ChecksumAlgorithm: version.checksum?.algorithm,
    ChecksumType: version.checksum?.type,
    Size: version.sizeBytes,
    StorageClass: version.headers['x-amz-storage-class'] ?? 'STANDARD',
  };
}
