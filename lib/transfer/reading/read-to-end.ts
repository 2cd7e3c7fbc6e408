import type { Body } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { type Backend, BackendError, type StoredObject } from '../../fleet/backend.ts';
import { type EtagRule, etagRuleOf, type ProvingHash, provingHash } from '../first-hash.ts';
import type { HashMaker, RunningHash } from '../running-hash.ts';
import type { Saver } from '../saver.ts';
import { whyOther } from './expectation.ts';
import { bytesOfText, keepFirstBytes, textOfBytes } from './first-bytes.ts';
import { type PassEnd, type ReadPass, runReadPass } from './read-pass.ts';
import { aboutBytes, type ReadState } from './read-row.ts';
import type { CopyReaderDeps, PutOffReason } from './reading.ts';
import type { StoredBytes } from './stored-bytes.ts';

/** A turn at reading some bytes to their end, from where the last turn stopped. */
export interface ReadTurn {
  readonly backend: Backend;
  readonly bytes: StoredBytes;
  readonly hashes: HashMaker;
  readonly windowBytes: number;
  readonly alongside?: ((body: Body) => Body) | undefined;
  readonly firstBytes?: number | undefined;
  /** What earlier turns left; null where this one begins, and keeps nothing. */
  readonly before: ReadState | null;
  readonly saver?: Saver<ReadState>;
}

/** How a turn ended, with what is to be kept of it. */
export type TurnEnd = {
  readonly state: ReadState;
  readonly readBytes: number;
  /** What earlier turns had read was of bytes that are not there any more. */
  readonly isAnew?: true;
} & (
  | {
      readonly outcome: 'good';
      readonly sha256: string;
      readonly provesItself: boolean;
      readonly found: StoredObject;
      readonly reading: { readonly startedAt: number; readonly readingMs: number };
      readonly first?: Uint8Array;
    }
  | { readonly outcome: 'wrong'; readonly detail: string; readonly sha256?: string }
  | { readonly outcome: 'missing' }
  | { readonly outcome: 'changed' }
  | { readonly outcome: 'cut' }
  | { readonly outcome: 'taken' }
  | { readonly outcome: 'over-limit'; readonly reason: PutOffReason }
  | { readonly outcome: 'failed'; readonly error: BackendError }
);

/** What is gone on with is saved this often: a crash costs no more. */
const savedEveryBytes = 64 * 2 ** 20;
const savedEveryMs = 10_000;
/** Two turns further apart are not one reading: a usage limit held it, or nobody came. */
const longestGapMs = 6 * 3_600_000;

/**
 * Reads until it is known what the bytes are, or until the turn must end. Bytes whose hash is recorded nowhere are read
 * again, unless their ETag proves what was read.
 */
export async function readToEnd(deps: CopyReaderDeps, turn: ReadTurn): Promise<TurnEnd> {
  const { bytes } = turn;
  let readBytes = 0;
  const begun = await lookBefore(deps, turn);
  if (begun.outcome !== 'as-expected') return { ...begun, readBytes };
  const { rule, isAnew } = begun;
  let { state } = begun;
  for (;;) {
    const pass = await beginPass(deps, turn, state, rule);
    const end = await runReadPass(deps, { ...turn, etag: bytes.etag ?? state.etag, ...pass });
    readBytes += pass.bytesRead();
    if (end.outcome !== 'read') return { ...endOf(bytes, end), state: pass.state(), readBytes, ...defined({ isAnew }) };
    const sha256 = pass.hash.digest();
    const { found } = end;
    const rest = { ...without(state, 'progress'), etag: found.etag };
    const provesItself = bytes.sha256 !== undefined || pass.isProven();
    const good = {
      outcome: 'good',
      sha256,
      provesItself,
      found,
      reading: pass.reading(),
      state: rest,
      readBytes,
      ...defined({ first: pass.first() }),
    } as const;
    if (bytes.sha256 !== undefined)
      return bytes.sha256 === sha256 ? good : { ...wrongHash(bytes.sha256, sha256), state: rest, readBytes };
    if (provesItself || state.firstSha256 === sha256) return good;
    if (state.firstSha256 !== undefined)
      return { outcome: 'failed', error: twoReadsDiffer(bytes), state: without(rest, 'firstSha256'), readBytes };
    state = { ...rest, firstSha256: sha256 };
    turn.saver?.note(state);
  }
}

type LookedAt =
  | { readonly outcome: 'as-expected'; readonly state: ReadState; readonly rule: EtagRule; readonly isAnew?: true }
  | (TurnEndWithoutBytes & { readonly outcome: 'missing' | 'changed' | 'wrong' | 'cut' | 'failed' });
type TurnEndWithoutBytes = TurnEnd extends infer E ? (E extends unknown ? Omit<E, 'readBytes'> : never) : never;

/** Where something is gone on with, or nothing is known of the bytes, a HEAD tells first what stands there now. */
async function lookBefore(deps: CopyReaderDeps, { backend, bytes, before }: ReadTurn): Promise<LookedAt> {
  const state: ReadState = before ?? aboutBytes(bytes);
  const unknown: EtagRule = { kind: 'unknown' };
  if (before === null && bytes.sha256 !== undefined) return { outcome: 'as-expected', state, rule: unknown };
  try {
    const found = await backend.head(bytes.storageKey, deps.signal);
    if (found === null) return { outcome: 'missing', state };
    const other = whyOther(bytes, found);
    if (other !== null) return { ...other, state };
    const isSame = state.etag === found.etag;
    // Progress over other bytes than stand there now.
    const isLost = !isSame && (state.progress ?? state.firstSha256) !== undefined;
    const restarts = isLost ? (state.restarts ?? 0) + 1 : state.restarts;
    const begun = { ...without(state, 'progress', 'firstSha256'), etag: found.etag, ...defined({ restarts }) };
    const now = isSame ? state : begun;
    const expected = { outcome: 'as-expected', state: now, ...(isLost && { isAnew: true as const }) } as const;
    if (!isFirstRead(bytes, now)) return { ...expected, rule: unknown };
    const rule = await etagRuleOf(backend, bytes.storageKey, found, deps.signal);
    return { ...expected, rule };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return error.kind === 'cancelled' ? { outcome: 'cut', state } : { outcome: 'failed', error, state };
  }
}

