import { GetObjectTaggingCommand } from '@aws-sdk/client-s3';
import type { S3Connection } from './connection.ts';

export async function tagsOf(
  s3: S3Connection,
  storageKey: string,
  signal?: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  if (s3.capabilities.tags === false) return {};
  const { TagSet } = await s3.call('read the tags of', storageKey, signal, (sdk, sending) =>
    sdk.retrying.send(new GetObjectTaggingCommand({ Bucket: s3.bucket, Key: s3.fullKey(storageKey) }), sending),
  );
  return Object.fromEntries((TagSet ?? []).map(({ Key, Value }) => [Key ?? '', Value ?? '']));
}
