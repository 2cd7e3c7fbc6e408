import { monthOf } from '../base/clock.ts';
import { noUsage, plusUsage, type Usage } from '../base/usage.ts';
import type { BackendConfig, FleetFile } from '../config/fleet-file.ts';
import type { Meter } from '../fleet/meter.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Store } from '../store/port.ts';

/** What a request or transfer would spend on one backend. */
export type Spend = Partial<Usage>;

/** A spend on a backend that is to be made. */
export interface Claim extends Spend {
  readonly backend: string;
}

/** The usage limit of a month that a spend would exceed. */
export type ExceededLimit = 'over-requests' | 'over-egress' | 'over-ingress';

/** What became of a spend: made, with what it led to; or not begun, for a limit of one of its backends. */
export type Spent<T> =
  | { readonly outcome: 'spent'; readonly value: T }
  | { readonly outcome: 'over-limit'; readonly backend: string; readonly reason: ExceededLimit };

/** What a full read of a copy may spend: one whose hash is not known may have to be read twice. */
export function readingOf({ sizeBytes, sha256 }: Pick<ObjectRecord, 'sizeBytes' | 'sha256'>): Spend {
  const times = sha256 === undefined ? 2 : 1;
  return { requests: times, egressBytes: times * sizeBytes };
}

/** The monthly usage limits of a fleet, as this tick may still spend them. */
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

/** What a budget is read from: the fleet file now in force, what this tick spent, and how many parts share the month. */
export interface BudgetDeps {
  readonly config: Pick<FleetFile, 'backends'>;
  readonly of: number;
  readonly meter: Pick<Meter, 'spent'>;
  readonly deps: { readonly store: Pick<Store, 'usage'> };
  now(): number;
}

/** Reads this month's usage where limits are set. Of n parallel parts each plans 1/n of what is left. */
export async function readBudget(tick: BudgetDeps): Promise<Budget> {
  const limited = tick.config.backends.filter(hasLimits).map((b) => b.name);
  const month = monthOf(tick.now());
  const used = limited.length === 0 ? new Map<string, Usage>() : await tick.deps.store.usage(month, limited);
  /** On their way. What of them is in the meter already counts twice until they end. */
  const reserved = new Set<Claim>();
  const refuses = (backend: string, spend: Spend): ExceededLimit | null => {
    const limits = tick.config.backends.find((b) => b.name === backend)?.limits;
    if (limits === undefined || !hasLimits({ limits })) return null;
    const before = used.get(backend) ?? noUsage;
    const here = tick.meter.spent(backend);
    const coming = [...reserved]
      .filter((one) => one.backend === backend)
      .reduce((sum, one) => plusUsage(sum, one), noUsage);
    const exceeds = (field: keyof Usage, limit: number) => {
      const wanted = spend[field] ?? 0;
      if (limit === 0 || wanted === 0) return false;
      return here[field] + coming[field] + wanted > (limit - before[field]) / tick.of;
    };
    if (exceeds('requests', limits.requests)) return 'over-requests';
    if (exceeds('egressBytes', limits.egressBytes)) return 'over-egress';
    if (exceeds('ingressBytes', limits.ingressBytes)) return 'over-ingress';
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

function hasLimits({ limits }: Pick<BackendConfig, 'limits'>): boolean {
  return limits.requests > 0 || limits.egressBytes > 0 || limits.ingressBytes > 0;
}
