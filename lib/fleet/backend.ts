import type { Body } from '../base/bytes.ts';
import type { BackendError } from './errors.ts';

export { BackendError, type BackendErrorKind } from './errors.ts';

/** Headers of an object that travel with it, verbatim. Absent ones were not set. */
export interface ObjectHeaders {
  readonly contentType?: string;
  readonly cacheControl?: string;
  readonly contentDisposition?: string;
  readonly contentEncoding?: string;
  readonly contentLanguage?: string;
}

/** What a backend says of the bytes at a storage key. */
export interface StoredObject {
  readonly sizeBytes: number;
  /** As the backend writes it, quotes included. Never compared between backends. */
  readonly etag: string;
  readonly headers: ObjectHeaders;
  /** User metadata, names in lower case without `x-amz-meta-`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch; absent when the backend did not say. */
  readonly lastModified?: number;
  /** Hex, when the backend attests a full-object SHA-256. */
  readonly sha256?: string;
  /** How many tags it has, where the backend says that it has any. */
  readonly tagCount?: number;
}

export interface GetResult extends StoredObject {
  /** The bytes asked for. Throws a `BackendError` of kind `truncated`, `timeout` or `unavailable` when they do not all arrive. */
  readonly body: Body;
}

export interface GetOptions {
  /** Bytes counted from 0, end inclusive. */
  readonly range?: readonly [number, number];
  /** Kind `precondition` when the ETag is another. */
  readonly ifMatch?: string;
  /** A chunk is done with when the next one has come: its memory may be used again at once. The last one stays. */
  readonly reusesBuffers?: boolean;
  /** Asked on a connection of its own, not on one that was kept. */
  readonly isFresh?: boolean;
}

export interface PutRequest {
  readonly storageKey: string;
  readonly sizeBytes: number;
  /** Called once per attempt to send; a port never retries by itself unless it can call it again. */
  readonly body: Body;
  readonly headers?: ObjectHeaders;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Object tags. */
  readonly tags?: Readonly<Record<string, string>>;
  /** Hex; sent as `x-amz-checksum-sha256` where the backend checks it. */
  readonly sha256?: string;
  /**
   * Refuse to overwrite, where the backend can (`conditionalPut`; copies `conditionalCopies`). `precondition` after more than one
   * sending does not say whose bytes stand there: an earlier one may have stored them.
   */
  readonly ifAbsent?: boolean;
  /** Overwrite only these very bytes, where the backend can. */
  readonly ifMatch?: string;
}

export interface PutResult {
  readonly etag: string;
  /** Hex: the `sha256` of the request, when the backend checked the bytes against it and says so. */
  readonly sha256?: string;
}

/**
 * Where bytes are that another backend may copy by itself: the same endpoint stores both, for the same credentials.
 */
export interface CopySource {
  readonly backend: string;
  readonly bucket: string;
  readonly prefix: string;
  readonly storageKey: string;
  /** Copy only these very bytes. */
  readonly ifMatch?: string;
}

/** What is said of the copy replaces what is said of its source. */
export interface CopyFromRequest extends Pick<PutRequest, 'storageKey' | 'headers' | 'metadata' | 'tags' | 'ifAbsent'> {
  readonly source: CopySource;
}

export interface Listed {
  /** Empty for an object whose key is the prefix itself, as consoles make them for folders. */
  readonly storageKey: string;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly lastModified: number;
}

/**
 * Where a page begins: behind a key, which holds for ever, where keys come in byte order; else at a token, which holds as long
 * as the backend takes it.
 */
export type ListFrom = { readonly afterKey: string } | { readonly token: string };

export interface ListPage {
  readonly items: readonly Listed[];
  /** Entries whose keys cannot be read, as they came: they stand somewhere on this page. */
  readonly unreadable?: readonly string[];
  /** Where the rest begins; absent only at the true end of the listing. */
  readonly next?: ListFrom;
}

export interface DeleteRequest {
  readonly storageKey: string;
  /** Delete only while the ETag is this one (`conditionalDelete`). */
  readonly ifMatch?: string;
}

/**
 * What became of one key: `deleted` (also when nothing was there) · `changed` If-Match failed, nothing was deleted · `failed`
 * with the error about this key · `unsettled` a request that named other keys too was refused or not answered: of this one
 * nothing is known, and it is to be asked about by itself.
 */
export type DeleteOutcome =
  | { readonly outcome: 'deleted' }
  | { readonly outcome: 'changed' }
  | { readonly outcome: 'failed'; readonly error: BackendError }
  | { readonly outcome: 'unsettled'; readonly error: BackendError };

