import { createHash, hash as digestNow, type Hash } from 'node:crypto';
import { type Body, bodyOf } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import type { TransferFields } from '../../store/model.ts';
import { lengthOfPart, partCount, rangeOfPart } from '../parts.ts';
import { retryTransient } from '../retry-transient.ts';
import type { RunningHash } from '../running-hash.ts';
import type { PartBuffers } from './part-buffers.ts';

/** What a pass does with the bytes of a part. `body` may be consumed once. */
export interface PartIO {
  /** Whose bytes are read. */
  readonly source: string;
  /** `reusesBuffers` as in `GetOptions`. */
  open(range: readonly [number, number], reusesBuffers: boolean, signal: AbortSignal): Promise<Body>;
  /** Writes a part; `md5` is known once the body was consumed. Absent when bytes are only read. */
  readonly write?: (
    part: { readonly partNumber: number; readonly sizeBytes: number; readonly body: Body; md5(): string },
    signal: AbortSignal,
  ) => Promise<void>;
  /** What else is kept of all parts up to this one. */
  readonly keptAt?: (partsDone: number) => Pick<TransferFields, 'partsDigest'>;
}

/** Going once through the parts of an object, many at a time, while one hash takes them in order. */
export interface Pass {
  readonly clock: Clock;
  readonly sizeBytes: number;
  readonly partSizeBytes: number;
  /** Parts behind us. */
  readonly partsDone: number;
  /** Parts on their way at a time. */
  readonly width: number;
  readonly hash: RunningHash;
  readonly buffers: PartBuffers;
  /** Whether another part may be begun that is expected to take this long; `isFirst`: none was done yet, so nobody knows. */
  mayBegin(expectedMs: number, isFirst: boolean): boolean;
  /** Fills the buffer with a range. */
  read(range: readonly [number, number], into: Buffer, signal: AbortSignal): Promise<void>;
  readonly write?: NonNullable<PartIO['write']>;
  /** All parts up to this one are read, hashed and written; `hashState` is the hash's over exactly these. */
  readonly reached: (partsDone: number, hashState: string) => void;
}

/**
 * Runs a pass until its end, or until no further part may be begun. Returns the parts done, with nothing in flight. The
 * first part goes alone and shows how long one takes; then more at a time, up to `width`. Parts that share a link take the
 * longer the more they are, and what a deadline cuts short is read again: so a part is expected to take its share of what
 * the slowest lately took, times all that it shares with, and no less than the quickest ever took: what passes before the
 * first byte is not shared. None is begun further than `width` beyond those that all before it are done of: a crash costs no
 * more. Throws the first error.
 */
export async function runPass(pass: Pass, signal: AbortSignal): Promise<number> {
  const { clock, sizeBytes, partSizeBytes } = pass;
  const last = partCount(sizeBytes, partSizeBytes);
  const progress = createProgress(pass);
  const cut = new AbortController();
  const either = AbortSignal.any([signal, cut.signal]);
  const running = new Set<Promise<void>>();
  const errors: unknown[] = [];
  let width = 1;
  /** What a part would take alone, if all of its time were shared. */
  let aloneMs = 0;
  let quickestMs = Number.POSITIVE_INFINITY;
  /** Runs the slower the more parts are on their way. */
  let sharedMs = 0;
  let at = clock.now();
  const share = () => {
    sharedMs += (clock.now() - at) / Math.max(1, running.size);
    at = clock.now();
    return sharedMs;
  };
  const expectedMs = () => Math.max(aloneMs * (running.size + 1), quickestMs) * 1.5;
  const start = (part: number) => {
    const startedAt = clock.now();
    const sharedBefore = share();
    const run = onePart(pass, part, progress, either).then(
      () => {
        aloneMs = Math.max(share() - sharedBefore, aloneMs * 0.9);
        quickestMs = Math.min(quickestMs, clock.now() - startedAt);
        width = Math.min(pass.width, width * 2);
      },
      (error: unknown) => {
        errors.push(error);
        progress.fail(error);
        cut.abort(error);
      },
    );
    const tracked: Promise<void> = run.finally(() => {
      share();
      running.delete(tracked);
    });
    running.add(tracked);
  };
  for (let part = pass.partsDone + 1; part <= last && errors.length === 0; ) {
    if (running.size >= width || part > progress.partsDone() + pass.width) await Promise.race(running);
    else if (pass.mayBegin(expectedMs(), part === pass.partsDone + 1)) start(part++);
    else break;
  }
  await Promise.all(running);
  if (errors.length > 0) throw errors[0];
  return progress.partsDone();
}

