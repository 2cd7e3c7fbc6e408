import type { BackendConfig, FleetFile } from '../../../lib/config/fleet-file.ts';
import type { Actor } from '../operation.ts';
import type { World } from '../world.ts';
import { Violation } from './violation.ts';

/** What of a usage is counted here. */
export const usageWays = ['requests', 'classA', 'classB', 'egressBytes', 'ingressBytes'] as const;
export type UsageWay = (typeof usageWays)[number];

/** One request, or bytes of one. */
export interface SpentOn {
  readonly backend: string;
  readonly operation: string;
  readonly storageKey: string;
}

/**
 * All processes together, worker or application, spend no more of a limit than it allows in its period: but for what is never
 * refused, and for what a process spent and could not write down while it held it, since it died, slept, or could not reach the
 * tables.
 */
export interface LimitsCheck {
  /** Its listings and HEADs are a person's: it is a recovery. */
  recovers(tick: Actor): void;
  spent(by: Actor, on: SpentOn, hour: string, way: UsageWay, amount: number): void;
  /** Nothing of what it spent is missing from the table now. */
  allWritten(by: Actor): void;
  /** What it wrote down did not arrive, or nobody knows. */
  couldNotWrite(by: Actor): void;
}

/** A process holds what it drew at least so long after it spent it. */
const heldMs = 300_000;
const writes = /^(PUT|COPY|create-upload|part|complete-upload|list-parts)/;
const inParts = /^(create-upload|part|complete-upload|list-parts)/;
const deletes = /^(DELETE|abort-upload|open-uploads)/;

/** Of one limit, in one of its periods. */
interface Tab {
  total: number;
  readonly by: Map<Actor, number>;
  /** What each spent that is never refused, and has not written down: it counts for what may be refused from then on. */
  readonly freeBy: Map<Actor, Free>;
}

interface Free {
  heads: number;
  others: number;
}

export function createLimitsCheck(
  world: World,
  files: readonly FleetFile[],
  report: (violation: Violation) => void,
): LimitsCheck {
  const tabs = new Map<string, Tab>();
  const recovering = new WeakSet<Actor>();
  const excused = new WeakSet<Actor>();
  /** Since when each has spent something that it has not written down. */
  const unwrittenSince = new Map<Actor, number>();
  /** Keys that each has written to: whatever was just written is read back. */
  const written = new WeakMap<Actor, Set<string>>();

  function isNeverRefused(by: Actor, { backend, operation, storageKey }: SpentOn): boolean {
    if (storageKey === '.holdfast/owner' || deletes.test(operation)) return true;
    if (writes.test(operation)) return false;
    if (by.role === 'client' || by.role === 'operator') return true;
    if (written.get(by)?.has(`${backend}/${storageKey}`)) return true;
    if (operation === 'HEAD') return true;
    return operation === 'LIST' && (by.role === 'cleanup-queue' || recovering.has(by));
  }

  /** What `mostOf` answered, by as many files as there were then. */
  const known = new Map<string, { readonly files: number; readonly most: number }>();

  /** The highest that was ever in force: a process goes by the file that it read. */
  function mostOf(backend: string, per: 'limits' | 'dailyLimits', way: UsageWay | 'usd'): number {
    const id = `${per} ${way} ${backend}`;
    const last = known.get(id);
    if (last?.files === files.length) return last.most;
    const all = files.flatMap(({ backends }) => backends.filter(({ name }) => name === backend));
    const most = Math.max(...all.map((one) => one[per][way] || Infinity));
    known.set(id, { files: files.length, most });
    return most;
  }

  function charge({ by, on, isFree }: Spender, name: string, amount: number, most: number): void {
    const tab = tabs.get(name) ?? { total: 0, by: new Map(), freeBy: new Map() };
    tabs.set(name, tab);
    const free = tab.freeBy.get(by) ?? { heads: 0, others: 0 };
    if (isFree) {
      free[on.operation === 'HEAD' ? 'heads' : 'others'] += amount;
      return void tab.freeBy.set(by, free);
    }
    tab.total += amount;
    tab.by.set(by, (tab.by.get(by) ?? 0) + amount);
    const sum = () => tab.total + knownBefore(by, on, free);
    // Dollars do not add up to the last digit.
    if (sum() <= most * (1 + 1e-9)) return;
    for (const actor of tab.by.keys()) if (isExcused(actor)) remove(tab, actor);
    if (sum() > most * (1 + 1e-9))
      report(new Violation('limits', `${by.name} spends of ${name}: ${sum()} in all, where ${most} are allowed`));
  }

  function isExcused(actor: Actor): boolean {
    const since = unwrittenSince.get(actor);
    const isHidden = actor.state !== 'running' && actor.state !== 'done';
    if (since !== undefined && (isHidden || actor.thawsAt > 0 || world.now - since > heldMs)) excused.add(actor);
    return excused.has(actor);
  }

  function remove(tab: Tab, actor: Actor): void {
    tab.total -= tab.by.get(actor)!;
    tab.by.delete(actor);
  }

  return {
    recovers: (tick) => void recovering.add(tick),
    spent(by, on, hour, way, amount) {
      if (writes.test(on.operation)) {
        const keys = written.get(by) ?? new Set();
        written.set(by, keys.add(`${on.backend}/${on.storageKey}`));
      }
      if (amount === 0) return;
      const isFree = isNeverRefused(by, on);
      if (!isFree && !unwrittenSince.has(by)) unwrittenSince.set(by, world.now);
      if (isExcused(by)) return;
      const backend = files.at(-1)?.backends.find(({ name }) => name === on.backend);
      if (backend === undefined) return;
      const dollars = amount * priceOf(backend, way);
      for (const per of ['limits', 'dailyLimits'] as const) {
        for (const [what, spent] of [[way, amount] as const, ['usd', dollars] as const]) {
          const most = spent > 0 ? mostOf(on.backend, per, what) : Infinity;
          if (!Number.isFinite(most)) continue;
          charge({ by, on, isFree }, `${on.backend} ${what} ${per} ${periodOf(backend, per, hour)}`, spent, most);
        }
      }
    },
    allWritten(by) {
      unwrittenSince.delete(by);
      for (const { freeBy } of tabs.values()) freeBy.delete(by);
    },
    couldNotWrite: (by) => void excused.add(by),
  };
}

