import { keyIdsOf } from '../config/encryption.ts';
import { copyIdOf } from '../store/keys.ts';
import type { ObjectRecord } from '../store/model.ts';
import { StoreError } from '../store/port.ts';
import { readCopy } from '../transfer/read-copy.ts';
import { type Fleet, fleetLifeMs } from './context.ts';
import { HoldfastError, TooFewCopiesError } from './error.ts';
import type { Put } from './put-bytes.ts';
import { type WrittenCopies, writeCopies } from './put-copies.ts';
import { joinAll, ownRecord } from './put-record.ts';
import { readEntry } from './read-entry.ts';

/** Copies of a put that it wrote and verified, or read in full: backend → copy id. */
export type Verified = Map<string, string>;

/** A record, and a moment at which it was the object's. */
interface Known {
  readonly record: ObjectRecord;
  readonly at: number;
}

/** Every round makes the copies that lack, and looks again; a fleet that changes faster than that is not waited for. */
const mostRounds = 10;

/**
 * Whether a put that was recorded may be acknowledged: the object still has its generation, with as many copies as were
 * asked for, each verified, on backends that are in the file and not told to be drained, by a fleet and a record as they are
 * now. What lacks is made elsewhere. Returns also when the put was overwritten: it happened. Nothing is awaited after the
 * last look: whatever the process slept through, it looked when it woke.
 *
 * @throws TooFewCopiesError it is recorded, with fewer copies than were asked for, and no further backend took it
 * @throws HoldfastError `undecided`: it is recorded, and on no backend in force
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
    if ((await addCopies(put, fleet, own, verified)) === 'overwritten') return;
  }
  throw undecided(put, 'the fleet keeps changing');
}

function isDecryptable({ file }: Fleet, { encryption }: ObjectRecord): boolean {
  return encryption === undefined || keyIdsOf(file).includes(encryption.keyId);
}

/** Copies that are still to be made before the put is done. */
function missingCopies(put: Put, fleet: Fleet, record: ObjectRecord, verified: Verified): number {
  return Math.max(0, put.copies - standing(fleet, record, verified).length);
}

/** Backends in force with a copy that this put verified. */
function standing(fleet: Fleet, { copies }: ObjectRecord, verified: Verified): string[] {
  return Object.entries(copies)
    .filter(([name, copyId]) => verified.get(name) === copyId && fleet.standing(name).takesCopies)
    .map(([name]) => name);
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

/** More copies of what is recorded, as many as lack and backends take. */
async function addCopies(
  put: Put,
  fleet: Fleet,
  record: ObjectRecord,
  verified: Verified,
): Promise<'added' | 'overwritten'> {
  const aim = { replaces: put.generation, holders: Object.keys(record.copies) };
  const { items, why } = await writeCopies(put, aim, missingCopies(put, fleet, record, verified)).catch(
    (error: Error): Pick<WrittenCopies, 'items' | 'why'> => {
      if (error instanceof HoldfastError || error instanceof StoreError) throw error;
      // The content failed. By now that is no reason to say that nothing was put.
      return { items: [], why: `: its content could not be read again (${error.message})` };
    },
  );
  if (items.length === 0) throw tooFew(put, standing(fleet, record, verified), record, why);
  for (const item of items) verified.set(item.backend, copyIdOf(item));
  const { outcome } = await joinAll(put, items, record);
  return outcome === 'overwritten' ? outcome : 'added';
}

function tooFew(put: Put, recorded: readonly string[], record: ObjectRecord, why: string): HoldfastError {
  if (recorded.length === 0) return undecided(put, `it is recorded, and cannot be put where it is needed${why}`);
  const { key, generation } = record;
  return new TooFewCopiesError({ key, generation, asked: put.copies, recorded }, why);
}

function undecided({ key }: Put, why: string): HoldfastError {
  return new HoldfastError('undecided', `Cannot say whether "${key}" can be read from now on: ${why}`);
}
