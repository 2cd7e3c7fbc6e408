import { compareUtf8 } from '../base/bytes.ts';
import { shardOf, shards, shardsOfPart } from '../store/keys.ts';
import type { Lease } from '../store/model.ts';
import { type OwedCopy, progressOf, type ScrubState, verifiedSince } from '../workers/scrubber/scrub-cycles.ts';
import type { ScrubFigures } from './protocol.ts';

/** What one of the scrubber's parts keeps, and which shards it walks over. */
interface ScrubPart {
  readonly state: ScrubState;
  readonly shards: readonly string[];
}

/** The scrub cycle of the whole fleet, from what its parts keep in their leases; undefined before the first tick. */
export function scrubFigures(leases: readonly Lease[], now: number): ScrubFigures | undefined {
  const parts = partsAtWork(leases);
  if (parts.length === 0) return undefined;
  const walked = parts.reduce((sum, part) => sum + part.shards.length, 0);
  const done = parts.reduce((sum, part) => sum + progressOf(part.state, part.shards) * part.shards.length, 0);
  const owed = parts.flatMap(({ state }) => state.owed);
  const cycles = scrubCycles(leases);
  const backends = [...new Set(parts.flatMap(({ state }) => Object.keys(state.cycles)))];
  const times = backends.flatMap((backend) => shards.map((shard) => shardSince(cycles, backend, shard) ?? now));
  return {
    share: done / walked,
    oldestVerifiedAt: Math.min(now, ...times, ...owed.map(({ since }) => since)),
    owed: owed.map(({ key, backend }) => ({ key, backend })),
  };
}

/** The states of all leases: of those too that were in use when the work was in other parts. */
export function scrubCycles(leases: readonly Lease[]): readonly ScrubState[] {
  return leases.flatMap(({ cursor }) => scrubState(cursor) ?? []);
}

/** When every copy of a shard on a backend had been read, or written, at the earliest: the best of what each part knows. */
function shardSince(states: readonly ScrubState[], backend: string, shard: string): number | undefined {
  const times = states.flatMap(({ cycles }) => {
    const cycle = cycles[backend];
    return cycle === undefined ? [] : [verifiedSince(cycle, shard)];
  });
  return times.length === 0 ? undefined : Math.max(...times);
}

/** A copy of an object. */
export interface CopyAt {
  readonly key: string;
  readonly backend: string;
  readonly copyId: string;
}

/** Since when one copy is known to have been read; `owed` it could not be, and is come back to. */
export interface CopyRead {
  readonly how: 'read' | 'owed';
  readonly after: number;
}

/**
 * As exactly as the parts' states tell it: a cycle that is in the copy's own shard has passed all that comes before its place,
 * unless it passed a copy over.
 */
export function copyRead(states: readonly ScrubState[], { key, backend, copyId }: CopyAt): CopyRead | undefined {
  const isOurs = (one: OwedCopy) => one.key === key && one.backend === backend && one.copyId === copyId;
  const owed = states.flatMap((state) => state.owed.filter(isOurs));
  if (owed.length > 0) return { how: 'owed', after: Math.max(...owed.map(({ since }) => since)) };
  const shard = shardOf(key);
  const known = shardSince(states, backend, shard);
  if (known === undefined) return undefined;
  const passed = states.flatMap(({ cycles }) => {
    const { at, isIncomplete, shardSince: since } = cycles[backend] ?? {};
    const isPassed = at?.shard === shard && at.key !== undefined && compareUtf8(key, at.key) <= 0;
    return isPassed && isIncomplete !== true && since !== undefined ? [since] : [];
  });
  return { how: 'read', after: Math.max(known, ...passed) };
}

/** The leases of the last division of the work: with another number of parts, others are left behind. */
function partsAtWork(leases: readonly Lease[]): ScrubPart[] {
  const all = leases.flatMap(({ part, cursor, last }) => {
    const [, i, of] = /^(\d+)\/(\d+)$/.exec(part) ?? [];
    const state = scrubState(cursor);
    if (i === undefined || state === null) return [];
    const at = typeof last?.at === 'number' ? last.at : 0;
    return [{ of: Number(of), at, state, shards: shardsOfPart(Number(i), Number(of)) }];
  });
  const latest = all.reduce((a, b) => (b.at > a.at ? b : a), all[0]!);
  return all.filter(({ of }) => of === latest.of);
}

/** Of a lease that keeps one. */
function scrubState(cursor: string | undefined): ScrubState | null {
  if (cursor === undefined) return null;
  try {
    const state = JSON.parse(cursor) as Partial<ScrubState>;
    return { cycles: {}, owed: [], ...state };
  } catch {
    return null;
  }
}
