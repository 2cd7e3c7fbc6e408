import * as v from 'valibot';
import type { Clock } from '../../base/clock.ts';
import { defined } from '../../base/defined.ts';
import type { Log } from '../../base/log.ts';
import type { ControlRow } from '../../store/model.ts';
import { type RowChange, type RowEnd, type Store, StoreError } from '../../store/port.ts';
import { readingKey } from '../../store/row-keys.ts';
import type { SaveOutcome } from '../saver.ts';
import type { StoredBytes } from './stored-bytes.ts';

/** Longer than a month: what a usage limit holds back waits for the next one. */
const lifeMs = 40 * 24 * 3_600_000;

/** The row that holds a state, with the version on which it is written next. */
export interface ReadRow {
  /**
   * As last read or written; null when there is none, or none that is about these bytes. Of what was about others that had
   * not been read to their end it says only how often that was so.
   */
  state(): ReadState | null;
  /** Whether it was found to be about other bytes, which stood there before and were not read to their end. */
  wasReplaced(): boolean;
  /** On condition that nobody wrote it meanwhile. */
  write(state: ReadState): Promise<SaveOutcome>;
  /** Removes the row, if there is one. */
  end(): Promise<SaveOutcome>;
}

export interface ReadRowDeps {
  readonly store: Pick<Store, 'control' | 'write'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  /** Whose turn it is: no other has the same. */
  readonly holder: string;
}

const sortKey = 'state';

/** Reads the row of some bytes. Throws `StoreError`. */
export async function openReadRow(deps: ReadRowDeps, bytes: StoredBytes): Promise<ReadRow> {
  const pk = readingKey(bytes.backend, bytes.storageKey);
  const find = async () => (await deps.store.control(pk)).rows.find(({ sk }) => sk === sortKey);
  let row = await find();
  const wasReplaced = row !== undefined && isAboutReplaced(row, bytes);
  /** What a write of ours, whose answer was lost, would have left there. */
  let unsure: { readonly after: ControlRow | undefined } | undefined;
  let writes = 0;

  /** False when somebody else wrote the row since we did. */
  async function learn(): Promise<boolean> {
    if (unsure === undefined) return true;
    const seen = await find();
    if (!isSame(seen, row) && !isSame(seen, unsure.after)) return false;
    row = seen;
    unsure = undefined;
    return true;
  }

  async function send(change: RowChange | RowEnd, after: ControlRow | undefined): Promise<SaveOutcome> {
    const answer = await deps.store.write(change).catch((error: unknown) => {
      unsure = { after };
      throw error;
    });
    if (answer.outcome === 'refused') return 'taken';
    row = after;
    return 'saved';
  }

  async function attempt(step: () => Promise<SaveOutcome>): Promise<SaveOutcome> {
    try {
      return (await learn()) ? await step() : 'taken';
    } catch (error) {
      if (!(error instanceof StoreError) || !passing.has(error.kind)) throw error;
      deps.log.warn('Progress of a read was not saved', { pk, kind: error.kind, message: error.message });
      return 'unknown';
    }
  }

  return {
    state: () => (row === undefined ? null : stateOf(row, bytes)),
    wasReplaced: () => wasReplaced,
    write: (state) =>
      attempt(() => {
        const ttl = Math.ceil((deps.clock.now() + lifeMs) / 1000);
        writes += 1;
        const data = { ...state, writtenBy: `${deps.holder} ${writes}` };
        const put = { pk, sk: sortKey, version: (row?.version ?? 0) + 1, data, ttl };
        return send({ kind: 'row', put, expect: row?.version ?? 'absent' }, put);
      }),
    end: () =>
      attempt(async () => {
        if (row === undefined) return 'saved';
        return send({ kind: 'row-end', pk, sk: sortKey, expect: row.version }, undefined);
      }),
  };
}

const passing: ReadonlySet<StoreError['kind']> = new Set(['unanswered', 'throttled', 'unreachable']);

