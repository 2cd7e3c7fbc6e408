import { type Backend, BackendError } from '../fleet/backend.ts';
import { type HashMaker, nativeHashes, type RunningHash } from './running-hash.ts';

/**
 * How the ETag of stored bytes was made, if that can be told: `md5` of the whole · `parts` an MD5 over the MD5s of parts of
 * this length · `unknown`. Only a guess: it holds when what was read gives that ETag.
 */
export type EtagRule =
  | { readonly kind: 'md5'; readonly etag: string }
  | { readonly kind: 'parts'; readonly etag: string; readonly partBytes: number }
  | { readonly kind: 'unknown' };

/** Looks how an ETag may have been made: one of parts costs a HEAD of the first of them. */
export async function etagRuleOf(
  backend: Backend,
  storageKey: string,
  stored: { readonly etag: string; readonly sizeBytes: number },
  signal?: AbortSignal,
): Promise<EtagRule> {
  const etag = stored.etag.replaceAll('"', '');
  if (/^[0-9a-f]{32}$/.test(etag)) return { kind: 'md5', etag };
  const [, count] = /^[0-9a-f]{32}-(\d{1,5})$/.exec(etag) ?? [];
  if (count === undefined) return { kind: 'unknown' };
  const partBytes = await firstPartBytes(backend, storageKey, signal);
  const isWhole = partBytes !== null && partBytes > 0 && Math.ceil(stored.sizeBytes / partBytes) === Number(count);
  return isWhole ? { kind: 'parts', etag, partBytes } : { kind: 'unknown' };
}

async function firstPartBytes(backend: Backend, storageKey: string, signal?: AbortSignal): Promise<number | null> {
  if (backend.firstPartBytes === undefined) return null;
  try {
    return await backend.firstPartBytes(storageKey, signal);
  } catch (error) {
    // Where parts cannot be asked for, a second read proves as much.
    if (error instanceof BackendError && error.speaksOf !== 'ourselves') return null;
    throw error;
  }
}

/** A SHA-256 in progress, and beside it what gives the ETag. */
export interface ProvingHash extends RunningHash {
  /** Whether all that was read gives the ETag: then it is what is stored. To be asked once, at the end. */
  isProven(): boolean;
}

/**
 * The hash of bytes whose SHA-256 is recorded nowhere. Nothing would ever show that a single read was wrong, so what it gives
 * counts when it `isProven`, or when another read of all the bytes gives the same.
 */
export async function provingHash(make: HashMaker, rule: EtagRule, state: string): Promise<ProvingHash | null> {
  const kept = state === '' ? { sha256: '', etag: '' } : parsed<{ sha256: string; etag: string }>(state);
  if (kept === null) return null;
  const sha256 = await make.sha256(kept.sha256);
  const etag = await etagHash(make, rule, kept.etag);
  if (sha256 === null || etag === null) return null;
  return {
    update(bytes) {
      sha256.update(bytes);
      etag.update(bytes);
    },
    digest: () => sha256.digest(),
    isProven: () => rule.kind !== 'unknown' && etag.digest() === rule.etag,
    state() {
      const text = sha256.state();
      return text === '' ? '' : JSON.stringify({ sha256: text, etag: etag.state() });
    },
  };
}

/** What shows, at the end of one read, whether it gave what is stored. */
export interface EtagProof {
  update(bytes: Uint8Array): void;
  /** To be asked once, at the end. */
  isProven(): boolean;
}

/** Proves one read of a file that was stored in parts, by the ETag that they gave; proves nothing where that cannot be told. */
export async function proofByParts(
  backend: Backend,
  storageKey: string,
  stored: { readonly etag: string; readonly sizeBytes: number },
  signal?: AbortSignal,
): Promise<EtagProof> {
  const rule = await etagRuleOf(backend, storageKey, stored, signal);
  const hash = await etagHash(nativeHashes, rule, '');
  return {
    update: (bytes) => hash?.update(bytes),
    isProven: () => rule.kind !== 'unknown' && hash?.digest() === rule.etag,
  };
}

/** Gives the ETag, without quotes, of what passes. */
async function etagHash(make: HashMaker, rule: EtagRule, state: string): Promise<RunningHash | null> {
  if (rule.kind === 'unknown') return nothing;
  return rule.kind === 'md5' ? make.md5(state) : partsHash(make, rule.partBytes, state);
}

const nothing: RunningHash = { update: () => {}, digest: () => '', state: () => '' };

interface PartsState {
  /** MD5 over the MD5s of the parts that have ended, and of the part that has not. */
  readonly whole: string;
  readonly part: string;
  readonly bytesInPart: number;
  readonly partsDone: number;
  /** A backend may say another length later: what was kept is of parts of this one. */
  readonly partBytes: number;
}

/** Null when it is not of parts of this length, or is no such state at all: what passes then could never come to a part's end. */
function partsState(text: string, partBytes: number): PartsState | null {
  if (text === '') return { whole: '', part: '', bytesInPart: 0, partsDone: 0, partBytes };
  const kept = parsed<PartsState>(text);
  const { bytesInPart = -1, partsDone = -1 } = kept ?? {};
  const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0;
  const isSound = isCount(bytesInPart) && isCount(partsDone) && bytesInPart < partBytes;
  return isSound && kept?.partBytes === partBytes ? kept : null;
}

async function partsHash(make: HashMaker, partBytes: number, state: string): Promise<RunningHash | null> {
  const kept = partsState(state, partBytes);
  const whole = kept && (await make.md5(kept.whole));
  const part = kept && (await make.md5(kept.part));
  if (!kept || !whole || !part) return null;
  let { bytesInPart, partsDone } = kept;
  const endPart = () => {
    whole.update(Buffer.from(part.digest(), 'hex'));
    part.restart();
    partsDone += 1;
    bytesInPart = 0;
  };
  return {
    update(bytes) {
      for (let at = 0; at < bytes.length; ) {
        const piece = bytes.subarray(at, at + partBytes - bytesInPart);
        part.update(piece);
        at += piece.length;
        bytesInPart += piece.length;
        if (bytesInPart === partBytes) endPart();
      }
    },
    digest() {
      if (bytesInPart > 0) endPart();
      return `${whole.digest()}-${partsDone}`;
    },
    state: () => JSON.stringify({ whole: whole.state(), part: part.state(), bytesInPart, partsDone, partBytes }),
  };
}

function parsed<T>(text: string): T | null {
  try {
    return JSON.parse(text) as T;
  } catch {
    return null;
  }
}
