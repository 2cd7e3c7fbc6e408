import { defined } from '../../base/defined.ts';
import { tee } from '../../base/tee.ts';
import { settlePlainChange } from '../../steps/plain-change.ts';
import { quarantineOnEvidence } from '../../steps/quarantine.ts';
import type { ObjectRecord } from '../../store/model.ts';
import { type Budget, readingOf } from '../../tick/budget.ts';
import { isUsable } from '../../tick/health.ts';
import type { Tick } from '../../tick/tick.ts';
import { isEncrypted, plaintextVerifies } from '../../transfer/keyring.ts';
import { type CopyReading, readCopy } from '../../transfer/read-copy.ts';
import { keyringOf } from './tick-keyring.ts';

/** What was found of one copy. */
export interface CopyVerdict {
  readonly backend: string;
  readonly copyId: string;
  /**
   * `good` · `backfilled` good, and its hash was recorded · `parked` not reachable now · an `over-…` usage limit ·
   * `unreadable` nothing can be said · what `quarantine` or the owner's overwrite led to.
   */
  readonly verdict: string;
  readonly detail?: string;
}

/**
 * Reads every copy of an object and compares it with the record. Bytes that differ or are missing go to `quarantine`; a hash
 * not known yet is recorded on the same generation; an object thought damaged is lifted when a copy verifies.
 */
export async function scrubObject(tick: Tick, object: ObjectRecord, budget: Budget): Promise<CopyVerdict[]> {
  const verdicts: CopyVerdict[] = [];
  let current = object;
  for (const [backend, copyId] of Object.entries(object.copies).sort()) {
    const say = (verdict: string, detail?: string) =>
      verdicts.push({ backend, copyId, verdict, ...defined({ detail }) });
    // The record was read again since: another hand took this copy away, or put another in its place.
    if (current.copies[backend] !== copyId) {
      say('lost');
      continue;
    }
    if (tick.standing(backend).config === undefined || !(await isUsable(tick, backend))) {
      say('parked');
      continue;
    }
    // Reserved in the same breath: others ask meanwhile.
    const spend = readingOf(current);
    const refusal = budget.refuses(backend, spend);
    if (refusal !== null) {
      say(refusal);
      continue;
    }
    const giveBack = budget.reserve(backend, spend);
    const reading = await verify(tick, current, backend).finally(giveBack);
    if (reading.outcome === 'good') {
      const isUnknown = current.sha256 === undefined || current.headersSha256 === undefined;
      const isNews = isUnknown || current.condition === 'damaged';
      const noted = isNews ? await noteGood(tick, current, reading) : current;
      const verdict = isNews && noted !== null ? 'backfilled' : 'good';
      if (reading.plaintext === undefined) say(verdict);
      else say(reading.plaintext.split(':')[0]!, reading.plaintext);
      if (noted === null) break;
      current = noted;
    } else if (reading.outcome === 'changed') {
      say(await settlePlainChange(tick, current, backend));
      break;
    } else if (reading.outcome === 'unreadable') {
      say('unreadable', reading.error.message);
    } else {
      say(
        (await quarantineOnEvidence(tick, object.key, backend)).outcome,
        reading.outcome === 'wrong' ? reading.detail : 'missing',
      );
      const entry = (await tick.deps.store.objects([object.key])).get(object.key);
      if (entry?.kind !== 'object' || entry.generation !== object.generation) break;
      current = entry;
    }
  }
  return verdicts;
}

/**
 * S3: where the backend attests the hash of the full object, no byte need travel. With a keyring the plaintext is compared
 * too, in the same read; what goes wrong there is said, and is never evidence against the stored bytes.
 */
async function verify(
  tick: Tick,
  object: ObjectRecord,
  backend: string,
): Promise<CopyReading & { readonly plaintext?: string }> {
  const handle = await tick.backend(backend);
  const keyring = isEncrypted(object) ? await keyringOf(tick) : null;
  if (keyring === null || !isEncrypted(object)) {
    return readCopy(handle, object, tick.signal, { trustsAttestation: tick.params.scrubAttests });
  }
  let plaintext: Promise<string | undefined> = Promise.resolve(undefined);
  const reading = await readCopy(handle, object, tick.signal, {
    alongside(body) {
      const { main, side } = tee(body);
      plaintext = plaintextVerifies(keyring, object, side).then(
        (isRight) => (isRight ? undefined : 'plaintext-differs'),
        (error: Error) => `plaintext-unreadable: ${error.message}`,
      );
      return main;
    },
  });
  const plaintextDigest = await plaintext;
  return reading.outcome === 'good' && plaintextDigest !== undefined
    ? { ...reading, plaintext: plaintextDigest }
    : reading;
}

/** Records a hash, or lifts damage; null when the object changed meanwhile. */
async function noteGood(
  tick: Tick,
  object: ObjectRecord,
  { digest, headersSha256 }: Extract<CopyReading, { outcome: 'good' }>,
): Promise<ObjectRecord | null> {
  const after: ObjectRecord = { headersSha256, ...object, sha256: digest.sha256, condition: 'sound' };
  const [outcome] = await tick.commit([{ key: object.key, change: { before: object, after } }]);
  if (outcome?.outcome !== 'committed' || outcome.entry?.kind !== 'object') return null;
  tick.audit(object.condition === 'damaged' ? 'Damage lifted: a copy verifies' : 'Hash recorded', {
    key: object.key,
    reason: 'scrub',
  });
  return outcome.entry;
}
