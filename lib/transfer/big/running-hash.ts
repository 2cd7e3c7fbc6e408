import { createHash } from 'node:crypto';

/** A SHA-256 in progress. */
export interface RunningHash {
  update(bytes: Uint8Array): void;
  /** Hex; ends it. */
  digest(): string;
  /** All it knows, as text, for `resumableHash`; empty when it cannot say. */
  state(): string;
}

/** Node's own: several times as fast, but its state cannot be kept. */
export function nativeHash(): RunningHash {
  const sha256 = createHash('sha256');
  return {
    update: (bytes) => void sha256.update(bytes),
    digest: () => sha256.digest('hex'),
    state: () => '',
  };
}

/** One that goes on from a state; from the beginning when that is empty. Null when the state is none that it knows. */
export async function resumableHash(state: string): Promise<RunningHash | null> {
  // Loaded by those few ticks that need it.
  const { createSHA256 } = await import('hash-wasm');
  const sha256 = await createSHA256();
  sha256.init();
  try {
    if (state !== '') sha256.load(Buffer.from(state, 'base64'));
  } catch {
    return null;
  }
  return {
    update: (bytes) => void sha256.update(bytes),
    digest: () => sha256.digest('hex'),
    state: () => Buffer.from(sha256.save()).toString('base64'),
  };
}
