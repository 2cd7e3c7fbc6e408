import type { Clock } from '../base/clock.ts';
import { allEnded } from '../base/pool.ts';
import type { ObjectRecord } from '../store/model.ts';
import { ageLimitMs } from './reading/copy-reader.ts';
import type { CopyReader, PutOffReason } from './reading/reading.ts';
import { bytesOfCopy, type StoredBytes } from './reading/stored-bytes.ts';

/** What looking for a good copy needs. */
export interface VerifiedCopyDeps {
  readonly clock: Pick<Clock, 'now'>;
  readonly reader: CopyReader;
  /** Backends whose copies may be read now, best first. */
  sources(object: ObjectRecord): readonly string[];
}

export interface VerifiedCopyOptions {
  /** Backends whose copies do not count. */
  readonly except?: readonly string[];
  /** Read to its end after this moment; else it may be a day old. Milliseconds since the epoch. */
  readonly since?: number;
  /** What the caller itself reads takes this long: the proof must last until then. */
  readonly mayTakeMs?: number;
}

/**
 * `good` the copy on this backend is as recorded · `none` every other copy was found missing or wrong · `reading` one is being
 * read over several turns: come back · `put-off` nothing was read now · `unreadable` nothing can be said.
 */
export type VerifiedCopy =
  | { readonly outcome: 'good'; readonly backend: string; readonly readAt: number; readonly isAged: boolean }
  | { readonly outcome: 'none' }
  | { readonly outcome: 'unreadable' }
  | { readonly outcome: 'reading' }
  | { readonly outcome: 'put-off'; readonly reason: PutOffReason };

/**
 * Looks for a copy that is as recorded: reads one after another, those first of which nothing bad is known. A copy that was read
 * wrong once is read again before none is said to verify: that read may have been at fault. Where the object is `damaged` that was
 * said before: such a copy is left to the scrubber.
 */
export async function findVerifiedCopy(
  deps: VerifiedCopyDeps,
  object: ObjectRecord,
  { except = [], since, mayTakeMs = 0 }: VerifiedCopyOptions = {},
): Promise<VerifiedCopy> {
  const others = Object.keys(object.copies).filter((name) => !except.includes(name));
  if (others.length === 0) return { outcome: 'none' };
  // Without a recorded hash nothing can be verified.
  if (object.sha256 === undefined) return { outcome: 'unreadable' };
  const sources = deps.sources(object).filter((name) => others.includes(name));
  const weighed = (await weigh(deps, object, sources)).toSorted((a, b) => Number(a.isSuspect) - Number(b.isSuspect));
  const doubtful: string[] = [];
  let putOff: PutOffReason | undefined;
  for (const { bytes, isSuspect, readingMs } of weighed) {
    if (isSuspect && object.condition === 'damaged') {
      doubtful.push(bytes.backend);
      continue;
    }
    const oldestMs = ageLimitMs(mayTakeMs, readingMs);
    const agesUpToMs = since === undefined ? oldestMs : Math.min(oldestMs, deps.clock.now() - since);
    const reading = await deps.reader.read(bytes, { remembers: true, agesUpToMs });
    if (reading.outcome === 'good')
      return { outcome: 'good', backend: bytes.backend, readAt: reading.readAt, isAged: reading.isAged };
    if (reading.outcome === 'reading') return { outcome: 'reading' };
    if (reading.outcome === 'put-off') putOff ??= reading.reason;
    if (reading.outcome === 'wrong' || reading.outcome === 'missing') doubtful.push(bytes.backend);
  }
  if (doubtful.length === others.length) return { outcome: 'none' };
  return putOff === undefined ? { outcome: 'unreadable' } : { outcome: 'put-off', reason: putOff };
}

interface Weighed {
  readonly bytes: StoredBytes;
  /** It was read to its end lately, and was wrong: it is not read again before the others are. */
  readonly isSuspect: boolean;
  readonly readingMs: number;
}

async function weigh(deps: VerifiedCopyDeps, object: ObjectRecord, sources: readonly string[]): Promise<Weighed[]> {
  return allEnded(
    sources.map(async (name) => {
      const bytes = bytesOfCopy(object, name);
      return { bytes, ...(await deps.reader.standing(bytes)) };
    }),
  );
}