/** Whether nothing says yet what the hash of these bytes is. */
function isFirstRead({ sha256 }: StoredBytes, { firstSha256 }: ReadState): boolean {
  return sha256 === undefined && firstSha256 === undefined;
}

function wrongHash(expected: string, sha256: string) {
  return { outcome: 'wrong', detail: `SHA-256 ${sha256} instead of ${expected}`, sha256 } as const;
}

function twoReadsDiffer({ backend, storageKey }: StoredBytes): BackendError {
  return new BackendError('bad-digest', backend, `Two reads of ${JSON.stringify(storageKey)} on "${backend}" differ`);
}

function endOf(bytes: StoredBytes, end: Exclude<PassEnd, { outcome: 'read' }>) {
  switch (end.outcome) {
    case 'other':
      return end.why;
    case 'replaced': {
      if (bytes.etag !== undefined) return { outcome: 'changed' } as const;
      return { outcome: 'failed', error: writtenAgain(bytes) } as const;
    }
    case 'failed':
      return end.error.kind === 'not-found'
        ? ({ outcome: 'missing' } as const)
        : ({ outcome: 'failed', error: end.error } as const);
    default: {
      const { position: _, ...rest } = end;
      return rest;
    }
  }
}

export function writtenAgain({ storageKey, backend }: StoredBytes): BackendError {
  const message = `${JSON.stringify(storageKey)} on "${backend}" was written again while it was read`;
  return new BackendError('precondition', backend, message);
}

interface Pass extends Pick<ReadPass, 'hash' | 'position' | 'reached'> {
  isProven(): boolean;
  bytesRead(): number;
  reading(): { readonly startedAt: number; readonly readingMs: number };
  first(): Uint8Array | undefined;
  /** What to go on from; to be asked before the hash has ended. */
  state(): ReadState;
}

/** Takes up the pass that was left, or begins one; saves how far it comes. */
async function beginPass(deps: CopyReaderDeps, turn: ReadTurn, before: ReadState, rule: EtagRule): Promise<Pass> {
  const { clock } = deps;
  const now = clock.now();
  const make = (state: string): Promise<(RunningHash & Partial<ProvingHash>) | null> =>
    isFirstRead(turn.bytes, before) ? provingHash(turn.hashes, rule, state) : turn.hashes.sha256(state);
  // What was read to its end has been decided, or is read anew: there is nothing behind its last byte to be asked for.
  const kept = progressOfUse(turn, before);
  const keptHash = kept === undefined ? null : await make(kept.hashState);
  const first =
    turn.firstBytes === undefined
      ? undefined
      : keepFirstBytes(turn.firstBytes, bytesOfText(keptHash === null ? undefined : kept?.first));
  const bareHash = keptHash ?? (await make(''))!;
  const hash = first?.along(bareHash) ?? bareHash;
  const from = keptHash === null ? { startedAt: now, position: 0, readingMs: 0, savedAt: now } : kept!;
  const gapMs = now - from.savedAt;
  const behindMs = from.readingMs + (gapMs <= longestGapMs ? gapMs : 0);
  let position = from.position;
  let saved = { position, at: now };
  const reading = () => ({ startedAt: from.startedAt, readingMs: behindMs + clock.now() - now });
  const state = (): ReadState => {
    const hashState = hash.state();
    // Without its hash no progress could be gone on from.
    if (hashState === '' || position === 0 || position === turn.bytes.sizeBytes) return without(before, 'progress');
    const firstRead = first === undefined ? undefined : textOfBytes(first.bytes());
    const progress = { ...reading(), position, hashState, savedAt: clock.now(), ...defined({ first: firstRead }) };
    return { ...(position > from.position ? without(before, 'failures', 'lastError') : before), progress };
  };
  return {
    hash,
    position,
    reached(next) {
      position = next;
      const isDue = position - saved.position >= savedEveryBytes || clock.now() - saved.at >= savedEveryMs;
      if (turn.saver === undefined || !isDue || position === turn.bytes.sizeBytes) return true;
      saved = { position, at: clock.now() };
      turn.saver.note(state());
      return !turn.saver.isTaken();
    },
    isProven: () => hash.isProven?.() === true,
    bytesRead: () => position - from.position,
    reading,
    first: () => first?.bytes(),
    state,
  };
}

/** Progress amid the bytes. Whoever wants the first of them begins anew where those that came further did not keep them. */
function progressOfUse({ bytes, firstBytes }: ReadTurn, { progress }: ReadState): ReadState['progress'] {
  if (progress === undefined || progress.hashState === '' || progress.position >= bytes.sizeBytes) return undefined;
  if (firstBytes === undefined) return progress;
  const has = bytesOfText(progress.first).length;
  return has >= Math.min(firstBytes, progress.position) ? progress : undefined;
}

function without<K extends keyof ReadState>(state: ReadState, ...keys: readonly K[]): ReadState {
  return Object.fromEntries(Object.entries(state).filter(([name]) => !keys.includes(name as K))) as ReadState;
}
