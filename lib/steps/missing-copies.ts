import { policyOf } from '../config/fleet-file.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Tick } from '../tick/tick.ts';

/** How many counted copies an object lacks now, by the policy of its key; negative when it has more than it needs. */
export function missingCopies(
  tick: Pick<Tick, 'config' | 'standing'>,
  { key, copies }: Pick<ObjectRecord, 'key' | 'copies'>,
): number {
  const counted = Object.keys(copies).filter((name) => tick.standing(name).isCounted).length;
  return policyOf(tick.config, key).factor - counted;
}
