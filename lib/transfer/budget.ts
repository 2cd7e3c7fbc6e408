import { hourOf } from '../base/clock.ts';
import { noUsage, plusUsage, type Usage } from '../base/usage.ts';
import type { BackendConfig, FleetFile } from '../config/fleet-file.ts';
import type { Meter } from '../fleet/meter.ts';
import {
  type Allowance,
  chargedAs,
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

/** The usage limits of a fleet, as this tick may still spend them. */
export interface Budget {
  /** The limit that a spend would exceed, or null when it is allowed: for choosing. */
  refuses(backend: string, spend: Spend): ExceededLimit | null;
  /**
   * Runs what spends this much, where every claim is allowed beside all others that run or are set aside. Claims are checked
   * and counted in one step, so that no two who ask in the same moment are given the same rest.
   */
  spend<T>(claims: readonly Claim[], run: () => Promise<T>): Promise<Spent<T>>;
  /** Counts a spend that is still to be made, allowed or not; the returned function takes it back, once. */
  reserve(backend: string, spend: Spend): () => void;
}

/** What a budget is read from: the fleet file now in force, what this tick spent, and how many parts share the rest. */
export interface BudgetDeps {
  readonly config: Pick<FleetFile, 'backends'>;
  readonly of: number;
  readonly meter: Pick<Meter, 'spent'>;
  readonly deps: { readonly store: Pick<Store, 'usage'> };
  now(): number;
}

/** A limit of a backend, and what was spent in its period before. */
export interface LimitUse {
  readonly backend: BackendConfig;
  readonly limit: UsageLimit;
  readonly period: Period;
  readonly used: Usage;
}

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
  const read = await Promise.all(
    groups.map(async ([from, group]) => {
      const names = group.map(({ backend }) => backend.name);
      const used = await store.usage({ from, to: hourOf(now) }, names);
      return group.map((one) => ({ ...one, used: used.get(one.backend.name) ?? noUsage }));
    }),
  );
  return read.flat();
}

/**
 * Reads what was spent where limits are set. Of n parallel parts each plans 1/n of what is left.
 *
 * @param reserved what is on its way: whoever reads a budget anew passes on what runs by the one before
 */
export async function readBudget(tick: BudgetDeps, reserved = new Set<Claim>()): Promise<Budget> {
  const uses = Map.groupBy(
    await readLimitUse(tick.deps.store, tick.config.backends, tick.now()),
    ({ backend }) => backend.name,
  );
  const refuses = (name: string, spend: Spend): ExceededLimit | null => {
    const backend = tick.config.backends.find((one) => one.name === name);
    const limits = backend === undefined ? [] : usageLimitsOf(backend);
    if (backend === undefined || limits.length === 0) return null;
    const asked = chargedAs(backend, spend);
    // What of those on their way is in the meter already counts twice until they end.
    const coming = [...reserved]
      .filter((one) => one.backend === name)
      .reduce((sum, one) => plusUsage(sum, chargedAs(backend, one)), plusUsage(tick.meter.spent(name), asked));
    for (const { per, allows } of limits) {
      // By the file as it is now: a limit that was not there when the usage was read has nothing against it yet.
      const before = uses.get(name)?.find(({ limit }) => limit.per === per)?.used ?? noUsage;
      const reason = exceeded(backend, { allows, before, coming, asked, of: tick.of });
      if (reason !== null) return reason;
    }
    return null;
  };
  const reserve = (backend: string, spend: Spend) => {
    const one = { ...spend, backend };
    reserved.add(one);
    return () => void reserved.delete(one);
  };
  return {
    refuses,
    reserve,
    async spend(claims, run) {
      const giveBack: (() => void)[] = [];
      try {
        for (const claim of claims) {
          const reason = refuses(claim.backend, claim);
          if (reason !== null) return { outcome: 'over-limit', backend: claim.backend, reason };
          giveBack.push(reserve(claim.backend, claim));
        }
        return { outcome: 'spent', value: await run() };
      } finally {
        for (const back of giveBack) back();
      }
    },
  };
}

const reasons: Readonly<Record<keyof Allowance, ExceededLimit>> = {
  requests: 'over-requests',
  classA: 'over-class-a',
  classB: 'over-class-b',
  egressBytes: 'over-egress',
  ingressBytes: 'over-ingress',
  usd: 'over-dollars',
};

interface Question {
  readonly allows: Allowance;
  readonly before: Usage;
  /** What this tick has spent, what is on its way, and the spend itself. */
  readonly coming: Usage;
  readonly asked: Usage;
  readonly of: number;
}

/** The first allowance that a spend would exceed; what a spend asks nothing of refuses nothing. */
function exceeded(backend: BackendConfig, { allows, before, coming, asked, of }: Question): ExceededLimit | null {
  const counted = {
    asked: countedBy(backend, asked),
    before: countedBy(backend, before),
    coming: countedBy(backend, coming),
  };
  for (const field of Object.keys(reasons) as (keyof Allowance)[]) {
    const most = allows[field];
    if (most === 0 || counted.asked[field] === 0) continue;
    if (counted.coming[field] > (most - counted.before[field]) / of) return reasons[field];
  }
  return null;
}
