import type { RunningHash } from '../running-hash.ts';

/** The first bytes of a read, kept as they are hashed: so that nobody asks for them once more, who only looks at the beginning. */
export interface FirstBytes {
  bytes(): Uint8Array;
  /** The same hash; what it is told is kept. */
  along<H extends RunningHash>(hash: H): H;
}

/** @param before what earlier turns of the same read kept */
export function keepFirstBytes(mostBytes: number, before: Uint8Array): FirstBytes {
  let kept = before;
  return {
    bytes: () => kept,
    along: (hash) => ({
      ...hash,
      update(bytes) {
        hash.update(bytes);
        // Copied, for buffers of a body may be used again.
        if (kept.length < mostBytes) kept = Buffer.concat([kept, bytes.subarray(0, mostBytes - kept.length)]);
      },
    }),
  };
}

export function textOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

export function bytesOfText(text = ''): Uint8Array {
  return Buffer.from(text, 'base64');
}
