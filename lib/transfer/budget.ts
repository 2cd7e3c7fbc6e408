import { hourOf } from '../base/clock.ts';
import { allEnded } from '../base/pool.ts';
import { noUsage, type Usage } from '../base/usage.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import {
  type Allowance,
  countedBy,
  type ExceededLimit,
  type Period,
  periodOf,
  type Spend,
  type UsageLimit,
  usageLimitsOf,
} from '../fleet/usage-limits.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Store } from '../store/port.ts';

/** A spend on a backend that is to be made. */
export interface Claim extends Spend {
  readonly backend: string;
}

/** What became of a spend: made, with what it led to; or not begun, for a limit of one of its backends. */
export type Spent<T> =
  | { readonly outcome: 'spent'; readonly value: T }
  | { readonly outcome: 'over-limit'; readonly backend: string; readonly reason: ExceededLimit };

/** What a full read of a copy may spend: one whose hash is not known may have to be read twice. */
export function readingOf({ sizeBytes, sha256 }: Pick<ObjectRecord, 'sizeBytes' | 'sha256'>): Spend {
  const times = sha256 === undefined ? 2 : 1;
  return { requests: times, kind: 'get', egressBytes: times * sizeBytes };
}

/** The usage limits of a fleet, as a process may still spend them. */
export interface Budget {
  /** The limit that a spend would exceed, by what was read last, or null when it seems allowed: for choosing. */
  refuses(backend: string, spend: Spend): ExceededLimit | null;
  /**
   * Runs what spends this much, where every claim is allowed beside all others that run or are set aside, here and in other
   * processes.
   */
  spend<T>(claims: readonly Claim[], run: () => Promise<T>): Promise<Spent<T>>;
  /** Counts a spend that is still to be made, allowed or not; the returned function takes it back, once. */
  reserve(backend: string, spend: Spend): () => void;
}

/** A limit of a backend, and what was spent in its period before. */
export interface LimitUse {
  readonly backend: BackendConfig;
  readonly limit: UsageLimit;
  readonly period: Period;
  readonly used: Usage;
}

/** A clock that is ahead has written down what it spent in an hour that has not begun here. */
const clocksApartMs = 3_600_000;

/** What was spent of every limit of some backends in its period now: the sum of its hours. */
export async function readLimitUse(
  store: Pick<Store, 'usage'>,
  backends: readonly BackendConfig[],
  now: number,
): Promise<LimitUse[]> {
  const limited = backends.flatMap((backend) =>
    usageLimitsOf(backend).map((limit) => ({ backend, limit, period: periodOf(limit, now) })),
  );
  const groups = [...Map.groupBy(limited, ({ period }) => hourOf(period.from))];
  const read = await allEnded(
    groups.map(async ([from, group]) => {
      const names = group.map(({ backend }) => backend.name);
      const used = await store.usage({ from, to: hourOf(now + clocksApartMs) }, names);
      return group.map((one) => ({ ...one, used: used.get(one.backend.name) ?? noUsage }));
    }),
  );
  return read.flat();
}

const reasons: Readonly<Record<keyof Allowance, ExceededLimit>> = {
  requests: 'over-requests',
  classA: 'over-class-a',
  classB: 'over-class-b',
  egressBytes: 'over-egress',
  ingressBytes: 'over-ingress',
  usd: 'over-dollars',
};
const allowed = Object.keys(reasons) as (keyof Allowance)[];

/** The first allowance that an amount would exceed; what is asked nothing of refuses nothing. */
export function exceeded(
  backend: BackendConfig,
  allows: Allowance,
  { all, asked }: { readonly all: Usage; readonly asked: Usage },
): ExceededLimit | null {
  const counted = { all: countedBy(backend, all), asked: countedBy(backend, asked) };
  for (const field of allowed) {
    const most = allows[field];
    if (most === 0 || counted.asked[field] === 0) continue;
    if (counted.all[field] > most) return reasons[field];
  }
  return null;
}

/** How often an amount fits into a part of what an allowance leaves beside all else. */
export function timesThatFit(
  backend: BackendConfig,
  allows: Allowance,
  { all, wanted, part }: { readonly all: Usage; readonly wanted: Usage; readonly part: number },
): number {
  const counted = { all: countedBy(backend, all), wanted: countedBy(backend, wanted) };
  const times = allowed
    .filter((field) => allows[field] > 0 && counted.wanted[field] > 0)
    .map((field) => ((allows[field] - counted.all[field]) * part) / counted.wanted[field]);
  return Math.max(0, Math.min(Number.MAX_SAFE_INTEGER, ...times));
}
