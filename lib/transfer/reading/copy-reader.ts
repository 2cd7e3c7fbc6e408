import { allEnded } from '../../base/pool.ts';
import { readingRequest, type Spend } from '../../fleet/usage-limits.ts';
import { readingKey } from '../../store/row-keys.ts';
import { whyOther } from './expectation.ts';
import { isMissingNow, putOff, readOne, unreadable } from './read-one.ts';
import { aboutBytes, isBackingOff, openReadRow, type ReadRow } from './read-row.ts';
import type { AllReadings, CopyReader, CopyReaderDeps, NotGood, Reading, ReadOptions } from './reading.ts';
import type { StoredBytes } from './stored-bytes.ts';

const dayMs = 24 * 3_600_000;
/** However long the others took. */
const oldestMs = 7 * dayMs;

/** How old a good read may be where those that it waits for took this long. */
export function ageLimitMs(...readingMs: readonly number[]): number {
  return Math.min(oldestMs, Math.max(dayMs, ...readingMs.map((ms) => 2 * ms)));
}

export function createCopyReader(deps: CopyReaderDeps): CopyReader {
  const running = new Map<string, Promise<unknown>>();

  /** One at a time of the same bytes: a second read is one that began after the first. */
  async function inTurn<T>(bytes: StoredBytes, step: () => Promise<T>): Promise<T> {
    const at = readingKey(bytes.backend, bytes.storageKey);
    const before = running.get(at);
    const turn = (before ?? Promise.resolve()).then(step, step);
    running.set(at, turn);
    try {
      return await turn;
    } finally {
      if (running.get(at) === turn) running.delete(at);
    }
  }

  function read(bytes: StoredBytes, options: ReadOptions = {}): Promise<Reading> {
    return inTurn(bytes, () => readOne(deps, bytes, options));
  }

  async function readAll(all: readonly StoredBytes[], options: ReadOptions = {}): Promise<AllReadings> {
    const rows = await allEnded(all.map((bytes) => openReadRow(deps, bytes)));
    const early = await whyNotNow(deps, all, rows);
    if (early !== null) return early;
    const agesUpToMs = ageLimitMs(...rows.map(readingMsOf));
    const readings = await allEnded(all.map((bytes) => read(bytes, { ...options, agesUpToMs, remembers: true })));
    const bad = worstOf(readings);
    if (bad === null) return { outcome: 'good', isAged: readings.some((r) => r.outcome === 'good' && r.isAged) };
    const { outcome } = readings[bad]!;
    // What was read in one go waits for the others as well as what was not.
    if (outcome === 'reading' || outcome === 'put-off')
      await allEnded(all.map((bytes, i) => keepGood(deps, bytes, readings[i]!)));
    return { outcome: 'not-good', of: all[bad]!, reading: readings[bad] as NotGood };
  }

  return {
    read,
    readAll,
    async standing(bytes) {
      const row = await openReadRow(deps, bytes);
      const now = deps.clock.now();
      const suspicion = row.state()?.suspicion;
      const isSuspect = suspicion !== undefined && suspicion.against === bytes.sha256 && now - suspicion.at < oldestMs;
      return { isSuspect, isBackingOff: isBackingOff(row.state(), now), readingMs: readingMsOf(row) };
    },
  };
}

function readingMsOf(row: ReadRow): number {
  const state = row.state();
  return Math.max(state?.progress?.readingMs ?? 0, state?.good?.readingMs ?? 0);
}

/** In this order what is not good decides; -1 in none. */
const severity: readonly Reading['outcome'][] = ['wrong', 'missing', 'changed', 'unreadable', 'put-off', 'reading'];

/** Index of the reading that speaks most against removing anything; null when all are good. */
function worstOf(readings: readonly Reading[]): number | null {
  for (const outcome of severity) {
    const at = readings.findIndex((reading) => reading.outcome === outcome);
    if (at >= 0) return at;
  }
  return null;
}

/** What can be said before anything is read: then the others need not be either. */
async function whyNotNow(
  deps: CopyReaderDeps,
  all: readonly StoredBytes[],
  rows: readonly ReadRow[],
): Promise<AllReadings | null> {
  const budget = await deps.budget();
  for (const [i, bytes] of all.entries()) {
    const notGood = (reading: NotGood) => ({ outcome: 'not-good', of: bytes, reading }) as const;
    if (isBackingOff(rows[i]!.state(), deps.clock.now())) return notGood(putOff('backing-off'));
    const refusal = budget.refuses(bytes.backend, nextWindow(deps, bytes, rows[i]!.state()?.progress?.position ?? 0));
    if (refusal !== null) return notGood(putOff(refusal));
  }
  const heads = await allEnded(all.map((bytes) => lookUp(deps, bytes)));
  const at = heads.findIndex((reading) => reading !== null);
  return at < 0 ? null : { outcome: 'not-good', of: all[at]!, reading: heads[at]! };
}

function nextWindow({ windowBytes }: CopyReaderDeps, { sizeBytes }: StoredBytes, position: number): Spend {
  return { ...readingRequest, egressBytes: Math.min(windowBytes, sizeBytes - position) };
}

/** One HEAD: null when something of this size, under this ETag, is there. */
async function lookUp(deps: CopyReaderDeps, bytes: StoredBytes): Promise<NotGood | null> {
  try {
    const backend = await deps.backend(bytes.backend);
    const found = await backend.head(bytes.storageKey, deps.signal);
    return found === null ? await isMissingNow(deps, backend, bytes) : whyOther(bytes, found);
  } catch (error) {
    return unreadable(error);
  }
}

/** What was read in one go waits for the others of its proof as well as what was not. */
async function keepGood(deps: CopyReaderDeps, bytes: StoredBytes, reading: Reading): Promise<void> {
  if (reading.outcome !== 'good' || reading.isAged) return;
  const { sha256, readAt, found } = reading;
  const row = await openReadRow(deps, bytes);
  if (row.state()?.good === undefined)
    await row.write({ ...aboutBytes(bytes), etag: found.etag, good: { sha256, readAt, readingMs: 0 } });
}
