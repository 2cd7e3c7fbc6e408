import { AbortMultipartUploadCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import { defined } from '../../lib/base/defined.ts';
import { createS3Backend } from '../../lib/fleet/s3-backend.ts';
import { optionsFor, type Target } from './target.ts';

/**
 * What a run wrote goes, by whatever name the server lists it, unfinished uploads too. What cannot be deleted is left: returns how
 * many objects are still listed, of a page.
 */
export async function removeBelow(target: Target, below: string): Promise<number> {
  await abortBelow(target, below).catch(() => {});
  const backend = createS3Backend({ ...optionsFor(target, below), capabilities: {} });
  try {
    for (let before = ''; ; ) {
      const { items } = await backend.list({});
      const keys = items.map(({ storageKey }) => storageKey).join('\n');
      if (items.length === 0 || keys === before) return items.length;
      await backend.delete(items);
      before = keys;
    }
  } finally {
    backend.close();
  }
}

async function abortBelow({ endpoint, region, bucket, prefix, pathStyle, credentials }: Target, below: string) {
  const s3 = new S3Client({ region, credentials, forcePathStyle: pathStyle, maxAttempts: 1, ...defined({ endpoint }) });
  try {
    const asked = { Bucket: bucket, Prefix: prefix + below };
    const { Uploads: open = [] } = await s3.send(new ListMultipartUploadsCommand(asked));
    for (const { Key, UploadId } of open)
      await s3.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId })).catch(() => {});
  } finally {
    s3.destroy();
  }
}
