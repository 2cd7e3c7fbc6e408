import { hash } from 'node:crypto';
import { compareUtf8 } from '../base/bytes.ts';
import { defined } from '../base/defined.ts';
import type { Ids } from '../base/ids.ts';
import type { KeyRange } from '../base/key-range.ts';
import type { PageTrail } from '../base/page-trail.ts';
import type { FleetView } from './fleet-view.ts';
import type { ControlRow } from './model.ts';
import { type Change, type RowChange, type Store, StoreError } from './port.ts';
import { fleetKey, passPartition, rowKeys } from './row-keys.ts';

/** What a pass does with what it lists. */
export type PassKind = 'sweep' | 'import' | 'recover' | 'delete-unrecorded' | 'delete-superseded';

/** Which pass: one kind of work over the keys of one backend, or of several that are listed side by side. */
export interface PassId {
  readonly kind: PassKind;
  readonly backends: readonly string[];
  /** Only keys that begin like this. */
  readonly prefix?: string;
}

const longestNameBytes = 900;

/** The name under which a pass is kept; that of a sweep is its backend's. */
export function passName({ kind, backends, prefix = '' }: PassId): string {
  const places = [...backends].sort().join('+');
  const name = kind === 'sweep' ? places : `${kind}/${places}${prefix === '' ? '' : `/${prefix}`}`;
  return Buffer.byteLength(name) <= longestNameBytes ? name : `${kind}/#${hash('sha256', name)}`;
}

/** How a pass stands, in the fleet's own partition: so that whether one is due costs nothing beyond reading the fleet. */
export interface PassHeader {
  /** Of its row; 0 before the first pass. */
  readonly version: number;
  /** +1 for every pass that begins. */
  readonly number: number;
  readonly startedAt: number;
  readonly isRunning: boolean;
  /** When the very first pass began. */
  readonly firstStartedAt?: number;
  /** When the last pass was complete. Milliseconds since the epoch. */
  readonly completedAt?: number;
  /** Bytes of ours whose object is unknown, as that pass found them. */
  readonly unrecorded?: number;
  /** The version of the fleet file under which a backend listed a key that does not come after the one before. */
  readonly disprovedIn?: number;
}

const never: PassHeader = { version: 0, number: 0, startedAt: 0, isRunning: false };

export function passHeader(view: Pick<FleetView, 'row'>, name: string): PassHeader {
  const row = view.row(rowKeys.pass(name));
  return row === undefined ? never : { ...never, ...row.data, version: row.version };
}

/**
 * How long ago a backend was gone through to its end; where that never was, since its first pass began. Undefined before that.
 */
export function passAgeMs(view: Pick<FleetView, 'row'>, backend: string, now: number): number | undefined {
  const { completedAt, firstStartedAt } = passHeader(view, backend);
  const since = completedAt ?? firstStartedAt;
  return since === undefined ? undefined : Math.max(0, now - since);
}

/** A key that was refused, or whose bytes take longer to read than a tick: tried again before its range is done. */
export interface PendingKey {
  readonly backend: string;
  readonly storageKey: string;
  readonly refusals: number;
}

/** Why a range is put off whose listing has no end. */
export const listingGoesRound = 'list-circle';

/** Where a listing goes on: as the backends take it. */
export type ListingPlace = { readonly afterKey: string } | { readonly token: string };

/** How far the listing of a range has come. */
export interface ListingPosition {
  readonly phase: 'listing';
  readonly from?: ListingPlace;
  /** The last key that was listed before that. */
  readonly lastKey?: string;
  /** Compared already, although the listing goes on before it: keys up to this one are passed over. */
  readonly skipTo?: string;
  readonly trail?: PageTrail;
  /** The same of the keys with which its pages begin, where only tokens say where it goes on: no key begins two of them. */
  readonly firsts?: PageTrail;
  /** Pages in a row that held nothing. */
  readonly idlePages?: number;
}

/** The last key up to which all was compared; undefined at the beginning of a range, and where order proves nothing. */
export function reachedBy({ lastKey, skipTo }: ListingPosition): string | undefined {
  if (lastKey === undefined || skipTo === undefined) return lastKey ?? skipTo;
  return compareUtf8(lastKey, skipTo) < 0 ? skipTo : lastKey;
}

/** How far a range has come. */
export type RangePosition =
  | ListingPosition
  /** Only where keys come in no proven order: the records of the backend, shard by shard, each asked for by name. */
  | { readonly phase: 'records'; readonly shard: string; readonly key?: string }
  /** Only what is pending is left. */
  | { readonly phase: 'pending' }
  | { readonly phase: 'done' };

/** A key that a person should know of, and what was found of it. */
export interface NamedKey {
  readonly what: string;
  readonly backend: string;
  readonly key: string;
}

/** A stretch of storage keys with its place and its lease. */
export interface PassRange extends KeyRange {
  readonly id: string;
  /** Of its row: whoever writes it must have seen the last one. */
  readonly version: number;
  readonly pass: number;
  readonly backends: readonly string[];
  readonly position: RangePosition;
  readonly holder?: string;
  readonly heldUntil?: number;
  /** Keys that the pass before listed between its ends; absent where none had these ends. */
  readonly listedBefore?: number;
  /** Why it was put off last; absent after progress. */
  readonly problem?: string;
  /** How often it had to begin anew in this pass. */
  readonly restarts: number;
  readonly listed: number;
  /** Their sizes, together. */
  readonly bytes: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly pending: readonly PendingKey[];
  /** The first hundred. */
  readonly named: readonly NamedKey[];
}

export const mostPendingKeys = 100;
export const mostNamedKeys = 100;
/** A pass begins with all its ranges in one transaction, and those it no longer needs end there. */
export const mostRanges = 48;
/** Of one transaction. */
const mostChanges = 100;

