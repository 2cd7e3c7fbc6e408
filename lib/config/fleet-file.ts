import type { ParsedFleetFile } from './parse-fleet-file.ts';
import { fingerprintOf } from './place.ts';

/** A fleet file as it is in force: checked, defaults filled in. `parse-fleet-file.ts` makes it. */
export type FleetFile = ParsedFleetFile;
export type BackendConfig = FleetFile['backends'][number];
export type PolicyConfig = FleetFile['policies'][string];
export type CredentialsConfig = BackendConfig['credentials'];

/** A policy with its name, as it applies to a key. */
export interface Policy extends PolicyConfig {
  readonly name: string;
}

/** Longest object key in UTF-8 bytes that every backend of a fleet can hold with a copy id behind it. */
export function maxKeyBytes(file: Pick<FleetFile, 'backends'>): number {
  return 997 - Math.max(0, ...file.backends.map((b) => Buffer.byteLength(b.prefix)));
}

/** Whether the storage of two backends is one, for one identity: then it can copy from one to the other by itself. */
export function areNeighbours(a: BackendConfig, b: BackendConfig): boolean {
  // Sorted: a table does not keep the order of fields.
  const identityOf = ({ credentials }: BackendConfig) => JSON.stringify(Object.entries(credentials).sort());
  if (a.region !== b.region || fingerprintOf(a).endpoint !== fingerprintOf(b).endpoint) return false;
  return identityOf(a) === identityOf(b);
}

/** The policy that applies to a key: the longest matching prefix wins, `default` otherwise. */
export function policyOf(file: Pick<FleetFile, 'policies'>, key: string): Policy {
  let best = { name: 'default', length: -1 };
  for (const [policyName, { prefix }] of Object.entries(file.policies)) {
    const wanted = prefix ?? '';
    if (key.startsWith(wanted) && wanted.length > best.length) best = { name: policyName, length: wanted.length };
  }
  return { name: best.name, ...file.policies[best.name]! };
}
