import { hash } from 'node:crypto';
import type { Backend, BackendError, BackendErrorKind, ObjectHeaders, PutRequest } from '../../fleet/backend.ts';

interface OpenUpload {
  readonly storageKey: string;
  readonly headers: ObjectHeaders;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tags: Readonly<Record<string, string>>;
  readonly parts: Map<number, { readonly bytes: Uint8Array; readonly etag: string }>;
}

/** What the multipart half of the in-memory implementation needs of the other half. */
interface MultipartDeps {
  readonly minPartBytes: number;
  fail(kind: BackendErrorKind, action: string, storageKey: string, whatIsSo: string): BackendError;
  refuseCancelled(action: string, storageKey: string, signal?: AbortSignal): void;
  readBody(action: string, request: Pick<PutRequest, 'storageKey' | 'sizeBytes' | 'body'>): Promise<Uint8Array>;
  /** Of what stands at a key now. */
  etagAt(storageKey: string): string | undefined;
  readonly heedsConditions: boolean;
  putNow(
    storageKey: string,
    bytes: Uint8Array,
    options: Pick<OpenUpload, 'headers' | 'metadata' | 'tags'> & {
      readonly etag: string;
      readonly firstPartBytes: number;
    },
  ): { readonly etag: string };
}

type Multipart = Pick<
  Backend,
  'createUpload' | 'uploadPart' | 'listParts' | 'completeUpload' | 'abortUpload' | 'openUploads'
>;

/** Multipart uploads of an in-memory bucket: S3's rules on ids, order, ETags and sizes of parts. */
export function memoryMultipart(deps: MultipartDeps): Multipart {
  const { minPartBytes, fail, refuseCancelled, readBody, etagAt, putNow } = deps;
  const uploads = new Map<string, OpenUpload>();
  let begun = 0;
  const open = (action: string, storageKey: string, uploadId: string, signal?: AbortSignal): OpenUpload => {
    refuseCancelled(action, storageKey, signal);
    const upload = uploads.get(uploadId);
    if (upload?.storageKey === storageKey) return upload;
    throw fail('no-upload', action, storageKey, `it has no upload "${uploadId}"`);
  };

  return {
    async createUpload({ storageKey, headers = {}, metadata = {}, tags = {} }, signal) {
      refuseCancelled('begin an upload of', storageKey, signal);
      begun += 1;
      const uploadId = `upload-${begun}`;
      uploads.set(uploadId, { storageKey, headers, metadata, tags, parts: new Map() });
      return { uploadId };
    },

    async uploadPart(request, signal) {
      const { storageKey, uploadId, partNumber } = request;
      const action = `write part ${partNumber} of`;
      open(action, storageKey, uploadId, signal);
      if (partNumber < 1 || partNumber > 10_000)
        throw fail('rejected', action, storageKey, 'parts count from 1 to 10000');
      const bytes = await readBody(action, request);
      const etag = `"${hash('md5', bytes)}"`;
      open(action, storageKey, uploadId, signal).parts.set(partNumber, { bytes, etag });
      return { etag };
    },

    async listParts(storageKey, uploadId, signal) {
      const { parts } = open('list the parts of', storageKey, uploadId, signal);
      return [...parts]
        .sort(([a], [b]) => a - b)
        .map(([partNumber, { bytes, etag }]) => ({ partNumber, etag, sizeBytes: bytes.length }));
    },

    async completeUpload({ storageKey, uploadId, parts, ifAbsent, ifMatch }, signal) {
      const action = 'complete the upload of';
      const { headers, metadata, tags, parts: stored } = open(action, storageKey, uploadId, signal);
      if (parts.length === 0) throw fail('rejected', action, storageKey, 'it needs at least one part');
      const chosen = parts.map(({ partNumber, etag }, i) => {
        const part = stored.get(partNumber);
        if (part?.etag !== etag)
          throw fail('rejected', action, storageKey, `there is no part ${partNumber} with ETag ${etag}`);
        if (i > 0 && parts[i - 1]!.partNumber >= partNumber)
          throw fail('rejected', action, storageKey, 'its parts are not in order');
        if (i < parts.length - 1 && part.bytes.length < minPartBytes) {
          throw fail(
            'rejected',
            action,
            storageKey,
            `part ${partNumber} has ${part.bytes.length} bytes, fewer than ${minPartBytes}`,
          );
        }
        return part;
      });
      if (deps.heedsConditions) {
        const standing = etagAt(storageKey);
        if (ifAbsent && standing !== undefined) throw fail('precondition', action, storageKey, 'it is there already');
        if (ifMatch !== undefined && standing === undefined)
          throw fail('not-found', action, storageKey, 'it is not there');
        if (ifMatch !== undefined && standing !== ifMatch)
          throw fail('precondition', action, storageKey, `its ETag is ${standing}, not ${ifMatch}`);
      }
      uploads.delete(uploadId);
      const digests = Buffer.from(chosen.map(({ etag }) => etag.slice(1, -1)).join(''), 'hex');
      const etag = `"${hash('md5', digests)}-${chosen.length}"`;
      const firstPartBytes = chosen[0]!.bytes.length;
      const whole = Buffer.concat(chosen.map(({ bytes }) => bytes));
      return { etag: putNow(storageKey, whole, { headers, metadata, tags, etag, firstPartBytes }).etag };
    },

    async abortUpload(storageKey, uploadId, signal) {
      refuseCancelled('abort an upload of', storageKey, signal);
      if (uploads.get(uploadId)?.storageKey === storageKey) uploads.delete(uploadId);
    },

    async openUploads(storageKey, signal) {
      refuseCancelled('list the uploads of', storageKey, signal);
      return [...uploads].filter(([, upload]) => upload.storageKey === storageKey).map(([uploadId]) => uploadId);
    },
  };
}
