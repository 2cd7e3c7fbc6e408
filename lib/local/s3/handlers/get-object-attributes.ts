import { checksumElement } from '../checksums.ts';
import { type Context, selectVersion, versionHeader } from '../context.ts';
import { S3Error } from '../errors.ts';
import type { ObjectVersion } from '../object-version.ts';
import { type Reply, xmlReply } from '../reply.ts';
import type { XmlContent } from '../xml.ts';

const ATTRIBUTES = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'];
const MAX_PARTS = 1000;

export function getObjectAttributes({ request, store }: Context): Reply {
  const bucket = store.bucket(request.bucket);
  const wanted = (request.headers.get('x-amz-object-attributes') ?? '').split(',').map((name) => name.trim());
  if (wanted.length === 0 || !wanted.every((name) => ATTRIBUTES.includes(name))) {
    throw new S3Error('InvalidArgument', 'Invalid attribute name specified.');
  }
  const version = selectVersion(bucket, request.key, request.query.get('versionId'));
  const limit = Math.min(Number(request.headers.get('x-amz-max-parts') ?? MAX_PARTS) || 0, MAX_PARTS);
  const after = Number(request.headers.get('x-amz-part-number-marker') ?? 0) || 0;
  const all: Record<string, XmlContent> = {
    ETag: version.etag,
    Checksum: checksum(version),
    ObjectParts: version.parts && objectParts(version, after, limit),
    StorageClass: version.headers['x-amz-storage-class'] ?? 'STANDARD',
    ObjectSize: version.sizeBytes,
  };
  const chosen = Object.fromEntries(
    ATTRIBUTES.filter((name) => wanted.includes(name)).map((name) => [name, all[name]]),
  );
  return xmlReply('GetObjectAttributesResponse', chosen, {
    'last-modified': new Date(version.modifiedMs).toUTCString(),
    ...versionHeader(bucket, version),
  });
}

function checksum({ checksum }: ObjectVersion): XmlContent {
  // A composite is told without its `-N` here.
  return (
    checksum && {
      [checksumElement(checksum.algorithm)]: checksum.value.replace(/-\d+$/, ''),
      ChecksumType: checksum.type,
    }
  );
}

/** S3 tells the parts one by one only where they carry checksums. */
function objectParts({ parts = [], checksum }: ObjectVersion, after: number, limit: number): XmlContent {
  const rest = parts.filter((part) => part.partNumber > after);
  const page = rest.slice(0, limit);
  const withChecksums = checksum && page.every((part) => part.checksum !== undefined) ? page : [];
  const last = page.at(-1)?.partNumber;
  return {
    PartsCount: parts.length,
    PartNumberMarker: after,
    NextPartNumberMarker: last ?? after,
    MaxParts: limit,
    IsTruncated: rest.length > page.length,
    Part: withChecksums.map((part) => ({
      PartNumber: part.partNumber,
      Size: part.sizeBytes,
      ...(checksum && { [checksumElement(checksum.algorithm)]: part.checksum }),
    })),
  };
}
