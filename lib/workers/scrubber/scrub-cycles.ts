import { defined } from '../../base/defined.ts';
import { shardOf } from '../../store/keys.ts';
import type { Place } from '../../tick/walk.ts';

/** Where the scrub cycle of one backend is. Times in milliseconds since the epoch. */
export interface BackendCycle {
  /** Next place to read; absent between cycles. */
  readonly at?: Place;
  /** When this cycle, or the last one, began; 0 before the first. */
  readonly startedAt: number;
  /** Since when its copies are known to be read by anybody: before, they had just been written. */
  readonly knownSince: number;
  /** For each shard, when the last pass over it began in which every copy was read. */
  readonly verifiedAt: Readonly<Record<string, number>>;
  /** The same of passes in which every plaintext was compared, too. */
  readonly plaintextAt: Readonly<Record<string, number>>;
  /** When the pass over the shard that it is in began. */
  readonly shardSince: number;
  /** When it was walked on last. */
  readonly walkedAt: number;
  /** A copy of the shard that it is in was passed over for good. */
  readonly isIncomplete?: boolean;
  /** So was a plaintext. */
  readonly isPlaintextIncomplete?: boolean;
}

/** What a walk passed over for good, of the shard that it is in. */
export interface Missed {
  readonly copy: boolean;
  readonly plaintext: boolean;
}

/** A copy that the walk has passed, and that is come back to until it was read. */
export interface OwedCopy {
  readonly key: string;
  readonly backend: string;
  readonly copyId: string;
  /** It was read, or written, after this moment. */
  readonly since: number;
  /** Its plaintext was compared, or written, after this moment. */
  readonly plaintextSince: number;
  readonly notBefore: number;
  /** Failures in a row; 0 while it is being read. */
  readonly attempts: number;
}

/** What the scrubber keeps from tick to tick, as its lease's cursor. */
export interface ScrubState {
  readonly cycles: Readonly<Record<string, BackendCycle>>;
  readonly owed: readonly OwedCopy[];
  /** The last tick had no time left for what is owed. */
  readonly isOwedFirst?: boolean;
  /** The policies whose labels all objects carry, and how far a relabelling has come. */
  readonly labels?: string;
  readonly relabelAt?: Place;
}

export const freshState: ScrubState = { cycles: {}, owed: [] };

/** A new backend's cycle, before its first. */
export function newCycle(now: number): BackendCycle {
  return { startedAt: 0, knownSince: now, verifiedAt: {}, plaintextAt: {}, shardSince: now, walkedAt: 0 };
}

/** The cycle begins when the one before has taken its time; null while it waits. */
export function begunCycle(cycle: BackendCycle, first: Place, now: number, cycleMs: number): BackendCycle | null {
  if (cycle.at !== undefined) return cycle;
  if (cycle.startedAt > 0 && now < cycle.startedAt + cycleMs) return null;
  const { isIncomplete: _, isPlaintextIncomplete: _plaintext, ...rest } = cycle;
  return { ...rest, at: first, startedAt: now, shardSince: now };
}

/**
 * The cycle has read everything up to a place, or to its end. A shard that it leaves counts as verified since its pass over it
 * began, unless a copy was passed over; so does its plaintext.
 */
export function movedCycle(cycle: BackendCycle, next: Place | undefined, now: number, missed: Missed): BackendCycle {
  const { at, isIncomplete: wasIncomplete, isPlaintextIncomplete: lackedPlaintext, ...unmoved } = cycle;
  const rest = { ...unmoved, walkedAt: now, ...defined({ at: next }) };
  const isIncomplete = wasIncomplete === true || missed.copy;
  const isPlaintextIncomplete = lackedPlaintext === true || missed.plaintext || missed.copy;
  const left = at?.shard;
  if (left === undefined || next?.shard === left)
    return { ...rest, ...(isIncomplete && { isIncomplete }), ...(isPlaintextIncomplete && { isPlaintextIncomplete }) };
  const noted = { [left]: cycle.shardSince };
  return {
    ...rest,
    verifiedAt: { ...cycle.verifiedAt, ...(!isIncomplete && noted) },
    plaintextAt: { ...cycle.plaintextAt, ...(!isPlaintextIncomplete && noted) },
    shardSince: now,
  };
}

