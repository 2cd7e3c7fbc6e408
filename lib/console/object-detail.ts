import { defined } from '../base/defined.ts';
import { ulidTime } from '../base/ids.ts';
import { shardOf, storageKey } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { verifiedSince } from '../workers/scrubber/scrub-cycles.ts';
import { type ConsoleDeps, type FleetNow, fleetNow } from './deps.ts';
import { objectLine } from './lists.ts';
import { scrubState } from './overview.ts';
import type { CopyFigures, ObjectAnswer } from './protocol.ts';

/** One object with every copy: where it is, how old, and when it was verified last. */
export async function objectDetail(deps: ConsoleDeps, key: string): Promise<ObjectAnswer> {
  const entry = (await deps.store.objects([key])).get(key);
  if (entry === undefined) return { outcome: 'absent' };
  if (entry.kind === 'tombstone') return { outcome: 'deleted', deletedAt: entry.deletedAt };
  const [now, cycles] = await Promise.all([fleetNow(deps), cyclesOf(deps)]);
  const { generation, rev, sha256, encryption } = entry;
  const copies = Object.keys(entry.copies)
    .sort()
    .map((backend) => copyFigures(now, entry, backend, verifiedAt(cycles, entry, backend)));
  return {
    outcome: 'found',
    object: { ...objectLine(now, entry), generation, rev, copies, ...defined({ sha256, keyId: encryption?.keyId }) },
  };
}

type Cycles = readonly NonNullable<ReturnType<typeof scrubState>>[];

async function cyclesOf({ store }: Pick<ConsoleDeps, 'store'>): Promise<Cycles> {
  const leases = await store.leases('scrubber');
  return leases.flatMap(({ cursor }) => scrubState(cursor) ?? []);
}

/** The scrub cycle remembers each shard of each backend: when everything in it had been read, or written. */
function verifiedAt(cycles: Cycles, { key, copies }: ObjectRecord, backend: string): number | undefined {
  const times = cycles.flatMap(({ cycles: of, owed }) => {
    const cycle = of[backend];
    if (cycle === undefined) return [];
    const back = owed.find((one) => one.key === key && one.backend === backend);
    return [back === undefined ? verifiedSince(cycle, shardOf(key)) : back.since];
  });
  const written = writtenAt(copies[backend]!);
  const known = [...times, ...(written === undefined ? [] : [written])];
  return known.length === 0 ? undefined : Math.max(...known);
}

function copyFigures(
  { fleet, standing }: FleetNow,
  { key, copies, stuck }: ObjectRecord,
  backend: string,
  verified: number | undefined,
): CopyFigures {
  const copyId = copies[backend]!;
  const { isCounted, isDraining, breaker } = standing(backend);
  const place = fleet.config.fingerprints[backend];
  return {
    ...{ backend, isCounted, isDraining, breaker },
    bucket: place?.bucket ?? '',
    storageKey: (place?.prefix ?? '') + storageKey(key, copyId),
    isImported: copyId === '',
    ...defined({ writtenAt: writtenAt(copyId), verifiedAt: verified, refusal: stuck?.[backend]?.message }),
  };
}

/** A copy id is minted when its bytes are about to be written. */
function writtenAt(copyId: string): number | undefined {
  return copyId === '' ? undefined : ulidTime(copyId);
}
