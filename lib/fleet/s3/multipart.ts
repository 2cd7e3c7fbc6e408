import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
} from '@aws-sdk/client-s3';
import { defined } from '../../base/defined.ts';
import { createPageWatch } from '../../base/page-trail.ts';
import { type Backend, BackendError, type CompletedPart } from '../backend.ts';
import type { S3Connection } from './connection.ts';
import { backendError } from './errors.ts';
import { assertFits } from './fits.ts';
import { headerInput } from './header-input.ts';
import { decodeKey } from './listing.ts';
import { etagOf, sendBody } from './put.ts';
import { percentEncoded } from './sign.ts';

type Multipart = Pick<
  Backend,
  'createUpload' | 'uploadPart' | 'listParts' | 'completeUpload' | 'abortUpload' | 'openUploads'
>;

/** Putting the parts of a big object together can take a backend longer than any other answer. */
const completionFactor = 10;

export function multipart(s3: S3Connection): Multipart {
  const at = (storageKey: string) => ({ Bucket: s3.bucket, Key: s3.fullKey(storageKey) });
  return {
    async createUpload({ storageKey, headers, metadata, tags }, signal) {
      assertFits(s3, 'begin an upload of', { storageKey, ...defined({ metadata }) });
      const { UploadId: uploadId } = await s3.call('begin an upload of', storageKey, signal, (sdk, sending) =>
        sdk.retrying.send(
          new CreateMultipartUploadCommand({ ...at(storageKey), ...headerInput(s3, headers, metadata, tags) }),
          sending,
        ),
      );
      if (!uploadId) {
        throw backendError('unavailable', s3.attempted('begin an upload of', storageKey), 'it named no upload');
      }
      return { uploadId };
    },

    async uploadPart(request, signal) {
      const { storageKey, uploadId, partNumber } = request;
      const asked = {
        operation: 'UploadPart',
        query: `partNumber=${partNumber}&uploadId=${percentEncoded(uploadId)}`,
        headers: {},
        // Most are streamed, so that those who send parts try again, all alike.
        isSentOnce: true,
      } as const;
      const { headers } = await sendBody(s3, `write part ${partNumber} of`, request, asked, signal);
      return { etag: etagOf(s3, `write part ${partNumber} of`, storageKey, headers.etag) };
    },

    async listParts(storageKey, uploadId, signal) {
      const parts: CompletedPart[] = [];
      const numbers = new Set<number>();
      const watch = createPageWatch();
      for (let marker: string | undefined; ; ) {
        const input = { ...at(storageKey), UploadId: uploadId, ...(marker ? { PartNumberMarker: marker } : {}) };
        const page = await s3.call('list the parts of', storageKey, signal, (sdk, sending) =>
          sdk.retrying.send(new ListPartsCommand(input), sending),
        );
        if (page.IsTruncated === undefined && page.UploadId === undefined) {
          throw noListing(s3, 'list the parts of', storageKey);
        }
        const before = numbers.size;
        for (const { PartNumber: partNumber = 0, ETag: etag = '', Size: sizeBytes = 0 } of page.Parts ?? []) {
          parts.push({ partNumber, etag, sizeBytes });
          numbers.add(partNumber);
        }
        if (!page.IsTruncated) return parts;
        const next = page.NextPartNumberMarker;
        const isEnding = watch.comesToAnEnd(next ?? '', numbers.size > before);
        if (!next || !isEnding) throw endless(s3, 'list the parts of', storageKey);
        marker = next;
      }
    },

    async completeUpload({ storageKey, uploadId, parts, ifAbsent, ifMatch }, signal) {
      const conditions = defined({ IfNoneMatch: ifAbsent ? '*' : undefined, IfMatch: ifMatch });
      const input = {
        ...at(storageKey),
        UploadId: uploadId,
        ...(s3.capabilities.conditionalCompletion === true ? conditions : {}),
        MultipartUpload: { Parts: parts.map((part) => ({ PartNumber: part.partNumber, ETag: part.etag })) },
      };
      const requestTimeout = s3.timeouts.answerMs * completionFactor;
      // Sent once: to a second sending, many backends answer that there is no such upload, although it is complete.
      const answer = await s3.call('complete the upload of', storageKey, signal, (sdk, sending) =>
        sdk.once.send(new CompleteMultipartUploadCommand(input), { ...sending, requestTimeout }),
      );
      return { etag: etagOf(s3, 'complete the upload of', storageKey, answer.ETag) };
    },

    async abortUpload(storageKey, uploadId, signal) {
      try {
        await s3.call('abort an upload of', storageKey, signal, (sdk, sending) =>
          sdk.retrying.send(new AbortMultipartUploadCommand({ ...at(storageKey), UploadId: uploadId }), sending),
        );
      } catch (error) {
        if (!(error instanceof BackendError && (error.kind === 'no-upload' || error.kind === 'not-found'))) throw error;
      }
    },

    async openUploads(storageKey, signal) {
      const key = s3.fullKey(storageKey);
      const open = new Set<string>();
      const watch = createPageWatch();
      let after: { readonly KeyMarker: string; readonly UploadIdMarker?: string } | undefined;
      for (;;) {
        const page = await s3.call('list the uploads of', storageKey, signal, (sdk, sending) =>
          sdk.retrying.send(
            new ListMultipartUploadsCommand({ Bucket: s3.bucket, Prefix: key, EncodingType: 'url', ...after }),
            sending,
          ),
        );
        if (page.IsTruncated === undefined && page.Bucket === undefined) {
          throw noListing(s3, 'list the uploads of', storageKey);
        }
        const before = open.size;
        for (const upload of page.Uploads ?? []) {
          if (isKey(upload.Key, key, page.EncodingType) && upload.UploadId) open.add(upload.UploadId);
        }
        if (!page.IsTruncated) return [...open];
        const keyMarker = decodeKey(page.NextKeyMarker ?? '', page.EncodingType);
        const marker = page.NextUploadIdMarker;
        const next = JSON.stringify([keyMarker, marker]);
        const isEnding = watch.comesToAnEnd(next, open.size > before);
        if (!keyMarker || !isEnding) throw endless(s3, 'list the uploads of', storageKey);
        after = { KeyMarker: keyMarker, ...(marker ? { UploadIdMarker: marker } : {}) };
      }
    },
  };
}

function endless(s3: S3Connection, action: string, storageKey: string): BackendError {
  return backendError(
    'unavailable',
    s3.attempted(action, storageKey),
    'its listing says that there is more, but not where',
  );
}

function noListing(s3: S3Connection, action: string, storageKey: string): BackendError {
  return backendError('unavailable', s3.attempted(action, storageKey), 'its answer is no listing');
}

/**
 * Whether a listed upload is of this key. Ceph encodes the keys of this listing without saying so: asked for what begins with
 * our key, no backend lists a key that only looks like ours encoded.
 */
function isKey(listed = '', key: string, encodingType: string | undefined): boolean {
  return decodeKey(listed, encodingType) === key || decodeKey(listed, 'url') === key;
}
