import type { StorageClass } from '@aws-sdk/client-s3';
import { defined } from '../../base/defined.ts';
import type { ObjectHeaders } from '../backend.ts';
import type { S3Connection } from './connection.ts';

/** What is said of an object when it is written, as the SDK's commands take it. */
export function headerInput(
  { capabilities, storageClass }: S3Connection,
  headers: ObjectHeaders = {},
  metadata: Readonly<Record<string, string>> = {},
  tags: Readonly<Record<string, string>> = {},
) {
  return {
    ...(Object.keys(tags).length === 0 || capabilities.tags === false ? {} : { Tagging: tagQuery(tags) }),
    ...defined({
      ContentType: headers.contentType,
      CacheControl: headers.cacheControl,
      ContentDisposition: headers.contentDisposition,
      ContentEncoding: headers.contentEncoding,
      ContentLanguage: headers.contentLanguage,
      // Never that of the source: it says what this backend is used for.
      StorageClass: storageClass as StorageClass | undefined,
    }),
    Metadata: metadata,
  };
}

/** Blanks as `%20`: some backends take a `+` for itself. */
export function tagQuery(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map((pair) => pair.map(encodeURIComponent).join('='))
    .join('&');
}
