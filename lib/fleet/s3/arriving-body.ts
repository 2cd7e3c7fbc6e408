/** The body of an answer as it arrives, to be read once. */
export interface ArrivingBody extends AsyncIterable<Uint8Array> {
  /** Whether all of it is in memory: nothing is left to wait for. */
  hasArrived(): boolean;
  /** All of it, where it has arrived. */
  takeAll(): Uint8Array;
  /** Gives it up: whoever reads it gets the error. */
  destroy(error?: Error): void;
  /** A chunk of it that nobody reads any more: its memory is used again, or freed. */
  reuse(chunk: Uint8Array): void;
}

/** The side from which it comes. */
export interface Arrival {
  readonly body: ArrivingBody;
  push(chunk: Uint8Array): void;
  end(): void;
  fail(error: unknown): void;
}

export interface ArrivalDeps {
  /** Nothing more is to come for now. */
  pause(): void;
  resume(): void;
  /** Nobody wants the rest. */
  leave(error: Error): void;
  reuse(memory: ArrayBufferLike): void;
}

/** As much may wait for its reader. */
const mostWaitingBytes = 256 * 1024;

type Step = IteratorResult<Uint8Array, undefined>;
const done: Step = { done: true, value: undefined };

/** Hands bytes from a connection to whoever reads them, at the reader's own pace. */
export function createArrival(deps: ArrivalDeps): Arrival {
  let chunks: Uint8Array[] = [];
  let waitingBytes = 0;
  let isPaused = false;
  let end: { readonly outcome: 'whole' } | { readonly outcome: 'failed'; readonly error: unknown } | undefined;
  /** Whoever waits for the next chunk. */
  let reader: PromiseWithResolvers<Step> | undefined;

  const settle = (ended: NonNullable<typeof end>) => {
    if (end !== undefined) return;
    end = ended;
    if (ended.outcome === 'whole') reader?.resolve(done);
    else reader?.reject(ended.error);
    reader = undefined;
  };
  const next = async (): Promise<Step> => {
    const value = chunks.shift();
    if (value !== undefined) {
      waitingBytes -= value.length;
      if (isPaused && waitingBytes < mostWaitingBytes) {
        isPaused = false;
        deps.resume();
      }
      return { done: false, value };
    }
    if (end?.outcome === 'failed') throw end.error;
    if (end !== undefined) return done;
    reader = Promise.withResolvers<Step>();
    return reader.promise;
  };
  const destroy = (error: Error = new Error('The answer was left')) => {
    chunks = [];
    if (end === undefined) deps.leave(error);
    settle({ outcome: 'failed', error });
  };
  return {
    body: {
      hasArrived: () => end?.outcome === 'whole',
      takeAll() {
        const all = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
        chunks = [];
        return all;
      },
      destroy,
      reuse: ({ buffer }) => deps.reuse(buffer),
      [Symbol.asyncIterator]: () => ({ next }),
    },
    push(chunk) {
      if (reader !== undefined) {
        reader.resolve({ done: false, value: chunk });
        reader = undefined;
        return;
      }
      chunks.push(chunk);
      waitingBytes += chunk.length;
      if (waitingBytes < mostWaitingBytes || isPaused) return;
      isPaused = true;
      deps.pause();
    },
    end: () => settle({ outcome: 'whole' }),
    fail: (error) => settle({ outcome: 'failed', error }),
  };
}
