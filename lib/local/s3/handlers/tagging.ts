import { type Context, isVersioned, selectVersion, versionHeader } from '../context.ts';
import { S3Error } from '../errors.ts';
import { checkedTags } from '../object-headers.ts';
import type { ObjectVersion } from '../object-version.ts';
import { readDocument } from '../payload.ts';
import { emptyReply, type Reply, xmlReply } from '../reply.ts';
import { childrenOf, parseXml, textOf } from '../xml.ts';

const MAX_DOCUMENT_BYTES = 64 * 1024;

export function getObjectTagging(context: Context): Reply {
  const { bucket, version } = find(context);
  const tags = Object.entries(version.tags).map(([Key, Value]) => ({ Key, Value }));
  return xmlReply('Tagging', { TagSet: { Tag: tags } }, versionHeader(bucket, version));
}

export async function putObjectTagging(context: Context): Promise<Reply> {
  find(context);
  const document = parseXml(await readDocument(context.payload(), MAX_DOCUMENT_BYTES));
  const [tagSet] = childrenOf(document, 'TagSet');
  if (document.name !== 'Tagging' || !tagSet) throw new S3Error('MalformedXML');
  const pairs = childrenOf(tagSet, 'Tag').map((tag): [string, string] => [
    textOf(tag, 'Key') ?? '',
    textOf(tag, 'Value') ?? '',
  ]);
  return setTags(context, checkedTags(pairs), 200);
}

export function deleteObjectTagging(context: Context): Reply {
  return setTags(context, {}, 204);
}

/** Looks the object up again: it may have been replaced while the document was on its way. */
function setTags(context: Context, tags: Record<string, string>, status: number): Reply {
  const { bucket, version } = find(context);
  version.tags = tags;
  bucket.update(version);
  return emptyReply(status, isVersioned(bucket) ? { 'x-amz-version-id': version.versionId } : {});
}

function find({ request, store }: Context): { bucket: ReturnType<Context['store']['bucket']>; version: ObjectVersion } {
  const bucket = store.bucket(request.bucket);
  return { bucket, version: selectVersion(bucket, request.key, request.query.get('versionId')) };
}
