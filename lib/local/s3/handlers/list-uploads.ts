import { checksumElement } from '../checksums.ts';
import type { Context } from '../context.ts';
import { encodeField, groupOf, integerOf, isUrlEncoded, listingOf, maxKeysOf, saidEncoding } from '../listing.ts';
import { quoted } from '../object-headers.ts';
import { type Reply, xmlReply } from '../reply.ts';
import { compareKeys } from '../sorted-keys.ts';
import type { Upload } from '../uploads.ts';
import { listedTime } from './list-objects.ts';
import { findUpload } from './multipart.ts';

const OWNER = { ID: 'holdfast', DisplayName: 'holdfast' };

export function listParts(context: Context): Reply {
  const { query } = context.request;
  const { bucket, upload } = findUpload(context);
  const url = isUrlEncoded(query);
  const limit = maxKeysOf(query.get('max-parts'), 'max-parts');
  const marker = integerOf(query.get('part-number-marker') || '0', 'part-number-marker');
  const rest = bucket.uploads.parts(upload.id).filter((part) => part.partNumber > marker);
  const page = rest.slice(0, limit);
  return xmlReply('ListPartsResult', {
    Bucket: bucket.name,
    Key: encodeField(upload.key, url),
    UploadId: upload.id,
    Initiator: OWNER,
    Owner: OWNER,
    StorageClass: upload.headers['x-amz-storage-class'] ?? 'STANDARD',
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.partNumber ?? marker,
    MaxParts: limit,
    IsTruncated: rest.length > page.length,
    ChecksumAlgorithm: upload.checksumAlgorithm,
    ChecksumType: upload.checksumType,
    Part: page.map((part) => ({
      PartNumber: part.partNumber,
      LastModified: listedTime(part.modifiedMs),
      ETag: quoted(part.etag),
      Size: part.sizeBytes,
      ...(part.checksum && { [checksumElement(part.checksum.algorithm)]: part.checksum.value }),
    })),
  });
}

/** By key, then by age; `upload-id-marker` counts only together with `key-marker`. */
export function listMultipartUploads({ request, store, faults }: Context): Reply {
  const { query } = request;
  const bucket = store.bucket(request.bucket);
  const { url, prefix, delimiter } = listingOf(query);
  const keyMarker = query.get('key-marker') ?? '';
  const idMarker = query.get('upload-id-marker') ?? '';
  const limit = maxKeysOf(query.get('max-uploads'), 'max-uploads');
  const markerOrder = bucket.uploads.find(idMarker)?.order ?? Number.POSITIVE_INFINITY;
  const isAfterMarker = (upload: Upload) => {
    if (keyMarker === '') return true;
    const order = compareKeys(upload.key, keyMarker);
    if (delimiter !== '' && keyMarker.endsWith(delimiter) && upload.key.startsWith(keyMarker)) return false;
    return order > 0 || (order === 0 && idMarker !== '' && upload.order > markerOrder);
  };
  const groups = new Set<string>();
  const uploads: Upload[] = [];
  let isTruncated = false;
  let next: { key: string; id: string } | undefined;
  for (const upload of bucket.uploads.all()) {
    if (!upload.key.startsWith(prefix) || !isAfterMarker(upload)) continue;
    const group = groupOf(upload.key, prefix, delimiter);
    if (group !== undefined && groups.has(group)) continue;
    if (uploads.length + groups.size === limit) {
      isTruncated = true;
      break;
    }
    if (group === undefined) uploads.push(upload);
    else groups.add(group);
    next = { key: group ?? upload.key, id: group === undefined ? upload.id : '' };
  }
  return xmlReply('ListMultipartUploadsResult', {
    Bucket: bucket.name,
    KeyMarker: encodeField(keyMarker, url),
    UploadIdMarker: idMarker,
    NextKeyMarker: isTruncated && next ? encodeField(next.key, url) : undefined,
    NextUploadIdMarker: isTruncated ? next?.id : undefined,
    Prefix: encodeField(prefix, url),
    Delimiter: delimiter === '' ? undefined : encodeField(delimiter, url),
    EncodingType: saidEncoding(url, faults),
    MaxUploads: limit,
    IsTruncated: isTruncated,
    Upload: uploads.map((upload) => ({
      Key: encodeField(upload.key, url),
      UploadId: upload.id,
      Initiator: OWNER,
      Owner: OWNER,
      StorageClass: upload.headers['x-amz-storage-class'] ?? 'STANDARD',
      Initiated: listedTime(upload.initiatedMs),
      ChecksumAlgorithm: upload.checksumAlgorithm,
      ChecksumType: upload.checksumType,
    })),
    CommonPrefixes: [...groups].map((group) => ({ Prefix: encodeField(group, url) })),
  });
}
