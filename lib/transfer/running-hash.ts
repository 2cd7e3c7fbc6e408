import { createHash } from 'node:crypto';

/** A hash in progress. */
export interface RunningHash {
  update(bytes: Uint8Array): void;
  /** Hex; ends it. */
  digest(): string;
  /** All it knows, as text, for its maker; empty when it cannot say. */
  state(): string;
}

/** One that can begin again once it has ended. */
export interface RestartableHash extends RunningHash {
  restart(): void;
}

/** A SHA-256 of Node's own. */
export function nativeHash(): RunningHash {
  return native('sha256');
}

/** Makes hashes: each goes on from a state, or begins when that is empty; null when the state is none that it knows. */
export interface HashMaker {
  sha256(state: string): Promise<RunningHash | null>;
  md5(state: string): Promise<RestartableHash | null>;
}

/** Node's own: several times as fast, but their state cannot be kept. */
export const nativeHashes: HashMaker = {
  sha256: async (state) => (state === '' ? native('sha256') : null),
  md5: async (state) => (state === '' ? native('md5') : null),
};

function native(algorithm: 'sha256' | 'md5'): RestartableHash {
  let hash = createHash(algorithm);
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => hash.digest('hex'),
    state: () => '',
    restart() {
      hash = createHash(algorithm);
    },
  };
}

/** Hashes that another process can go on with. */
export const resumableHashes: HashMaker = {
  sha256: (state) => resumable('createSHA256', state),
  md5: (state) => resumable('createMD5', state),
};

/** A SHA-256 that goes on from a state; from the beginning when that is empty. Null when the state is none that it knows. */
export function resumableHash(state: string): Promise<RunningHash | null> {
  return resumableHashes.sha256(state);
}

async function resumable(create: 'createSHA256' | 'createMD5', state: string): Promise<RestartableHash | null> {
  // Loaded by those few ticks that need it.
  const hash = await (await import('hash-wasm'))[create]();
  hash.init();
  try {
    if (state !== '') hash.load(Buffer.from(state, 'base64'));
  } catch {
    return null;
  }
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => hash.digest(),
    state: () => Buffer.from(hash.save()).toString('base64'),
    restart: () => void hash.init(),
  };
}
