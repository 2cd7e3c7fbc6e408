import { hourOf } from '../base/clock.ts';
import { noUsage } from '../base/usage.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import { type Allowance, countedBy, type Period, periodOf, usageLimitsOf } from '../fleet/usage-limits.ts';
import type { Store } from '../store/port.ts';
import { readLimitUse } from '../transfer/budget.ts';

/** What was spent of one thing that a limit may be set on, in one period. */
export interface UsageLine {
  readonly backend: string;
  readonly per: 'month' | 'day';
  readonly what: keyof Allowance;
  readonly used: number;
  /** 0 = no limit. */
  readonly allowed: number;
  /** At the end of the period, if it goes on as it did. */
  readonly forecast: number;
  /** When the period began, in milliseconds since the epoch. */
  readonly since: number;
  /** When it is counted anew. */
  readonly resetsAt: number;
}

const hourMs = 3_600_000;

/**
 * What was spent on backends: of each limit in its own period, and of what has no limit in the calendar month (UTC). The last
 * minute of processes at work is not written down yet.
 */
export async function usageReport(
  store: Pick<Store, 'usage'>,
  backends: readonly BackendConfig[],
  now: number,
): Promise<UsageLine[]> {
  const uses = await readLimitUse(store, backends, now);
  const limited = uses.flatMap(({ backend, limit: { per, allows }, period, used }) => {
    const counted = countedBy(backend, used);
    return whats
      .filter((what) => allows[what] > 0)
      .map((what) => lineOf(backend.name, { per, what, used: counted[what], allowed: allows[what], period, now }));
  });
  const month = periodOf({ per: 'month', resetHour: 0, zone: 'UTC' }, now);
  const names = backends.map(({ name }) => name);
  const inMonth = await store.usage({ from: hourOf(month.from), to: hourOf(now) }, names);
  const others = backends.flatMap((backend) => {
    const counted = countedBy(backend, inMonth.get(backend.name) ?? noUsage);
    const isLimited = new Set(
      usageLimitsOf(backend).flatMap(({ per, allows }) => (per === 'month' ? isSet(allows) : [])),
    );
    return whats
      .filter((what) => !isLimited.has(what) && counted[what] > 0)
      .map((what) => lineOf(backend.name, { per: 'month', what, used: counted[what], allowed: 0, period: month, now }));
  });
  return [...limited, ...others].sort((a, b) => names.indexOf(a.backend) - names.indexOf(b.backend));
}

const whats = ['requests', 'classA', 'classB', 'egressBytes', 'ingressBytes', 'usd'] as const;

function isSet(allows: Allowance): (keyof Allowance)[] {
  return whats.filter((what) => allows[what] > 0);
}

interface Counted extends Pick<UsageLine, 'per' | 'what' | 'used' | 'allowed'> {
  readonly period: Period;
  readonly now: number;
}

/** What an hour may show too little of is not extrapolated from less. */
function lineOf(backend: string, { period, now, ...counted }: Counted): UsageLine {
  const share = Math.max(now - period.from, hourMs) / (period.until - period.from);
  const forecast = counted.used / Math.min(1, share);
  return { backend, ...counted, forecast, since: period.from, resetsAt: period.until };
}