interface Spender {
  readonly by: Actor;
  readonly on: SpentOn;
  readonly isFree: boolean;
}

/**
 * What was spent for certain before the limit was asked. A listing asks just before it is sent. A copy asks once for all of
 * it, before it asks whose the bucket is; and one in parts takes so long that others may be read or deleted meanwhile.
 */
function knownBefore({ role }: Actor, { operation }: SpentOn, { heads, others }: Free): number {
  if (operation === 'LIST' || (role === 'scrubber' && operation.startsWith('GET'))) return heads + others;
  return inParts.test(operation) ? 0 : others;
}

/** What one request of a class, or one byte, costs. */
function priceOf(backend: BackendConfig, way: UsageWay): number {
  if (way === 'classA') return backend.usdPerMillionA / 1e6;
  if (way === 'classB') return backend.usdPerMillionB / 1e6;
  return way === 'egressBytes' ? backend.egressUsdPerGb / 1e9 : 0;
}

/**
 * Which month, or day, of its provider an hour (UTC) counts for: that of its last moment. The clocks of the zone are asked
 * what they show; before the hour of the reset the day before goes on.
 */
function periodOf({ limitsReset: { hour, zone } }: BackendConfig, per: 'limits' | 'dailyLimits', utc: string): string {
  const id = `${per} ${hour} ${zone} ${utc}`;
  const period = periods.get(id) ?? readPeriod({ hour, zone }, per, utc);
  periods.set(id, period);
  return period;
}

/** Asked with every request, and slow to find out. */
const periods = new Map<string, string>();

function readPeriod({ hour, zone }: BackendConfig['limitsReset'], per: 'limits' | 'dailyLimits', utc: string): string {
  const end = new Date(`${utc}:59:59.999Z`);
  const inZone = { timeZone: zone, hourCycle: 'h23' } as const;
  const localHour = Number(end.toLocaleString('en-GB', { ...inZone, hour: '2-digit' }));
  const day = new Date(end.getTime() - (localHour < hour ? 86_400_000 : 0)).toLocaleDateString('en-CA', {
    timeZone: zone,
  });
  return per === 'limits' ? day.slice(0, 7) : day;
}