/** A copy that was come back to was read, and its plaintext was not compared: its shard is as old as that. */
export function undeciphered(state: ScrubState, { key, backend, plaintextSince }: OwedCopy): ScrubState {
  const cycle = state.cycles[backend];
  if (cycle === undefined) return state;
  const shard = shardOf(key);
  const plaintextAt = { ...cycle.plaintextAt, [shard]: Math.min(plaintextKnownSince(cycle, shard), plaintextSince) };
  // A pass that is in this shard now has passed the copy, or will, without a look at it.
  const isPlaintextIncomplete = cycle.at?.shard === shard || cycle.isPlaintextIncomplete === true;
  const noted = { ...cycle, plaintextAt, ...(isPlaintextIncomplete && { isPlaintextIncomplete }) };
  return { ...state, cycles: { ...state.cycles, [backend]: noted } };
}

/** When every copy of a shard on this backend had been read, or written, at the earliest. */
export function verifiedSince({ verifiedAt, knownSince }: BackendCycle, shard: string): number {
  return verifiedAt[shard] ?? knownSince;
}

/** When every plaintext of a shard on this backend had been compared, or written, at the earliest. */
export function plaintextKnownSince({ plaintextAt, knownSince }: BackendCycle, shard: string): number {
  return plaintextAt[shard] ?? knownSince;
}

/** When the plaintext that was compared longest ago was compared, at the earliest. */
export function oldestPlaintext({ cycles, owed }: ScrubState, shards: readonly string[], now: number): number {
  const walked = Object.values(cycles).flatMap((cycle) => shards.map((shard) => plaintextKnownSince(cycle, shard)));
  return Math.min(now, ...walked, ...owed.map(({ plaintextSince }) => plaintextSince));
}

/** When the copy that was read longest ago was read, at the earliest. */
export function oldestVerified({ cycles, owed }: ScrubState, shards: readonly string[], now: number): number {
  const walked = Object.values(cycles).flatMap((cycle) => shards.map((shard) => verifiedSince(cycle, shard)));
  return Math.min(now, ...walked, ...owed.map(({ since }) => since));
}

/** The share of their cycles that is behind those backends that are furthest back; 1 between cycles. */
export function progressOf({ cycles }: ScrubState, shards: readonly string[]): number {
  const places = Object.values(cycles).map(({ at }) => (at === undefined ? shards.length : shards.indexOf(at.shard)));
  return Math.min(shards.length, ...places) / shards.length;
}

/** Backends that stand at the same place, together: they are walked over once. Those first that have waited longest. */
export function groupsOf(cycles: Readonly<Record<string, BackendCycle>>): string[][] {
  const walking = Object.entries(cycles).flatMap(([name, { at }]) => (at === undefined ? [] : [{ name, at }]));
  walking.sort((a, b) => cycles[a.name]!.walkedAt - cycles[b.name]!.walkedAt);
  const groups = Map.groupBy(walking, ({ at }) => `${at.shard}/${at.key ?? ''}`);
  return [...groups.values()].map((group) => group.map(({ name }) => name));
}

/** Copies that are owed at a time, of those being read and of those that cannot be read. */
const mostOwed = 8;
const firstWaitMs = 3_600_000;
const longestWaitMs = 24 * 3_600_000;

/** Whether one more copy may be owed. */
export function hasRoom(owed: readonly OwedCopy[], isReading: boolean): boolean {
  return owed.filter(({ attempts }) => (attempts === 0) === isReading).length < mostOwed;
}

/** How long a copy that could not be read is let rest. */
export function owedWaitMs(attempts: number): number {
  return Math.min(longestWaitMs, firstWaitMs * 2 ** (attempts - 1));
}
