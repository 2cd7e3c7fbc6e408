import { defined } from '../../base/defined.ts';
import { type Backend, BackendError } from '../../fleet/backend.ts';
import { nativeHashes, resumableHashes } from '../running-hash.ts';
import { createSaver } from '../saver.ts';
import { whyOther } from './expectation.ts';
import { bytesOfText, textOfBytes } from './first-bytes.ts';
import { leaveBody } from './read-pass.ts';
import { aboutBytes, isBackingOff, openReadRow, type ReadRow, type ReadState } from './read-row.ts';
import { readToEnd, type TurnEnd, writtenAgain } from './read-to-end.ts';
import type { CopyReaderDeps, NotGood, PutOffReason, Reading, ReadOptions } from './reading.ts';
import type { StoredBytes } from './stored-bytes.ts';

/** Smaller ones are read again sooner than their row is asked. */
const smallBytes = 256 * 1024;
/** Larger ones are claimed before they are read, so that a turn that is killed leaves a trace. */
const oneGoBytes = 64 * 2 ** 20;
/** What a link that deserves the name moves in a second. */
const modestBytesPerSecond = 10 * 2 ** 20;
/** A reading that began anew as often without coming to its end counts as failed, each time. */
const mostRestarts = 3;
const longestWaitMs = 6 * 3_600_000;
const dayMs = 24 * 3_600_000;
/** A claim outlives its tick by as much as a lease does. */
const claimGraceMs = 5_000;

/** Bytes, the backend that holds them, and the row in which their reading is kept; null where it is not. */
interface Place {
  readonly backend: Backend;
  readonly bytes: StoredBytes;
  readonly row: ReadRow | null;
}

/** One turn at reading some bytes. Throws `StoreError` alone. */
export async function readOne(deps: CopyReaderDeps, bytes: StoredBytes, options: ReadOptions): Promise<Reading> {
  if (deps.clock.now() >= deps.deadline.admitUntil) return putOff('out-of-time');
  try {
    const backend = await deps.backend(bytes.backend);
    const attested = options.trustsAttestation ? await attestedGood(deps, backend, bytes) : null;
    if (attested !== null) return attested;
    const isSmall = bytes.sizeBytes <= Math.min(smallBytes, deps.windowBytes);
    const row = isSmall && !options.remembers ? null : await openReadRow(deps, bytes);
    const place = { backend, bytes, row };
    return (await knownAlready(deps, place, options)) ?? (await readNow(deps, place, options));
  } catch (error) {
    return unreadable(error);
  }
}

/** The answer where nothing need, or may, be read now. */
async function knownAlready(
  deps: CopyReaderDeps,
  { backend, bytes, row }: Place,
  { agesUpToMs = dayMs, firstBytes }: ReadOptions,
): Promise<Reading | null> {
  const state = row?.state() ?? null;
  if (state === null) return null;
  const now = deps.clock.now();
  if (isBackingOff(state, now)) return putOff('backing-off');
  const { good, holder, heldUntil = 0 } = state;
  const isExpected = good !== undefined && (bytes.sha256 ?? good.sha256) === good.sha256;
  const hasFirst = firstBytes === undefined || good?.first !== undefined;
  if (isExpected && hasFirst && now - good.readAt < agesUpToMs) {
    const found = await backend.head(bytes.storageKey, deps.signal);
    // What is not there as it was is read, or missed, anew.
    if (found?.sizeBytes === bytes.sizeBytes && found.etag === state.etag)
      return {
        outcome: 'good',
        sha256: good.sha256,
        provesItself: bytes.sha256 !== undefined || good.provesItself === true,
        found,
        readAt: good.readAt,
        isAged: true,
        ...(firstBytes !== undefined && { first: bytesOfText(good.first) }),
      };
  }
  const isHeld = holder !== undefined && holder !== deps.holder && heldUntil > now;
  return isHeld ? { outcome: 'reading', readBytes: state.progress?.position ?? 0 } : null;
}

async function readNow(
  deps: CopyReaderDeps,
  { backend, bytes, row }: Place,
  { alongside, firstBytes }: ReadOptions,
): Promise<Reading> {
  const before = row?.state() ?? null;
  if (row === null || fitsInOneGo(deps, bytes, before)) {
    const windowBytes = Math.max(1, bytes.sizeBytes);
    const turn = { backend, bytes, windowBytes, alongside, firstBytes, hashes: nativeHashes, before: null };
    const end = await readToEnd(deps, turn);
    const state = { ...before, ...end.state, ...(end.outcome === 'cut' && { isSlow: true }) };
    // Worth a row where there was none: the next turn begins otherwise.
    const isNews = end.outcome === 'cut' || end.outcome === 'wrong';
    const kept = row ?? (isNews ? await openReadRow(deps, bytes) : null);
    return settle(deps, { backend, bytes, row: kept }, state, end);
  }
  const behindBytes = before?.progress?.position ?? 0;
  const heldUntil = deps.deadline.at + claimGraceMs;
  const claim: ReadState = { ...aboutBytes(bytes), ...before, holder: deps.holder, heldUntil };
  // Somebody was faster, or nobody knows.
  if ((await row.write(claim)) !== 'saved') return { outcome: 'reading', readBytes: behindBytes };
  const saver = createSaver((state: ReadState) => row.write(state));
  const { windowBytes } = deps;
  const turn = { backend, bytes, windowBytes, firstBytes, hashes: resumableHashes, before: claim, saver };
  const end = await readToEnd(deps, turn);
  if (!(await saver.flush())) return { outcome: 'reading', readBytes: behindBytes };
  return settle(deps, { backend, bytes, row }, end.state, end);
}

