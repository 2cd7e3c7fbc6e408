import { defined } from '../base/defined.ts';
import { type BreakerPosition, type BreakerState, breakerPosition } from '../base/health.ts';
import type { KeyChecks } from '../config/encryption.ts';
import type { BackendConfig, FleetFile } from '../config/fleet-file.ts';
import { noOverrides } from '../config/parameters.ts';
import type { Fingerprint } from '../config/place.ts';
import { type Placement, parsePlacement } from './keys.ts';
import type { ControlRow, Count, QueueState } from './model.ts';
import type { Store } from './port.ts';
import { fleetKey, keyOfRow, placementOfRow, removalsOfRow, rowKeys } from './row-keys.ts';

/** The fleet file in force, as the table holds it. */
export interface FleetConfig {
  /** Of the control row: +1 on every apply. */
  readonly version: number;
  /** Random, minted once. */
  readonly fleetId: string;
  readonly file: FleetFile;
  /** Every backend that was ever configured: a name is bound to its place for ever. */
  readonly fingerprints: Readonly<Record<string, Fingerprint>>;
  /** Backends of the file that take nothing more since then, and are about to be out of it. */
  readonly leaving: Readonly<Record<string, { readonly since: number }>>;
  /** Digests of the file as it was given, and of the one that was in force before. */
  readonly digests: { readonly file?: string; readonly former?: string };
  /** Keys of the file that no longer encrypt what is put, and since when. Milliseconds since the epoch. */
  readonly retiredKeys: Readonly<Record<string, number>>;
  /** What tells the raw keys of the file from others. */
  readonly keyChecks: KeyChecks;
}

/** That a backend is being emptied. Times in milliseconds since the epoch. */
export interface DrainRecord {
  /** When it began: two drains of one backend differ in it. */
  readonly since: number;
  /** A person asked for the deletion of imported files, which else stay where they are. */
  readonly deleteImported?: boolean;
  /** It was found empty: nothing may be recorded there, and no put acknowledged by it, any more. */
  readonly isClosed?: boolean;
  /** Since when it is known to be closed. */
  readonly closedSince?: number;
}

export interface PlacementTotal extends Placement {
  /** `<policy>/<b1+b2>` */
  readonly label: string;
  readonly count: Count;
}

export interface Settings {
  readonly overrides: Readonly<Record<string, string>>;
  readonly paused: readonly string[];
}

/** A striped total with its stripes. */
export interface LedgerTotal {
  /** Without the stripe. */
  readonly row: string;
  readonly count: Count;
  readonly stripes: readonly { readonly sk: string; readonly count: Count }[];
}

/** How many copies left their records on evidence on one day. */
export interface RemovalRow {
  readonly sk: string;
  readonly backend: string;
  /** UTC, `yyyy-mm-dd`. */
  readonly day: string;
  readonly count: Count;
}

/** The state of the whole fleet, from one query. */
export interface FleetView {
  readonly readAt: number;
  /** Null before `init`. */
  readonly config: FleetConfig | null;
  readonly placements: readonly PlacementTotal[];
  readonly totals: readonly LedgerTotal[];
  readonly settings: Settings;
  /** Bytes known to be on a backend: recorded + queue. */
  usedBytes(backend: string): number;
  /** The same total on one row, where there is a quota. */
  quotaBytesUsed(backend: string): number;
  queue(state: QueueState, backend: string): Count;
  /** Objects and queue items per key that they are encrypted with. */
  keys(): ReadonlyMap<string, Count>;
  /** Removals on evidence, one row per backend and day. */
  readonly removalRows: readonly RemovalRow[];
  /** Backends that the ledger names, configured or not. */
  namedBackends(): readonly string[];
  breaker(backend: string): BreakerState | undefined;
  drain(backend: string): DrainRecord | undefined;
  capabilities(backend: string): Readonly<Record<string, unknown>>;
  removals(backend: string, day: string): number;
  /** Of all passes that ever began. */
  passNames(): readonly string[];
  row(sk: string): ControlRow | undefined;
  /** Every row that is compared and swapped. */
  readonly rows: readonly ControlRow[];
}

const nothing: Count = { objects: 0, bytes: 0 };

/** Reads the fleet's state: one consistent query. */
export async function readFleet(store: Pick<Store, 'control'>, now: number): Promise<FleetView> {
  const { counters, rows } = await store.control(fleetKey);
  const bySk = new Map(rows.map((row) => [row.sk, row]));
  const plain = new Map(counters.map(({ sk, count }) => [sk, count]));
  const totals = sumStripes(counters);
  const total = (row: string) => totals.get(row)?.count ?? nothing;
  const data = <T>(sk: string) => bySk.get(sk)?.data as T | undefined;
  const settings = data<Partial<Settings>>(rowKeys.settings);
  return {
    readAt: now,
    config: configOf(bySk.get(rowKeys.config)),
    placements: placementTotals(totals),
    totals: [...totals.values()],
    settings: { overrides: settings?.overrides ?? noOverrides, paused: settings?.paused ?? [] },
    usedBytes: (backend) => total(rowKeys.used(backend)).bytes,
    quotaBytesUsed: (backend) => plain.get(rowKeys.quota(backend))?.bytes ?? 0,
    queue: (state, backend) => total(rowKeys.queue(state, backend)),
    keys: () => keysOf(totals),
    removalRows: counters.flatMap(removalRow),
    namedBackends: () => namedBackends(totals),
    breaker: (backend) => data<BreakerState>(rowKeys.breaker(backend)),
    drain: (backend) => data<DrainRecord>(rowKeys.drain(backend)),
    capabilities: (backend) => data<Record<string, unknown>>(rowKeys.capabilities(backend)) ?? {},
    removals: (backend, day) => plain.get(rowKeys.removals(backend, day))?.objects ?? 0,
    passNames: () => {
      const prefix = rowKeys.pass('');
      return [...bySk.keys()].filter((sk) => sk.startsWith(prefix)).map((sk) => sk.slice(prefix.length));
    },
    row: (sk) => bySk.get(sk),
    rows,
  };
}

