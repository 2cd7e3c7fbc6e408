import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { defined } from '../../../base/defined.ts';
import { closeVersion } from '../bucket.ts';
import type { ByteRange } from '../byte-range.ts';
import { CHECKSUM_ALGORITHMS, type ChecksumAlgorithm, checksumElement, createChecksum } from '../checksums.ts';
import { assertCopySourceConditions, assertWriteConditions } from '../conditions.ts';
import {
  assertObjectSize,
  assertStillThere,
  type Context,
  isVersioned,
  selectVersion,
  versionHeader,
} from '../context.ts';
import { S3Error } from '../errors.ts';
import { keyAsTaken } from '../key-faults.ts';
import { type ObjectHeaders, quoted, readObjectHeaders, readTaggingHeader } from '../object-headers.ts';
import type { ObjectVersion } from '../object-version.ts';
import type { StoredChecksum } from '../payload.ts';
import { type Reply, xmlReply } from '../reply.ts';
import { type Spooled, spool } from '../spool.ts';
import type { StoredBucket } from '../store.ts';
import { listedTime } from './list-objects.ts';

const MAX_COPY_BYTES = 5 * 1024 ** 3;

export async function copyObject(context: Context): Promise<Reply> {
  const { request, store, faults } = context;
  const { headers } = request;
  const bucket = store.bucket(request.bucket);
  const source = findSource(context);
  if (source.version.sizeBytes > MAX_COPY_BYTES) {
    throw new S3Error(
      'InvalidRequest',
      'The specified copy source is larger than the maximum allowable size for a copy source: 5368709120',
    );
  }
  assertObjectSize(context, source.version.sizeBytes);
  const described = describe(context, source);
  assertWriteConditions(headers, bucket.current(request.key));
  const algorithm = requestedAlgorithm(headers) ?? source.version.checksum?.algorithm;
  const whole = { start: 0, length: source.version.sizeBytes };
  const copied = await copyBytes(source, whole, algorithm, bucket.temporaryPath());
  try {
    assertStillThere(context, bucket);
    assertWriteConditions(headers, bucket.current(request.key));
    if (faults.take('drop-metadata')) described.metadata = {};
    const { etag, checksum } = copied;
    const version = bucket.put({ key: request.key, etag, ...described, ...defined({ checksum }) }, copied.body);
    return xmlReply('CopyObjectResult', copyResult(version), {
      ...versionHeader(bucket, version),
      ...sourceVersionHeader(source),
    });
  } catch (error) {
    copied.body.discard();
    throw error;
  }
}

export interface CopySource {
  bucket: StoredBucket;
  version: ObjectVersion;
}

