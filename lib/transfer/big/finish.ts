import { BackendError, type StoredObject } from '../../fleet/backend.ts';
import { partCount } from '../parts.ts';
import { type BigCopy, type BigCopyOutcome, keep } from './big-copy.ts';
import { hashOf, passOnce } from './saved-pass.ts';
import { abortUploads, wholeParts } from './uploads.ts';

/** Completes the upload, if that is not done, and makes sure of what it became. */
export async function finish(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome> {
  const existing = await complete(job, signal);
  if (existing === null) return { outcome: 'upload-gone' };
  if (existing.sizeBytes !== job.object.sizeBytes) return storedWrong(job);
  if (job.progress.isUnproven) {
    const reading = await readBack(job, signal);
    if (reading !== null) return reading;
  }
  // One that a frozen turn had begun could otherwise be completed over the bytes that are about to be recorded.
  await abortUploads(job.to, job.storageKey, signal);
  return { outcome: 'stored', sha256: job.progress.sha256! };
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
    await to.completeUpload({ storageKey, uploadId, parts }, signal);
  } catch (error) {
    // The answer to a completion, now or in an earlier turn, may have been lost: what stands there tells.
    const isOpen = error instanceof BackendError && ['no-upload', 'unavailable', 'timeout'].includes(error.kind);
    if (!isOpen) throw error;
    const found = await to.head(storageKey, signal);
    if (found !== null || error.kind === 'no-upload') return found;
    throw error;
  }
  return to.head(storageKey, signal);
}

/** Reads everything back from the target, over as many turns as it takes. Null when it is what was sent. */
async function readBack(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome | null> {
  const { to, storageKey } = job;
  let hash = await hashOf(job);
  const { partsDone, partSizeBytes } = job.progress;
  const behindBytes = hash === null ? 0 : partsDone * partSizeBytes;
  const refusal = job.reserveReadBack(Math.max(0, job.object.sizeBytes - behindBytes));
  if (refusal !== null) return { outcome: 'over-limit', reason: refusal };
  if (hash === null) {
    await keep(job, { partsDone: 0, hashState: '' });
    hash = await hashOf(job);
  }
  const ends: Parameters<typeof passOnce>[2] = {
    source: to.name,
    open: async (range, reusesBuffers, cancel) => (await to.get(storageKey, { range, reusesBuffers }, cancel)).body,
  };
  if (!(await passOnce(job, hash!, ends, signal))) return { outcome: 'unfinished' };
  return hash!.digest() === job.progress.sha256 ? null : storedWrong(job);
}
