import { defined } from '../../../base/defined.ts';
import { assertDeleteCondition } from '../conditions.ts';
import type { Context } from '../context.ts';
import { S3Error } from '../errors.ts';
import { keyAsTaken } from '../key-faults.ts';
import { readDocument } from '../payload.ts';
import { emptyReply, type Reply, xmlReply } from '../reply.ts';
import type { StoredBucket } from '../store.ts';
import { childrenOf, parseXml, textOf, type XmlElement } from '../xml.ts';

const MAX_KEYS = 1000;
const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
const MAX_KEY_BYTES = 1024;

interface Removal {
  key: string;
  versionId?: string | undefined;
  ifMatch?: string | undefined;
}

interface Removed {
  versionId?: string;
  isDeleteMarker?: boolean;
}

export function deleteObject({ request, store }: Context): Reply {
  const bucket = store.bucket(request.bucket);
  const versionId = request.query.get('versionId');
  const removed = remove(bucket, { key: request.key, versionId, ifMatch: request.headers.get('if-match') });
  return emptyReply(204, {
    ...defined({ 'x-amz-version-id': removed.versionId }),
    ...(removed.isDeleteMarker && { 'x-amz-delete-marker': 'true' }),
  });
}

export async function deleteObjects(context: Context): Promise<Reply> {
  const { request, store, faults, credential } = context;
  const bucket = store.bucket(request.bucket);
  const isChecked = [...request.headers.keys()].some(
    (name) => name === 'content-md5' || /^x-amz-(checksum-|trailer$)/.test(name),
  );
  if (!isChecked)
    throw new S3Error('InvalidRequest', 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*');
  const document = parseXml(await readDocument(context.payload(), MAX_DOCUMENT_BYTES));
  const { removals, isQuiet } = readDelete(document);
  if (removals.some((one) => one.ifMatch !== undefined)) {
    const rejects = faults.take('reject-feature', (effect) => effect.feature === 'conditional-delete');
    if (rejects && rejects.effect.answer !== 'silently-ignore') throw new S3Error('NotImplemented');
    if (rejects) for (const one of removals) one.ifMatch = undefined;
  }
  const taken = removals.map(({ key }) => keyAsTaken(key, faults));
  const deleted: Record<string, string>[] = [];
  const errors: Record<string, string>[] = [];
  for (const [i, one] of removals.entries()) {
    const named = { Key: one.key, ...defined({ VersionId: one.versionId }) };
    try {
      if (credential.noDelete) throw new S3Error('AccessDenied');
      const removed = remove(bucket, { ...one, key: taken[i]! });
      if (isQuiet) continue;
      const marker = removed.isDeleteMarker && {
        DeleteMarker: 'true',
        DeleteMarkerVersionId: removed.versionId ?? 'null',
      };
      deleted.push({ ...named, ...marker });
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      errors.push({ ...named, Code: error.code, Message: error.message });
    }
  }
  return xmlReply('DeleteResult', { Deleted: deleted, Error: errors });
}

function remove(bucket: StoredBucket, { key, versionId, ifMatch }: Removal): Removed {
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw new S3Error('KeyTooLongError');
  if (versionId === undefined) {
    assertDeleteCondition(ifMatch, bucket.current(key));
    const marker = bucket.remove(key);
    return marker ? { versionId: marker.versionId, isDeleteMarker: true } : {};
  }
  const version = bucket.version(key, versionId);
  if (ifMatch !== undefined) assertDeleteCondition(ifMatch, version);
  if (!version) return { versionId };
  bucket.removeVersion(version);
  return { versionId, isDeleteMarker: version.isDeleteMarker };
}

function readDelete(document: XmlElement): { removals: Removal[]; isQuiet: boolean } {
  const objects = childrenOf(document, 'Object');
  if (document.name !== 'Delete' || objects.length === 0 || objects.length > MAX_KEYS)
    throw new S3Error('MalformedXML');
  const removals = objects.map((object): Removal => {
    const key = textOf(object, 'Key');
    if (!key) throw new S3Error('MalformedXML');
    return { key, versionId: textOf(object, 'VersionId') || undefined, ifMatch: textOf(object, 'ETag') };
  });
  return { removals, isQuiet: textOf(document, 'Quiet') === 'true' };
}
