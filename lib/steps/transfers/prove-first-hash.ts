import type { ObjectRecord } from '../../store/model.ts';
import type { BigCopyOutcome } from '../../transfer/big/job.ts';
import { bytesOfCopy } from '../../transfer/reading/stored-bytes.ts';
import { type CopyReaderTick, copyReader } from '../copy-reader.ts';
import type { HoldTick } from './hold.ts';
import { type Hold, save } from './hold.ts';

/** What this file asks of a tick. */
export type ProveFirstHashTick = CopyReaderTick & HoldTick;

/** Why the hash of what was sent is not proven, or not yet. `backing-off`: the source could not be read lately. */
export type Unproven =
  | Extract<BigCopyOutcome, { outcome: `source-${string}` | 'unfinished' | 'over-limit' | 'wrong-digest' | 'taken' }>
  | { readonly outcome: 'backing-off'; readonly waitMs: number };

const waitMs = 60_000;

/**
 * Proves the hash of what was sent of an object whose hash is recorded nowhere, and whose source's ETag proves nothing: a second
 * whole read of the source must give the same, over as many ticks as that takes. Null when it does, or when somebody has
 * recorded that very hash meanwhile. Before, nothing stands at the target, so that what is wrong can be sent anew.
 */
export async function proveFirstHash(
  tick: ProveFirstHashTick,
  hold: Hold,
  object: ObjectRecord,
): Promise<Unproven | null> {
  const { from, sha256 } = hold.item.transfer!;
  if (object.copies[from] === undefined) return { outcome: 'source-missing' };
  const differs = `Two reads of the copy of "${object.key}" on "${from}" differ`;
  if (object.sha256 !== undefined)
    return object.sha256 === sha256 ? proven(tick, hold) : { outcome: 'wrong-digest', detail: differs };
  const reading = await copyReader(tick).read({ ...bytesOfCopy(object, from), sha256: sha256! }, { remembers: true });
  switch (reading.outcome) {
    case 'good':
      return proven(tick, hold);
    case 'reading':
      return { outcome: 'unfinished' };
    case 'wrong':
      return { outcome: 'source-unproven', detail: differs };
    case 'missing':
      return { outcome: 'source-missing' };
    case 'changed':
      return { outcome: 'source-changed' };
    case 'unreadable':
      return { outcome: 'source-failed', error: reading.error };
    case 'put-off':
      if (reading.reason === 'out-of-time') return { outcome: 'unfinished' };
      if (reading.reason === 'backing-off') return { outcome: 'backing-off', waitMs };
      return { outcome: 'over-limit', backend: from, reason: reading.reason };
  }
}

async function proven(tick: ProveFirstHashTick, hold: Hold): Promise<Unproven | null> {
  const { needsProof: _, ...transfer } = hold.item.transfer!;
  // What was not saved is proven again: the reader remembers what took long.
  return (await save(tick, hold, transfer)) === 'saved' ? null : { outcome: 'taken' };
}
