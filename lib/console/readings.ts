import { type Clock, hourOf } from '../base/clock.ts';
import { defined } from '../base/defined.ts';
import type { Usage } from '../base/usage.ts';
import { type WorkerName, workerNames } from '../config/workers.ts';
import { periodOf, usageLimitsOf } from '../fleet/usage-limits.ts';
import { type UsageLine, usageReport } from '../operations/usage-report.ts';
import { type FleetConfig, type FleetView, readFleet } from '../store/fleet-view.ts';
import type { Lease } from '../store/model.ts';
import { type PassRange, rangesOfPass } from '../store/pass-rows.ts';
import type { Store } from '../store/port.ts';
import { fleetKey, rowKeys } from '../store/row-keys.ts';

/** A fleet that has a configuration. */
export type Fleet = FleetView & { readonly config: FleetConfig };

/** What the console knows of the fleet: each part as it was read last. */
export interface Readings {
  readonly fleet: Fleet;
  readonly leases: ReadonlyMap<WorkerName, readonly Lease[]>;
  /** Of each limit in its period, and of the month; absent until it was read. */
  readonly usage?: readonly UsageLine[];
  /** Of passes that are under way, by name. */
  readonly ranges: ReadonlyMap<string, readonly PassRange[]>;
}

export type ReadingsStore = Pick<Store, 'control' | 'leases' | 'usage'>;

/** `no-config`: the fleet has none yet · `failed` and why: the readings are as they were. */
export type Read =
  | { readonly outcome: 'read'; readonly readings: Readings }
  | { readonly outcome: 'no-config' }
  | { readonly outcome: 'failed'; readonly message: string };

export interface Reader {
  readonly latest: Readings | undefined;
  /** One query: of what is due, what has waited longest; the fleet at least every other time. */
  step(): Promise<Read>;
  /** The fleet now. */
  refresh(): Promise<Read>;
  /** Everything that is not fresh, at once: a page was opened. */
  all(): Promise<Read>;
}

/** One part of the readings, and how old it may become. */
interface Part {
  readonly name: string;
  readonly periodMs: number;
  read(): Promise<void>;
}

const secondMs = 1_000;
/** Whoever opens a page sees nothing older than this. */
const freshMs = 10 * secondMs;

/**
 * Reads what the console shows, one query at a time: the fleet's partition holds nearly all of it; leases, usage and the ranges
 * of passes stand in others, and change less often.
 */
export function createReader({ store, clock }: { readonly store: ReadingsStore; readonly clock: Clock }): Reader {
  let fleet: Fleet | undefined;
  let wasFleet = false;
  const leases = new Map<WorkerName, readonly Lease[]>();
  const ranges = new Map<string, readonly PassRange[]>();
  let usage: readonly UsageLine[] | undefined;
  /** By the hour that they begin with: what was spent since then. */
  const spent = new Map<string, ReadonlyMap<string, Usage>>();
  const readAt = new Map<string, number>();

  const parts = (of: Fleet): Part[] => [
    ...workerNames.map(
      (name): Part => ({
        name: `leases/${name}`,
        periodMs: 90 * secondMs,
        read: async () => void leases.set(name, await store.leases(name)),
      }),
    ),
    ...periodsOf(of, clock.now()).map(
      (from): Part => ({ name: `usage/${from}`, periodMs: 300 * secondMs, read: () => readUsage(of, from) }),
    ),
    ...runningPasses(of).map(
      (name): Part => ({
        name: `ranges/${name}`,
        periodMs: 15 * secondMs,
        read: async () => void ranges.set(name, await rangesOfPass(store, name)),
      }),
    ),
  ];
  const readUsage = async (of: Fleet, from: string) => {
    const { backends } = of.config.file;
    const names = backends.map(({ name }) => name);
    spent.set(from, await store.usage({ from, to: hourOf(clock.now()) }, names));
    const periods = periodsOf(of, clock.now());
    for (const one of spent.keys()) if (!periods.includes(one)) spent.delete(one);
    if (periods.some((one) => !spent.has(one))) return;
    // Summed up as everywhere else, from what was read here one query at a time.
    usage = await usageReport({ usage: async (hours) => new Map(spent.get(hours.from)) }, backends, clock.now());
  };
  const ageOf = ({ name }: Part) => clock.now() - (readAt.get(name) ?? Number.NEGATIVE_INFINITY);
  const due = (of: Fleet, mostMs = Number.POSITIVE_INFINITY) =>
    parts(of)
      .filter((part) => ageOf(part) >= Math.min(part.periodMs, mostMs))
      .sort((a, b) => ageOf(b) - ageOf(a));
  const readPart = async (part: Part) => {
    await part.read();
    readAt.set(part.name, clock.now());
  };
  const readFleetNow = async () => {
    const view = await readFleet(store, clock.now());
    if (view.config === null) return;
    fleet = { ...view, config: view.config };
    const running = runningPasses(fleet);
    for (const name of ranges.keys()) if (!running.includes(name)) ranges.delete(name);
  };
  const answer = async (read: () => Promise<void>): Promise<Read> => {
    try {
      await read();
    } catch (error) {
      return { outcome: 'failed', message: (error as Error).message };
    }
    const readings = latest();
    return readings === undefined ? { outcome: 'no-config' } : { outcome: 'read', readings };
  };
  const latest = (): Readings | undefined => fleet && { fleet, leases, ranges, ...defined({ usage }) };
  return {
    get latest() {
      return latest();
    },
    refresh: () => answer(readFleetNow),
    step: () =>
      answer(async () => {
        const [part] = fleet === undefined || !wasFleet ? [] : due(fleet);
        wasFleet = part === undefined;
        await (part === undefined ? readFleetNow() : readPart(part));
      }),
    all: () =>
      answer(async () => {
        await readFleetNow();
        if (fleet !== undefined) await Promise.all(due(fleet, freshMs).map(readPart));
      }),
  };
}

/** The hours with which the periods of limits begin, and the month: what was spent since each is one query. */
function periodsOf({ config }: Fleet, now: number): string[] {
  const month = { per: 'month', resetHour: 0, zone: 'UTC' } as const;
  const limits = [month, ...config.file.backends.flatMap(usageLimitsOf)];
  return [...new Set(limits.map((limit) => hourOf(periodOf(limit, now).from)))];
}

/** The names of passes that are under way, of any kind; their headers are in the fleet's own partition. */
export function runningPasses(fleet: Pick<FleetView, 'rows'>): string[] {
  const prefix = rowKeys.pass('');
  return fleet.rows
    .filter(({ pk, sk, data }) => pk === fleetKey && sk.startsWith(prefix) && data.isRunning === true)
    .map(({ sk }) => sk.slice(prefix.length));
}
