import { ListObjectsV2Command, type ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { compareUtf8 } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import type { Listed, ListFrom, ListPage } from '../backend.ts';
import type { S3Connection } from './connection.ts';
import { backendError } from './errors.ts';
import { etagForm } from './tolerate-answer.ts';

/** One page of a listing. A page that says that there is more, but not where, is an error and never the end. */
export async function listPage(
  s3: S3Connection,
  options: { readonly prefix?: string; readonly from?: ListFrom; readonly limit?: number },
  signal?: AbortSignal,
): Promise<ListPage> {
  const { prefix = '', from, limit = 1000 } = options;
  const answer = await s3.call('list', prefix, signal, (sdk, sending) =>
    sdk.retrying.send(
      new ListObjectsV2Command({
        Bucket: s3.bucket,
        Prefix: s3.fullKey(prefix),
        MaxKeys: Math.min(Math.max(limit, 1), 1000),
        EncodingType: 'url',
        ...position(s3, from),
      }),
      sending,
    ),
  );
  const fail = (whatIsSo: string) => backendError('unavailable', s3.attempted('list', prefix), whatIsSo);
  // An empty answer, or a page of some proxy, would otherwise pass for an empty bucket.
  if (answer.IsTruncated === undefined) throw fail('its answer is no listing');
  const items: Listed[] = [];
  const unreadable: string[] = [];
  for (const entry of answer.Contents ?? []) {
    const listed = listedOf(s3, prefix, entry, answer.EncodingType);
    if (listed === null) unreadable.push(entry.Key ?? '');
    else items.push(listed);
  }
  const page = { items, ...defined({ unreadable: unreadable.length > 0 ? unreadable : undefined }) };
  if (!answer.IsTruncated) return page;
  const next = nextPosition(s3, answer, items);
  if (next === undefined || !isBehind(next, from)) throw fail('its listing says that there is more, but not where');
  return { ...page, next };
}

/** Null when the entry cannot be looked up by what is said of it: the others of its page are not held up by it. */
function listedOf(
  s3: S3Connection,
  prefix: string,
  { Key, Size, ETag, LastModified }: NonNullable<ListObjectsV2CommandOutput['Contents']>[number],
  encodingType: string | undefined,
): Listed | null {
  const key = decodeKey(Key ?? '', encodingType);
  if (key === undefined || !key.isWellFormed() || !key.startsWith(s3.fullKey(prefix))) return null;
  if (LastModified === undefined || Size === undefined) return null;
  return {
    storageKey: key.slice(s3.prefix.length),
    sizeBytes: Size,
    etag: etagForm(ETag ?? ''),
    lastModified: LastModified.getTime(),
  };
}

function position(s3: S3Connection, from: ListFrom | undefined) {
  if (from === undefined) return {};
  return 'token' in from ? { ContinuationToken: from.token } : { StartAfter: s3.fullKey(from.afterKey) };
}

/** Behind the last key where keys come in byte order, for there alone does a key say what came before it. */
function nextPosition(
  s3: S3Connection,
  { Contents = [], NextContinuationToken: token }: ListObjectsV2CommandOutput,
  items: readonly Listed[],
): ListFrom | undefined {
  const last = items.at(-1);
  // An unreadable key at the end would be listed again, and with it all that follow the last readable one.
  const endsReadably = items.length === Contents.length;
  const { listsInByteOrder, startsAfterKeys } = s3.capabilities;
  if (listsInByteOrder === true && startsAfterKeys !== false && last && (endsReadably || !token))
    return { afterKey: last.storageKey };
  return token ? { token } : undefined;
}

/** Of tokens it can only be seen that one is not the one before. */
function isBehind(next: ListFrom, from: ListFrom | undefined): boolean {
  if (from === undefined) return true;
  if ('afterKey' in next && 'afterKey' in from) return compareUtf8(next.afterKey, from.afterKey) > 0;
  return JSON.stringify(next) !== JSON.stringify(from);
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
