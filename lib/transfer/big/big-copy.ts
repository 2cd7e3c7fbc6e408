import { type Backend, BackendError, type StoredObject } from '../../fleet/backend.ts';
import { storageKey } from '../../store/keys.ts';
import { expectedEtag } from '../../store/records.ts';
import { explain } from '../copy.ts';
import { describeBytes } from '../describe-bytes.ts';
import { type EtagRule, etagRuleOf } from '../first-hash.ts';
import { headersDigest, headersProblem } from '../headers-digest.ts';
import { carriesMark, markedFileProblem, markOf } from '../mark.ts';
import { partCount } from '../parts.ts';
import { readTags } from '../read-tags.ts';
import type { RunningHash } from '../running-hash.ts';
import { WrongBytes } from '../verify.ts';
import { type BigCopy, type BigCopyOutcome, ClaimLostError, keep } from './job.ts';
import type { PartIO } from './pass.ts';
import { hashOf, passOnce } from './saved-pass.ts';
import { createSentParts, digestOfParts, mayBeMadeOf, type SentParts } from './sent-parts.ts';
import { abortUploads, wholeParts } from './uploads.ts';

/**
 * Goes on with a copy in parts where it was left: ranged reads of the source into parts of one upload, many at a time, with
 * one SHA-256 over all of them in order, which is compared with the record before the upload is completed. Progress is
 * saved as it is made, so that whoever goes on after a crash reads nothing twice but what was on its way. Records nothing.
 */
