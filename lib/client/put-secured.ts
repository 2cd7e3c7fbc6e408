import { keyIdsOf } from '../config/encryption.ts';
import { copyIdOf } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { readCopy } from '../transfer/read-copy.ts';
import { type Fleet, fleetLifeMs } from './context.ts';
import { HoldfastError } from './error.ts';
import { type Put, writeBytes } from './put-bytes.ts';
import { joinRecord, ownRecord } from './put-record.ts';
import { readEntry } from './read-entry.ts';

/** Copies of a put that it wrote and verified, or read in full: backend → copy id. */
export type Verified = Map<string, string>;

/** A record, and a moment at which it was the object's. */
interface Known {
  readonly record: ObjectRecord;
  readonly at: number;
}

/** Every round makes a copy at most, and looks again; a fleet that changes faster than that is not waited for. */
const mostRounds = 10;

/**
 * Whether a put that was recorded may be acknowledged: the object still has its generation, with as many copies as were
 * asked for, each verified, on backends that are in the file and not told to be drained, by a fleet and a record as they are
 * now. What lacks is made elsewhere. Returns also when the put was overwritten: it happened. Nothing is awaited after the
 * last look: whatever the process slept through, it looked when it woke.
 *
 * @throws HoldfastError `undecided`: it is recorded, and no backend in force took it
 */
export async function secure(put: Put, record: ObjectRecord, at: number, verified: Verified): Promise<void> {
  const { clock } = put.context.deps;
  let known: Known = { record, at };
  for (let round = 0; round < mostRounds; round += 1) {
    const fleet = await put.context.freshFleet();
    if (!isDecryptable(fleet, known.record)) throw undecided(put, 'its encryption key has left the fleet file');
    if (clock.now() - known.at < fleetLifeMs && missingCopies(put, fleet, known.record, verified) === 0) return;
    const now = clock.now();
    const own = ownRecord(put, await readEntry(put.context, put.key));
    if (own === null) return;
    known = { record: own, at: now };
    if (missingCopies(put, fleet, own, verified) === 0) continue;
    await verifyOthers(put, fleet, own, verified);
    if (missingCopies(put, fleet, own, verified) === 0) continue;
    if (!(await addCopy(put, own, verified))) return;
  }
  throw undecided(put, 'the fleet keeps changing');
}

function isDecryptable({ file }: Fleet, { encryption }: ObjectRecord): boolean {
  return encryption === undefined || keyIdsOf(file).includes(encryption.keyId);
}

/** Copies that are still to be made before the put is done. */
function missingCopies(put: Put, fleet: Fleet, { copies }: ObjectRecord, verified: Verified): number {
  const standing = Object.entries(copies).filter(
    ([name, copyId]) => verified.get(name) === copyId && fleet.standing(name).takesCopies,
  );
  return Math.max(0, put.copies - standing.length);
}

/** Reads the copies that others made. One that cannot be read now is no copy to rely on. */
async function verifyOthers(put: Put, fleet: Fleet, record: ObjectRecord, verified: Verified): Promise<void> {
  for (const [name, copyId] of Object.entries(record.copies)) {
    const { takesCopies, isReachable } = fleet.standing(name);
    if (verified.get(name) === copyId || !takesCopies || !isReachable) continue;
    if ((await put.context.obstacle(fleet, name)) !== null) continue;
    const reading = await readCopy(await put.context.backend(fleet, name), record);
    if (reading.outcome === 'good') verified.set(name, copyId);
  }
}

/** One more copy of what is recorded. False when the put was overwritten meanwhile. */
async function addCopy(put: Put, record: ObjectRecord, verified: Verified): Promise<boolean> {
  const aim = { replaces: put.generation, holders: Object.keys(record.copies) };
  const written = await writeBytes(put, aim);
  if (written.outcome === 'nowhere')
    throw undecided(put, `it is recorded, and cannot be put where it is needed${written.why}`);
  const joined = await joinRecord(put, written.item, record);
  if (joined.outcome === 'recorded') verified.set(written.item.backend, copyIdOf(written.item));
  return joined.outcome !== 'overwritten';
}

function undecided({ key }: Put, why: string): HoldfastError {
  return new HoldfastError('undecided', `Cannot say whether "${key}" can be read from now on: ${why}`);
}