function isSame(one: ControlRow | undefined, other: ControlRow | undefined): boolean {
  return one?.version === other?.version && one?.data.writtenBy === other?.data.writtenBy;
}

/** What a row says of these very bytes; null when it is about others, or was written by another version of Holdfast. */
function stateOf(row: ControlRow, bytes: StoredBytes): ReadState | null {
  const parsed = v.safeParse(schema, row.data);
  if (!parsed.success) return null;
  const state = parsed.output;
  if (isAbout(state, bytes)) return state;
  return isAboutReplaced(row, bytes) ? { ...aboutBytes(bytes), restarts: (state.restarts ?? 0) + 1 } : null;
}

function isAbout({ generation, sizeBytes, etag }: ReadState, bytes: StoredBytes): boolean {
  if (generation !== bytes.generation || sizeBytes !== bytes.sizeBytes) return false;
  return bytes.etag === undefined || etag === undefined || etag === bytes.etag;
}

function isAboutReplaced({ data }: ControlRow, bytes: StoredBytes): boolean {
  const parsed = v.safeParse(schema, data);
  if (!parsed.success || isAbout(parsed.output, bytes)) return false;
  const { generation, progress, firstSha256 } = parsed.output;
  return generation === bytes.generation && (progress ?? firstSha256) !== undefined;
}

const schema = v.object({
  /** Whose bytes they are: progress over those of another write, ETag or size is never gone on from. */
  generation: v.string(),
  sizeBytes: v.number(),
  etag: v.exactOptional(v.string()),
  /** One pass over the bytes: when its first byte was asked for, bytes hashed so far, and the hashes over them. */
  progress: v.exactOptional(
    v.object({
      startedAt: v.number(),
      position: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
      hashState: v.string(),
      /** Spent on it so far, and until when that was counted. */
      readingMs: v.number(),
      savedAt: v.number(),
      /** The first of the bytes, base64: for whoever began it and wants to look at them in the end. */
      first: v.exactOptional(v.string()),
    }),
  ),
  /** Bytes whose hash is recorded nowhere, read once: what that read gave. */
  firstSha256: v.exactOptional(v.string()),
  /** A whole read ended with other bytes than are recorded. Never evidence by itself. */
  suspicion: v.exactOptional(v.object({ at: v.number(), detail: v.string(), against: v.exactOptional(v.string()) })),
  /** The last whole read that ended well. Kept only where this read, or another of the same proof, took more than one tick. */
  good: v.exactOptional(
    v.object({
      readAt: v.number(),
      readingMs: v.number(),
      sha256: v.string(),
      provesItself: v.exactOptional(v.boolean()),
      first: v.exactOptional(v.string()),
    }),
  ),
  /** Reading it in one go was cut off by the end of a tick. */
  isSlow: v.exactOptional(v.boolean()),
  /** How often other bytes stood there than those of which some had been read: since the last reading that came to an end. */
  restarts: v.exactOptional(v.number()),
  /** Failures since the last progress, and when it may be tried again. */
  failures: v.exactOptional(v.number()),
  notBefore: v.exactOptional(v.number()),
  lastError: v.exactOptional(v.string()),
  /** Who reads it now, and until when nobody else does. */
  holder: v.exactOptional(v.string()),
  heldUntil: v.exactOptional(v.number()),
});

/** What is kept of reading some bytes, between ticks and between workers. Times in milliseconds since the epoch. */
export type ReadState = Readonly<v.InferOutput<typeof schema>>;

/** The state of bytes of which nothing is known. */
export function aboutBytes({ generation, sizeBytes, etag }: StoredBytes): ReadState {
  return { generation, sizeBytes, ...defined({ etag }) };
}

/** Whether a failure before is to be let rest. */
export function isBackingOff(state: ReadState | null, now: number): boolean {
  return (state?.notBefore ?? 0) > now;
}
