import { defined } from '../base/defined.ts';
import type { Backend } from './backend.ts';
import { connectS3, type S3Connection } from './s3/connection.ts';
import type { S3ConnectionOptions } from './s3/options.ts';
import { putObject } from './s3/put.ts';
import { firstPartBytes, getObject, headObject } from './s3/read.ts';

export type S3BackendOptions = S3ConnectionOptions;

/** The backend port on a real bucket. */
export interface S3Backend extends Backend {
  /** Closes idle sockets. They keep no process alive, so that leaving it out only delays their end. */
  close(): void;
}

/**
 * One bucket (and prefix). Single objects and parts are read and written by requests that are built here; everything else goes
 * through the AWS SDK. What can be sent again is retried; a streamed body is sent once, and so is a request whose second sending
 * could be answered differently because of the first. Bodies of up to 256 KiB are signed with their digest; longer ones too
 * when their SHA-256 is known. Capabilities not known to be there are not used.
 */
export function createS3Backend(options: S3BackendOptions): S3Backend {
  return backendOn(connectS3(options));
}

/** The port on a connection that is open already. */
export function backendOn(s3: S3Connection): S3Backend {
  return {
    name: s3.name,
    checksSha256: s3.capabilities.checksumSha256 === true,
    ...defined({ maxParts: s3.capabilities.maxParts }),
    altersHeaders: s3.capabilities.keepsMetadata === false || s3.capabilities.keepsHeaders === false,
    close: () => s3.close(),
    put: (request, signal) => putObject(s3, request, signal),
    get: (storageKey, getOptions, signal) => getObject(s3, storageKey, getOptions ?? {}, signal),
    head: (storageKey, signal) => headObject(s3, storageKey, signal),
    firstPartBytes: (storageKey, signal) => firstPartBytes(s3, storageKey, signal),
    ...rarelyAsked(s3),
  };
}

/** What most processes never ask of a backend: a cold start does not load it. */
function rarelyAsked(s3: S3Connection): Omit<Backend, 'name' | 'put' | 'get' | 'head' | 'firstPartBytes'> {
  const parts = async () => (await import('./s3/multipart.ts')).multipart(s3);
  return {
    tags: async (...args) => (await import('./s3/tags.ts')).tagsOf(s3, ...args),
    copyFrom: async (...args) => (await import('./s3/copy.ts')).copyFrom(s3, ...args),
    delete: async (...args) => (await import('./s3/deletion.ts')).deleteObjects(s3, ...args),
    list: async (...args) => (await import('./s3/listing.ts')).listPage(s3, ...args),
    createUpload: async (...args) => (await parts()).createUpload(...args),
    uploadPart: async (...args) => (await parts()).uploadPart(...args),
    listParts: async (...args) => (await parts()).listParts(...args),
    completeUpload: async (...args) => (await parts()).completeUpload(...args),
    abortUpload: async (...args) => (await parts()).abortUpload(...args),
    openUploads: async (...args) => (await parts()).openUploads(...args),
  };
}