/** Reads `x-amz-copy-source` and checks the conditions on it. */
export function findSource({ request, store, faults }: Context): CopySource {
  const header = request.headers.get('x-amz-copy-source') ?? '';
  const mark = header.indexOf('?versionId=');
  const path = decodePath(mark < 0 ? header : header.slice(0, mark)).replace(/^\//, '');
  const slash = path.indexOf('/');
  if (slash <= 0 || slash === path.length - 1) {
    throw new S3Error('InvalidArgument', 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey');
  }
  const bucket = store.bucket(path.slice(0, slash));
  const versionId = mark < 0 ? undefined : decodePath(header.slice(mark + '?versionId='.length));
  const version = selectSource(bucket, keyAsTaken(path.slice(slash + 1), faults), versionId);
  assertCopySourceConditions(request.headers, version);
  return { bucket, version };
}

export interface CopiedBytes {
  body: Spooled;
  etag: string;
  checksum?: StoredChecksum;
}

/** Copies bytes through the same hashing as an upload, so that a damaged source gives itself away. */
export async function copyBytes(
  { bucket, version }: CopySource,
  { start, length }: ByteRange,
  algorithm: ChecksumAlgorithm | undefined,
  path: string,
): Promise<CopiedBytes> {
  const md5 = createHash('md5');
  const running = algorithm && createChecksum(algorithm);
  const opened = bucket.open(version);
  if (!opened) throw new S3Error('NoSuchKey');
  async function* read(fd: number): AsyncGenerator<Buffer> {
    const options = { fd, start, end: start + length - 1, highWaterMark: 256 * 1024 };
    for await (const piece of createReadStream('', options) as AsyncIterable<Buffer>) {
      md5.update(piece);
      running?.update(piece);
      yield piece;
    }
  }
  async function* nothing(): AsyncGenerator<Buffer> {}
  if (length === 0) closeVersion(opened);
  const body = await spool(length === 0 ? nothing() : read(opened.fd), path);
  const etag = md5.digest('hex');
  if (!algorithm || !running) return { body, etag };
  return { body, etag, checksum: { algorithm, value: running.digest().toString('base64'), type: 'FULL_OBJECT' } };
}

/** The body of a CopyObjectResult or CopyPartResult. */
export function copyResult({
  etag,
  modifiedMs,
  checksum,
}: {
  etag: string;
  modifiedMs: number;
  checksum?: StoredChecksum;
}) {
  return {
    ETag: quoted(etag),
    LastModified: listedTime(modifiedMs),
    ...(checksum && { [checksumElement(checksum.algorithm)]: checksum.value, ChecksumType: checksum.type }),
  };
}

export function sourceVersionHeader({ bucket, version }: CopySource): Record<string, string> {
  return isVersioned(bucket) ? { 'x-amz-copy-source-version-id': version.versionId } : {};
}

export function requestedAlgorithm(headers: ReadonlyMap<string, string>): ChecksumAlgorithm | undefined {
  const name = headers.get('x-amz-checksum-algorithm');
  if (name === undefined) return undefined;
  const algorithm = CHECKSUM_ALGORITHMS.find((one) => one === name.toUpperCase());
  if (!algorithm) throw new S3Error('InvalidRequest', 'Checksum algorithm provided is unsupported.');
  return algorithm;
}

function describe({ request }: Context, { bucket, version }: CopySource): ObjectHeaders {
  const { headers } = request;
  const replacesMetadata = directive(headers, 'x-amz-metadata-directive') === 'REPLACE';
  const replacesTags = directive(headers, 'x-amz-tagging-directive') === 'REPLACE';
  const given = readObjectHeaders(headers);
  const isOntoItself =
    bucket.name === request.bucket && version.key === request.key && bucket.current(version.key) === version;
  if (isOntoItself && !replacesMetadata && !headers.has('x-amz-storage-class')) {
    throw new S3Error(
      'InvalidRequest',
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    );
  }
  const { 'x-amz-storage-class': _, ...kept } = version.headers;
  const storageClass = given.headers['x-amz-storage-class'];
  return {
    headers: replacesMetadata ? given.headers : { ...kept, ...defined({ 'x-amz-storage-class': storageClass }) },
    metadata: replacesMetadata ? given.metadata : { ...version.metadata },
    tags: replacesTags ? readTaggingHeader(headers) : { ...version.tags },
  };
}

function directive(headers: ReadonlyMap<string, string>, name: string): string {
  const value = headers.get(name) ?? 'COPY';
  if (value !== 'COPY' && value !== 'REPLACE') throw new S3Error('InvalidArgument', `Unknown ${name}.`);
  return value;
}

function selectSource(bucket: StoredBucket, key: string, versionId: string | undefined): ObjectVersion {
  try {
    return selectVersion(bucket, key, versionId);
  } catch (error) {
    if (!(error instanceof S3Error) || error.code !== 'MethodNotAllowed') throw error;
    throw new S3Error(
      'InvalidRequest',
      'The source of a copy request may not specifically refer to a delete marker by version id.',
    );
  }
}

function decodePath(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Error('InvalidArgument', 'Invalid copy source encoding.');
  }
}