async function onePart(pass: Pass, part: number, progress: Progress, signal: AbortSignal): Promise<void> {
  const { sizeBytes, partSizeBytes } = pass;
  const held = await pass.buffers.take(partSizeBytes);
  try {
    signal.throwIfAborted();
    const bytes = held.bytes.subarray(0, lengthOfPart(sizeBytes, partSizeBytes, part));
    await pass.read(rangeOfPart(sizeBytes, partSizeBytes, part), bytes, signal);
    const written = writePart(pass, part, bytes, signal);
    // Whichever ends last, both are over when the buffer goes back.
    const [hashing, writing] = await Promise.allSettled([progress.hash(part, bytes), written]);
    if (writing.status === 'rejected') throw writing.reason;
    if (hashing.status === 'rejected') throw hashing.reason;
    progress.done(part, hashing.value);
  } finally {
    held.giveBack();
  }
}

async function writePart(
  { write, clock }: Pass,
  partNumber: number,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<void> {
  if (write === undefined) return;
  const part = { partNumber, sizeBytes: bytes.length, md5: () => digestNow('md5', bytes) };
  await retryTransient(clock, signal, () => write({ ...part, body: bodyOf(bytes) }, signal));
}

interface Progress {
  partsDone(): number;
  /** Hashes a part when all before it are; returns the state over all up to it. */
  hash(part: number, bytes: Buffer): Promise<string>;
  done(part: number, hashState: string): void;
  /** Parts that wait for an earlier one wait no longer. */
  fail(error: unknown): void;
}

function createProgress({ partsDone: first, hash, reached }: Pass): Progress {
  let hashed = first;
  let contiguous = first;
  let failure: { readonly error: unknown } | undefined;
  const waiting = new Map<number, () => void>();
  const states = new Map<number, string>();
  return {
    partsDone: () => contiguous,
    async hash(part, bytes) {
      if (hashed !== part - 1 && failure === undefined) await new Promise<void>((go) => waiting.set(part, go));
      if (failure !== undefined) throw failure.error;
      hash.update(bytes);
      hashed = part;
      const state = hash.state();
      waiting.get(part + 1)?.();
      return state;
    },
    done(part, hashState) {
      states.set(part, hashState);
      const before = contiguous;
      let state = '';
      for (let next = states.get(contiguous + 1); next !== undefined; next = states.get(contiguous + 1)) {
        contiguous += 1;
        state = next;
        states.delete(contiguous);
      }
      if (contiguous > before) reached(contiguous, state);
    },
    fail(error) {
      failure ??= { error };
      for (const go of waiting.values()) go();
    },
  };
}

/** A pass whose parts are too large to be held in memory: one at a time, each streamed from one end to the other. */
export interface StreamPass
  extends Pick<Pass, 'clock' | 'sizeBytes' | 'partSizeBytes' | 'partsDone' | 'hash' | 'mayBegin' | 'reached'> {
  open: PartIO['open'];
  readonly write?: NonNullable<PartIO['write']>;
}

/** Runs a pass until its end, or until no further part may be begun. Returns the parts done. */
export async function runStreamPass(pass: StreamPass, signal: AbortSignal): Promise<number> {
  const { clock, sizeBytes, partSizeBytes } = pass;
  const last = partCount(sizeBytes, partSizeBytes);
  let expectedMs = 0;
  let done = pass.partsDone;
  while (done < last && pass.mayBegin(expectedMs, done === pass.partsDone)) {
    const startedAt = clock.now();
    const part = done + 1;
    const md5 = createHash('md5');
    const range = rangeOfPart(sizeBytes, partSizeBytes, part);
    const body = hashed(await pass.open(range, pass.write === undefined, signal), [pass.hash, md5]);
    const described = { partNumber: part, sizeBytes: lengthOfPart(sizeBytes, partSizeBytes, part), body };
    if (pass.write === undefined) for await (const _ of body);
    else await pass.write({ ...described, md5: () => md5.digest('hex') }, signal);
    done = part;
    pass.reached(done, pass.hash.state());
    expectedMs = (clock.now() - startedAt) * 1.2;
  }
  return done;
}

async function* hashed(body: Body, hashes: readonly (Pass['hash'] | Hash)[]): Body {
  for await (const chunk of body) {
    for (const hash of hashes) hash.update(chunk);
    yield chunk;
  }
}
