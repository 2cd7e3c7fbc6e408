import { defined } from '../base/defined.ts';
import { ulidTime } from '../base/ids.ts';
import { checkKey } from '../client/context.ts';
import { storageKey } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { ScrubState } from '../workers/scrubber/scrub-cycles.ts';
import { type ConsoleDeps, type FleetNow, fleetNow } from './deps.ts';
import { objectLine } from './lists.ts';
import type { CopyFigures, ObjectAnswer, VerifiedFigures } from './protocol.ts';
import { copyRead, scrubCycles } from './scrub-figures.ts';

/** One object with every copy: where it is, how old, and when it was verified last. */
export async function objectDetail(deps: ConsoleDeps, key: string): Promise<ObjectAnswer> {
  const now = await fleetNow(deps);
  checkKey(now.fleet.config.file, key);
  const entry = (await deps.store.objects([key])).get(key);
  if (entry === undefined) return { outcome: 'absent' };
  if (entry.kind === 'tombstone') return { outcome: 'deleted', deletedAt: entry.deletedAt };
  const states = scrubCycles(await deps.store.leases('scrubber'));
  const { generation, rev, sha256, encryption } = entry;
  const copies = Object.keys(entry.copies)
    .sort()
    .map((backend) => copyFigures(now, entry, backend, verifiedOf(states, entry, backend)));
  return {
    outcome: 'found',
    object: { ...objectLine(now, entry), generation, rev, copies, ...defined({ sha256, keyId: encryption?.keyId }) },
  };
}

/** What is known of a copy's last reading: that of the scrub cycle, or that it was written since. An import reads nothing. */
function verifiedOf(states: readonly ScrubState[], object: ObjectRecord, backend: string): VerifiedFigures | undefined {
  if (object.condition === 'damaged') return { how: 'damaged' };
  const copyId = object.copies[backend]!;
  const read = copyRead(states, { key: object.key, backend, copyId });
  const since = copyId === '' ? ulidTime(object.generation) : ulidTime(copyId);
  if (read !== undefined && read.after > since) return read;
  const after = copyId === '' ? undefined : since;
  if (read?.how === 'owed') return { how: 'owed', ...defined({ after }) };
  return after === undefined ? undefined : { how: 'written', after };
}

function copyFigures(
  { fleet, standing }: FleetNow,
  { key, copies, stuck }: ObjectRecord,
  backend: string,
  verified: VerifiedFigures | undefined,
): CopyFigures {
  const copyId = copies[backend]!;
  const { isCounted, isDraining, breaker } = standing(backend);
  const place = fleet.config.fingerprints[backend];
  return {
    ...{ backend, isCounted, isDraining, breaker },
    bucket: place?.bucket ?? '',
    storageKey: (place?.prefix ?? '') + storageKey(key, copyId),
    isImported: copyId === '',
    ...defined({ writtenAt: writtenAt(copyId), verified, refusal: stuck?.[backend]?.message }),
  };
}

/** A copy id is minted when its bytes are about to be written. */
function writtenAt(copyId: string): number | undefined {
  return copyId === '' ? undefined : ulidTime(copyId);
}
