import { policyOf } from '../config/fleet-file.ts';
import type { ObjectRecord } from '../store/model.ts';
import type { Tick } from '../tick/tick.ts';

/** What this file asks of a tick. */
export type RelabelTick = Pick<Tick, 'config' | 'commit' | 'audit'>;

/** The object under its right label; null when it changed meanwhile (whoever changed it computed the label anew). */
export async function relabel(tick: RelabelTick, object: ObjectRecord): Promise<ObjectRecord | null> {
  const policy = policyOf(tick.config, object.key).name;
  if (policy === object.policy) return object;
  const [outcome] = await tick.commit([{ key: object.key, change: { before: object, after: { ...object, policy } } }]);
  if (outcome?.outcome !== 'committed' || outcome.entry?.kind !== 'object') return null;
  tick.audit('Object relabelled', { key: object.key, from: object.policy, to: policy });
  return outcome.entry;
}
