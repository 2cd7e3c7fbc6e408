import { type Backend, BackendError, type StoredObject } from '../../fleet/backend.ts';
import { storageKey } from '../../store/keys.ts';
import { expectedEtag } from '../../store/records.ts';
import { describeBytes } from '../describe-bytes.ts';
import { markOf } from '../mark.ts';
import { partCount } from '../parts.ts';
import { WrongBytes } from '../verify.ts';
import { type BigCopy, type BigCopyOutcome, keep } from './big-copy.ts';
import { hashOf, passOnce } from './saved-pass.ts';
import { abortUploads, wholeParts } from './uploads.ts';

/** Begins or finds the upload, and sends what it lacks. Null when every part is there and the whole is as recorded. */
export async function sendAll(job: BigCopy, from: Backend, signal: AbortSignal): Promise<BigCopyOutcome | null> {
  const { object } = job;
  const source = await describe(job, from, signal);
  if (job.progress.uploadId === '') await beginUpload(job, from, source, signal);
  else if (!(await isAsLeft(job, signal))) return { outcome: 'upload-gone' };
  const hash = await hashOf(job);
  if (hash === null) return { outcome: 'upload-gone' };
  if (!(await sendParts(job, from, hash, signal))) return { outcome: 'unfinished' };
  const sha256 = hash.digest();
  if (object.sha256 !== undefined && sha256 !== object.sha256) {
    const detail = `The copy of "${object.key}" on "${from.name}" has SHA-256 ${sha256}; ${object.sha256} is recorded`;
    return { outcome: 'wrong-digest', detail };
  }
  const parts = partCount(object.sizeBytes, job.progress.partSizeBytes);
  await keep(job, { sha256, partsDone: job.progress.isUnproven ? 0 : parts, hashState: '' });
  return null;
}

function sourceAt({ object }: BigCopy, from: Backend): { key: string; options: { readonly ifMatch?: string } } {
  const copyId = object.copies[from.name]!;
  const ifMatch = expectedEtag(object, from.name);
  return { key: storageKey(object.key, copyId), options: ifMatch === undefined ? {} : { ifMatch } };
}

/** What travels with the bytes, from the source as it is now. */
async function describe(job: BigCopy, from: Backend, signal: AbortSignal): Promise<StoredObject> {
  const { key, options } = sourceAt(job, from);
  const found = await from.head(key, signal);
  const fail = (kind: 'not-found' | 'precondition') =>
    new BackendError(kind, from.name, `Cannot read "${key}" on "${from.name}": it is not as recorded`);
  if (found === null) throw fail('not-found');
  if (options.ifMatch !== undefined && found.etag !== options.ifMatch) throw fail('precondition');
  checkSize(job, from, found.sizeBytes);
  return found;
}

function checkSize({ object }: BigCopy, from: Backend, sizeBytes: number): void {
  if (sizeBytes === object.sizeBytes) return;
  const what = `The copy of "${object.key}" on "${from.name}"`;
  throw new WrongBytes(`${what} has ${sizeBytes} bytes; ${object.sizeBytes} are recorded`);
}

async function beginUpload(
  job: BigCopy,
  from: Backend,
  { headers, metadata }: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  const { to, storageKey: key, fleetId, object } = job;
  // A turn that crashed may have begun one and not said so.
  await abortUploads(to, key, signal);
  const tags = job.preservesTags ? await from.tags(sourceAt(job, from).key, signal) : {};
  const description = { headers, metadata, tags, mark: markOf(object, fleetId) };
  const { uploadId } = await to.createUpload({ storageKey: key, ...describeBytes(description, to.name, key) }, signal);
  try {
    await keep(job, { uploadId, partsDone: 0 });
  } catch (error) {
    await to.abortUpload(key, uploadId);
    throw error;
  }
}

/** Whether the target still has every part that counts as done. */
async function isAsLeft({ to, storageKey: key, progress, object }: BigCopy, signal: AbortSignal): Promise<boolean> {
  const existing = await to.listParts(key, progress.uploadId, signal);
  const size = { sizeBytes: object.sizeBytes, partSizeBytes: progress.partSizeBytes };
  return wholeParts(existing, size, progress.partsDone) !== null;
}

async function sendParts(
  job: BigCopy,
  from: Backend,
  hash: NonNullable<Awaited<ReturnType<typeof hashOf>>>,
  signal: AbortSignal,
): Promise<boolean> {
  const { to, storageKey: key } = job;
  const { uploadId } = job.progress;
  const source = sourceAt(job, from);
  const ends: Parameters<typeof passOnce>[2] = {
    source: from.name,
    async open(range, reusesBuffers, cancel) {
      const found = await from.get(source.key, { range, reusesBuffers, ...source.options }, cancel);
      if (found.sizeBytes !== job.object.sizeBytes) await found.body[Symbol.asyncIterator]().return?.();
      checkSize(job, from, found.sizeBytes);
      return found.body;
    },
    async write({ md5, ...part }, cancel) {
      const { etag } = await to.uploadPart({ storageKey: key, uploadId, ...part }, cancel);
      // An ETag that is the MD5 of what was sent proves it; any other proves nothing.
      if (etag.replaceAll('"', '') !== md5()) job.progress = { ...job.progress, isUnproven: true };
    },
  };
  return passOnce(job, hash, ends, signal);
}
