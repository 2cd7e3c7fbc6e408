import { lacking, missingOf, placementRule } from '../config/placement-rule.ts';
import { prices, writeUnitsOfCopy } from '../plans/import-estimate.ts';
import { dearestRequest } from '../plans/request-price.ts';
import type { BackendStanding, FleetConfig, FleetView } from '../store/fleet-view.ts';
import type { Count } from '../store/model.ts';

/** What a drain would lead to, by the ledger alone. */
export interface DrainPlan {
  /** Objects with a copy on the backend. */
  readonly holds: Count;
  /** Copies that others would have to be given. */
  readonly copies: Count;
  /** Imported files there: they stay, or are deleted where a person asks for that. */
  readonly imported: Count;
  /** For reading what is copied, at most: from the cheapest backend that holds it. */
  readonly egressUsd: number;
  /** A read and a write for each copy. */
  readonly requests: number;
  /** Of DynamoDB, for recording them. */
  readonly writeUnits: number;
  /** All of it, at most: by the prices of the fleet file, and by list prices of AWS where it names none. */
  readonly usd: number;
}

const gigabyte = 1e9;

export function planDrain(
  view: FleetView & { readonly config: FleetConfig },
  name: string,
  standing: (backend: string) => BackendStanding,
): DrainPlan {
  const { file } = view.config;
  const stays = (backend: string) => backend !== name && standing(backend).isCounted;
  const takers = file.backends.map((backend) => backend.name).filter(stays);
  const priceOf = (backend: string) => standing(backend).config?.egressUsdPerGb ?? 0;
  let plan = { holds: none, copies: none, imported: none, egressUsd: 0 };
  for (const { policy, copies, count } of view.placements) {
    const held = copies.find(({ backend }) => backend === name);
    if (held === undefined) continue;
    const holders = copies.map(({ backend }) => backend).filter(stays);
    const lack = Math.max(0, missingOf(lacking(placementRule(file, policy), holders, takers)));
    const sources = copies.map(({ backend }) => backend).filter((backend) => standing(backend).isReachable);
    const price = sources.length === 0 ? 0 : Math.min(...sources.map(priceOf));
    plan = {
      holds: plus(plan.holds, count),
      copies: plus(plan.copies, count, lack),
      imported: plus(plan.imported, count, held.isPlain ? 1 : 0),
      egressUsd: plan.egressUsd + (price * lack * count.bytes) / gigabyte,
    };
  }
  const copies = plan.copies.objects;
  const writeUnits = copies * writeUnitsOfCopy;
  const takeCopies = file.backends.filter((backend) => takers.includes(backend.name));
  const requestsUsd = copies * (dearestRequest(file.backends, 'get') + dearestRequest(takeCopies, 'put'));
  const usd = plan.egressUsd + requestsUsd + writeUnits * prices.writeUnit;
  return { ...plan, requests: 2 * copies, writeUnits, usd };
}

const none: Count = { objects: 0, bytes: 0 };

function plus(sum: Count, more: Count, times = 1): Count {
  return { objects: sum.objects + times * more.objects, bytes: sum.bytes + times * more.bytes };
}
