import type { Body } from './bytes.ts';

/** One reading of content that several readers follow, each at its own pace. */
export interface SharedReading {
  /** One for each reader, to be consumed once. */
  readonly bodies: readonly Body[];
  /** Nobody follows any more: what was opened is closed. */
  close(): Promise<void>;
}

interface Follower {
  /** Number of the chunk that it takes next. */
  at: number;
  /** Bytes that it has taken. */
  bytes: number;
}

/** What a reader may lag behind the one that is ahead. */
const windowBytes = 8 * 1024 * 1024;

/**
 * Opens content once for several readers. What one has read is kept until the others have taken it, up to a window. Who
 * lags further behind opens the content anew and goes on from where it was: so a reader that stands still holds up nobody.
 * An error of the content reaches everybody who follows.
 */
export function shareReading(open: () => Body, readers: number, mostBytes = windowBytes): SharedReading {
  const followers = new Set<Follower>();
  let source: AsyncIterator<Uint8Array> | undefined;
  let chunks: Uint8Array[] = [];
  /** Number of the oldest chunk that is kept. */
  let oldest = 0;
  let keptBytes = 0;
  let end: { readonly outcome: 'ended' } | { readonly outcome: 'failed'; readonly error: unknown } | undefined;
  let pulling: Promise<void> | undefined;

  async function pull(): Promise<void> {
    try {
      source ??= open()[Symbol.asyncIterator]();
      const step = await source.next();
      if (step.done) end = { outcome: 'ended' };
      else keep(step.value);
    } catch (error) {
      end = { outcome: 'failed', error };
    }
  }

  /** Copied: whoever makes chunks may use their memory again. */
  function keep(chunk: Uint8Array): void {
    chunks.push(Buffer.from(chunk));
    keptBytes += chunk.length;
    forget();
    while (keptBytes > mostBytes && chunks.length > 1) {
      for (const follower of followers) if (follower.at === oldest) followers.delete(follower);
      dropOldest();
      forget();
    }
  }

  function forget(): void {
    while (chunks.length > 0 && ![...followers].some(({ at }) => at === oldest)) dropOldest();
  }

  function dropOldest(): void {
    const [first, ...rest] = chunks;
    chunks = rest;
    keptBytes -= first!.length;
    oldest += 1;
  }

  async function next(me: Follower): Promise<IteratorResult<Uint8Array, undefined> | 'left-behind'> {
    while (followers.has(me)) {
      const chunk = chunks[me.at - oldest];
      if (chunk !== undefined) {
        me.at += 1;
        me.bytes += chunk.length;
        forget();
        return { done: false, value: chunk };
      }
      if (end?.outcome === 'failed') throw end.error;
      if (end !== undefined) return { done: true, value: undefined };
      pulling ??= pull().finally(() => {
        pulling = undefined;
      });
      await pulling;
    }
    return 'left-behind';
  }

  function follow(): Body {
    const me: Follower = { at: 0, bytes: 0 };
    followers.add(me);
    let own: AsyncIterator<Uint8Array> | undefined;
    return {
      [Symbol.asyncIterator]: () => ({
        async next() {
          const step = own === undefined ? await next(me) : 'left-behind';
          if (step !== 'left-behind') return step;
          own ??= after(open(), me.bytes)[Symbol.asyncIterator]();
          return own.next();
        },
        async return() {
          followers.delete(me);
          forget();
          await own?.return?.();
          if (followers.size === 0) await close();
          return { done: true, value: undefined };
        },
      }),
    };
  }

  async function close(): Promise<void> {
    followers.clear();
    chunks = [];
    await source?.return?.();
  }

  return { bodies: Array.from({ length: readers }, follow), close };
}

/** What follows on the first bytes of a body. */
async function* after(body: Body, bytes: number): Body {
  let left = bytes;
  for await (const chunk of body) {
    const rest = chunk.subarray(Math.min(left, chunk.length));
    left -= chunk.length - rest.length;
    if (rest.length > 0) yield rest;
  }
}
