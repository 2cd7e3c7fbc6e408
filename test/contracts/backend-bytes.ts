import type { Body } from '../../lib/base/bytes.ts';
import { BackendError, type DeleteOutcome } from '../../lib/fleet/backend.ts';

/** The kind a call failed with; `none` when it did not. */
export async function kindOf(call: Promise<unknown>): Promise<string> {
  try {
    const answer = await call;
    // A deletion ends with an outcome for each key, whatever happened.
    const [failed] = Array.isArray(answer) ? (answer as DeleteOutcome[]).filter((one) => 'error' in one) : [];
    return failed !== undefined && 'error' in failed ? failed.error.kind : 'none';
  } catch (error) {
    return error instanceof BackendError ? error.kind : `not a BackendError: ${String(error)}`;
  }
}

/** Bytes that differ everywhere and by seed. */
export function someBytes(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed;
  for (let i = 0; i < size; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** The bytes in chunks of these sizes, over and over. */
export async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): Body {
  let from = 0;
  for (let i = 0; from < bytes.length; i += 1) {
    const size = sizes[i % sizes.length]!;
    yield bytes.subarray(from, from + size);
    from += size;
  }
}

/** Gives these bytes, then throws. */
export async function* failingAfter(bytes: Uint8Array, error: Error): Body {
  yield* inChunks(bytes, [64 * 1024]);
  throw error;
}
