import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  type S3Client,
} from '@aws-sdk/client-s3';

/** A server that others wrote, to run the suites of this folder on in place of the embedded one. */
export interface RealS3 {
  readonly endpoint: string;
  /** Emptied before and after each suite. */
  readonly bucket: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/** How a test fails there that asks for what only the embedded one has. */
export const onlyEmbedded = 'Only the embedded server has this';

/** Every version where the server lists versions, else every key; and every upload. What it refuses stays. */
export async function emptyBucket(client: S3Client, Bucket: string): Promise<void> {
  const versions = await client.send(new ListObjectVersionsCommand({ Bucket })).catch(() => undefined);
  const keys = await client.send(new ListObjectsV2Command({ Bucket })).catch(() => undefined);
  const uploads = await client.send(new ListMultipartUploadsCommand({ Bucket })).catch(() => undefined);
  for (const { Key, VersionId } of [...(versions?.Versions ?? []), ...(versions?.DeleteMarkers ?? [])])
    await client.send(new DeleteObjectCommand({ Bucket, Key, VersionId })).catch(() => {});
  for (const { Key } of keys?.Contents ?? [])
    await client.send(new DeleteObjectCommand({ Bucket, Key })).catch(() => {});
  for (const { Key, UploadId } of uploads?.Uploads ?? [])
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(() => {});
}
