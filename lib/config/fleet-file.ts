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

/** By entries of one file: it is asked with every copy. */
const neighbours = new WeakMap<BackendConfig, WeakMap<BackendConfig, boolean>>();

/** Whether the storage of two backends is one, for one identity: then it can copy from one to the other by itself. */
export function areNeighbours(a: BackendConfig, b: BackendConfig): boolean {
  const ofA = neighbours.get(a) ?? new WeakMap<BackendConfig, boolean>();
  neighbours.set(a, ofA);
  const are = ofA.get(b) ?? isOneStorage(a, b);
  ofA.set(b, are);
  return are;
}

function isOneStorage(a: BackendConfig, b: BackendConfig): boolean {
  // Sorted: a table does not keep the order of fields.
  const identityOf = ({ credentials }: BackendConfig) => JSON.stringify(Object.entries(credentials).sort());
  if (a.region !== b.region || fingerprintOf(a).endpoint !== fingerprintOf(b).endpoint) return false;
  return identityOf(a) === identityOf(b);
}

/** By the policies of a file: those with the longest prefixes first. One is asked for many times with every object. */
const byPrefix = new WeakMap<FleetFile['policies'], readonly Policy[]>();

/** The policy that applies to a key: the longest matching prefix wins, `default` otherwise. */
export function policyOf({ policies }: Pick<FleetFile, 'policies'>, key: string): Policy {
  const ordered = byPrefix.get(policies) ?? longestFirst(policies);
  byPrefix.set(policies, ordered);
  return ordered.find(({ prefix = '' }) => key.startsWith(prefix)) ?? { name: 'default', ...policies.default! };
}

function longestFirst(policies: FleetFile['policies']): Policy[] {
  const all = Object.entries(policies).map(([name, policy]): Policy => ({ name, ...policy }));
  return all.sort((a, b) => (b.prefix ?? '').length - (a.prefix ?? '').length);
}