/** A total while its stripes are added up. */
interface SummedTotal {
  readonly row: string;
  readonly count: { objects: number; bytes: number };
  readonly stripes: { readonly sk: string; readonly count: Count }[];
}

function sumStripes(counters: readonly { readonly sk: string; readonly count: Count }[]): Map<string, LedgerTotal> {
  const totals = new Map<string, SummedTotal>();
  for (const stripe of counters) {
    const at = stripe.sk.lastIndexOf('#');
    if (at < 0) continue;
    const row = stripe.sk.slice(0, at);
    const total = totals.get(row);
    if (total === undefined) {
      totals.set(row, { row, count: { objects: stripe.count.objects, bytes: stripe.count.bytes }, stripes: [stripe] });
    } else {
      total.count.objects += stripe.count.objects;
      total.count.bytes += stripe.count.bytes;
      total.stripes.push(stripe);
    }
  }
  return totals;
}

function placementTotals(totals: ReadonlyMap<string, LedgerTotal>): PlacementTotal[] {
  const found: PlacementTotal[] = [];
  for (const { row, count } of totals.values()) {
    const label = placementOfRow(row);
    if (label === undefined || count.objects === 0) continue;
    found.push({ ...parsePlacement(label), label, count });
  }
  return found;
}

function keysOf(totals: ReadonlyMap<string, LedgerTotal>): Map<string, Count> {
  const keys = [...totals.values()].flatMap(({ row, count }) => {
    const keyId = keyOfRow(row);
    return keyId === undefined || count.objects === 0 ? [] : [[keyId, count] as const];
  });
  return new Map(keys);
}

function removalRow({ sk, count }: { readonly sk: string; readonly count: Count }): RemovalRow[] {
  const of = removalsOfRow(sk);
  return of === undefined ? [] : [{ sk, ...of, count }];
}

function namedBackends(totals: ReadonlyMap<string, LedgerTotal>): string[] {
  const names = new Set<string>();
  for (const { row, count } of totals.values()) {
    if (count.objects === 0 && count.bytes === 0) continue;
    const label = placementOfRow(row);
    if (label !== undefined) for (const { backend } of parsePlacement(label).copies) names.add(backend);
    if (row.startsWith('queue/')) names.add(row.slice(row.lastIndexOf('/') + 1));
  }
  return [...names].sort();
}

type FleetFields = Pick<FleetConfig, 'fleetId' | 'file' | 'fingerprints'>;

function configOf(row: ControlRow | undefined): FleetConfig | null {
  if (row === undefined) return null;
  const data = row.data as Partial<FleetConfig> & FleetFields;
  return { leaving: {}, digests: {}, retiredKeys: {}, keyChecks: {}, ...data, version: row.version };
}

/** How a backend takes part, at one moment. */
export interface BackendStanding {
  readonly name: string;
  /** Absent when the file in force does not name it. */
  readonly config?: BackendConfig;
  readonly breaker: BreakerPosition;
  readonly isDraining: boolean;
  /** It is about to be out of the file: read from, and counted no more. */
  readonly isLeaving: boolean;
  /** Whether a copy may be recorded there: in the file, not leaving, and not told to be drained. */
  readonly takesCopies: boolean;
  /** Configured and breaker closed: while it is half-open, only the one probe asks. */
  readonly isReachable: boolean;
  /** Configured, neither draining nor leaving, not unhealthy for longer than the time allowed: its copies count towards a factor. */
  readonly isCounted: boolean;
}

/** By view: the standings that no time changes. They are asked for many times with every object. */
const lasting = new WeakMap<FleetView, Map<string, BackendStanding>>();

/** The standing of one backend by a fleet's state. */
export function standingOf(view: FleetView, name: string, now: number, unhealthyAfterMs: number): BackendStanding {
  const known = lasting.get(view)?.get(name);
  if (known !== undefined) return known;
  const standing = standingNow(view, name, now, unhealthyAfterMs);
  // Only a breaker ages.
  if (view.breaker(name) === undefined) {
    const ofView = lasting.get(view) ?? new Map<string, BackendStanding>();
    lasting.set(view, ofView.set(name, standing));
  }
  return standing;
}

function standingNow(view: FleetView, name: string, now: number, unhealthyAfterMs: number): BackendStanding {
  const config = view.config?.file.backends.find((b) => b.name === name);
  const state = view.breaker(name);
  const breaker = breakerPosition(state, now);
  const drain = view.drain(name);
  const isDraining = drain !== undefined;
  const isLeaving = Object.hasOwn(view.config?.leaving ?? {}, name);
  const isLongUnhealthy = state?.unhealthySince !== undefined && now - state.unhealthySince > unhealthyAfterMs;
  return {
    name,
    ...defined({ config }),
    breaker,
    isDraining,
    isLeaving,
    takesCopies: config !== undefined && !isLeaving && drain?.isClosed !== true,
    isReachable: config !== undefined && breaker === 'closed',
    isCounted: config !== undefined && !isDraining && !isLeaving && !isLongUnhealthy,
  };
}
