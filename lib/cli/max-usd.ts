import { inDollars } from '../base/amounts.ts';
import type { WorkPlan } from '../operations/work-plan.ts';
import { CommandError } from './failure.ts';
import { bytes, plural } from './format.ts';

/** Throws where what is to begin may cost more than `--max-usd` allows; nothing was begun. */
export function assertAffordable(what: string, usd: number, most: number | undefined): void {
  if (most === undefined || usd <= most) return;
  throw new CommandError(
    'over-max-usd',
    `Cannot ${what}: it may cost ${inDollars(usd)}, and --max-usd allows ${inDollars(most)}; nothing was begun`,
  );
}

/** What work would come to at most. */
export function sayWorkPlan(
  says: string,
  { objects, requests, egressBytes, writeUnits, usd, ...plan }: WorkPlan,
): string {
  if (objects === 0) return `${says}: nothing to do`;
  const parts = [
    plural(Math.ceil(objects), 'object'),
    plural(Math.ceil(requests), 'request'),
    `${bytes(plan.bytes)} written`,
    `${bytes(egressBytes)} read`,
    plural(Math.ceil(writeUnits), 'write unit'),
  ];
  return `${says}: at most ${parts.join(', ')}; ${inDollars(usd)}`;
}