export async function copyInParts(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome> {
  try {
    if (job.progress.sha256 === undefined) {
      if (job.from === null) throw new Error(`A copy of "${job.object.key}" to "${job.to.name}" has no source`);
      const ended = await sendAll(job, job.from, signal);
      if (ended !== null) return ended;
    }
    return job.progress.needsProof ? { outcome: 'unproven' } : await finish(job, signal);
  } catch (error) {
    if (error instanceof ClaimLostError) return { outcome: 'taken' };
    if (signal.aborted) return { outcome: 'unfinished' };
    const isGone = error instanceof BackendError && error.kind === 'no-upload' && error.backend === job.to.name;
    return isGone ? { outcome: 'upload-gone' } : explain(error, job.from?.name);
  }
}

/** Begins or finds the upload, and sends what it lacks. Null when every part is there and the whole is as recorded. */
async function sendAll(job: BigCopy, from: Backend, signal: AbortSignal): Promise<BigCopyOutcome | null> {
  const { object } = job;
  const source = await describe(job, from, signal);
  if (job.progress.uploadId === '') await beginUpload(job, from, source, signal);
  else if (!(await isAsLeft(job, signal))) return { outcome: 'upload-gone' };
  const rule = await ruleOf(job, from, source, signal);
  const hash = await hashOf(job, rule);
  if (hash === null) return { outcome: 'upload-gone' };
  const sent = createSentParts(job.progress.partsDigest ?? '', job.progress.partsDone);
  if (!(await sendParts(job, from, hash, sent, signal))) return { outcome: 'unfinished' };
  const sha256 = hash.digest();
  if (object.sha256 !== undefined && sha256 !== object.sha256) {
    const detail = `The copy of "${object.key}" on "${from.name}" has SHA-256 ${sha256}; ${object.sha256} is recorded`;
    return { outcome: 'wrong-digest', detail };
  }
  const parts = partCount(object.sizeBytes, job.progress.partSizeBytes);
  const partsDigest = sent.digestUpTo(parts);
  const needsProof = rule !== undefined && hash.isProven?.() !== true;
  const sentAll = { sha256, partsDone: job.progress.isUnproven ? 0 : parts, hashState: '', partsDigest };
  await keep(job, { ...sentAll, ...(needsProof && { needsProof }) });
  return null;
}

/** How the source's ETag may prove the first hash of what nobody has hashed; undefined where its hash is recorded. */
async function ruleOf(
  job: BigCopy,
  from: Backend,
  source: StoredObject,
  signal: AbortSignal,
): Promise<EtagRule | undefined> {
  if (job.object.sha256 !== undefined) return undefined;
  return etagRuleOf(from, sourceAt(job, from).key, source, signal);
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
  const isMarked = job.object.copies[from.name] === '' && carriesMark(found.metadata);
  if (isMarked) throw new WrongBytes(`The copy of "${job.object.key}" on "${from.name}" ${markedFileProblem}`);
  const problem = headersProblem(job.object, found);
  if (problem === null) return found;
  if (options.ifMatch !== undefined) throw fail('precondition');
  throw new WrongBytes(`The copy of "${job.object.key}" on "${from.name}" ${problem}`);
}

function checkSize({ object }: BigCopy, from: Backend, sizeBytes: number): void {
  if (sizeBytes === object.sizeBytes) return;
  const what = `The copy of "${object.key}" on "${from.name}"`;
  throw new WrongBytes(`${what} has ${sizeBytes} bytes; ${object.sizeBytes} are recorded`);
}

async function beginUpload(job: BigCopy, from: Backend, source: StoredObject, signal: AbortSignal): Promise<void> {
  const { to, storageKey: key, fleetId, object } = job;
  const { headers, metadata } = source;
  // A turn that crashed may have begun one and not said so.
  await abortUploads(to, key, signal);
  const tags = job.preservesTags ? await readTags(from, sourceAt(job, from).key, source, signal) : {};
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
  sent: SentParts,
  signal: AbortSignal,
): Promise<boolean> {
  const { to, storageKey: key } = job;
  const { uploadId } = job.progress;
  const source = sourceAt(job, from);
  const ends: PartIO = {
    source: from.name,
    async open(range, reusesBuffers, cancel) {
      const found = await from.get(source.key, { range, reusesBuffers, ...source.options }, cancel);
      if (found.sizeBytes !== job.object.sizeBytes) await found.body[Symbol.asyncIterator]().return?.();
      checkSize(job, from, found.sizeBytes);
      return found.body;
    },
    async write({ md5, ...part }, cancel) {
      const { etag } = await to.uploadPart({ storageKey: key, uploadId, ...part }, cancel);
      sent.note(part.partNumber, etag);
      // An ETag that is the MD5 of what was sent proves it; any other proves nothing.
      if (etag.replaceAll('"', '') !== md5()) job.progress = { ...job.progress, isUnproven: true };
    },
    keptAt: (partsDone) => ({ partsDigest: sent.digestUpTo(partsDone) }),
  };
  return passOnce(job, hash, ends, signal);
}

/** Completes the upload, if that is not done, and makes sure of what it became. */
async function finish(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome> {
  const existing = await complete(job, signal);
  if (existing === null) return { outcome: 'upload-gone' };
  if (existing.sizeBytes !== job.object.sizeBytes || headersProblem(job.object, existing) !== null)
    return storedWrong(job);
  if (job.progress.isUnproven) {
    const reading = await readBack(job, signal);
    if (reading !== null) return reading;
  }
  // One that a frozen turn had begun could otherwise be completed over the bytes that are about to be recorded.
  await abortUploads(job.to, job.storageKey, signal);
  const headersSha256 = headersDigest(existing.headers, existing.metadata);
  return { outcome: 'stored', sha256: job.progress.sha256!, headersSha256 };
}

function storedWrong({ to, storageKey }: BigCopy): BigCopyOutcome {
  const detail = `Backend "${to.name}" stored other bytes than it was sent for "${storageKey}"`;
  return { outcome: 'target-wrong', detail };
}

/** What stands at the storage key once the upload is complete; null when there is neither upload nor object. */
async function complete(job: BigCopy, signal: AbortSignal): Promise<StoredObject | null> {
  const { to, storageKey, object } = job;
  const { uploadId, partSizeBytes } = job.progress;
  const size = { sizeBytes: object.sizeBytes, partSizeBytes };
  try {
    const existing = await to.listParts(storageKey, uploadId, signal);
    const parts = wholeParts(existing, size, partCount(object.sizeBytes, partSizeBytes));
    if (parts === null) return null;
    if (digestOfParts(parts) !== job.progress.partsDigest) await doubt(job);
    // It names these very parts: one that arrives from now on is refused, where the backend heeds that.
    const { etag } = await to.completeUpload({ storageKey, uploadId, parts, ifAbsent: true }, signal);
    if (!mayBeMadeOf(etag, parts)) await doubt(job);
  } catch (error) {
    if (isRefusedForBytes(error, to)) {
      // An earlier completion, of which no answer came: or what stands there is not ours, which only reading it tells.
      await doubt(job);
      const standing = await to.head(storageKey, signal);
      if (standing !== null) return standing;
      throw error;
    }
    if (error instanceof BackendError && error.backend === to.name && (await isOtherUpload(job, error, signal)))
      return null;
    // The answer to a completion, now or in an earlier turn, may have been lost: what stands there tells.
    const isOpen = error instanceof BackendError && (error.kind === 'no-upload' || error.isUnanswered);
    if (!isOpen) throw error;
    const found = await to.head(storageKey, signal);
    if (found !== null || error.kind === 'no-upload') return found;
    throw error;
  }
  return to.head(storageKey, signal);
}

/** Refused because something stands there already. */
function isRefusedForBytes(error: unknown, to: Backend): boolean {
  return error instanceof BackendError && error.backend === to.name && error.kind === 'precondition';
}

/** What was sent may not be what is there: the whole is read back before it is recorded. */
async function doubt(job: BigCopy): Promise<void> {
  if (!job.progress.isUnproven) await keep(job, { isUnproven: true, partsDone: 0, hashState: '' });
}

/** Whether a completion was refused because a part of an earlier turn has arrived since the parts were listed. */
async function isOtherUpload(job: BigCopy, error: BackendError, signal: AbortSignal): Promise<boolean> {
  const isRefusal = !error.isUnanswered && (error.speaksOf === 'object' || error.speaksOf === 'unclear');
  // An upload that is gone was completed, or aborted: what stands at the storage key tells.
  if (!isRefusal || error.kind === 'no-upload') return false;
  const parts = await job.to.listParts(job.storageKey, job.progress.uploadId, signal);
  return digestOfParts(parts) !== job.progress.partsDigest;
}

/** Reads everything back from the target, over as many turns as it takes. Null when it is what was sent. */
async function readBack(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome | null> {
  const kept = await hashOf(job);
  const { partsDone, partSizeBytes } = job.progress;
  const behindBytes = kept === null ? 0 : partsDone * partSizeBytes;
  const reading = await job.spendReadingBack(Math.max(0, job.object.sizeBytes - behindBytes), async () => {
    if (kept === null) await keep(job, { partsDone: 0, hashState: '' });
    return readBackFrom(job, kept ?? (await hashOf(job))!, signal);
  });
  return reading.outcome === 'spent' ? reading.value : reading;
}

async function readBackFrom(job: BigCopy, hash: RunningHash, signal: AbortSignal): Promise<BigCopyOutcome | null> {
  const { to, storageKey } = job;
  const ends: PartIO = {
    source: to.name,
    open: async (range, reusesBuffers, cancel) => (await to.get(storageKey, { range, reusesBuffers }, cancel)).body,
  };
  if (!(await passOnce(job, hash, ends, signal))) return { outcome: 'unfinished' };
  return hash.digest() === job.progress.sha256 ? null : storedWrong(job);
}
