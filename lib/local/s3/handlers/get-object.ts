import { type ByteRange, parseRange } from '../byte-range.ts';
import { assertReadConditions } from '../conditions.ts';
import { type Context, isVersioned, selectVersion } from '../context.ts';
import { S3Error } from '../errors.ts';
import { objectHeaders } from '../object-headers.ts';
import type { ObjectVersion } from '../object-version.ts';
import { emptyReply, type Reply } from '../reply.ts';
import { checksumHeaders } from './put-object.ts';

const OVERRIDES = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'expires',
];

/** GetObject and HeadObject, which differ in the body alone. */
export function getObject({ request, store }: Context): Reply {
  const bucket = store.bucket(request.bucket);
  const version = selectVersion(bucket, request.key, request.query.get('versionId'));
  assertReadConditions(request.headers, version);
  const headers = objectHeaders(version, isVersioned(bucket));
  for (const name of OVERRIDES) {
    const value = request.query.get(`response-${name}`);
    if (value !== undefined) headers[name] = headerValue(value);
  }
  const part = selectPart(version, request.query.get('partNumber'));
  if (part && version.parts) headers['x-amz-mp-parts-count'] = String(version.parts.length);
  const range = part ?? parseRange(request.headers.get('range'), version.sizeBytes);
  if (range && range.length > 0) {
    headers['content-range'] = `bytes ${range.start}-${range.start + range.length - 1}/${version.sizeBytes}`;
  } else if (!range && request.headers.get('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') {
    // A stored checksum speaks of the whole object only.
    Object.assign(headers, checksumHeaders(version.checksum));
  }
  const { start, length } = range ?? { start: 0, length: version.sizeBytes };
  const status = range ? 206 : 200;
  if (request.method === 'HEAD') return { ...emptyReply(status, headers), announcedBytes: length };
  const opened = bucket.open(version);
  if (!opened) throw new S3Error('NoSuchKey', { fields: { Key: request.key } });
  return { status, headers, body: { fd: opened.fd, start, length } };
}

function selectPart(version: ObjectVersion, partNumber: string | undefined): ByteRange | undefined {
  if (partNumber === undefined) return undefined;
  if (!/^\d{1,5}$/.test(partNumber) || Number(partNumber) < 1 || Number(partNumber) > 10_000) {
    throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive');
  }
  let start = 0;
  for (const part of version.parts ?? [{ partNumber: 1, sizeBytes: version.sizeBytes }]) {
    if (part.partNumber === Number(partNumber)) return { start, length: part.sizeBytes };
    start += part.sizeBytes;
  }
  throw new S3Error('InvalidPartNumber');
}

/** The query can hold anything; a header cannot. */
function headerValue(text: string): string {
  if (/[^\t\x20-\x7e]/.test(text))
    throw new S3Error('InvalidArgument', 'Header value cannot be represented using ISO-8859-1.');
  return text;
}
