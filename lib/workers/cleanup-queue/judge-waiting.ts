import { copyIdOf } from '../../store/keys.ts';
import type { Entry, ObjectRecord, QueueItem } from '../../store/model.ts';
import { isOneWrite } from '../../store/records.ts';
import type { Reading } from '../../transfer/reading/reading.ts';
import type { VerifiedCopy } from '../../transfer/verified-copy.ts';
import type { Proof, Turn } from './turn.ts';

/** What judging needs: reads that go on over as many ticks as they take. */
export interface JudgeDeps {
  /** Reads the bytes that wait. */
  read(): Promise<Reading>;
  /** Looks for a recorded copy of the object that is as recorded. */
  verifiedCopy(object: ObjectRecord): Promise<VerifiedCopy>;
}

/** `deletable` nothing more is to be known, or as long as the proof is recorded · `needs-copy` good, and in no record. */
export type Judgement =
  | { readonly outcome: 'deletable'; readonly proof?: Proof }
  | { readonly outcome: 'needs-copy'; readonly object: ObjectRecord }
  | Extract<Turn, { readonly outcome: 'restored' | 'put-off' }>;

type PutOff = Extract<Turn, { readonly outcome: 'put-off' }>;
type Proven = Extract<Judgement, { readonly outcome: 'deletable' }> | PutOff;

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/**
 * What becomes of bytes that left their record on evidence, at the end of their wait. They may be deleted once a recorded
 * copy verifies, or once they read wrong or missing again; what can be neither read nor proven waits on. Found good, they
 * go back to the record: where they are while nobody ever claimed them, since only a claimant may be deleting them.
 */
export async function judgeWaiting(deps: JudgeDeps, item: QueueItem, entry: Entry | undefined): Promise<Judgement> {
  // Nothing of this content is recorded any more: it was replaced or deleted.
  if (entry?.kind !== 'object' || !isOneWrite(entry, item)) return { outcome: 'deletable' };
  // Surplus was good when it left: it goes back only where what stayed is not good.
  return item.cause === 'quarantined' ? bytesFirst(deps, item, entry) : proofFirst(deps, item, entry);
}

async function bytesFirst(deps: JudgeDeps, item: QueueItem, object: ObjectRecord): Promise<Judgement> {
  const reading = await deps.read();
  switch (reading.outcome) {
    case 'good':
      return placeFor(deps, item, object);
    case 'wrong':
    case 'missing':
    case 'changed':
      return { outcome: 'deletable' };
    case 'unreadable':
    case 'put-off':
      return ifProven(await deps.verifiedCopy(object), object, () => putOff('unreadable', dayMs));
    case 'reading':
      return notYet(reading);
  }
}

async function proofFirst(deps: JudgeDeps, item: QueueItem, object: ObjectRecord): Promise<Judgement> {
  const proof = await deps.verifiedCopy(object);
  if (proof.outcome !== 'none') return ifProven(proof, object, () => putOff('unreadable', dayMs));
  const reading = await deps.read();
  if (reading.outcome === 'good') return restored(item, object);
  return reading.outcome === 'reading' || reading.outcome === 'put-off' ? notYet(reading) : putOff('unreadable', dayMs);
}

/** Where good bytes go: to their place in the record if it is free, or if what has taken it is not good. */
async function placeFor(deps: JudgeDeps, item: QueueItem, object: ObjectRecord): Promise<Judgement> {
  if (object.copies[item.backend] === undefined && item.claimedBy === undefined) return restored(item, object);
  const proof = await deps.verifiedCopy(object);
  return proof.outcome === 'none' ? restored(item, object) : ifProven(proof, object, () => putOff('unreadable', dayMs));
}

function restored(item: QueueItem, before: ObjectRecord): Judgement {
  if (item.claimedBy !== undefined) return { outcome: 'needs-copy', object: before };
  const copies = { ...before.copies, [item.backend]: copyIdOf(item) };
  return { outcome: 'restored', before, after: { ...before, condition: 'sound', copies } };
}

export function ifProven<T>(found: VerifiedCopy, object: ObjectRecord, otherwise: () => T): T | Proven {
  switch (found.outcome) {
    case 'good':
      return { outcome: 'deletable', proof: { backend: found.backend, copyId: object.copies[found.backend]! } };
    case 'none':
    case 'unreadable':
      return otherwise();
    default:
      return notYet(found);
  }
}

function notYet(found: { readonly outcome: 'reading' | 'put-off' }): PutOff {
  return found.outcome === 'reading' ? putOff('reading', minuteMs) : putOff('reading-put-off', hourMs);
}

export function putOff(why: string, waitMs: number): PutOff {
  return { outcome: 'put-off', why, waitMs };
}
