import type { Context } from '../context.ts';
import { S3Error } from '../errors.ts';
import { collectPage, encodeField, listingOf, maxKeysOf, saidEncoding } from '../listing.ts';
import { quoted } from '../object-headers.ts';
import type { ObjectVersion } from '../object-version.ts';
import { type Reply, xmlReply } from '../reply.ts';
import type { XmlContent } from '../xml.ts';

export function listObjectsV2({ request, store, faults }: Context): Reply {
  const { query } = request;
  const bucket = store.bucket(request.bucket);
  const { url, prefix, delimiter } = listingOf(query);
  const ignoresStart = faults.take('reject-feature', ({ feature }) => feature === 'start-after') !== undefined;
  const startAfter = ignoresStart ? undefined : query.get('start-after');
  const token = query.get('continuation-token');
  const maxKeys = maxKeysOf(query.get('max-keys'), 'max-keys');
  const isFirst = token === undefined || faults.take('loop-tokens') !== undefined;
  const after = isFirst ? { key: startAfter ?? '', skipsGroup: false } : parseToken(token);
  const page = collectPage({ bucket, prefix, delimiter, after, maxKeys });
  const withOwner = query.get('fetch-owner') === 'true';
  return xmlReply('ListBucketResult', {
    Name: bucket.name,
    Prefix: encodeField(prefix, url),
    Delimiter: delimiter === '' ? undefined : encodeField(delimiter, url),
    MaxKeys: maxKeys,
    EncodingType: saidEncoding(url, faults),
    KeyCount: page.objects.length + page.groups.length,
    IsTruncated: page.next !== undefined,
    ContinuationToken: token,
    NextContinuationToken: page.next && formatToken(page.next),
    StartAfter: startAfter === undefined ? undefined : encodeField(startAfter, url),
    Contents: page.objects.map((version) => contents(version, url, withOwner)),
    CommonPrefixes: page.groups.map((group) => ({ Prefix: encodeField(group, url) })),
  });
}

/** The first form of the call: a key to go on from instead of a token. */
export function listObjects({ request, store, faults }: Context): Reply {
  const { query } = request;
  const bucket = store.bucket(request.bucket);
  const { url, prefix, delimiter } = listingOf(query);
  const marker = query.get('marker') ?? '';
  const maxKeys = maxKeysOf(query.get('max-keys'), 'max-keys');
  const page = collectPage({ bucket, prefix, delimiter, after: { key: marker, skipsGroup: true }, maxKeys });
  return xmlReply('ListBucketResult', {
    Name: bucket.name,
    Prefix: encodeField(prefix, url),
    Marker: encodeField(marker, url),
    Delimiter: delimiter === '' ? undefined : encodeField(delimiter, url),
    MaxKeys: maxKeys,
    EncodingType: saidEncoding(url, faults),
    IsTruncated: page.next !== undefined,
    // S3 leaves it out without a delimiter: there the last key serves.
    NextMarker: page.next && delimiter !== '' ? encodeField(page.next.key, url) : undefined,
    Contents: page.objects.map((version) => contents(version, url, true)),
    CommonPrefixes: page.groups.map((group) => ({ Prefix: encodeField(group, url) })),
  });
}

function contents(version: ObjectVersion, url: boolean, withOwner: boolean): XmlContent {
  return {
    Key: encodeField(version.key, url),
    LastModified: listedTime(version.modifiedMs),
    ETag: quoted(version.etag),
    ChecksumAlgorithm: version.checksum?.algorithm,
    ChecksumType: version.checksum?.type,
    Size: version.sizeBytes,
    Owner: withOwner ? { ID: 'holdfast', DisplayName: 'holdfast' } : undefined,
    StorageClass: version.headers['x-amz-storage-class'] ?? 'STANDARD',
  };
}

/** S3 keeps whole seconds and writes `.000`. */
export function listedTime(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString();
}

interface Position {
  key: string;
  skipsGroup: boolean;
}

function formatToken({ key, skipsGroup }: Position): string {
  return Buffer.from(`${skipsGroup ? 'g' : 'k'}${key}`).toString('base64url');
}

function parseToken(token: string): Position {
  const text = Buffer.from(token, 'base64url').toString('utf8');
  const isOurs = (text.startsWith('g') || text.startsWith('k')) && Buffer.from(text).toString('base64url') === token;
  if (!isOurs) throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect');
  return { key: text.slice(1), skipsGroup: text.startsWith('g') };
}