/** What a backend can do, found by trying; absent means not tried: assume the least. */
export interface Capabilities {
  readonly conditionalPut?: boolean;
  /** Completes an upload in parts only where nothing stands. */
  readonly conditionalCompletion?: boolean;
  /** Copies an object by itself only to where nothing stands. */
  readonly conditionalCopies?: boolean;
  readonly conditionalDelete?: boolean;
  readonly checksumSha256?: boolean;
  readonly bulkDelete?: boolean;
  readonly keepsVersions?: boolean;
  readonly partCopy?: boolean;
  /** Copies an object by itself, and answers with the SHA-256 of what it stored. */
  readonly attestsCopies?: boolean;
  readonly listsInByteOrder?: boolean;
  /** Listings go on behind a key that is named; false: by tokens only. */
  readonly startsAfterKeys?: boolean;
  /** Listings say of an object the ETag and size that a HEAD says. */
  readonly listsHeadEtags?: boolean;
  /** Following its pages to their end gives every key once. */
  readonly pagesWhole?: boolean;
  readonly keepsMetadata?: boolean;
  /** Content-Type and its like come back as they were sent; false: other headers are noticed, and such copies not recorded. */
  readonly keepsHeaders?: boolean;
  /** Lists and finds a key under the name it was written under. */
  readonly keepsKeys?: boolean;
  /** Keys with `.` or `..` between two slashes; false of this and the next four: none are sent, for they may become others. */
  readonly takesDotSegments?: boolean;
  /** Keys with nothing between two slashes, or before the first. */
  readonly takesEmptySegments?: boolean;
  /** Keys that end in a slash, with bytes. */
  readonly takesTrailingSlash?: boolean;
  /** Keys with `\\` in them. */
  readonly takesBackslashes?: boolean;
  /** Keys with characters that print nothing, or that XML cannot hold. */
  readonly takesControlCharacters?: boolean;
  /** Keys below another, as `a/b` is below `a`; false: one of them is refused, or missing from listings. None of Holdfast's is. */
  readonly takesNestedKeys?: boolean;
  /** Stores nothing of a body that breaks off; false: what came of it stays, under a key that no record names. */
  readonly discardsTruncated?: boolean;
  /** Says of an upload that is not open that there is none; false: its parts are listed before it is relied on. */
  readonly namesGoneUploads?: boolean;
  /** Keeps object tags; false: none are sent and none asked for. */
  readonly tags?: boolean;
  /** Parts that one upload may have; 0: it completes none. */
  readonly maxParts?: number;
  /** User metadata of one object, names and values together, the mark included. */
  readonly metadataBytes?: number;
  /** Of a key in the bucket, the prefix included. */
  readonly maxKeyBytes?: number;
  /** Between two slashes of a key. */
  readonly maxSegmentBytes?: number;
}

export interface CompletedPart {
  readonly partNumber: number;
  readonly etag: string;
  readonly sizeBytes: number;
}

/**
 * One bucket (and prefix) at one endpoint. Storage keys are relative to the prefix. Every method throws `BackendError`
 * and nothing else; the signal cancels the request, with kind `cancelled`.
 */
export interface Backend {
  readonly name: string;
  /** Whether a `put` with its `sha256` was found to be checked against it; absent: it may not be. */
  readonly checksSha256?: boolean;
  /** Parts that one upload may have; absent: as many as S3 allows. */
  readonly maxParts?: number;
  /** Whether it was found to store headers or user metadata otherwise than they were sent; absent: it was not. */
  readonly altersHeaders?: boolean;
  put(request: PutRequest, signal?: AbortSignal): Promise<PutResult>;
  get(storageKey: string, options?: GetOptions, signal?: AbortSignal): Promise<GetResult>;
  /**
   * Null on a 404 without a delete marker. A HEAD answer has no body, so this may also be a missing bucket: only the
   * owner object tells the two apart.
   */
  head(storageKey: string, signal?: AbortSignal): Promise<StoredObject | null>;
  /** Length of the first part of an object that was written in parts, by a HEAD of it; null where there is no answer. */
  firstPartBytes?(storageKey: string, signal?: AbortSignal): Promise<number | null>;
  /** The tags of an object; none where the backend is known to have none. */
  tags(storageKey: string, signal?: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /**
   * Has the storage copy bytes of a neighbouring backend: none of them pass here. `sha256` (hex) is what it attests of the
   * whole copy, where it does. `not-found` and `precondition` name the source's backend: they are about its bytes.
   */
  copyFrom(request: CopyFromRequest, signal?: AbortSignal): Promise<{ readonly sha256?: string }>;
  /** One outcome per request, in order: an error is the outcome of the keys it is about, and is not thrown. */
  delete(requests: readonly DeleteRequest[], signal?: AbortSignal): Promise<readonly DeleteOutcome[]>;
  /** Keys in the backend's own order, `from` a `next` of an earlier page. Pages of at most 1000. */
  list(
    options: { readonly prefix?: string; readonly from?: ListFrom; readonly limit?: number },
    signal?: AbortSignal,
  ): Promise<ListPage>;

  /** Multipart uploads. Part numbers start at 1. */
  createUpload(request: Omit<PutRequest, 'body' | 'sizeBytes'>, signal?: AbortSignal): Promise<{ uploadId: string }>;
  uploadPart(
    request: {
      readonly storageKey: string;
      readonly uploadId: string;
      readonly partNumber: number;
      readonly sizeBytes: number;
      readonly body: Body;
    },
    signal?: AbortSignal,
  ): Promise<{ etag: string }>;
  listParts(storageKey: string, uploadId: string, signal?: AbortSignal): Promise<readonly CompletedPart[]>;
  completeUpload(
    request: {
      readonly storageKey: string;
      readonly uploadId: string;
      readonly parts: readonly CompletedPart[];
      /** Refuse to overwrite, where the backend can (`conditionalCompletion`): the upload stays open then. */
      readonly ifAbsent?: boolean;
      /** Overwrite only these very bytes, likewise. */
      readonly ifMatch?: string;
    },
    signal?: AbortSignal,
  ): Promise<{ etag: string }>;
  abortUpload(storageKey: string, uploadId: string, signal?: AbortSignal): Promise<void>;
  /** Ids of the open uploads of exactly this key. */
  openUploads(storageKey: string, signal?: AbortSignal): Promise<readonly string[]>;
}
