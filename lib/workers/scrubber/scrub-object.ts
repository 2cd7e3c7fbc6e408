import { defined } from '../../base/defined.ts';
import type { CopyReaderTick } from '../../steps/copy-reader.ts';
import { copyReader } from '../../steps/copy-reader.ts';
import type { PlainChange, PlainChangeTick } from '../../steps/plain-change.ts';
import type { QuarantineTick } from '../../steps/quarantine.ts';
import { quarantineOnEvidence } from '../../steps/quarantine.ts';
import type { ObjectRecord } from '../../store/model.ts';
import type { HealthTick } from '../../tick/health.ts';
import { isUsable } from '../../tick/health.ts';
import type { Tick } from '../../tick/tick.ts';
import { headersDigest } from '../../transfer/headers-digest.ts';
import { isEncrypted } from '../../transfer/keyring.ts';
import type { GoodReading, Reading } from '../../transfer/reading/reading.ts';
import { bytesOfCopy } from '../../transfer/reading/stored-bytes.ts';
import type { PlaintextCheck } from './read-with-plaintext.ts';
import type { TickKeyringTick } from './tick-keyring.ts';
import { keyringOf } from './tick-keyring.ts';
import type { CopyVerdict, ScrubVerdict } from './verdicts.ts';

/** What this file asks of a tick. */
export type ScrubObjectTick = Pick<Tick, 'deps' | 'params' | 'standing' | 'commit' | 'audit'> &
  CopyReaderTick &
  HealthTick &
  PlainChangeTick &
  QuarantineTick &
  TickKeyringTick;

/** Which copies of an object are read, and how. */
export interface ScrubOptions {
  /** Of these backends alone [all]. */
  readonly backends?: readonly string[];
  /** Failures back off from turn to turn, of small copies too. */
  readonly remembers?: boolean;
}

/**
 * Reads copies of an object and compares them with the record, one after another. Bytes that differ or are missing go to
 * quarantine; a hash not known yet is recorded on the same generation, once it is proven; an object thought damaged is lifted
 * when a copy verifies.
 */
export async function scrubObject(
  tick: ScrubObjectTick,
  object: ObjectRecord,
  options: ScrubOptions = {},
): Promise<CopyVerdict[]> {
  const verdicts: CopyVerdict[] = [];
  let current: ObjectRecord | null = object;
  for (const [backend, copyId] of Object.entries(object.copies).sort()) {
    if (options.backends !== undefined && !options.backends.includes(backend)) continue;
    // The record was read again since: another hand took this copy away, or put another in its place.
    const found: Scrubbed =
      current?.copies[backend] === copyId
        ? await scrubCopy(tick, current, backend, options)
        : { verdict: 'lost', current };
    verdicts.push({ backend, copyId, verdict: found.verdict, ...defined({ detail: found.detail }) });
    current = found.current;
  }
  return verdicts;
}

/** What was found of a copy, and the object as it is now; null when it is not the one that was begun with. */
interface Scrubbed {
  readonly verdict: ScrubVerdict;
  readonly detail?: string;
  readonly current: ObjectRecord | null;
}

async function scrubCopy(
  tick: ScrubObjectTick,
  object: ObjectRecord,
  backend: string,
  options: ScrubOptions,
): Promise<Scrubbed> {
  const isThere = tick.standing(backend).config !== undefined && (await isUsable(tick, backend));
  if (!isThere) return { verdict: 'parked', current: object };
  // Read to its end before, and wrong: quarantine goes on with it.
  if (options.remembers && (await copyReader(tick).standing(bytesOfCopy(object, backend))).isSuspect)
    return scrubbedBad(tick, object, backend, 'read before, and not as recorded');
  const reading = await verify(tick, object, backend, options);
  switch (reading.outcome) {
    case 'good':
      return scrubbedGood(tick, object, reading);
    case 'changed': {
      const verdict = await settleChanged(tick, object, backend);
      return { verdict, current: await sameContentNow(tick, object) };
    }
    case 'unreadable':
      return { verdict: 'unreadable', detail: reading.error.message, current: object };
    case 'reading':
      return { verdict: 'reading', current: object };
    case 'put-off':
      return { verdict: reading.reason, current: object };
    case 'missing':
      return scrubbedBad(tick, object, backend, 'missing');
    case 'wrong': {
      const change = object.copies[backend] === '' ? await settleChanged(tick, object, backend) : 'unchanged';
      if (change !== 'unchanged')
        return { verdict: change, detail: reading.detail, current: await sameContentNow(tick, object) };
      return scrubbedBad(tick, object, backend, reading.detail);
    }
  }
}

