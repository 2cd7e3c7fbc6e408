import { hash } from 'node:crypto';
import type { Body } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { seconds } from '../../base/clock.ts';
import { type Attempted, backendError, SilenceError } from './errors.ts';
import type { S3Timeouts } from './wire.ts';

/** Why a source of bytes failed: its own error, or that it gave more or fewer bytes than announced. */
export interface SourceFailure {
  readonly error: unknown;
}

/** A body on its way into a request. */
export interface UploadSource {
  /** Asked for the next one when the backend has taken the one before. */
  readonly pieces: Body;
  /** Set as soon as the source has failed; `cut` is called at that moment. */
  failure(): SourceFailure | undefined;
  /** Set when the backend took no bytes, or gave no answer, for too long; `cut` is called at that moment. */
  silence(): SilenceError | undefined;
  /** Whether every byte was handed to the socket. */
  isSpent(): boolean;
  /** For how long the source has been silent; undefined while it is not waited for. */
  sourceIdleMs(): number | undefined;
  /** Resolves once the source has given the bytes it was asked for, or has failed, or the signal is aborted. */
  whenGiven(signal: AbortSignal): Promise<void>;
  /** Ends the watch and leaves the source. */
  close(): Promise<void>;
}

/** Reads a small body whole, and checks it against what the request says of it. Throws kind `body` or `bad-digest`. */
export async function readSmall(
  request: { readonly body: Body; readonly sizeBytes: number; readonly sha256?: string },
  attempted: Attempted,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(request.sizeBytes);
  let received = 0;
  try {
    for await (const chunk of request.body) {
      if (received + chunk.length > bytes.length) throw new Error(tooLong(bytes.length));
      bytes.set(chunk, received);
      received += chunk.length;
    }
    if (received < bytes.length) throw new Error(tooShort(received, bytes.length));
  } catch (error) {
    throw backendError('body', attempted, sourceFailed(error), error);
  }
  if (request.sha256 !== undefined && hash('sha256', bytes) !== request.sha256) {
    throw backendError('bad-digest', attempted, `its bytes are not those of SHA-256 ${request.sha256}`);
  }
  return bytes;
}

export function sourceFailed(error: unknown): string {
  return `the source of its bytes failed: ${error instanceof Error ? error.message : String(error)}`;
}

/** Most that is handed to the socket at once: a backend that takes bytes slowly is seen to take them. */
const pieceBytes = 256 * 1024;

/**
 * Streams a body of a known size, whatever its chunks, in pieces. The chunk that completes it is held back until the source
 * has ended well: a source that finds out at its end that its bytes were wrong still stops the request from being stored.
 */
export function openSource(
  request: { readonly body: Body; readonly sizeBytes: number },
  { clock, timeouts, cut }: { readonly clock: Clock; readonly timeouts: S3Timeouts; readonly cut: () => void },
): UploadSource {
  const chunks = request.body[Symbol.asyncIterator]();
  const over = new AbortController();
  let received = 0;
  let held: Uint8Array | undefined;
  /** Of the chunk that is being given. */
  let left: Uint8Array = new Uint8Array();
  let isEnded = false;
  let isLeft = false;
  let failure: SourceFailure | undefined;
  let silence: SilenceError | undefined;
  let askedSourceAt: number | undefined;
  let gaveBackendAt: number | undefined;

  /** Waits for the next chunk of the source. */
  const pull = async (): Promise<void> => {
    gaveBackendAt = undefined;
    askedSourceAt = clock.now();
    try {
      for (;;) {
        const step = await chunks.next();
        if (isLeft) return;
        if (step.done) {
          if (received < request.sizeBytes) throw new Error(tooShort(received, request.sizeBytes));
          isEnded = true;
          return gave(held);
        }
        received += step.value.length;
        if (received > request.sizeBytes) throw new Error(tooLong(request.sizeBytes));
        if (received === request.sizeBytes) held = join(held, step.value);
        else if (step.value.length > 0) return gave(step.value);
      }
    } catch (error) {
      failure = { error };
      over.abort();
      cut();
    }
  };
  const gave = (chunk: Uint8Array = left) => {
    askedSourceAt = undefined;
    left = chunk;
  };
  let pulling: Promise<void> = Promise.resolve();
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    if (left.length === 0 && !isEnded) {
      pulling = pull();
      await pulling;
    }
    if (failure !== undefined) throw failure.error;
    gaveBackendAt = clock.now();
    if (isLeft || isAllGiven()) return { done: true, value: undefined };
    const value = left.subarray(0, pieceBytes);
    left = left.subarray(pieceBytes);
    return { done: false, value };
  };

  const isAllGiven = () => isEnded && left.length === 0;

  /** Only the time in which the backend has bytes to take, or an answer to give, counts. */
  const watch = async () => {
    for (;;) {
      const limitMs = isAllGiven() ? timeouts.answerMs : timeouts.stallMs;
      const dueMs = gaveBackendAt === undefined ? limitMs : gaveBackendAt + limitMs - clock.now();
      if (dueMs <= 0) break;
      await clock.sleep(dueMs, over.signal);
    }
    silence = new SilenceError(
      isAllGiven()
        ? `no answer came within ${seconds(timeouts.answerMs)}`
        : `it took no bytes for ${seconds(timeouts.stallMs)}`,
    );
    cut();
  };
  watch().catch(() => {}); // ended by `over`

  return {
    pieces: { [Symbol.asyncIterator]: () => ({ next }) },
    failure: () => failure,
    silence: () => silence,
    isSpent: () => isAllGiven(),
    sourceIdleMs: () => (askedSourceAt === undefined ? undefined : clock.now() - askedSourceAt),
    async whenGiven(signal) {
      const aborted = Promise.withResolvers<void>();
      const abort = () => aborted.resolve();
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
      await Promise.race([pulling, aborted.promise]);
      signal.removeEventListener('abort', abort);
    },
    async close() {
      over.abort();
      isLeft = true;
      // A source that is still waiting for its own bytes answers when they come: nobody waits for that here.
      if (!isEnded) void Promise.resolve(chunks.return?.()).catch(() => {});
    },
  };
}

function join(held: Uint8Array | undefined, chunk: Uint8Array): Uint8Array {
  if (held === undefined) return chunk;
  return chunk.length === 0 ? held : Buffer.concat([held, chunk]);
}

function tooShort(received: number, sizeBytes: number): string {
  return `it ended after ${received} of ${sizeBytes} bytes`;
}

function tooLong(sizeBytes: number): string {
  return `it gave more than the ${sizeBytes} bytes announced`;
}
