import { ListObjectsV2Command, type ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import type { Listed, ListPage } from '../backend.ts';
import type { S3Connection } from './connection.ts';
import { backendError } from './errors.ts';

/**
 * Marks a `next` that is a continuation token. Any other is the last key seen, which holds across processes and days;
 * it is used where keys come in byte order, for there alone does a key say what came before it.
 */
const tokenMark = '\u0000token\u0000';

/** One page of a listing. A page that says that there is more, but not where, is an error and never the end. */
export async function listPage(
  s3: S3Connection,
  options: { readonly prefix?: string; readonly after?: string; readonly limit?: number },
  signal?: AbortSignal,
): Promise<ListPage> {
  const { prefix = '', after, limit = 1000 } = options;
  const answer = await s3.call('list', prefix, signal, (sending) =>
    s3.retrying.send(
      new ListObjectsV2Command({
        Bucket: s3.bucket,
        Prefix: s3.fullKey(prefix),
        MaxKeys: Math.min(Math.max(limit, 1), 1000),
        EncodingType: 'url',
        ...position(s3, after),
      }),
      sending,
    ),
  );
  const fail = (whatIsSo: string) => backendError('unavailable', s3.attempted('list', prefix), whatIsSo);
  // An empty answer, or a page of some proxy, would otherwise pass for an empty bucket.
  if (answer.IsTruncated === undefined) throw fail('its answer is no listing');
  const items = (answer.Contents ?? []).map((item): Listed => {
    const key = decodeKey(item.Key ?? '', answer.EncodingType);
    if (key === undefined) throw fail(`the key ${JSON.stringify(item.Key)} of its listing cannot be decoded`);
    if (!key.startsWith(s3.fullKey(prefix)))
      throw fail(`its listing holds ${JSON.stringify(key)}, outside that prefix`);
    if (!item.LastModified || item.Size === undefined)
      throw fail(`its listing says too little of ${JSON.stringify(key)}`);
    return {
      storageKey: key.slice(s3.prefix.length),
      sizeBytes: item.Size,
      etag: item.ETag ?? '',
      lastModified: item.LastModified.getTime(),
    };
  });
  if (!answer.IsTruncated) return { items };
  const next = nextPosition(s3, items, answer);
  if (next === undefined || next === after) throw fail('its listing says that there is more, but not where');
  return { items, next };
}

function position(s3: S3Connection, after: string | undefined) {
  if (after === undefined) return {};
  if (after.startsWith(tokenMark)) return { ContinuationToken: after.slice(tokenMark.length) };
  return { StartAfter: s3.fullKey(after) };
}

function nextPosition(
  s3: S3Connection,
  items: readonly Listed[],
  answer: ListObjectsV2CommandOutput,
): string | undefined {
  const last = items.at(-1);
  if (s3.capabilities.listsInByteOrder === true && last) return last.storageKey;
  return answer.NextContinuationToken ? tokenMark + answer.NextContinuationToken : undefined;
}

/** A key as the backend meant it, whether or not it heeded `encoding-type`; undefined when it cannot be read. */
export function decodeKey(text: string, encodingType: string | undefined): string | undefined {
  if (encodingType !== 'url') return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}
