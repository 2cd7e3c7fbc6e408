import type { Usage, UsageField } from '../base/usage.ts';
import type { BackendConfig } from '../config/fleet-file.ts';

/** What one period allows on a backend; 0 = no limit. */
export type Allowance = BackendConfig['limits'];

/** One limit of a backend, with the periods that it counts by. */
export interface UsageLimit {
  readonly per: 'month' | 'day';
  readonly allows: Allowance;
  /** Hour of the day at which its provider begins to count anew, in `zone`. */
  readonly resetHour: number;
  /** IANA name. */
  readonly zone: string;
}

/** A stretch of time, in milliseconds since the epoch. */
export interface Period {
  readonly from: number;
  readonly until: number;
}

/** By entry of a file: they are asked for several times with every request. */
const limitsOf = new WeakMap<BackendConfig, readonly UsageLimit[]>();

/** The limits of a backend that limit anything. */
export function usageLimitsOf(backend: BackendConfig): readonly UsageLimit[] {
  const known = limitsOf.get(backend) ?? limitsIn(backend);
  limitsOf.set(backend, known);
  return known;
}

function limitsIn({ limits, dailyLimits, limitsReset }: BackendConfig): UsageLimit[] {
  const { hour: resetHour, zone } = limitsReset;
  const all = [
    { per: 'month', allows: limits },
    { per: 'day', allows: dailyLimits },
  ] as const;
  return all
    .filter(({ allows }) => Object.values(allows).some((most) => most > 0))
    .map((one) => ({ ...one, resetHour, zone }));
}

/**
 * The period of a limit that a moment belongs to: it begins, and the next one, when the clocks of its zone show the hour of the
 * reset, on the day or on the first of the month.
 */
export function periodOf({ per, resetHour, zone }: Omit<UsageLimit, 'allows'>, now: number): Period {
  const at = (daysOrMonths: number, day: CalendarDay) =>
    per === 'day'
      ? utcOf(zone, { ...day, day: day.day + daysOrMonths }, resetHour)
      : utcOf(zone, { ...day, month: day.month + daysOrMonths, day: 1 }, resetHour);
  const today = calendarDayOf(zone, now);
  const begun = at(0, today);
  return begun <= now ? { from: begun, until: at(1, today) } : { from: at(-1, today), until: begun };
}

/** Dollars that a provider asks for what was spent, by the prices of the backend's entry; 0 where it names none. */
export function dollarsOf(backend: BackendConfig, usage: Partial<Usage>): number {
  const { usdPerMillionA, usdPerMillionB, egressUsdPerGb } = backend;
  const { classA = 0, classB = 0, egressBytes = 0 } = usage;
  return (classA * usdPerMillionA + classB * usdPerMillionB) / 1e6 + (egressBytes / 1e9) * egressUsdPerGb;
}

/** Kinds of requests that providers put a price on. */
export type RequestKind = keyof BackendConfig['requestClasses'];
export type RequestClasses = BackendConfig['requestClasses'];

/** By operation: it is asked with every request. */
const kinds = new Map<string, RequestKind>();

/** The kind of a request, by its name in the S3 API. */
export function kindOf(operation: string): RequestKind {
  const kind = kinds.get(operation) ?? kindIn(operation);
  kinds.set(operation, kind);
  return kind;
}

function kindIn(operation: string): RequestKind {
  if (/^(Delete|Abort)/.test(operation)) return 'delete';
  if (/^List/.test(operation)) return 'list';
  if (/Copy/.test(operation)) return 'copy';
  if (/^Head/.test(operation)) return 'head';
  return /^Get/.test(operation) ? 'get' : 'put';
}

/** What one request of this name is charged as. */
export function chargeOf(classes: RequestClasses, operation: string): Pick<Usage, 'requests' | 'classA' | 'classB'> {
  const billed = classes[kindOf(operation)];
  return { requests: 1, classA: Number(billed === 'A'), classB: Number(billed === 'B') };
}

/** What is to be asked of a backend: so many requests of one kind, and the bytes that they move. */
export interface Spend extends Partial<Pick<Usage, 'requests' | 'egressBytes' | 'ingressBytes'>> {
  /** Of its requests. */
  readonly kind?: RequestKind;
}

export const writingRequest = { requests: 1, kind: 'put' } as const;
export const copyingRequest = { requests: 1, kind: 'copy' } as const;
export const listingRequest = { requests: 1, kind: 'list' } as const;
export const readingRequest = { requests: 1, kind: 'get' } as const;

/** What a spend is charged as on a backend. */
export function chargedAs({ requestClasses }: BackendConfig, spend: Spend): Usage {
  const { requests = 0, egressBytes = 0, ingressBytes = 0, kind } = spend;
  const billed = kind === undefined ? undefined : requestClasses[kind];
  const of = (one: 'A' | 'B') => (billed === one ? requests : 0);
  return { requests, classA: of('A'), classB: of('B'), egressBytes, ingressBytes };
}

/** The usage limit that a spend would exceed. */
export type ExceededLimit =
  | 'over-requests'
  | 'over-class-a'
  | 'over-class-b'
  | 'over-egress'
  | 'over-ingress'
  | 'over-dollars';

/** What of a usage a limit counts, by its fields; dollars by the prices of the backend. */
export function countedBy(backend: BackendConfig, usage: Partial<Usage>): Record<keyof Allowance, number> {
  const of = (field: UsageField) => usage[field] ?? 0;
  return {
    requests: of('requests'),
    classA: of('classA'),
    classB: of('classB'),
    egressBytes: of('egressBytes'),
    ingressBytes: of('ingressBytes'),
    usd: dollarsOf(backend, usage),
  };
}

interface CalendarDay {
  readonly year: number;
  /** From 0; like days it may lie outside of its range. */
  readonly month: number;
  readonly day: number;
}

const dayMs = 86_400_000;
/** Making one takes longer than all that is asked of it. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** What the clocks of a zone show, as if it were UTC. */
function localTime(zone: string, now: number): number {
  if (zone === 'UTC') return now;
  const format =
    formats.get(zone) ??
    new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', dateStyle: 'short', timeStyle: 'medium' });
  formats.set(zone, format);
  const parts = Object.fromEntries(format.formatToParts(now).map(({ type, value }) => [type, Number(value)]));
  // The short year has two digits.
  const year = new Date(now).getUTCFullYear();
  const century = [year - 1, year, year + 1].find((one) => one % 100 === parts.year) ?? year;
  return Date.UTC(century, parts.month! - 1, parts.day, parts.hour, parts.minute, parts.second);
}

function calendarDayOf(zone: string, now: number): CalendarDay {
  const local = new Date(localTime(zone, now));
  return { year: local.getUTCFullYear(), month: local.getUTCMonth(), day: local.getUTCDate() };
}

/**
 * The moment at which the clocks of a zone show an hour of a day, for the first time where they show it twice; where they leave
 * it out, the moment at which they do.
 */
function utcOf(zone: string, { year, month, day }: CalendarDay, hour: number): number {
  const wanted = Date.UTC(year, month, day, hour);
  const aheadMs = (at: number) => localTime(zone, at) - at;
  // Clocks are changed once within these two days at most.
  const asBefore = wanted - aheadMs(wanted - dayMs);
  const asAfter = wanted - aheadMs(wanted + dayMs);
  const exact = [asBefore, asAfter].filter((at) => localTime(zone, at) === wanted);
  return exact.length === 0 ? asBefore : Math.min(...exact);
}
