import { monthOf } from '../base/clock.ts';
import type { BackendConfig } from '../config/fleet-file.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Usage } from '../store/port.ts';
import type { Tick } from './tick.ts';

/** What a request or transfer would spend on one backend. */
export interface Spend {
  readonly requests?: number;
  readonly egressBytes?: number;
  readonly ingressBytes?: number;
}

/** What a full read of a copy may spend: one whose hash is not known may have to be read twice. */
export function readingOf({ sizeBytes, sha256 }: Pick<ObjectRecord, 'sizeBytes' | 'sha256'>): Spend {
  const times = sha256 === undefined ? 2 : 1;
  return { requests: times, egressBytes: times * sizeBytes };
}

/** The monthly usage limits of a fleet, as this tick may still spend them. */
export interface Budget {
  /** The limit that a spend would exceed, or null when it is allowed. */
  refuses(backend: string, spend: Spend): 'over-requests' | 'over-egress' | 'over-ingress' | null;
  /** Counts a spend that is on its way and not yet in the meter; the returned function takes it back. */
  reserve(backend: string, spend: Spend): () => void;
}

const none: Usage = { requests: 0, egressBytes: 0, ingressBytes: 0 };

/** Reads this month's usage where limits are set. Of n parallel parts each plans 1/n of what is left. */
export async function readBudget(tick: Tick): Promise<Budget> {
  const limited = tick.config.backends.filter(hasLimits).map((b) => b.name);
  const month = monthOf(tick.now());
  const used = limited.length === 0 ? new Map<string, Usage>() : await tick.deps.store.usage(month, limited);
  const reserved = new Map<string, Usage>();
  const add = (backend: string, spend: Spend, sign: 1 | -1) => {
    const r = reserved.get(backend) ?? none;
    reserved.set(backend, {
      requests: r.requests + sign * (spend.requests ?? 0),
      egressBytes: r.egressBytes + sign * (spend.egressBytes ?? 0),
      ingressBytes: r.ingressBytes + sign * (spend.ingressBytes ?? 0),
    });
  };
  return {
    refuses(backend, spend) {
      const limits = tick.config.backends.find((b) => b.name === backend)?.limits;
      if (limits === undefined) return null;
      const before = used.get(backend) ?? none;
      const here = tick.meter.spent(backend);
      const coming = reserved.get(backend) ?? none;
      const exceeds = (field: keyof Usage, limit: number) => {
        const wanted = spend[field] ?? 0;
        if (limit === 0 || wanted === 0) return false;
        return here[field] + coming[field] + wanted > (limit - before[field]) / tick.of;
      };
      if (exceeds('requests', limits.requests)) return 'over-requests';
      if (exceeds('egressBytes', limits.egressBytes)) return 'over-egress';
      if (exceeds('ingressBytes', limits.ingressBytes)) return 'over-ingress';
      return null;
    },
    reserve(backend, spend) {
      add(backend, spend, 1);
      return () => add(backend, spend, -1);
    },
  };
}

function hasLimits({ limits }: BackendConfig): boolean {
  return limits.requests > 0 || limits.egressBytes > 0 || limits.ingressBytes > 0;
}
