import type { Body } from './bytes.ts';

/**
 * Two readings of one body: iterating `main` drives both, and each chunk waits until `side` has taken the one before. A side
 * that stops early holds nothing up; an error of the body reaches both.
 */
export function tee(body: Body): { readonly main: Body; readonly side: Body } {
  const queue: Uint8Array[] = [];
  let state: 'open' | 'ended' | 'failed' = 'open';
  let failure: unknown;
  let isSideDone = false;
  let wakeSide = () => {};
  let wakeMain = () => {};
  async function* main(): Body {
    try {
      for await (const chunk of body) {
        while (queue.length > 0 && !isSideDone) {
          await new Promise<void>((resolve) => {
            wakeMain = resolve;
          });
        }
        if (!isSideDone) queue.push(chunk);
        wakeSide();
        yield chunk;
      }
      state = 'ended';
    } catch (error) {
      state = 'failed';
      failure = error;
      throw error;
    } finally {
      if (state === 'open') {
        state = 'failed';
        failure = new Error('The body was not read to its end');
      }
      wakeSide();
    }
  }
  async function* side(): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) {
        const chunk = queue.shift();
        if (chunk !== undefined) {
          wakeMain();
          yield chunk;
        } else if (state === 'ended') {
          return;
        } else if (state === 'failed') {
          throw failure;
        } else {
          await new Promise<void>((resolve) => {
            wakeSide = resolve;
          });
        }
      }
    } finally {
      isSideDone = true;
      wakeMain();
    }
  }
  const chunks = side();
  const leave = async () => {
    // A side that was never begun has nothing that would say that it is over.
    isSideDone = true;
    wakeMain();
    return chunks.return(undefined);
  };
  return {
    main: main(),
    side: { [Symbol.asyncIterator]: () => ({ next: () => chunks.next(), return: leave }) },
  };
}