async function settleChanged(tick: ScrubObjectTick, object: ObjectRecord, backend: string): Promise<PlainChange> {
  // Rarely needed: a cold start does not load it.
  const { settlePlainChange } = await import('../../steps/plain-change.ts');
  return settlePlainChange(tick, object, backend);
}

async function scrubbedGood(
  tick: ScrubObjectTick,
  object: ObjectRecord,
  { sha256, found, plaintext }: GoodReading & { readonly plaintext?: PlaintextCheck },
): Promise<Scrubbed> {
  const isUnknown = object.sha256 === undefined || object.headersSha256 === undefined;
  const isNews = isUnknown || object.condition === 'damaged';
  const noted = isNews ? await noteGood(tick, object, sha256, headersDigest(found.headers, found.metadata)) : null;
  // A record that changed meanwhile has other copies still to be read.
  const current = noted ?? (isNews ? await sameContentNow(tick, object) : object);
  if (!isEncrypted(object) || plaintext?.outcome === 'good')
    return { verdict: noted !== null ? 'backfilled' : 'good', current };
  if (plaintext?.outcome === 'unreadable')
    return { verdict: 'plaintext-unreadable', detail: plaintext.detail, current };
  return { verdict: plaintext === undefined ? 'plaintext-unchecked' : 'plaintext-differs', current };
}

async function scrubbedBad(
  tick: ScrubObjectTick,
  object: ObjectRecord,
  backend: string,
  detail: string,
): Promise<Scrubbed> {
  const ended = await quarantineOnEvidence(tick, object.key, backend);
  const verdict = ended.outcome === 'put-off' ? ended.reason : ended.outcome;
  return { verdict, detail, current: await sameContentNow(tick, object) };
}

/** The record as it is now; null when it has other content. */
async function sameContentNow(tick: ScrubObjectTick, { key, generation }: ObjectRecord): Promise<ObjectRecord | null> {
  const entry = (await tick.deps.store.objects([key])).get(key);
  return entry?.kind === 'object' && entry.generation === generation ? entry : null;
}

/**
 * Where the backend attests the hash of the full object, no byte need travel. With a keyring the plaintext is compared too.
 */
async function verify(
  tick: ScrubObjectTick,
  object: ObjectRecord,
  backend: string,
  { remembers = false }: ScrubOptions,
): Promise<Reading & { readonly plaintext?: PlaintextCheck }> {
  const bytes = bytesOfCopy(object, backend);
  const reader = copyReader(tick);
  const keyring = isEncrypted(object) ? await keyringOf(tick) : null;
  // What others read before is their evidence: the scrubber reads by itself.
  const anew = { agesUpToMs: 0, remembers };
  if (keyring === null || !isEncrypted(object))
    return reader.read(bytes, { ...anew, trustsAttestation: tick.params.scrubAttests });
  // Most fleets never need it: a cold start does not load it.
  const { readWithPlaintext } = await import('./read-with-plaintext.ts');
  return readWithPlaintext(reader, bytes, object, keyring, anew);
}

/** Records a hash, or lifts damage; null when the object changed meanwhile. */
async function noteGood(
  tick: ScrubObjectTick,
  object: ObjectRecord,
  sha256: string,
  headersSha256: string,
): Promise<ObjectRecord | null> {
  const after: ObjectRecord = { headersSha256, ...object, sha256, condition: 'sound' };
  const [outcome] = await tick.commit([{ key: object.key, change: { before: object, after } }]);
  if (outcome?.outcome !== 'committed' || outcome.entry?.kind !== 'object') return null;
  tick.audit(object.condition === 'damaged' ? 'Damage lifted: a copy verifies' : 'Hash recorded', {
    key: object.key,
    reason: 'scrub',
  });
  return outcome.entry;
}