/** Whether a read is sure to end in this turn: then its hash is the fast one, which could not go on in another. */
function fitsInOneGo(deps: CopyReaderDeps, { backend, sizeBytes }: StoredBytes, before: ReadState | null): boolean {
  if (sizeBytes > oneGoBytes || before?.isSlow || before?.progress !== undefined || before?.firstSha256 !== undefined)
    return false;
  const rate = deps.bytesPerSecond(backend);
  const perSecond = rate > 0 ? Math.min(modestBytesPerSecond, rate / 2) : modestBytesPerSecond;
  return sizeBytes <= (perSecond * (deps.deadline.admitUntil - deps.clock.now())) / 1000;
}

/** Writes down what is to be kept of a turn, and answers. */
async function settle(
  deps: CopyReaderDeps,
  { backend, bytes, row }: Place,
  { holder: _holder, heldUntil: _until, ...state }: ReadState,
  end: TurnEnd,
): Promise<Reading> {
  const now = deps.clock.now();
  switch (end.outcome) {
    case 'good': {
      const { sha256, found, provesItself, first } = end;
      const outlastedTurn = end.reading.startedAt < deps.startedAt;
      const kept = first === undefined ? undefined : textOfBytes(first);
      const good = { readAt: now, readingMs: end.reading.readingMs, sha256, provesItself, ...defined({ first: kept }) };
      const saved = outlastedTurn ? await row?.write({ ...identity(state), good }) : await row?.end();
      if (saved === 'taken') return { outcome: 'reading', readBytes: 0 };
      return {
        outcome: 'good',
        sha256,
        provesItself,
        found,
        readAt: now,
        isAged: outlastedTurn,
        ...defined({ first }),
      };
    }
    case 'wrong': {
      const { detail, sha256 } = end;
      const suspicion = { at: now, detail, ...defined({ against: bytes.sha256 }) };
      await row?.write({ ...identity(state), suspicion });
      return { outcome: 'wrong', detail, ...defined({ sha256 }) };
    }
    case 'missing':
      await row?.end();
      return isMissingNow(deps, backend, bytes);
    case 'changed':
      await row?.end();
      return { outcome: 'changed' };
    case 'cut':
    case 'over-limit':
      if ((end.isAnew || row?.wasReplaced()) && (state.restarts ?? 0) >= mostRestarts) {
        // Written again and again before it was read to its end: whoever waits for it must come to an end.
        await row?.write(backingOff(state, writtenAgain(bytes), now, state.restarts! - mostRestarts));
        return unreadable(writtenAgain(bytes));
      }
      await row?.write(state);
      if (end.readBytes > 0 && (state.progress ?? state.firstSha256) !== undefined)
        return { outcome: 'reading', readBytes: end.readBytes };
      return putOff(end.outcome === 'cut' ? 'out-of-time' : end.reason);
    case 'taken':
      return { outcome: 'reading', readBytes: end.readBytes };
    case 'failed':
      await row?.write(isLetRest(end.error) ? backingOff(state, end.error, now) : state);
      return unreadable(end.error);
  }
}

/** What tells whose bytes a state is about, and nothing that was found out. */
function identity({ generation, sizeBytes, etag }: ReadState): ReadState {
  return { generation, sizeBytes, ...defined({ etag }) };
}

function backingOff(state: ReadState, error: BackendError, now: number, before = state.failures ?? 0): ReadState {
  const failures = before + 1;
  const waitMs = Math.min(longestWaitMs, 60_000 * 2 ** (failures - 1));
  return { ...state, failures, notBefore: now + waitMs, lastError: error.message.slice(0, 300) };
}

/** Whatever failed there is let rest, for longer each time: else all that is read with it is read again in every tick. */
function isLetRest({ speaksOf }: BackendError): boolean {
  return speaksOf !== 'throttling' && speaksOf !== 'ourselves';
}

/** Asks again for bytes that were said not to be there, on a connection of its own: evidence is never somebody's memory. */
export async function isMissingNow(deps: CopyReaderDeps, backend: Backend, bytes: StoredBytes): Promise<NotGood> {
  const range = bytes.sizeBytes > 1 ? { range: [0, 0] as const } : {};
  try {
    const { body } = await backend.get(bytes.storageKey, { ...range, isFresh: true }, deps.signal);
    await leaveBody(body);
  } catch (error) {
    if (error instanceof BackendError && error.kind === 'not-found') return { outcome: 'missing' };
    return unreadable(error);
  }
  const message = `Cannot read ${JSON.stringify(bytes.storageKey)} on "${backend.name}": it was said to be missing, and is there`;
  return unreadable(new BackendError('unavailable', backend.name, message));
}

/** Where the backend attests the expected hash of the full object, no byte need travel; null where it does not. */
async function attestedGood(deps: CopyReaderDeps, backend: Backend, bytes: StoredBytes): Promise<Reading | null> {
  if (bytes.sha256 === undefined) return null;
  const found = await backend.head(bytes.storageKey, deps.signal);
  const isSame = found?.sha256 === bytes.sha256 && whyOther(bytes, found) === null;
  if (!isSame) return null;
  const { sha256 } = bytes;
  return { outcome: 'good', sha256, provesItself: true, found, readAt: deps.clock.now(), isAged: false };
}

/** Whatever else was thrown is not the backend's. */
export function unreadable(error: unknown): NotGood {
  if (error instanceof BackendError && error.limit !== undefined) return putOff(error.limit);
  if (error instanceof BackendError) return { outcome: 'unreadable', error };
  throw error;
}

export function putOff(reason: PutOffReason): NotGood {
  return { outcome: 'put-off', reason };
}
