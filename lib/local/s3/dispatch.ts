import type { Context, Handler } from './context.ts';
import { S3Error } from './errors.ts';
import {
  createBucket,
  deleteBucket,
  getBucketLocation,
  getBucketVersioning,
  headBucket,
  listBuckets,
  putBucketVersioning,
} from './handlers/buckets.ts';
import { completeMultipartUpload } from './handlers/complete-multipart-upload.ts';
import { copyObject } from './handlers/copy-object.ts';
import { deleteObject, deleteObjects } from './handlers/delete-object.ts';
import { getObject } from './handlers/get-object.ts';
import { getObjectAttributes } from './handlers/get-object-attributes.ts';
import { listObjects, listObjectsV2 } from './handlers/list-objects.ts';
import { listMultipartUploads, listParts } from './handlers/list-uploads.ts';
import { listObjectVersions } from './handlers/list-versions.ts';
import { abortMultipartUpload, createMultipartUpload, uploadPart, uploadPartCopy } from './handlers/multipart.ts';
import { putObject } from './handlers/put-object.ts';
import { deleteObjectTagging, getObjectTagging, putObjectTagging } from './handlers/tagging.ts';
import { assertNotNested } from './key-faults.ts';
import { isReading, type Operation } from './operations.ts';
import type { Reply } from './reply.ts';
import { assertKeyLength } from './s3-request.ts';

const HANDLERS: Record<Exclude<Operation, 'NotImplemented' | 'MethodNotAllowed'>, Handler> = {
  ListBuckets: listBuckets,
  CreateBucket: createBucket,
  HeadBucket: headBucket,
  DeleteBucket: deleteBucket,
  GetBucketLocation: getBucketLocation,
  GetBucketVersioning: getBucketVersioning,
  PutBucketVersioning: putBucketVersioning,
  ListObjects: listObjects,
  ListObjectsV2: listObjectsV2,
  ListObjectVersions: listObjectVersions,
  ListMultipartUploads: listMultipartUploads,
  DeleteObjects: deleteObjects,
  PutObject: putObject,
  CopyObject: copyObject,
  GetObject: getObject,
  HeadObject: getObject,
  DeleteObject: deleteObject,
  GetObjectAttributes: getObjectAttributes,
  GetObjectTagging: getObjectTagging,
  PutObjectTagging: putObjectTagging,
  DeleteObjectTagging: deleteObjectTagging,
  CreateMultipartUpload: createMultipartUpload,
  UploadPart: uploadPart,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: completeMultipartUpload,
  AbortMultipartUpload: abortMultipartUpload,
  ListParts: listParts,
};

/** Runs the operation that an authenticated request names, if its credential may. */
export async function dispatch(context: Context): Promise<Reply> {
  const { request, credential } = context;
  const { operation } = request;
  if (operation === 'NotImplemented' || operation === 'MethodNotAllowed') throw new S3Error(operation);
  if (credential.readOnly && !isReading(operation)) throw new S3Error('AccessDenied');
  if (credential.noDelete && (operation === 'DeleteObject' || operation === 'DeleteBucket'))
    throw new S3Error('AccessDenied');
  assertKeyLength(request);
  assertNotNested(context);
  return HANDLERS[operation](context);
}
