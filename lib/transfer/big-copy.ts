import { hash as digestNow } from 'node:crypto';
import { type Body, bodyOf } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { type Backend, BackendError, type CompletedPart, type StoredObject } from '../fleet/backend.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord, TransferFields } from '../store/model.ts';
import { type CopyOutcome, explain } from './copy.ts';
import { markFor, markName } from './mark.ts';
import type { PartBuffers } from './part-buffers.ts';
import { lengthOfPart, partCount } from './parts.ts';
import { type Pass, runPass } from './pass.ts';
import { persistently } from './persistently.ts';
import { nativeHash, type RunningHash, resumableHash } from './running-hash.ts';
import { createSaver, type SaveOutcome } from './saver.ts';
import { runStreamPass } from './stream-pass.ts';
import { WrongBytes } from './verify.ts';

/**
 * What became of this turn of a big copy; as for a small one, and:
 * `stored` the target holds the recorded bytes, verified · `unfinished` there was no time to go on: progress is kept ·
 * `taken` another tick goes on with it · `upload-gone` the target knows the upload no more, or not as we left it: begin
 * anew · `wrong-digest` every part was sent, and they are not what is recorded.
 */
export type BigCopyOutcome =
  | Exclude<CopyOutcome, { outcome: 'copied' }>
  | { readonly outcome: 'stored'; readonly sha256: string }
  | { readonly outcome: 'unfinished' }
  | { readonly outcome: 'taken' }
  | { readonly outcome: 'upload-gone' }
  | { readonly outcome: 'wrong-digest'; readonly detail: string };

/** One turn at a copy of an object in parts. */
export interface BigCopy {
  readonly clock: Clock;
  readonly object: ObjectRecord;
  readonly from: Backend;
  readonly to: Backend;
  /** At the target. */
  readonly storageKey: string;
  readonly fleetId: string;
  /** As it was last left; always the latest. */
  progress: TransferFields;
  /** True when it is sure to end in this turn: then its hash is the fast one, which could not go on in another. */
  readonly endsInThisTurn: boolean;
  readonly width: number;
  readonly buffers: PartBuffers;
  mayBegin: Pass['mayBegin'];
  save(progress: TransferFields): Promise<SaveOutcome>;
}

/**
 * Goes on with a copy in parts where it was left: ranged reads of the source into parts of one upload, many at a time, with
 * one SHA-256 over all of them in order, which is compared with the record before the upload is completed. Progress is
 * saved as it is made, so that whoever goes on after a crash reads nothing twice but what was on its way. Records nothing.
 */
