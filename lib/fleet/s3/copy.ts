import { CopyObjectCommand } from '@aws-sdk/client-s3';
import { defined } from '../../base/defined.ts';
import type { BackendError, CopyFromRequest } from '../backend.ts';
import { attestedSha256 } from './attested.ts';
import type { S3Connection } from './connection.ts';
import { backendError } from './errors.ts';
import { assertFits } from './fits.ts';
import { headerInput } from './header-input.ts';
import { headObject } from './read.ts';

/** CopyObject from a bucket of the same endpoint. Asks for a SHA-256 of what is stored. */
export async function copyFrom(
  s3: S3Connection,
  { source, storageKey, headers, metadata, tags, ifAbsent }: CopyFromRequest,
  signal?: AbortSignal,
): Promise<{ readonly sha256?: string }> {
  assertFits(s3, 'copy to', { storageKey, ...defined({ metadata }) });
  const isConditional = s3.capabilities.conditionalCopies === true && ifAbsent === true;
  const inputNow = () => ({
    Bucket: s3.bucket,
    Key: s3.fullKey(storageKey),
    CopySource: pathOf(source.bucket, source.prefix + source.storageKey),
    ...defined({ CopySourceIfMatch: source.ifMatch }),
    ...(isConditional ? { IfNoneMatch: '*' } : {}),
    ...headerInput(s3, headers, metadata, tags),
    MetadataDirective: 'REPLACE' as const,
    TaggingDirective: 'REPLACE' as const,
    ChecksumAlgorithm: 'SHA256' as const,
  });
  try {
    const { CopyObjectResult: copied } = await s3.call('copy to', storageKey, signal, (sdk, sending) =>
      sdk.retrying.send(new CopyObjectCommand(inputNow()), sending),
    );
    const sha256 = attestedSha256(copied?.ChecksumSHA256, copied?.ChecksumType);
    return sha256 === undefined ? {} : { sha256 };
  } catch (error) {
    const { kind, cause } = error as BackendError;
    if (kind !== 'not-found' && kind !== 'precondition') throw error;
    // The answer does not say which of both ends is not as it should be.
    if (kind === 'precondition' && isConditional && (await headObject(s3, storageKey, signal)) !== null) throw error;
    const attempted = { backend: source.backend, action: 'copy', storageKey: source.storageKey };
    throw backendError(kind, attempted, kind === 'not-found' ? 'it is not there' : 'its ETag is another', cause);
  }
}

/** As `x-amz-copy-source` wants it: every byte of the key escaped, but for the slashes. */
export function pathOf(bucket: string, key: string): string {
  return `${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`;
}
