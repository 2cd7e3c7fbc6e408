import { createHash } from 'node:crypto';
import { collect } from '../../base/bytes.ts';
import { defined } from '../../base/defined.ts';
import { BackendError } from '../../fleet/backend.ts';
import { ownerKey } from '../../fleet/owner.ts';
import type { CandidateReading } from '../../plans/judge-candidates.ts';
import type { CopyReaderTick } from '../../steps/copy-reader.ts';
import { copyReader } from '../../steps/copy-reader.ts';
import type { Encryption, ObjectRecord } from '../../store/model.ts';
import { undecidedSha256 } from '../../store/recovery.ts';
import type { Tick } from '../../tick/tick.ts';
import { ciphertextHeaderBytes, encryptionOf } from '../../transfer/ciphertext.ts';
import type { MarkedBytes } from './candidates.ts';

/** What this file asks of a tick. */
export type ReadCandidateTick = Pick<Tick, 'signal' | 'backend'> & CopyReaderTick;

/**
 * What a candidate turned out to be. `encryption`: how it was encrypted, by the message itself, null where it is content; absent
 * where it was not read now.
 */
export type CandidateFound = CandidateReading & { readonly encryption?: Encryption | null };

/**
 * Reads a candidate to its end and judges it: by what tables of ours know of its generation, else by the SHA-256 in its mark,
 * else by what its ETag proves. A generation has one content: bytes that are not its record's are wrong, however they are
 * marked. Bytes that differ are read twice before they are called wrong.
 */
export async function readCandidate(
  tick: ReadCandidateTick,
  candidate: MarkedBytes,
  record: ObjectRecord | null,
): Promise<CandidateFound> {
  const { backend, key, generation, sizeBytes, mark } = candidate;
  const isRecorded = record !== null && record.copies[backend] === candidate.copyId && record.generation === generation;
  const recordedSha256 = isRecorded && record.sha256 !== undecidedSha256 ? record.sha256 : undefined;
  // This very recovery has read it, when it made its record.
  if (isRecorded && record.condition === 'recovering' && recordedSha256 !== undefined)
    return { outcome: 'proved', sha256: recordedSha256 };
  const known = knownOf(record, generation);
  const sha256 = known?.sha256 ?? mark.sha256 ?? recordedSha256;
  const headersSha256 = known?.headersSha256 ?? mark.headersSha256;
  const bytes = { backend, storageKey: candidate.storageKey, key, generation, sizeBytes };
  const reader = copyReader(tick);
  for (let reads = 0; ; reads += 1) {
    const options = { remembers: true, firstBytes: ciphertextHeaderBytes };
    const reading = await reader.read({ ...bytes, ...defined({ sha256, headersSha256 }) }, options);
    switch (reading.outcome) {
      case 'good':
        return {
          outcome: await strengthOf(tick, candidate, reading.provesItself),
          sha256: reading.sha256,
          encryption: encryptionOf(reading.first!, sizeBytes, { key, generation: mark.generation }),
        };
      case 'wrong':
        if (reads > 0) return { outcome: 'wrong' };
        continue;
      case 'missing':
        return { outcome: 'missing' };
      case 'put-off': {
        const isLimit = reading.reason !== 'out-of-time' && reading.reason !== 'backing-off';
        return { outcome: 'pending', ...(isLimit && { heldBy: reading.reason }) };
      }
      case 'reading':
        return { outcome: 'pending' };
      default:
        return { outcome: 'unreadable' };
    }
  }
}

/** What tables of ours know of a generation. What a recovery made of it, or could not verify, is no more than its marks say. */
function knownOf(record: ObjectRecord | null, generation: string): ObjectRecord | null {
  if (record?.generation !== generation || record.sha256 === undecidedSha256) return null;
  return record.condition === 'sound' || record.condition === 'stuck' ? record : null;
}

async function strengthOf(
  tick: ReadCandidateTick,
  { backend, stored }: MarkedBytes,
  provesItself: boolean,
): Promise<'proved' | 'unproven' | 'doubtful'> {
  if (provesItself) return 'proved';
  const isMd5 = /^"?[0-9a-f]{32}"?$/.test(stored.etag);
  return isMd5 && (await etagsAreMd5(tick, backend)) ? 'doubtful' : 'unproven';
}

const known = new WeakMap<object, Map<string, Promise<boolean>>>();

/** Whether ETags on a backend are the MD5 of the bytes: not so where it encrypts them with keys of a service. */
function etagsAreMd5(tick: ReadCandidateTick, name: string): Promise<boolean> {
  const answers = known.get(tick) ?? new Map<string, Promise<boolean>>();
  known.set(tick, answers);
  const answer = answers.get(name) ?? ownerEtagIsMd5(tick, name);
  answers.set(name, answer);
  return answer;
}

async function ownerEtagIsMd5(tick: ReadCandidateTick, name: string): Promise<boolean> {
  try {
    const owner = await (await tick.backend(name)).get(ownerKey, {}, tick.signal);
    const md5 = createHash('md5')
      .update(await collect(owner.body))
      .digest('hex');
    return owner.etag.replaceAll('"', '') === md5;
  } catch (error) {
    if (error instanceof BackendError) return true;
    throw error;
  }
}
