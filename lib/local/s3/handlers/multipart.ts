import { createHash } from 'node:crypto';
import { defined } from '../../../base/defined.ts';
import { parseCopyRange } from '../byte-range.ts';
import { checksumHeader, isCrc } from '../checksums.ts';
import { assertObjectSize, assertStillThere, type Context } from '../context.ts';
import { S3Error } from '../errors.ts';
import { quoted, readObjectHeaders } from '../object-headers.ts';
import { assertSized, type StoredChecksum } from '../payload.ts';
import { emptyReply, type Reply, xmlReply } from '../reply.ts';
import { spool } from '../spool.ts';
import type { StoredBucket } from '../store.ts';
import type { Upload, UploadedPart } from '../uploads.ts';
import { copyBytes, copyResult, findSource, requestedAlgorithm, sourceVersionHeader } from './copy-object.ts';
import { checksumHeaders } from './put-object.ts';

export function createMultipartUpload({ request, store, faults }: Context): Reply {
  const { headers, key } = request;
  const bucket = store.bucket(request.bucket);
  const described = readObjectHeaders(headers);
  const checksum = checksumPlan(headers);
  if (faults.take('drop-metadata')) described.metadata = {};
  const upload = bucket.uploads.create({ key, ...described, ...checksum });
  return xmlReply(
    'InitiateMultipartUploadResult',
    { Bucket: bucket.name, Key: key, UploadId: upload.id },
    {
      ...defined({
        'x-amz-checksum-algorithm': checksum.checksumAlgorithm,
        'x-amz-checksum-type': checksum.checksumType,
      }),
    },
  );
}

export async function uploadPart(context: Context): Promise<Reply> {
  const { bucket, upload } = findUpload(context);
  const partNumber = partNumberOf(context);
  const payload = context.payload();
  assertSized(payload);
  assertObjectSize(context, payload.sizeBytes ?? 0);
  assertPartAlgorithm(context, upload);
  const body = await spool(payload.read(), bucket.temporaryPath());
  return bucket.uploads.exclusively(upload.id, () => {
    try {
      assertStillThere(context, bucket);
      findUpload(context);
      const { md5, checksum } = payload.digests();
      const draft = { partNumber, sizeBytes: body.sizeBytes, etag: md5.toString('hex'), ...defined({ checksum }) };
      const part = bucket.uploads.putPart(upload.id, draft, body);
      const { 'x-amz-checksum-type': _, ...headers } = checksumHeaders(checksum);
      return emptyReply(200, { etag: quoted(part.etag), ...headers });
    } catch (error) {
      body.discard();
      throw error;
    }
  });
}

export async function uploadPartCopy(context: Context): Promise<Reply> {
  const { bucket, upload } = findUpload(context);
  const partNumber = partNumberOf(context);
  const source = findSource(context);
  const range = parseCopyRange(context.request.headers.get('x-amz-copy-source-range'), source.version.sizeBytes);
  const copied = await copyBytes(source, range, upload.checksumAlgorithm, bucket.temporaryPath());
  return bucket.uploads.exclusively(upload.id, () => {
    try {
      assertStillThere(context, bucket);
      findUpload(context);
      const { etag, checksum, body } = copied;
      const draft = { partNumber, sizeBytes: body.sizeBytes, etag, ...defined({ checksum }) };
      const { ChecksumType: _, ...result }: Record<string, string> = copyResult(
        bucket.uploads.putPart(upload.id, draft, body),
      );
      return xmlReply('CopyPartResult', result, sourceVersionHeader(source));
    } catch (error) {
      copied.body.discard();
      throw error;
    }
  });
}

export async function abortMultipartUpload(context: Context): Promise<Reply> {
  const { bucket, upload } = findUpload(context);
  return bucket.uploads.exclusively(upload.id, () => {
    findUpload(context);
    bucket.uploads.remove(upload.id);
    return emptyReply(204);
  });
}

/** NoSuchUpload unless the upload that the request names is open, and for that key. */
export function findUpload({ request, store }: Context): { bucket: StoredBucket; upload: Upload } {
  const bucket = store.bucket(request.bucket);
  const upload = bucket.uploads.find(request.query.get('uploadId') ?? '');
  if (!upload || upload.key !== request.key) throw new S3Error('NoSuchUpload');
  return { bucket, upload };
}

/** MD5 over the parts' MD5s, and how many they were: the ETag that S3 gives. */
export function multipartEtag(parts: readonly UploadedPart[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part.etag, 'hex');
  return `${hash.digest('hex')}-${parts.length}`;
}

function partNumberOf({ request }: Context): number {
  const text = request.query.get('partNumber') ?? '';
  const partNumber = Number(text);
  if (!/^\d{1,5}$/.test(text) || partNumber < 1 || partNumber > 10_000) {
    throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive');
  }
  return partNumber;
}

function checksumPlan(headers: ReadonlyMap<string, string>): Pick<Upload, 'checksumAlgorithm' | 'checksumType'> {
  const checksumAlgorithm = requestedAlgorithm(headers);
  const type = headers.get('x-amz-checksum-type')?.toUpperCase();
  if (!checksumAlgorithm) {
    if (type !== undefined)
      throw new S3Error(
        'InvalidRequest',
        'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
      );
    return {};
  }
  const checksumType: StoredChecksum['type'] = checksumAlgorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE';
  if (type === undefined) return { checksumAlgorithm, checksumType };
  const isPossible =
    type === 'FULL_OBJECT' ? isCrc(checksumAlgorithm) : type === 'COMPOSITE' && checksumAlgorithm !== 'CRC64NVME';
  if (!isPossible) {
    throw new S3Error(
      'InvalidRequest',
      `The ${type} checksum type cannot be used with the ${checksumAlgorithm.toLowerCase()} checksum algorithm.`,
    );
  }
  return { checksumAlgorithm, checksumType: type as StoredChecksum['type'] };
}

/** An upload that began with an algorithm takes parts with that checksum alone. */
function assertPartAlgorithm({ request, faults }: Context, { checksumAlgorithm, checksumType }: Upload): void {
  if (!checksumAlgorithm) return;
  const { headers } = request;
  const given =
    [...headers.keys()].find((name) => /^x-amz-checksum-(crc|sha)/.test(name)) ??
    headers.get('x-amz-trailer')?.trim().toLowerCase();
  const isMissingAllowed = checksumType === 'FULL_OBJECT' && given === undefined;
  if (given === checksumHeader(checksumAlgorithm) || isMissingAllowed) return;
  if (faults.take('reject-feature', (effect) => effect.feature === 'checksum' && effect.answer === 'silently-ignore'))
    return;
  const actual = given?.replace('x-amz-checksum-', '') ?? 'null';
  throw new S3Error(
    'InvalidRequest',
    `Checksum Type mismatch occurred, expected checksum Type: ${checksumAlgorithm.toLowerCase()}, actual checksum Type: ${actual}`,
  );
}