/** A range at its beginning. */
export function newRange(id: string, pass: number, backends: readonly string[], { from, upTo }: KeyRange): PassRange {
  return {
    id,
    version: 0,
    pass,
    backends,
    position: { phase: 'listing', ...defined({ from: from === undefined ? undefined : { afterKey: from } }) },
    restarts: 0,
    listed: 0,
    bytes: 0,
    counts: {},
    pending: [],
    named: [],
    ...defined({ from, upTo }),
  };
}

/** Whether a tick may take a range: it is not done, and nobody holds it, or whose turn it was has ended without a word. */
export function isFree(range: PassRange, now: number): boolean {
  return range.position.phase !== 'done' && (range.heldUntil === undefined || range.heldUntil <= now);
}

export type RowsStore = Pick<Store, 'control' | 'transact'>;

/** The rows of one pass. Every write is conditional on the version that was seen. */
export interface PassRows {
  /** Consistent. */
  ranges(): Promise<PassRange[]>;
  /** Begins a pass: its header, all its ranges, and the end of those of the pass before. Null when another tick was first. */
  begin(header: PassHeader, ranges: readonly PassRange[], former: readonly PassRange[]): Promise<PassRange[] | null>;
  /** Null when another tick has taken the range over. */
  save(range: PassRange): Promise<PassRange | null>;
  /** One range becomes several, all or none. Null when another tick has taken it over. */
  split(parent: PassRange, children: readonly PassRange[]): Promise<readonly [PassRange, ...PassRange[]] | null>;
  /** False when another tick was first. */
  writeHeader(header: PassHeader): Promise<boolean>;
  /** Forgets a pass that is over, with all its ranges. */
  end(header: PassHeader): Promise<void>;
}

export function createPassRows(store: RowsStore, ids: Pick<Ids, 'ulid'>, name: string): PassRows {
  const pk = passPartition(name);
  const rowOf = (range: PassRange): RowChange => {
    const { id, version, ...state } = range;
    const put = { pk, sk: `range/${id}`, version: version + 1, data: plainData(state) };
    return { kind: 'row', put, expect: version === 0 ? 'absent' : version };
  };
  const headerRow = (header: PassHeader): RowChange => {
    const { version, ...state } = header;
    const put = { pk: fleetKey, sk: rowKeys.pass(name), version: version + 1, data: plainData(state) };
    return { kind: 'row', put, expect: version === 0 ? 'absent' : version };
  };
  const send = (changes: readonly Change[]) => sendRows(store, ids, changes);
  return {
    ranges: () => rangesOfPass(store, name),
    async begin(header, ranges, former) {
      const kept = new Set(ranges.map(({ id }) => id));
      // Those for which there is no room are of a pass that is over: the next one ends them.
      const ended = former.filter(({ id }) => !kept.has(id)).slice(0, mostChanges - 1 - ranges.length);
      const isDone = await send([
        headerRow(header),
        ...ranges.map(rowOf),
        ...ended.map(({ id, version }): Change => ({ kind: 'row-end', pk, sk: `range/${id}`, expect: version })),
      ]);
      return isDone ? ranges.map(written) : null;
    },
    async save(range) {
      return (await send([rowOf(range)])) ? written(range) : null;
    },
    async split(parent, children) {
      const isDone = await send([parent, ...children].map(rowOf));
      return isDone ? [written(parent), ...children.map(written)] : null;
    },
    writeHeader: (header) => send([headerRow(header)]),
    async end(header) {
      const ended = (await rangesOfPass(store, name)).map(
        ({ id, version }): Change => ({ kind: 'row-end', pk, sk: `range/${id}`, expect: version }),
      );
      for (let at = 0; at < ended.length; at += mostChanges) await send(ended.slice(at, at + mostChanges));
      await send([{ kind: 'row-end', pk: fleetKey, sk: rowKeys.pass(name), expect: header.version }]);
    },
  };
}

/** Every range of a pass, and of the one before it where the new one has not begun. Consistent. */
export async function rangesOfPass(store: Pick<Store, 'control'>, name: string): Promise<PassRange[]> {
  const { rows } = await store.control(passPartition(name));
  return rows.map(rangeOf);
}

const sendings = 4;
/** What a moment later may be otherwise. */
const passing: ReadonlySet<StoreError['kind']> = new Set(['unanswered', 'throttled', 'unreachable']);

/**
 * Sends changes of rows. A lost answer is asked for again under the same token, which takes effect once. Throws when no answer
 * comes at all: then nobody goes on by it. False when a row is no longer what was seen.
 */
async function sendRows(store: RowsStore, ids: Pick<Ids, 'ulid'>, changes: readonly Change[]): Promise<boolean> {
  const token = ids.ulid();
  for (let sending = 1; ; sending += 1) {
    try {
      const answer = await store.transact(changes, token);
      if (answer.outcome === 'done') return true;
      const isConflict = answer.refusals.every((refusal) => refusal === null || refusal.cause === 'conflict');
      if (!isConflict || sending === sendings) return false;
    } catch (error) {
      if (!(error instanceof StoreError) || !passing.has(error.kind) || sending === sendings) throw error;
    }
  }
}

function rangeOf({ sk, version, data }: ControlRow): PassRange {
  return { ...(data as unknown as Omit<PassRange, 'id' | 'version'>), id: sk.slice('range/'.length), version };
}

function written<T extends { readonly version: number }>(row: T): T {
  return { ...row, version: row.version + 1 };
}

/** Without the fields that are undefined, at any depth: a table keeps none. */
function plainData(state: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(state)) as Record<string, unknown>;
}
