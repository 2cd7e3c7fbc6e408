export type Operation =
  | 'ListBuckets'
  | 'CreateBucket'
  | 'HeadBucket'
  | 'DeleteBucket'
  | 'GetBucketLocation'
  | 'GetBucketVersioning'
  | 'PutBucketVersioning'
  | 'ListObjects'
  | 'ListObjectsV2'
  | 'ListObjectVersions'
  | 'ListMultipartUploads'
  | 'DeleteObjects'
  | 'PutObject'
  | 'CopyObject'
  | 'GetObject'
  | 'HeadObject'
  | 'DeleteObject'
  | 'GetObjectAttributes'
  | 'GetObjectTagging'
  | 'PutObjectTagging'
  | 'DeleteObjectTagging'
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'UploadPartCopy'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'ListParts'
  /** Something that S3 has and this server has not. */
  | 'NotImplemented'
  /** A method that S3 has not, there. */
  | 'MethodNotAllowed';

export interface OperationInput {
  method: string;
  bucket: string;
  key: string;
  query: ReadonlyMap<string, string>;
  headers: ReadonlyMap<string, string>;
}

export function operationOf(input: OperationInput): Operation {
  if (input.bucket === '') return input.method === 'GET' ? 'ListBuckets' : 'MethodNotAllowed';
  if (hasOtherSubresource(input)) return 'NotImplemented';
  return input.key === '' ? bucketOperation(input) : objectOperation(input);
}

/** Whether the operation changes nothing. */
export function isReading(operation: Operation): boolean {
  return /^(Get|Head|List)/.test(operation);
}

function bucketOperation({ method, query }: OperationInput): Operation {
  const subresource = (name: string) => query.has(name);
  switch (method) {
    case 'GET':
      if (subresource('location')) return 'GetBucketLocation';
      if (subresource('versioning')) return 'GetBucketVersioning';
      if (subresource('versions')) return 'ListObjectVersions';
      if (subresource('uploads')) return 'ListMultipartUploads';
      return query.get('list-type') === '2' ? 'ListObjectsV2' : 'ListObjects';
    case 'HEAD':
      return 'HeadBucket';
    case 'PUT':
      return subresource('versioning') ? 'PutBucketVersioning' : 'CreateBucket';
    case 'POST':
      return subresource('delete') ? 'DeleteObjects' : 'NotImplemented';
    case 'DELETE':
      return 'DeleteBucket';
    default:
      return 'MethodNotAllowed';
  }
}

function objectOperation({ method, query, headers }: OperationInput): Operation {
  const subresource = (name: string) => query.has(name);
  switch (method) {
    case 'GET':
      if (subresource('uploadId')) return 'ListParts';
      if (subresource('tagging')) return 'GetObjectTagging';
      return subresource('attributes') ? 'GetObjectAttributes' : 'GetObject';
    case 'HEAD':
      return 'HeadObject';
    case 'PUT': {
      const isCopy = headers.has('x-amz-copy-source');
      if (subresource('uploadId') || subresource('partNumber')) return isCopy ? 'UploadPartCopy' : 'UploadPart';
      if (subresource('tagging')) return 'PutObjectTagging';
      return isCopy ? 'CopyObject' : 'PutObject';
    }
    case 'POST':
      if (subresource('uploads')) return 'CreateMultipartUpload';
      return subresource('uploadId') ? 'CompleteMultipartUpload' : 'MethodNotAllowed';
    case 'DELETE':
      if (subresource('uploadId')) return 'AbortMultipartUpload';
      return subresource('tagging') ? 'DeleteObjectTagging' : 'DeleteObject';
    default:
      return 'MethodNotAllowed';
  }
}

const OTHER_BUCKET_SUBRESOURCES = [
  'abac',
  'accelerate',
  'acl',
  'analytics',
  'cors',
  'encryption',
  'intelligent-tiering',
  'inventory',
  'lifecycle',
  'logging',
  'metadataConfiguration',
  'metrics',
  'notification',
  'object-lock',
  'ownershipControls',
  'policy',
  'policyStatus',
  'publicAccessBlock',
  'replication',
  'requestPayment',
  'session',
  'tagging',
  'website',
];
const OTHER_OBJECT_SUBRESOURCES = [
  'acl',
  'append',
  'legal-hold',
  'renameObject',
  'restore',
  'retention',
  'select',
  'torrent',
];

function hasOtherSubresource({ key, query }: OperationInput): boolean {
  const others = key === '' ? OTHER_BUCKET_SUBRESOURCES : OTHER_OBJECT_SUBRESOURCES;
  return others.some((name) => query.has(name));
}