export async function copyInParts(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome> {
  try {
    if (job.progress.sha256 === undefined) {
      const ended = await sendAll(job, signal);
      if (ended !== null) return ended;
    }
    return await finish(job, signal);
  } catch (error) {
    if (error instanceof TakenError) return { outcome: 'taken' };
    if (signal.aborted) return { outcome: 'unfinished' };
    if (error instanceof BackendError && error.kind === 'no-upload' && error.backend === job.to.name)
      return { outcome: 'upload-gone' };
    return explain(error, job.from.name);
  }
}

/** Another tick goes on with this copy. */
class TakenError extends Error {
  override readonly name = 'TakenError';
}

async function keep(job: BigCopy, change: Partial<TransferFields>): Promise<void> {
  job.progress = { ...job.progress, ...change };
  if ((await job.save(job.progress)) === 'taken') throw new TakenError();
}

/** Begins or finds the upload, and sends what it lacks. Null when every part is there and the whole is as recorded. */
async function sendAll(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome | null> {
  const { object } = job;
  const source = await describe(job, signal);
  if (job.progress.uploadId === '') await beginUpload(job, source, signal);
  else if (!(await isAsLeft(job, signal))) return { outcome: 'upload-gone' };
  const hash = await hashOf(job);
  if (hash === null) return { outcome: 'upload-gone' };
  const parts = partCount(object.sizeBytes, job.progress.partSizeBytes);
  if ((await sendParts(job, hash, signal)) < parts) {
    // What the fast hash knows cannot be kept: the next turn sends again, with one that can.
    if (hash.state() === '') job.progress = { ...job.progress, hashState: (await resumableHash(''))!.state() };
    return { outcome: 'unfinished' };
  }
  const sha256 = hash.digest();
  if (object.sha256 !== undefined && sha256 !== object.sha256) {
    const detail = `The copy of "${object.key}" on "${job.from.name}" has SHA-256 ${sha256}; ${object.sha256} is recorded`;
    return { outcome: 'wrong-digest', detail };
  }
  await keep(job, { sha256, partsDone: job.progress.isUnproven ? 0 : parts, hashState: '' });
  return null;
}

function sourceAt({ object, from }: BigCopy): { key: string; options: { readonly ifMatch?: string } } {
  const copyId = object.copies[from.name]!;
  const ifMatch = copyId === '' ? object.plainEtags?.[from.name] : undefined;
  return { key: storageKey(object.key, copyId), options: ifMatch === undefined ? {} : { ifMatch } };
}

async function describe(job: BigCopy, signal: AbortSignal): Promise<StoredObject> {
  const { from, object } = job;
  const { key, options } = sourceAt(job);
  const found = await from.head(key, signal);
  const fail = (kind: 'not-found' | 'precondition') =>
    new BackendError(kind, from.name, `Cannot read "${key}" on "${from.name}": it is not as recorded`);
  if (found === null) throw fail('not-found');
  if (options.ifMatch !== undefined && found.etag !== options.ifMatch) throw fail('precondition');
  checkSize(job, found.sizeBytes);
  return { ...found, metadata: { ...found.metadata, [markName]: mark(job) }, sizeBytes: object.sizeBytes };
}

function mark({ fleetId, object, to, storageKey: target }: BigCopy): string {
  return markFor({ fleetId, generation: object.generation }, to.name, target);
}

function checkSize({ from, object }: BigCopy, sizeBytes: number): void {
  if (sizeBytes === object.sizeBytes) return;
  const what = `The copy of "${object.key}" on "${from.name}"`;
  throw new WrongBytes(`${what} has ${sizeBytes} bytes; ${object.sizeBytes} are recorded`);
}

async function beginUpload(job: BigCopy, source: StoredObject, signal: AbortSignal): Promise<void> {
  const { to } = job;
  // A turn that crashed may have begun one and not said so.
  await abortUploads(to, job.storageKey, undefined, signal);
  const { headers, metadata } = source;
  const { uploadId } = await to.createUpload({ storageKey: job.storageKey, headers, metadata }, signal);
  try {
    await keep(job, { uploadId, partsDone: 0 });
  } catch (error) {
    await to.abortUpload(job.storageKey, uploadId, signal);
    throw error;
  }
}

/** Aborts the open uploads of exactly this key, but for one. */
export async function abortUploads(
  backend: Backend,
  key: string,
  but: string | undefined,
  signal?: AbortSignal,
): Promise<void> {
  let open: readonly string[];
  try {
    open = await backend.openUploads(key, signal);
  } catch (error) {
    // A backend that lists no uploads has none that could be found.
    if (error instanceof BackendError && error.kind === 'unsupported') return;
    throw error;
  }
  for (const uploadId of open) if (uploadId !== but) await backend.abortUpload(key, uploadId, signal);
}

/** Whether the target still has every part that counts as done. */
async function isAsLeft(job: BigCopy, signal: AbortSignal): Promise<boolean> {
  const { partsDone, uploadId } = job.progress;
  const there = await job.to.listParts(job.storageKey, uploadId, signal);
  return wholeParts(job, there, partsDone) !== null;
}

/** Parts 1 to `count`, when each is there with its length. */
function wholeParts({ object, progress }: BigCopy, there: readonly CompletedPart[], count: number) {
  const byNumber = new Map(there.map((part) => [part.partNumber, part]));
  const parts: CompletedPart[] = [];
  for (let n = 1; n <= count; n += 1) {
    const part = byNumber.get(n);
    if (part?.sizeBytes !== lengthOfPart(object.sizeBytes, progress.partSizeBytes, n)) return null;
    parts.push(part);
  }
  return parts;
}

/** The hash over the parts done; null when what was kept of it cannot be read. */
async function hashOf(job: BigCopy): Promise<RunningHash | null> {
  const { partsDone, hashState } = job.progress;
  if (hashState === '' && partsDone > 0) return null;
  return hashState === '' && job.endsInThisTurn ? nativeHash() : resumableHash(hashState);
}

/** Reads and sends parts. Returns how many of them, from the first, are done. */
async function sendParts(job: BigCopy, hash: RunningHash, signal: AbortSignal): Promise<number> {
  const { to, from, clock, storageKey: key } = job;
  const { uploadId } = job.progress;
  const { key: sourceKey, options } = sourceAt(job);
  const open = async (range: readonly [number, number], cancel: AbortSignal): Promise<Body> => {
    const found = await from.get(sourceKey, { range, ...options }, cancel);
    if (found.sizeBytes !== job.object.sizeBytes) await found.body[Symbol.asyncIterator]().return?.();
    checkSize(job, found.sizeBytes);
    return found.body;
  };
  const prove = (etag: string, md5: string) => {
    // An ETag that is the MD5 of what was sent proves it; any other proves nothing.
    if (etag.replaceAll('"', '') !== md5) job.progress = { ...job.progress, isUnproven: true };
  };
  const isHeld = job.buffers.holds(job.progress.partSizeBytes);
  return runSaved(job, hash, (pass) =>
    isHeld
      ? runPass(
          {
            ...pass,
            read: (range, into, cancel) =>
              persistently(clock, cancel, async () => fill(into, await open(range, cancel), from.name)),
            write: async (partNumber, bytes, cancel) => {
              const request = { storageKey: key, uploadId, partNumber, sizeBytes: bytes.length };
              const { etag } = await persistently(clock, cancel, () =>
                to.uploadPart({ ...request, body: bodyOf(bytes) }, cancel),
              );
              prove(etag, digestNow('md5', bytes));
            },
          },
          signal,
        )
      : runStreamPass(
          {
            ...pass,
            open,
            write: async (partNumber, sizeBytes, body, cancel) => {
              await to.uploadPart({ storageKey: key, uploadId, partNumber, sizeBytes, body }, cancel);
              prove('', 'unknown');
            },
          },
          signal,
        ),
  );
}

type Common = Omit<Pass, 'read' | 'write'>;

/** Runs a pass and saves how far it came, whatever ends it. */
async function runSaved(job: BigCopy, hash: RunningHash, run: (pass: Common) => Promise<number>): Promise<number> {
  const { clock, object, buffers, width } = job;
  const { partSizeBytes, partsDone } = job.progress;
  const saver = createSaver(job.save);
  const pass: Common = {
    clock,
    sizeBytes: object.sizeBytes,
    partSizeBytes,
    partsDone,
    width,
    hash,
    buffers,
    mayBegin: (expectedMs, isFirst) => !saver.isTaken() && job.mayBegin(expectedMs, isFirst),
    reached(done, hashState) {
      // Without its hash no progress could be gone on from.
      if (hashState === '') return;
      const { failedLeg: _made, ...progress } = job.progress;
      job.progress = { ...progress, partsDone: done, hashState };
      saver.note(job.progress);
    },
  };
  try {
    return await run(pass);
  } finally {
    if (!(await saver.flush())) throw new TakenError();
  }
}

async function fill(into: Buffer, body: Body, backend: string): Promise<void> {
  let at = 0;
  for await (const chunk of body) {
    if (at + chunk.length > into.length) throw new WrongBytes(`"${backend}" answered with more bytes than a part has`);
    into.set(chunk, at);
    at += chunk.length;
  }
  if (at < into.length)
    throw new BackendError(
      'truncated',
      backend,
      `Cannot read a part on "${backend}": ${at} of ${into.length} bytes came`,
    );
}

/** Completes the upload, if that is not done, and makes sure of what it became. */
async function finish(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome> {
  const { to, storageKey: key, object } = job;
  const there = await complete(job, signal);
  if (there === null) return { outcome: 'upload-gone' };
  if (there.sizeBytes !== object.sizeBytes) return storedWrong(job);
  if (job.progress.isUnproven) {
    const reading = await readBack(job, signal);
    if (reading !== null) return reading;
  }
  // One that a frozen turn begun could otherwise still be completed over the bytes that are about to be recorded.
  await abortUploads(to, key, undefined, signal);
  return { outcome: 'stored', sha256: job.progress.sha256! };
}

function storedWrong({ to, storageKey: key }: BigCopy): BigCopyOutcome {
  const detail = `Backend "${to.name}" stored other bytes than it was sent for "${key}"`;
  return { outcome: 'target-wrong', detail };
}

/** What stands at the storage key once the upload is complete; null when there is neither upload nor object. */
async function complete(job: BigCopy, signal: AbortSignal): Promise<StoredObject | null> {
  const { to, storageKey: key, object } = job;
  const { uploadId, partSizeBytes } = job.progress;
  try {
    const there = await to.listParts(key, uploadId, signal);
    const parts = wholeParts(job, there, partCount(object.sizeBytes, partSizeBytes));
    if (parts === null) return null;
    await to.completeUpload({ storageKey: key, uploadId, parts }, signal);
  } catch (error) {
    // The answer of an earlier completion may have been lost: what stands there tells.
    const isLost = error instanceof BackendError && ['no-upload', 'unavailable', 'timeout'].includes(error.kind);
    if (!isLost) throw error;
    const found = await to.head(key, signal);
    if (found !== null || error.kind === 'no-upload') return found;
    throw error;
  }
  return to.head(key, signal);
}

/** Reads everything back from the target, over as many turns as it takes. Null when it is what was sent. */
async function readBack(job: BigCopy, signal: AbortSignal): Promise<BigCopyOutcome | null> {
  const { to, object, clock, storageKey: key } = job;
  const hash = await hashOf(job);
  if (hash === null) {
    await keep(job, { partsDone: 0, hashState: '' });
    return { outcome: 'unfinished' };
  }
  const open = async (range: readonly [number, number], cancel: AbortSignal) =>
    (await to.get(key, { range }, cancel)).body;
  const done = await runSaved(job, hash, (pass) =>
    job.buffers.holds(job.progress.partSizeBytes)
      ? runPass(
          {
            ...pass,
            read: (range, into, cancel) =>
              persistently(clock, cancel, async () => fill(into, await open(range, cancel), to.name)),
          },
          signal,
        )
      : runStreamPass({ ...pass, open }, signal),
  );
  if (done < partCount(object.sizeBytes, job.progress.partSizeBytes)) {
    if (hash.state() === '') job.progress = { ...job.progress, hashState: (await resumableHash(''))!.state() };
    return { outcome: 'unfinished' };
  }
  return hash.digest() === job.progress.sha256 ? null : storedWrong(job);
}
