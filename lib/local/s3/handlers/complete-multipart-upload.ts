import { defined } from '../../../base/defined.ts';
import {
  CHECKSUM_ALGORITHMS,
  type ChecksumAlgorithm,
  checksumElement,
  checksumHeader,
  createChecksum,
} from '../checksums.ts';
import { assertWriteConditions } from '../conditions.ts';
import { assertObjectSize, assertStillThere, type Context, versionHeader } from '../context.ts';
import { S3Error } from '../errors.ts';
import { quoted } from '../object-headers.ts';
import { readDocument, type StoredChecksum } from '../payload.ts';
import { type Reply, xmlReply } from '../reply.ts';
import { spool } from '../spool.ts';
import type { StoredBucket } from '../store.ts';
import type { Upload, UploadedPart } from '../uploads.ts';
import { childrenOf, parseXml, textOf, type XmlElement } from '../xml.ts';
import { findUpload, multipartEtag } from './multipart.ts';

const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
const MAX_PARTS = 10_000;

/**
 * An upload that was completed is none any more: NoSuchUpload. S3 itself may answer 200 once more, which it does not document.
 * Source: S3 API reference, CompleteMultipartUpload. https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
 */
export async function completeMultipartUpload(context: Context): Promise<Reply> {
  const { upload, bucket } = findUpload(context);
  const document = parseXml(await readDocument(context.payload('document'), MAX_DOCUMENT_BYTES));
  const named = childrenOf(document, 'Part');
  if (document.name !== 'CompleteMultipartUpload' || named.length === 0 || named.length > MAX_PARTS) {
    throw new S3Error('MalformedXML');
  }
  return bucket.uploads.exclusively(upload.id, () => complete(context, named));
}

async function complete(context: Context, named: readonly XmlElement[]): Promise<Reply> {
  const { request, minPartBytes } = context;
  const { upload, bucket } = findUpload(context);
  const parts = chooseParts(upload, bucket.uploads.parts(upload.id), named);
  assertSizes(context, parts, minPartBytes);
  assertWriteConditions(request.headers, bucket.current(upload.key));
  const checksum = checksumOf(upload, parts);
  const body = await spool(checksum.watch(bucket.uploads.read(upload.id, parts)), bucket.temporaryPath());
  try {
    assertStillThere(context, bucket);
    assertWriteConditions(request.headers, bucket.current(upload.key));
    const stored = checksum.finish();
    assertExpectedChecksum(context, stored);
    return commit(context, bucket, upload, parts, stored, body);
  } catch (error) {
    body.discard();
    throw error;
  }
}

function commit(
  { request }: Context,
  bucket: StoredBucket,
  upload: Upload,
  parts: readonly UploadedPart[],
  checksum: StoredChecksum | undefined,
  body: Awaited<ReturnType<typeof spool>>,
): Reply {
  const { key, headers, metadata, tags } = upload;
  const etag = multipartEtag(parts);
  const kept = parts.map(({ partNumber, sizeBytes, checksum: own }) => ({
    partNumber,
    sizeBytes,
    ...defined({ checksum: own?.value }),
  }));
  const version = bucket.put({ key, etag, headers, metadata, tags, parts: kept, ...defined({ checksum }) }, body);
  bucket.uploads.remove(upload.id);
  const result = {
    Location: `http://${request.headers.get('host')}/${bucket.name}/${encodeURIComponent(key)}`,
    Bucket: bucket.name,
    Key: key,
    ETag: quoted(etag),
    ...(checksum && { [checksumElement(checksum.algorithm)]: checksum.value, ChecksumType: checksum.type }),
  };
  return xmlReply('CompleteMultipartUploadResult', result, versionHeader(bucket, version));
}

