import type { Context } from '../context.ts';
import { S3Error } from '../errors.ts';
import { readDocument } from '../payload.ts';
import { emptyReply, type Reply, xmlReply } from '../reply.ts';
import { parseXml, textOf } from '../xml.ts';

const MAX_DOCUMENT_BYTES = 64 * 1024;
const REGION = 'us-east-1';

export function listBuckets({ store }: Context): Reply {
  const buckets = store.names().map((name) => ({
    Name: name,
    CreationDate: new Date(store.bucket(name).createdMs).toISOString(),
  }));
  return xmlReply('ListAllMyBucketsResult', {
    Owner: { ID: 'holdfast', DisplayName: 'holdfast' },
    Buckets: { Bucket: buckets },
  });
}

export function createBucket({ store, request }: Context): Reply {
  store.create(request.bucket);
  return emptyReply(200, { location: `/${request.bucket}` });
}

export function headBucket({ store, request }: Context): Reply {
  store.bucket(request.bucket);
  return emptyReply(200, { 'x-amz-bucket-region': REGION });
}

export function deleteBucket({ store, request }: Context): Reply {
  store.delete(store.bucket(request.bucket));
  return emptyReply(204);
}

/** `us-east-1` is spelt as nothing there. */
export function getBucketLocation({ store, request }: Context): Reply {
  store.bucket(request.bucket);
  return xmlReply('LocationConstraint', undefined);
}

export function getBucketVersioning({ store, request }: Context): Reply {
  const versioning = store.bucket(request.bucket).versioning();
  return xmlReply('VersioningConfiguration', versioning === 'Unversioned' ? undefined : { Status: versioning });
}

export async function putBucketVersioning(context: Context): Promise<Reply> {
  const bucket = context.store.bucket(context.request.bucket);
  const document = parseXml(await readDocument(context.payload(), MAX_DOCUMENT_BYTES));
  const status = textOf(document, 'Status');
  if (document.name !== 'VersioningConfiguration' || (status !== 'Enabled' && status !== 'Suspended')) {
    throw new S3Error('MalformedXML');
  }
  bucket.setVersioning(status);
  return emptyReply(200);
}
