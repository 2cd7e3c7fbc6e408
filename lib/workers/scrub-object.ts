import type { ObjectRecord } from '../store/model.ts';
import { type CopyReading, readCopy } from '../transfer/read-copy.ts';
import type { Budget } from './budget.ts';
import { isUsable } from './health.ts';
import { settlePlainChange } from './plain-change.ts';
import { examine } from './suspects.ts';
import type { Tick } from './tick.ts';

/** What was found of one copy. */
export interface CopyVerdict {
  readonly backend: string;
  readonly copyId: string;
  /**
   * `good` · `backfilled` good, and its hash was recorded · `parked` not reachable now · an `over-…` usage limit ·
   * `unreadable` nothing can be said · what `dismiss` or the owner's overwrite led to.
   */
  readonly verdict: string;
  readonly detail?: string;
}

/**
 * Reads every copy of an object and compares it with the record. Bytes that differ or are missing go to `dismiss`; a hash
 * not known yet is recorded on the same generation; an object thought damaged is lifted when a copy verifies.
 */
export async function scrubObject(tick: Tick, object: ObjectRecord, budget: Budget): Promise<CopyVerdict[]> {
  const verdicts: CopyVerdict[] = [];
  let current = object;
  for (const [backend, copyId] of Object.entries(object.copies)) {
    const say = (verdict: string, detail?: string) =>
      verdicts.push({ backend, copyId, verdict, ...(detail === undefined ? {} : { detail }) });
    const refusal = budget.refuses(backend, { requests: 1, egressBytes: object.sizeBytes });
    if (refusal !== null) {
      say(refusal);
      continue;
    }
    if (tick.standing(backend).config === undefined || !(await isUsable(tick, backend))) {
      say('parked');
      continue;
    }
    const giveBack = budget.reserve(backend, { requests: 1, egressBytes: object.sizeBytes });
    const reading = await verify(tick, current, backend).finally(giveBack);
    if (reading.outcome === 'good') {
      const isNews = current.sha256 === undefined || current.isDamaged;
      const noted = isNews ? await noteGood(tick, current, reading.digest.sha256) : current;
      say(isNews && noted !== null ? 'backfilled' : 'good');
      if (noted === null) break;
      current = noted;
    } else if (reading.outcome === 'changed') {
      say(await settlePlainChange(tick, current, backend));
      break;
    } else if (reading.outcome === 'unreadable') {
      say('unreadable', reading.error.message);
    } else {
      say(await examine(tick, object.key, backend), reading.outcome === 'wrong' ? reading.detail : 'missing');
      const entry = (await tick.deps.store.objects([object.key])).get(object.key);
      if (entry?.kind !== 'object' || entry.generation !== object.generation) break;
      current = entry;
    }
  }
  return verdicts;
}

/** S3: where the backend attests the hash of the full object, no byte need travel. */
async function verify(tick: Tick, object: ObjectRecord, backend: string): Promise<CopyReading> {
  return readCopy(await tick.backend(backend), object, tick.signal, tick.params.scrubAttests);
}

/** Records a hash, or lifts damage; null when the object changed meanwhile. */
async function noteGood(tick: Tick, object: ObjectRecord, sha256: string): Promise<ObjectRecord | null> {
  const after: ObjectRecord = { ...object, sha256, isDamaged: false };
  const [outcome] = await tick.commit([{ key: object.key, change: { before: object, after } }]);
  if (outcome?.outcome !== 'committed' || outcome.entry?.kind !== 'object') return null;
  tick.audit(object.isDamaged ? 'Damage lifted: a copy verifies' : 'Hash recorded', {
    key: object.key,
    reason: 'scrub',
  });
  return outcome.entry;
}