function chooseParts(upload: Upload, uploaded: readonly UploadedPart[], named: readonly XmlElement[]): UploadedPart[] {
  const byNumber = new Map(uploaded.map((part) => [part.partNumber, part]));
  let last = 0;
  return named.map((element) => {
    const text = textOf(element, 'PartNumber') ?? '';
    const etag = (textOf(element, 'ETag') ?? '').trim().replace(/^"|"$/g, '');
    if (!/^\d{1,5}$/.test(text) || etag === '') throw new S3Error('MalformedXML');
    if (Number(text) <= last) throw new S3Error('InvalidPartOrder');
    last = Number(text);
    const part = byNumber.get(last);
    if (!part || part.etag !== etag)
      throw new S3Error('InvalidPart', { fields: { PartNumber: text, ETag: etag, UploadId: upload.id } });
    assertPartChecksum(upload, part, element);
    return part;
  });
}

function assertPartChecksum(upload: Upload, part: UploadedPart, element: XmlElement): void {
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const given = textOf(element, checksumElement(algorithm));
    if (given !== undefined && (part.checksum?.algorithm !== algorithm || part.checksum.value !== given)) {
      throw new S3Error('InvalidPart', { fields: { PartNumber: String(part.partNumber), UploadId: upload.id } });
    }
    if (given === undefined && upload.checksumAlgorithm === algorithm && upload.checksumType === 'COMPOSITE') {
      throw new S3Error(
        'InvalidRequest',
        `The upload was created using a ${algorithm.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${part.partNumber} in the request.`,
      );
    }
  }
}

function assertSizes(context: Context, parts: readonly UploadedPart[], minPartBytes: number): void {
  const { request } = context;
  const small = parts.slice(0, -1).find((part) => part.sizeBytes < minPartBytes);
  if (small) {
    const fields = {
      PartNumber: String(small.partNumber),
      ProposedSize: String(small.sizeBytes),
      MinSizeAllowed: String(minPartBytes),
      ETag: small.etag,
    };
    throw new S3Error('EntityTooSmall', { fields });
  }
  const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  assertObjectSize(context, sizeBytes);
  const expected = request.headers.get('x-amz-mp-object-size');
  if (expected !== undefined && Number(expected) !== sizeBytes) {
    throw new S3Error(
      'InvalidRequest',
      `The provided 'x-amz-mp-object-size' header value ${expected} does not match what was computed: ${sizeBytes}`,
    );
  }
}

interface ObjectChecksum {
  watch(source: AsyncGenerator<Buffer>): AsyncGenerator<Buffer>;
  finish(): StoredChecksum | undefined;
}

/** Composite: a checksum over the parts' checksums. Full object: one over all the bytes, taken while they are put together. */
function checksumOf({ checksumAlgorithm, checksumType }: Upload, parts: readonly UploadedPart[]): ObjectChecksum {
  const unwatched = { watch: (source: AsyncGenerator<Buffer>) => source };
  if (!checksumAlgorithm) return { ...unwatched, finish: () => undefined };
  if (checksumType === 'COMPOSITE') return { ...unwatched, finish: () => composite(checksumAlgorithm, parts) };
  const running = createChecksum(checksumAlgorithm);
  return {
    async *watch(source) {
      for await (const piece of source) {
        running.update(piece);
        yield piece;
      }
    },
    finish: () => ({ algorithm: checksumAlgorithm, value: running.digest().toString('base64'), type: 'FULL_OBJECT' }),
  };
}

function composite(algorithm: ChecksumAlgorithm, parts: readonly UploadedPart[]): StoredChecksum {
  const running = createChecksum(algorithm);
  for (const part of parts) running.update(Buffer.from(part.checksum?.value ?? '', 'base64'));
  return { algorithm, value: `${running.digest().toString('base64')}-${parts.length}`, type: 'COMPOSITE' };
}

/** The checksum headers of a completion speak of the object it makes. */
function assertExpectedChecksum({ request }: Context, stored: StoredChecksum | undefined): void {
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const given = request.headers.get(checksumHeader(algorithm));
    if (given === undefined) continue;
    const isSame =
      stored?.algorithm === algorithm && (stored.value === given || stored.value.replace(/-\d+$/, '') === given);
    if (!isSame)
      throw new S3Error('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
  }
}
