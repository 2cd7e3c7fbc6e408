import { hash } from 'node:crypto';
import type { Lease, ObjectRecord } from '../../../lib/store/model.ts';
import type { Actor } from '../operation.ts';
import { createReadBytes, mostTwice } from './read-bytes.ts';
import { keyWithin, storageKeyOf } from './reading.ts';
import { placeOf, type Sight } from './sight.ts';
import { Violation } from './violation.ts';

/**
 * A read that goes over several ticks reads each byte once; and what a scrub cycle says it has read was read, to the last byte, unless
 * it names the copy as passed over.
 */
export interface ReadsCheck {
  /** A process has read what is kept of reading some bytes. */
  progressRead(by: Actor, backend: string, storageKey: string, kept: Record<string, unknown> | undefined): void;
  /** It has written down how far it has read some bytes; the row is gone where there is nothing any more. */
  progressWritten(by: Actor, backend: string, storageKey: string, kept: Record<string, unknown> | undefined): void;
  /** Whether what it wrote down stands is not known. */
  progressLost(by: Actor): void;
  /** It asks for bytes from there on. */
  bytesAsked(by: Actor, backend: string, storageKey: string, from: number): void;
  /** They came: from there, up to and without there. */
  bytesCame(by: Actor, backend: string, storageKey: string, from: number, to: number, of: Answered): void;
  /** The answer broke off. */
  bytesBroke(by: Actor, backend: string, storageKey: string, of: Answered): void;
  /** It was told that nothing is there. */
  nothingThere(by: Actor, backend: string, storageKey: string): void;
  /** The state of a scrubber that was saved. */
  scrubSaved(lease: Lease): void;
  /** A record names a copy that it did not name before. */
  copyNamed(backend: string, storageKey: string): void;
}

/** The bytes that an answer is about: what stands there may be other by the time they come. */
export interface Answered {
  readonly etag: string;
  readonly sizeBytes: number;
}

/** Two clocks may be this far apart. */
const skewMs = 10_000;
/** Those that read bytes to know what they are; others read them to copy them. */
const verifiers = new Set(['scrubber', 'over-replication-cleaner', 'pending-reaper', 'cleanup-queue', 'reconciler']);

interface Kept {
  readonly position: number;
  readonly etag: string;
}

/** What the oracle reads of a scrubber's state. */
interface ScrubState {
  readonly cycles?: Readonly<Record<string, { readonly verifiedAt: Readonly<Record<string, number>> }>>;
  readonly owed?: readonly { readonly key: string; readonly backend: string; readonly copyId: string }[];
}

export interface ReadsOptions {
  /** How late the index may be that the scrubber walks. */
  readonly maxLagMs: number;
  /** Copies whose bytes are there as recorded. */
  readonly goodCopies: (entry: ObjectRecord) => readonly string[];
}

