import type { Body } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { BackendError } from '../../fleet/backend.ts';
import { type EtagRule, type ProvingHash, provingHash } from '../first-hash.ts';
import { partCount } from '../parts.ts';
import { retryTransient } from '../retry-transient.ts';
import { nativeHash, type RunningHash, resumableHash, resumableHashes } from '../running-hash.ts';
import { createSaver } from '../saver.ts';
import { type BigCopy, ClaimLostError } from './job.ts';
import { type PartIO, runPass, runStreamPass } from './pass.ts';

/**
 * The hash over the parts done; null when what was kept of it cannot be read. With a rule, of what nobody has hashed, it tells
 * at the end whether the source's ETag proves it.
 */
export async function hashOf(
  job: BigCopy,
  rule?: EtagRule,
): Promise<(RunningHash & Partial<Pick<ProvingHash, 'isProven'>>) | null> {
  const { partsDone, hashState } = job.progress;
  if ((hashState === '' && partsDone > 0) || !Number.isSafeInteger(partsDone) || partsDone < 0) return null;
  if (rule !== undefined) return provingHash(resumableHashes, rule, hashState);
  return hashState === '' && job.endsInThisTurn ? nativeHash() : resumableHash(hashState);
}

/**
 * Goes on through the parts and saves how far it came, whatever ends it. True at the end of the last part. Throws
 * `ClaimLostError` when the copy has passed to another tick.
 */
export async function passOnce(job: BigCopy, hash: RunningHash, ends: PartIO, signal: AbortSignal): Promise<boolean> {
  const { clock, object, buffers, width } = job;
  const { partSizeBytes, partsDone } = job.progress;
  const saver = createSaver(job.save);
  const common = {
    clock,
    sizeBytes: object.sizeBytes,
    partSizeBytes,
    partsDone,
    hash,
    mayBegin: (expectedMs: number, isFirst: boolean) => !saver.isTaken() && job.mayBegin(expectedMs, isFirst),
    reached(done: number, hashState: string) {
      // Without its hash no progress could be gone on from.
      if (hashState === '') return;
      const { failedLeg: _before, ...progress } = job.progress;
      job.progress = { ...progress, partsDone: done, hashState, ...ends.keptAt?.(done) };
      saver.note(job.progress);
    },
  };
  const { open, write, source } = ends;
  const read = (range: readonly [number, number], into: Buffer, cancel: AbortSignal) =>
    retryTransient(clock, cancel, async () => fill(into, await open(range, true, cancel), source));
  const run = buffers.holds(partSizeBytes)
    ? runPass({ ...common, width, buffers, read, ...defined({ write }) }, signal)
    : runStreamPass({ ...common, open, ...defined({ write }) }, signal);
  const [ran] = await Promise.allSettled([run]);
  if (!(await saver.flush())) throw new ClaimLostError();
  if (ran.status === 'rejected') throw ran.reason;
  if (ran.value === partCount(object.sizeBytes, partSizeBytes)) return true;
  // What the fast hash knows cannot be kept: the next turn begins again, with one that can.
  if (hash.state() === '') job.progress = { ...job.progress, hashState: (await resumableHash(''))!.state() };
  return false;
}

async function fill(into: Buffer, body: Body, backend: string): Promise<void> {
  let at = 0;
  for await (const chunk of body) {
    if (at + chunk.length > into.length) throw badRead('unsupported', backend, 'more bytes came than were asked for');
    into.set(chunk, at);
    at += chunk.length;
  }
  if (at < into.length) throw badRead('truncated', backend, `${at} of ${into.length} bytes came`);
}

function badRead(kind: 'unsupported' | 'truncated', backend: string, whatIsSo: string): BackendError {
  return new BackendError(kind, backend, `Cannot read a part of an object on "${backend}": ${whatIsSo}`);
}
