import { internalPrefix } from '../../../lib/fleet/owner.ts';
import type { Actor } from '../operation.ts';
import { partsOf } from './sight.ts';

/**
 * The bytes that each kind of worker has moved for one whole read of a place, however many processes it took. The read is
 * paid for once, and a tenth of it twice; and once more at most in one go, which could not be kept when its time was up.
 * A chunk that had come when time was up, and had to wait for its turn, is not held against a process. What faults cost is nobody's: bytes of a process that died, that was frozen or could not write down how far it was, and
 * those of an answer that broke off.
 */
export interface ReadBytes {
  /** Bytes have come: what is too much, in a sentence, or null. */
  came(by: Actor, read: WholeRead, bytes: number): string | null;
  /** It has written down that all up to a position were read, of those up to `reached` that it has. */
  kept(by: Actor, read: Omit<WholeRead, 'sizeBytes'>, position: number, reached: number): void;
  /** What it wrote down may not stand. */
  notKept(by: Actor): void;
  /** The answer that it was reading broke off. */
  broke(by: Actor, read: Omit<WholeRead, 'sizeBytes'>): void;
  /** The read has come to its end, whatever it found. */
  ended(by: Actor, place: string): void;
}

/** Some bytes that stand at a place. */
export interface WholeRead {
  readonly place: string;
  readonly etag: string;
  readonly sizeBytes: number;
}

interface Account {
  readonly etag: string;
  /** Moved, and not to be read again. */
  kept: number;
  /** Moved by a process that has written down nothing of it. */
  readonly unkept: Map<Actor, Unkept>;
}

interface Unkept {
  readonly bytes: number;
  /** Of these, the chunk that came last. */
  readonly last: number;
}

/** What may be read twice, of each byte: what was read and not yet kept when a turn ended. */
export const mostTwice = 0.1;

export function createReadBytes(): ReadBytes {
  /** By place and kind of worker. */
  const accounts = new Map<string, Map<string, Account>>();
  const careless = new WeakSet<Actor>();

  function accountOf(by: Actor, { place, etag }: Omit<WholeRead, 'sizeBytes'>): Account {
    const ofPlace = accounts.get(place) ?? new Map<string, Account>();
    accounts.set(place, ofPlace);
    const known = ofPlace.get(by.role);
    if (known?.etag === etag) return known;
    const account: Account = { etag, kept: 0, unkept: new Map() };
    ofPlace.set(by.role, account);
    return account;
  }

  const isExcused = (by: Actor) => by.state === 'dead' || by.thawsAt > 0 || careless.has(by);

  /** Of processes that work beside each other the one that has moved most counts; and of those that are over all. */
  function countedOf({ unkept }: Account): { readonly sum: number; readonly largest: number } {
    const own = [...unkept].filter(([by]) => !isExcused(by));
    const over = own.filter(([{ state }]) => state === 'done').map(([, { bytes, last }]) => bytes - last);
    const running = own.filter(([{ state }]) => state !== 'done').map(([, { bytes }]) => bytes);
    const counted = [...over, Math.max(0, ...running)];
    return { sum: counted.reduce((sum, bytes) => sum + bytes, 0), largest: Math.max(0, ...over) };
  }

  return {
    came(by, read, bytes) {
      // Whose a bucket is, is asked again and again: that is no read of an object.
      if (partsOf(read.place)[1].startsWith(internalPrefix)) return null;
      const account = accountOf(by, read);
      account.unkept.set(by, { bytes: (account.unkept.get(by)?.bytes ?? 0) + bytes, last: bytes });
      const { sum, largest } = countedOf(account);
      const moved = account.kept + sum;
      const most = read.sizeBytes + Math.max(1, mostTwice * read.sizeBytes) + largest;
      if (moved <= most) return null;
      return `${by.name} has moved ${moved} bytes for one whole read of ${read.place}, which has ${read.sizeBytes}`;
    },
    kept(by, read, position, reached) {
      const account = accountOf(by, read);
      const left = Math.max(0, reached - position);
      const { bytes, last } = account.unkept.get(by) ?? { bytes: 0, last: 0 };
      account.kept += Math.max(0, bytes - left);
      account.unkept.set(by, { bytes: Math.min(bytes, left), last: Math.min(last, left) });
    },
    notKept: (by) => void careless.add(by),
    broke: (by, read) => void accountOf(by, read).unkept.delete(by),
    ended(by, place) {
      accounts.get(place)?.delete(by.role);
      // What others had kept of it was gone on from: whatever they read now is a read of their own.
      for (const account of accounts.get(place)?.values() ?? []) account.kept = 0;
    },
  };
}