export function createReadsCheck(sight: Sight, { maxLagMs, goodCopies }: ReadsOptions): ReadsCheck {
  const { world, backends, objects, report } = sight;
  const kept = new WeakMap<Actor, Map<string, Kept>>();
  /**
   * How far each process has come, from the first byte of a place and without a gap. Of each its own: what others read there
   * meanwhile, from the beginning, takes nothing of it back. One that goes on where others stopped has come as far as they
   * wrote down, which was looked at when they did.
   */
  const reached = new WeakMap<Actor, Map<string, number>>();
  const readBytes = createReadBytes();
  /** When a scrubber had a place read to its end, or found nothing there, last. */
  const seenAt = new Map<string, number>();
  /** When a scrubber asked for it last: what is told to be wrong before its first byte is not read. */
  const askedAt = new Map<string, number>();
  const namedAt = new Map<string, number>();
  /** What each scrubber said before: by lease, backend and shard. */
  const claimed = new Map<string, number>();

  const keptBy = (by: Actor) => {
    const known = kept.get(by) ?? new Map<string, Kept>();
    kept.set(by, known);
    return known;
  };
  const reachedBy = (by: Actor) => {
    const known = reached.get(by) ?? new Map<string, number>();
    reached.set(by, known);
    return known;
  };
  const isVerifying = (by: Actor) => verifiers.has(by.role);

  function checkClaim(backend: string, shard: string, since: number, owed: ScrubState['owed'] = []): void {
    const from = since - skewMs - maxLagMs;
    for (const entry of objects.values()) {
      if (entry.kind !== 'object' || shardOf(entry.key) !== shard) continue;
      const copyId = entry.copies[backend];
      if (copyId === undefined) continue;
      const storageKey = storageKeyOf(entry.key, copyId);
      const place = placeOf(backend, storageKey);
      const isOwed = owed.some((one) => one.key === entry.key && one.backend === backend && one.copyId === copyId);
      const seen = goodCopies(entry).includes(backend) ? seenAt.get(place) : (askedAt.get(place) ?? seenAt.get(place));
      const lastAt = Math.max(seen ?? 0, namedAt.get(place) ?? 0);
      if (isOwed || lastAt >= from || isNoContent(backend, storageKey, copyId)) continue;
      const message = `The scrubber says that all of shard ${shard} on ${backend} was read since ${since}, and "${storageKey}" was not since ${lastAt}`;
      report(new Violation('scrub cycles', message, entry.key));
    }
  }

  /** In the place of an imported file stands a copy of ours: it is told by what stands beside the bytes, and only reported. */
  function isNoContent(backend: string, storageKey: string, copyId: string): boolean {
    return copyId === '' && backends.get(backend)?.peek(storageKey)?.metadata.holdfast !== undefined;
  }

  return {
    progressRead(by, backend, storageKey, row) {
      const progress = row?.progress as { readonly position: number } | undefined;
      const place = placeOf(backend, storageKey);
      // What was brought back stands there under another generation: what was read of the one before is not gone on from.
      const entry = objects.get(keyWithin(storageKey) ?? storageKey);
      const isOfNow = entry?.kind !== 'object' || entry.generation === row?.generation;
      if (!isOfNow) readBytes.ended(by, place);
      if (progress === undefined || !isOfNow) keptBy(by).delete(place);
      else keptBy(by).set(place, { position: progress.position, etag: String(row!.etag) });
    },
    progressWritten(by, backend, storageKey, row) {
      const progress = row?.progress as { readonly position: number } | undefined;
      if (progress === undefined) return;
      const place = placeOf(backend, storageKey);
      const own = Math.max(reachedBy(by).get(place) ?? 0, keptBy(by).get(place)?.position ?? 0);
      if (progress.position > own) {
        const message = `${by.name} writes down that ${progress.position} bytes of ${place} were read, and ${own} were`;
        report(new Violation('whole reads', message));
      }
      readBytes.kept(by, { place, etag: String(row!.etag) }, progress.position, own);
    },
    progressLost: (by) => readBytes.notKept(by),
    bytesAsked(by, backend, storageKey, from) {
      const place = placeOf(backend, storageKey);
      if (by.role === 'scrubber') askedAt.set(place, world.now);
      const known = isVerifying(by) ? keptBy(by).get(place) : undefined;
      const stored = backends.get(backend)?.peek(storageKey);
      const own = reachedBy(by).get(place) ?? 0;
      const others = known !== undefined && known.position >= from ? known.position : 0;
      reachedBy(by).set(place, from === 0 ? 0 : Math.max(own, Math.min(from, others)));
      // Another file stands there now: what was read of the one before counts for nothing.
      if (known === undefined || stored === undefined || stored.etag !== known.etag) return;
      const again = known.position - from;
      if (again <= Math.max(1, mostTwice * stored.bytes.length)) return;
      const message = `${by.name} reads "${storageKey}" on ${backend} from ${from}, of which it knows that ${known.position} of ${stored.bytes.length} bytes are read`;
      report(new Violation('whole reads', message));
    },
    bytesCame(by, backend, storageKey, from, to, of) {
      const place = placeOf(backend, storageKey);
      const before = reachedBy(by).get(place) ?? 0;
      if (from <= before) reachedBy(by).set(place, Math.max(before, to));
      const isWhole = from <= before && to >= of.sizeBytes;
      if (isVerifying(by)) {
        const message = readBytes.came(by, { place, ...of }, to - from);
        if (message !== null) report(new Violation('whole reads', message));
        if (isWhole) readBytes.ended(by, place);
      }
      if (!isWhole) return;
      // Whatever follows is another read.
      keptBy(by).delete(place);
      if (by.role === 'scrubber') seenAt.set(place, world.now);
    },
    bytesBroke(by, backend, storageKey, { etag }) {
      readBytes.broke(by, { place: placeOf(backend, storageKey), etag });
    },
    nothingThere(by, backend, storageKey) {
      const place = placeOf(backend, storageKey);
      keptBy(by).delete(place);
      readBytes.ended(by, place);
      if (by.role === 'scrubber') seenAt.set(place, world.now);
    },
    scrubSaved({ part, cursor }) {
      const { cycles = {}, owed } = JSON.parse(cursor ?? '{}') as ScrubState;
      for (const [backend, { verifiedAt }] of Object.entries(cycles))
        for (const [shard, since] of Object.entries(verifiedAt)) {
          const claim = `${part} ${backend} ${shard}`;
          if (claimed.get(claim) === since) continue;
          claimed.set(claim, since);
          checkClaim(backend, shard, since, owed);
        }
    },
    copyNamed: (backend, storageKey) => void namedAt.set(placeOf(backend, storageKey), world.now),
  };
}

/** As the design says: the first byte of SHA-256 of the key, modulo sixteen. */
function shardOf(key: string): string {
  const first = hash('sha256', key, 'buffer')[0]!;
  return String(first & 15).padStart(2, '0');
}
